"""Who belongs to an attempt: what is no proof harms nobody else."""

from __future__ import annotations

import os

import pytest

from launchcore.builtin.process import procfs
from launchcore.builtin.process.procfs import Proc

MARKED = b"\0LAUNCHCORE_ATTEMPT=r1-1\0"


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The pids whose environment has the attempt's mark."""
    pids: set[int] = set()
    monkeypatch.setattr(procfs, "environment", lambda pid: MARKED if pid in pids else b"\0")
    return pids


def proc(pid: int, *, parent: int = 1, session: int, start: int = 100) -> Proc:
    return Proc(pid, "S", parent, session, session, start, 0)


def found(pid: int, start: int, *procs: Proc, reapers: frozenset[int] = frozenset()) -> list[int]:
    table = {each.pid: each for each in procs}
    return [each.pid for each in procfs.members(pid, start, [MARKED], reapers=reapers, procs=table)]


def test_an_unknown_first_process_does_not_make_session_0_the_attempts(marked: set[int]) -> None:
    """What the machine's first process starts is in session 0, and so are the kernel's threads."""
    marked.add(20)
    orphan = proc(20, session=20)
    service, its_child = proc(30, session=0), proc(31, parent=30, session=31)

    assert found(0, 0, orphan, service, its_child) == [20]


def test_an_unknown_first_process_is_not_looked_for_among_a_reapers_children(marked: set[int]) -> None:
    marked.add(20)
    assert found(0, 0, proc(20, session=20), proc(30, parent=7, session=0), reapers=frozenset({7})) == [20]


def test_a_stray_does_not_make_the_session_of_a_reused_pid_the_attempts(marked: set[int]) -> None:
    """The attempt's pid is somebody else's now, and a marked process is still there."""
    marked.add(20)
    somebody = proc(40, session=40, start=900)
    theirs = proc(41, parent=40, session=40, start=901)

    assert found(40, 100, proc(20, session=20), somebody, theirs) == [20]


def test_the_session_of_a_living_first_process_is_the_attempts(marked: set[int]) -> None:
    assert found(40, 100, proc(40, session=40), proc(41, session=40), proc(50, session=50)) == [40, 41]


def test_descendants_are_the_attempts_in_whatever_session_they_are(marked: set[int]) -> None:
    marked.add(20)
    assert found(0, 0, proc(20, session=20), proc(21, parent=20, session=21)) == [20, 21]


def test_this_process_is_nobodys(marked: set[int]) -> None:
    assert os.getpid() not in [each.pid for each in procfs.members(0, 0, [MARKED])]
