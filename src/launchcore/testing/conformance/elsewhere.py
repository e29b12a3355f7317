"""Run as a module: a process of its own that uses a handle which another has made.

Question (standard input) and answer (standard output) are JSON; see :meth:`RunnerBench.elsewhere`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import attrs
import msgspec

from launchcore.host.settings import structure
from launchcore.plugin import RunHandle, Site
from launchcore.testing.conformance.suite import eventually, load_plugin, make_environment


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Poll the handle until its end, then read its whole log."""
    spec = load_plugin(question["plugin"]).catalog.runner(question["name"]).spec
    place = question["site"]
    site = Site(
        state=Path(place["state"]), cache=Path(place["cache"]), owner=place["owner"], host=place["host"]
    )
    site = attrs.evolve(site, environment=make_environment(question["environment"], site))
    runner = spec.create(structure(spec.settings, question["settings"], path="settings"), site)
    handle = msgspec.convert(question["handle"], RunHandle)
    patience = question["patience"]

    def ended() -> Any:
        status = runner.poll([handle])[handle.key]
        return status if status.phase.final else None

    status = eventually("the end", ended, patience=patience)
    log, cursor = b"", None

    def read() -> bool | None:
        nonlocal log, cursor
        batch = runner.logs(handle, cursor, 65536)
        log, cursor = log + batch.data, batch.cursor
        return True if batch.end else None

    eventually("the end of the log", read, patience=patience)
    return {"status": msgspec.to_builtins(status), "log": log.hex()}


if __name__ == "__main__":
    print(json.dumps(answer(json.load(sys.stdin))))
