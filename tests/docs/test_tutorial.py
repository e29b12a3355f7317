"""The tutorial's plugin in docs/plugins.md keeps the promises that its text makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launchcore.plugin import Given, LaunchError, Phase, RunHandle, Runner, RunPlan, RunStatus, Site
from tests.docs.markdown import ROOT, blocks

Plan = Callable[..., RunPlan]


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    namespace: dict[str, Any] = {"__name__": "tutorial"}
    for block in blocks(ROOT / "docs" / "plugins.md"):
        if block.language == "python":
            exec(block.text, namespace)
    (spec,) = namespace["launch_register_runners"]()
    made: Runner = spec.create(None, Site(state=tmp_path, cache=tmp_path, owner="us", host="here"))
    return made


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    def make(attempt: str, script: str, **more: Any) -> RunPlan:
        return RunPlan(
            run_id="r",
            attempt_id=attempt,
            attempt=1,
            queue="q",
            name=f"launch-{attempt}",
            settings=None,
            command=("sh", "-c", script),
            scratch=tmp_path,
            **more,
        )

    return make


def end(runner: Runner, handle: RunHandle) -> RunStatus:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        status = runner.poll([handle])[handle.key]
        if status.phase.final:
            return status
        time.sleep(0.01)
    raise AssertionError("it does not end")


def test_exit_code_and_log_are_kept(runner: Runner, plan: Plan) -> None:
    handle = runner.start(plan("r-1", "echo hello; exit 3"), Given())

    assert end(runner, handle).exit_code == 3
    assert runner.logs(handle, None, 100).data == b"hello\n"
    assert runner.logs(handle, "4", 100).data == b"o\n"


def test_second_start_finds_the_first(runner: Runner, plan: Plan, tmp_path: Path) -> None:
    job = plan("r-1", f"echo started >> {tmp_path}/starts; sleep 0.2")

    first, second = runner.start(job, Given()), runner.start(job, Given())
    end(runner, first)

    assert first == second
    assert (tmp_path / "starts").read_text() == "started\n"


def test_none_from_find_is_a_promise(runner: Runner, plan: Plan) -> None:
    assert runner.find("r-1") is None

    with pytest.raises(LaunchError, match="too late"):
        runner.start(plan("r-1", "true"), Given())


def test_start_after_the_lease_is_refused(runner: Runner, plan: Plan) -> None:
    with pytest.raises(LaunchError, match="too late"):
        runner.start(plan("r-1", "true", start_before=time.time() - 1), Given())


def test_cancel_asks_then_forces(runner: Runner, plan: Plan) -> None:
    gentle = runner.start(plan("r-1", "sleep 60"), Given())
    stubborn = runner.start(plan("s-1", 'trap "" TERM; sleep 60; sleep 60'), Given())
    for handle in (gentle, stubborn):
        while runner.poll([handle])[handle.key].phase is not Phase.RUNNING:
            time.sleep(0.01)

    runner.cancel(gentle, 10.0)
    runner.cancel(stubborn, 0.2)

    assert end(runner, gentle).signal in (9, 15)
    assert end(runner, stubborn).signal == 9


def test_nothing_is_left_after_cleanup(runner: Runner, plan: Plan) -> None:
    handle = runner.start(plan("r-1", "sleep 60"), Given())

    runner.cleanup(handle)
    runner.cleanup(handle)

    assert list(runner.owned()) == []
    assert runner.find("r-1") is None
