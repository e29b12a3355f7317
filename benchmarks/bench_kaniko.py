"""Deciding that there is nothing to build, beside a bare HEAD: ``python -m benchmarks.bench_kaniko``.

JSON on standard output. The registry is Debian's, with a login, on this machine; no cluster is asked. What
building costs beside that is the executor's business, and the context store's (``bench_context_store``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch_docker.testing.registry import PASSWORD, USER, RegistryMachine, missing_registry
from launch_kaniko.testing.registries import CONFIG, MANIFEST, Registries, auth

from launchcore.builtin.oci.registry import OciRegistry
from launchcore.builtin.oci.settings import OciSettings
from launchcore.plugin import BuildPlan
from launchcore.recipes.recipe import read_recipe
from launchcore.testing.conformance.build_bench import BuilderBench


def measure(quick: bool) -> dict[str, Any]:
    """Sources of a few sizes."""
    why = missing_registry()
    if why is not None:
        return {"not_measured": why}
    rounds = 10 if quick else 50
    registry = RegistryMachine()
    try:
        registry.start()
        return {
            f"files_{files}_kb_{files * 4}": decisions(registry, files, rounds)
            for files in ((20,) if quick else (20, 1000))
        }
    finally:
        registry.close()


def decisions(registry: RegistryMachine, files: int, rounds: int) -> dict[str, float]:
    """Both in turn: one ``build`` of what the registry has, one HEAD."""
    with tempfile.TemporaryDirectory(prefix="lc-") as directory:
        root = Path(directory)
        (root / "password").write_text(PASSWORD)
        repository = f"{registry.host}/models"
        oci = OciRegistry(
            OciSettings(repository=repository, username=USER, password_file=str(root / "password"))
        )
        bench = BuilderBench(
            root,
            plugin="launch_kaniko.plugin",
            name="kaniko",
            settings={"build-context-store": "s3://not-asked", "kubeconfig": str(root / "not-asked")},
            repository=repository,
            logins=tuple(oci.logins(repository)),
            registry=oci,
        )
        tree = {f"part{number % 20}/file{number}.py": "x = 1\n" * 680 for number in range(files)}
        plan = bench.plan({"Dockerfile": "FROM base\nCOPY . /code\n", **tree})
        name = pushed(bench, plan, registry)
        ours, bare = [], []
        for _ in range(rounds):
            ours.append(timed(lambda: bench.build(plan)))
            bare.append(timed(lambda: head(registry, name)))
        return {
            "cached_decision_p50_ms": round(statistics.median(ours), 1),
            "bare_head_p50_ms": round(statistics.median(bare), 1),
        }


def pushed(bench: BuilderBench, plan: BuildPlan, registry: RegistryMachine) -> str:
    """An image under the name that the builder will ask for."""
    given = bench.given()
    recipe = read_recipe(plan, bench.settings, given)
    name = recipe.name(plan, bench.settings, given, bases={}, check=lambda: None)
    client = Registries({registry.host: auth(USER, PASSWORD)}, insecure=(registry.host,))
    repository, _, tag = name.rpartition(":")
    digest = client.push_blob(repository, b"{}")
    config = {"mediaType": CONFIG, "size": 2, "digest": digest}
    client.push_manifest(
        repository, tag, {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    )
    return name


def head(registry: RegistryMachine, name: str) -> None:
    """As a program does it that knows the login and keeps no connection."""
    repository, _, tag = name.partition("/")[2].rpartition(":")
    request = urllib.request.Request(
        f"http://{registry.host}/v2/{repository}/manifests/{tag}",
        method="HEAD",
        headers={"Accept": MANIFEST, "Authorization": f"Basic {auth(USER, PASSWORD)}"},
    )
    urllib.request.urlopen(request, timeout=30).close()


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small source, ten times")
    print(json.dumps(measure(parser.parse_args().quick), indent=2))


if __name__ == "__main__":
    main()
