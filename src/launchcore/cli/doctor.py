"""``launch doctor``."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launchcore.cli.completers import complete_queue
from launchcore.cli.errors import usage
from launchcore.cli.exits import Exit
from launchcore.cli.options import AsJson, BaseUrl
from launchcore.cli.output import emit, emit_json, me, say
from launchcore.cli.service import host_of, loaded_config, open_configured

if TYPE_CHECKING:
    from launchcore.config.values import AgentConfig
    from launchcore.plugin import Check, CheckResult
    from launchcore.queues.base import RunInfo, Service

MARKS = {"ok": "✓", "warning": "!", "failed": "✗", "skipped": "-"}
COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "white"}


def doctor(
    *,
    canary: Annotated[
        bool, typer.Option("--canary", help="Also submit a small run, and wait for it to succeed.")
    ] = False,
    queue: Annotated[
        str,
        typer.Option(
            "--queue", "-q", metavar="QUEUE", help="Where the canary goes.", autocompletion=complete_queue
        ),
    ] = "default",
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="How long to wait for the canary.")
    ] = "2m",
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="An agent's configuration, not the usual one."),
    ] = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> int:
    """Look whether everything that runs need is there.

    The exit code is 1 when a check failed; warnings do not count. With --json, a list of objects:
    `name`, `by`, `verdict`, `detail`, `hint`.
    """
    from launchcore.cli.checks import core_checks, runner_checks
    from launchcore.cli.times import parse_duration
    from launchcore.plugin import Check

    with usage():
        patience = parse_duration(timeout)
    loaded = loaded_config(base_url, config)
    host = host_of(loaded.config)
    checks = [("launchcore", check) for check in core_checks(loaded, host)]
    checks += [*host.calls.checks(), *runner_checks(loaded, host)]
    if canary:
        run = partial(_canary, loaded.config, queue, patience)
        checks.append(("launchcore", Check(name="canary", run=run)))
    results = _run(checks, quiet=as_json)
    if as_json:
        emit_json(results)
    failed = sum(result["verdict"] == "failed" for result in results)
    if not as_json:
        say(f"{failed} of {len(results)} checks failed" if failed else "everything that runs need is there")
    return Exit.FAILED if failed else Exit.OK


def _run(checks: list[tuple[str, Check]], *, quiet: bool) -> list[dict[str, Any]]:
    from launchcore.cli.checks import run_check

    width = max(len(check.name) for _, check in checks)
    results: list[dict[str, Any]] = []
    for plugin, check in checks:
        result = run_check(check)
        results.append(
            {
                "name": check.name,
                "by": plugin,
                "verdict": result.verdict.value,
                "detail": result.detail,
                "hint": result.hint,
            }
        )
        if not quiet:
            _print(check.name.ljust(width), plugin, result)
    return results


def _print(name: str, plugin: str, result: CheckResult) -> None:
    by = "" if plugin.split(maxsplit=1)[0] == "launchcore" else f" ({plugin})"
    mark = MARKS[result.verdict.value]
    emit(f"{mark} {name}  {result.detail}{by}", colour=COLOURS[result.verdict.value])
    if result.hint and result.verdict.value != "ok":
        emit(f"  {' ' * len(name)}  try: {result.hint}")


def _canary(config: AgentConfig, queue: str, patience: float) -> CheckResult:
    """Submit a run that prints a word, wait for its end, and look for the word in its log."""
    from launchcore.cli.source import make_source
    from launchcore.cli.source_options import SourceFlags
    from launchcore.plugin import CheckResult, CheckVerdict, Limits, RunSpec, RunState

    word = f"canary {time.time_ns():x}"
    folder = tempfile.TemporaryDirectory(prefix="launch-canary-")
    with folder as directory, closing(open_configured(config)) as queues:
        info = queues.queue(queue)
        if not info.agents:
            return CheckResult(
                verdict=CheckVerdict.FAILED,
                detail=f"no agent serves queue {queue}",
                hint=f"launch agent --queue {queue}",
            )
        Path(directory, "canary.py").write_text("import sys\nprint(*sys.argv[1:])\n", encoding="utf-8")
        source = make_source(SourceFlags(directory=Path(directory)), queues, config, lambda _: None)
        spec = RunSpec(
            source=source,
            command=("python", "canary.py", *word.split()),
            name="doctor-canary",
            limits=Limits(run_seconds=patience),
        )
        run = _wait(queues, queues.submit(queue, spec, submitter=me()), patience)
        if not run.state.final:
            queues.cancel(run.id, by=me())
            detail = f"run {run.id} was still {run.state.value} after {patience:.0f} s"
            return CheckResult(verdict=CheckVerdict.FAILED, detail=detail, hint=f"launch show {run.id}")
        if run.state is not RunState.SUCCEEDED:
            why = run.failure.one_line() if run.failure else run.state.value
            return CheckResult(
                verdict=CheckVerdict.FAILED, detail=f"run {run.id}: {why}", hint=f"launch show {run.id}"
            )
        if word.encode() not in queues.logs(run.id).data:
            return CheckResult(
                verdict=CheckVerdict.FAILED,
                detail=f"run {run.id} succeeded, but its log does not have what it printed",
                hint=f"launch logs {run.id}",
            )
    took = (run.ended_at or 0) - run.submitted_at
    return CheckResult(verdict=CheckVerdict.OK, detail=f"run {run.id} succeeded in {took:.1f} s")


def _wait(queues: Service, run: RunInfo, patience: float) -> RunInfo:
    deadline = time.monotonic() + patience
    while not run.state.final and (left := deadline - time.monotonic()) > 0:
        run = queues.wait(run.id, run.changes, timeout=min(left, 10.0))
    return run
