"""An executor for tests that need one quickly: its registry is a directory, and it builds nothing.

It reads its arguments and its context as the real one does, speaks as that does, and does what a Dockerfile's
``RUN`` lines of a few forms say: ``exit N``, ``sleep SECONDS``, ``say WORDS``.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tarfile
import time
from pathlib import Path


def say(text: str, level: str = "info") -> None:
    print(json.dumps({"level": level, "msg": text, "time": "2026-01-01T00:00:00Z"}), flush=True)


def main() -> int:
    said: dict[str, list[str]] = {}
    for arg in sys.argv[1:]:
        name, _, value = arg.removeprefix("--").partition("=")
        said.setdefault(name, []).append(value)
    registry = Path(os.environ["SCRIPTED_REGISTRY"])
    say("active feature flags: none")
    path = Path(os.environ["SCRIPTED_CONTEXTS"], said["context"][-1].rpartition("/")[2])
    if not path.exists():
        print(f"Error: error resolving source context: open {path}: no such file or directory")
        return 1
    with tarfile.open(path) as tar:
        file = tar.extractfile(f"{said['context-sub-path'][-1]}/{said['dockerfile'][-1]}")
        assert file is not None
        text = file.read().decode()
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        say(line)
        verb, _, argument = rest.partition(" ")
        if (word, verb) == ("RUN", "exit"):
            print(
                "error building image: error building stage: failed to execute command: waiting for process "
                f"to exit: exit status {argument}"
            )
            return 1
        if (word, verb) == ("RUN", "sleep"):
            time.sleep(float(argument))
        if (word, verb) == ("RUN", "say"):
            print(argument, flush=True)
    told = {"args": sys.argv[1:], "labels": dict(each.split("=", 1) for each in said.get("label", ()))}
    told["config"] = (Path(os.environ["DOCKER_CONFIG"]) / "config.json").read_text()
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    for name in said["destination"]:
        place = registry / hashlib.sha256(name.encode()).hexdigest()
        place.with_suffix(".new").write_text(json.dumps({**told, "digest": digest, "name": name}))
        place.with_suffix(".new").rename(place)
        with (registry / "pushes").open("a") as pushes:
            pushes.write(f"{name}\n")
        say(f"Pushed {name}@{digest}")
    Path(said["digest-file"][-1]).write_text(digest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
