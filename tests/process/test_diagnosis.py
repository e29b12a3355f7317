"""Records in, statuses out: the whole table, without a process."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from launchcore.builtin.process.diagnosis import Command, not_executed, status_of
from launchcore.plugin import Fault, Phase, Reason

STARTED = {"started_at": 1.0, "run_seconds": 90.0, "memory_bytes": 1536 * 1024 * 1024}
EXIT: dict[str, Any] = {
    "exit_code": None,
    "signal": None,
    "lost": None,
    "stopped": None,
    "oom": None,
    "finished_at": 2.0,
    "usage": {"cpu_seconds": 0.5},
    "leftovers": 0,
}


def found(**ended: Any) -> dict[str, Any]:
    return {"started": STARTED, "exit": {**EXIT, **ended}}


@pytest.mark.parametrize(
    ("ended", "reason", "fault", "detail"),
    [
        ({"exit_code": 1}, Reason.USER_ERROR, Fault.USER, "exit code 1"),
        ({"exit_code": 137}, Reason.USER_ERROR, Fault.USER, "exit code 137"),
        ({"exit_code": 137, "oom": "limit"}, Reason.OUT_OF_MEMORY, Fault.USER, "limit of 1.5 GiB"),
        ({"signal": 9, "oom": "limit"}, Reason.OUT_OF_MEMORY, Fault.USER, "limit of 1.5 GiB"),
        ({"signal": 9, "stopped": "memory"}, Reason.OUT_OF_MEMORY, Fault.USER, "limit of 1.5 GiB"),
        ({"signal": 9, "oom": "machine"}, Reason.OUT_OF_MEMORY, Fault.USER, "no memory left"),
        ({"signal": 9}, Reason.USER_ERROR, Fault.USER, "SIGKILL"),
        ({"signal": 11}, Reason.USER_ERROR, Fault.USER, "crashed with SIGSEGV"),
        ({"signal": 34}, Reason.USER_ERROR, Fault.USER, "SIGRTMIN"),
        ({"signal": 40}, Reason.USER_ERROR, Fault.USER, "signal 40"),
        ({"signal": 15, "stopped": "timeout"}, Reason.RUN_TIMEOUT, Fault.USER, "90 seconds"),
        ({"exit_code": 0, "stopped": "timeout"}, Reason.RUN_TIMEOUT, Fault.USER, "90 seconds"),
        ({"exit_code": 0, "stopped": "cancelled"}, Reason.CANCELLED, Fault.USER, "cancelled"),
        ({"signal": 9, "stopped": "cancelled"}, Reason.CANCELLED, Fault.USER, "cancelled"),
        ({"lost": "gone", "stopped": "cancelled"}, Reason.CANCELLED, Fault.USER, "cancelled"),
        ({"lost": "nobody saw it"}, Reason.LOST, Fault.INFRASTRUCTURE, "nobody saw it"),
    ],
)
def test_failures(ended: dict[str, Any], reason: Reason, fault: Fault, detail: str) -> None:
    status = status_of(found(**ended))

    assert status.phase is Phase.FAILED
    assert (status.exit_code, status.signal) == (ended.get("exit_code"), ended.get("signal"))
    assert status.failure is not None
    assert (status.failure.reason, status.failure.fault) == (reason, fault)
    assert detail in status.failure.detail


def test_success() -> None:
    status = status_of(found(exit_code=0))

    assert (status.phase, status.failure, status.exit_code) == (Phase.SUCCEEDED, None, 0)
    assert (status.started_at, status.finished_at, status.usage) == (1.0, 2.0, {"cpu_seconds": 0.5})


def test_running_and_gone() -> None:
    assert status_of({"started": STARTED, "exit": None}).phase is Phase.RUNNING
    assert status_of({"started": STARTED}).phase is Phase.RUNNING
    assert status_of(None).phase is Phase.GONE


def test_what_could_not_be_killed_is_said() -> None:
    assert "2 of its processes" in (status_of(found(exit_code=0, leftovers=2)).message or "")


@pytest.mark.parametrize("code", [126, 127, 137, 143])
def test_what_shells_mean(code: int) -> None:
    failure = status_of(found(exit_code=code)).failure
    assert failure is not None
    assert "shell" in (failure.hint or "")


@pytest.mark.parametrize(
    ("command", "detail", "hint"),
    [
        (
            Command(name="pyhton", number=errno.ENOENT, programs=["python"]),
            "command not found",
            "did you mean python?",
        ),
        (
            Command(name="tran.py", number=errno.ENOENT, files=["train.py"]),
            "command not found",
            "the source has train.py",
        ),
        (Command(name="a.py", number=errno.ENOENT, files=["a.py"]), "command not found", "python a.py"),
        (Command(name="zzz", number=errno.ENOENT), "command not found", "install it"),
        (Command(name="b.py", number=errno.ENOENT), "command not found", "top of the source"),
        (Command(name="x", number=errno.EACCES, found=True), "not executable", "chmod"),
        (Command(name="x", number=errno.EACCES, found=True, directory=True), "is a directory", None),
        (
            Command(name="x", number=errno.ENOENT, found=True, executable=True, first_line="#!/no"),
            "#!/no",
            "sh x",
        ),
        (
            Command(name="x", number=errno.ENOEXEC, found=True, executable=True),
            "no program|not a program",
            None,
        ),
        (Command(name="x", number=errno.E2BIG, found=True, executable=True), "too long", "file"),
        (Command(name="x", number=errno.EIO, found=True, executable=True), "EIO", None),
    ],
)
def test_commands(command: Command, detail: str, hint: str | None) -> None:
    error = not_executed(command)

    assert error.reason is Reason.USER_ERROR
    assert any(each in error.detail for each in detail.split("|"))
    assert hint is None or hint in (error.hint or "")
