"""What an inspect says, table by table. The inspects were recorded from Docker 20.10."""

from __future__ import annotations

from typing import Any

import pytest
from launch_docker.diagnosis import RUN_SECONDS_LABEL, Circumstances, diagnose, gone, moment

from launchcore.plugin import Fault, Phase, Reason

BEGAN, ENDED = "2026-11-23T17:50:50.596337603Z", "2026-11-23T17:51:08.501537564Z"


def inspect(status: str, code: int = 0, **changes: Any) -> dict[str, Any]:
    state = {
        "Status": status,
        "Running": status == "running",
        "Paused": False,
        "OOMKilled": False,
        "ExitCode": code,
        "Error": "",
        "StartedAt": BEGAN,
        "FinishedAt": ENDED if status == "exited" else "0001-01-01T00:00:00Z",
    }
    return {
        "State": {**state, **changes},
        "Config": {"Labels": {}},
        "HostConfig": {"Memory": 64 << 20},
        "Path": "train",
        "Args": [],
    }


@pytest.mark.parametrize(
    ("code", "exit_code", "signal"),
    [
        *((code, code, None) for code in (0, 1, 126, 127, 128, 255)),
        *((128 + number, None, number) for number in (1, 9, 11, 15)),
    ],
)
def test_exit_codes_and_signals(code: int, exit_code: int | None, signal: int | None) -> None:
    status = diagnose(inspect("exited", code))

    assert (status.exit_code, status.signal) == (exit_code, signal)
    assert status.phase is (Phase.FAILED if code else Phase.SUCCEEDED)
    assert (status.failure is None) == (code == 0)
    if status.failure:
        assert (status.failure.reason, status.failure.fault) == (Reason.USER_ERROR, Fault.USER)
        assert status.failure.hint


def test_times_are_those_of_the_engine() -> None:
    status = diagnose(inspect("exited", 1))

    assert status.started_at == pytest.approx(1795456250.596338, abs=1e-5)
    assert status.finished_at is not None
    assert moment("0001-01-01T00:00:00Z") is None


@pytest.mark.parametrize("status", ["running", "paused", "restarting"])
def test_what_runs(status: str) -> None:
    assert diagnose(inspect(status)).phase is Phase.RUNNING


def test_an_unhealthy_one_runs_and_says_so() -> None:
    health = {"Status": "unhealthy", "Log": [{"Output": "no answer\nfrom port 80"}]}

    status = diagnose(inspect("running", Health=health))

    assert status.phase is Phase.RUNNING
    assert status.message == "the container is unhealthy: no answer from port 80"


def test_created_is_pending() -> None:
    assert diagnose(inspect("created")).phase is Phase.PENDING


def test_a_command_that_is_not_there() -> None:
    error = (
        "failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
        'container process: exec: "train": executable file not found in $PATH: unknown'
    )
    status = diagnose(inspect("created", 127, Error=error))

    assert status.phase is Phase.FAILED
    assert status.failure is not None
    assert status.failure.reason is Reason.USER_ERROR
    assert 'exec: "train": executable file not found' in status.failure.detail


@pytest.mark.parametrize("status", ["removing", "something-new", ""])
def test_what_we_do_not_know_has_not_failed(status: str) -> None:
    assert diagnose(inspect(status)).phase is Phase.UNKNOWN


@pytest.mark.parametrize(("by_state", "by_event"), [(True, False), (False, True)])
def test_out_of_memory(by_state: bool, by_event: bool) -> None:
    status = diagnose(inspect("exited", 137, OOMKilled=by_state), Circumstances(oom=by_event))

    assert status.failure is not None
    assert status.failure.reason is Reason.OUT_OF_MEMORY
    assert "64 MiB" in status.failure.detail


def test_a_run_that_survives_the_death_of_a_part_has_succeeded() -> None:
    status = diagnose(inspect("exited", 0, OOMKilled=True))

    assert status.phase is Phase.SUCCEEDED
    assert "memory" in str(status.message)


@pytest.mark.parametrize("code", [0, 1, 137, 143])
def test_stopped_from_outside_is_not_the_users_fault_nor_a_success(code: int) -> None:
    """A job that ends with 0 when it is told to stop has not finished its work."""
    status = diagnose(inspect("exited", code), Circumstances(outside=15))

    assert status.phase is Phase.FAILED
    assert status.failure is not None
    assert (status.failure.reason, status.failure.fault) == (Reason.INFRASTRUCTURE, Fault.INFRASTRUCTURE)


def test_a_machine_that_was_restarted_meanwhile() -> None:
    began = moment(BEGAN)
    assert began is not None
    after, before = Circumstances(booted_at=began + 3600), Circumstances(booted_at=began - 3600)
    restarted, not_so = diagnose(inspect("exited", 255), after), diagnose(inspect("exited", 255), before)

    assert restarted.failure is not None
    assert restarted.failure.reason is Reason.INFRASTRUCTURE
    assert not_so.failure is not None
    assert not_so.failure.reason is Reason.USER_ERROR


@pytest.mark.parametrize(("limit", "reason"), [("10", Reason.RUN_TIMEOUT), ("60", Reason.USER_ERROR)])
def test_a_deadline(limit: str, reason: Reason) -> None:
    container = inspect("exited", 137)
    container["Config"]["Labels"][RUN_SECONDS_LABEL] = limit
    failure = diagnose(container).failure

    assert failure is not None
    assert failure.reason is reason


def test_gone_is_gone() -> None:
    assert gone(Circumstances()).phase is Phase.GONE
