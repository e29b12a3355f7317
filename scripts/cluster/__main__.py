"""``python -m scripts.cluster up | down``: see ``make help``."""

from __future__ import annotations

import argparse
import sys
import time

from scripts.cluster.cluster import Cluster, default_root, missing


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts.cluster", description="A cluster of one node, for tests.")
    parser.add_argument("what", choices=("up", "down"))
    what = parser.parse_args().what
    cluster = Cluster(default_root())
    if what == "down":
        cluster.close()
        return 0
    why = missing()
    if why is not None:
        print(f"cluster: {why}", file=sys.stderr)
        return 1
    began = time.monotonic()
    if not cluster.runs():
        cluster.start()
        print(f"cluster: up in {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
