"""An attempt is started at most once, and not at all when it must not be."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import attrs
import pytest

from launchcore.builtin.process.records import Place, Tombstones, safe_name
from launchcore.plugin import LaunchError, Phase, RunHandle
from tests.process.kit import NOTHING, Bench, eventually


def test_start_twice_is_one_process(bench: Bench, tmp_path: Path) -> None:
    """Counted by the job itself; also by two runners at the same time, and after its end."""
    ran = tmp_path / "ran"
    plan = bench.shell(f"echo x >>{ran}; exit 3")
    handles: list[RunHandle] = []
    runners = [bench.runner, bench.another(), bench.another(), bench.another()]
    threads = [
        threading.Thread(target=lambda each=each: handles.append(each.start(plan, NOTHING)))
        for each in runners
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = bench.ended(handles[0])
    handles.append(bench.start(plan))

    assert len(set(map(repr, handles))) == 1
    assert bench.status(handles[0]) == status
    assert ran.read_text() == "x\n"


def test_start_before(bench: Bench, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    plan = bench.shell(f"echo x >>{ran}", start_before=time.time() - 0.001)
    with pytest.raises(LaunchError, match="not started"):
        bench.start(plan)

    assert bench.runner.owned() == []
    assert bench.runner.find(plan.attempt_id) is None
    assert not ran.exists()


def test_find_none_is_a_promise(bench: Bench, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    plan = bench.shell(f"echo x >>{ran}", start_before=time.time() + 600)

    assert bench.another().find(plan.attempt_id) is None
    with pytest.raises(LaunchError, match="given up"):
        bench.start(plan)
    for pid in bench.keepers():
        os.kill(pid, 9)
    with pytest.raises(LaunchError, match="given up"):
        bench.start(plan)
    assert bench.runner.find(plan.attempt_id) is None
    assert not ran.exists()


def test_no_start_after_cleanup(bench: Bench) -> None:
    plan = bench.shell("true")
    handle = bench.start(plan)
    bench.ended(handle)
    bench.runner.cleanup(handle)
    bench.runner.cleanup(handle)

    with pytest.raises(LaunchError, match="given up"):
        bench.start(plan)
    assert bench.status(handle).phase is Phase.GONE
    assert bench.runner.find(plan.attempt_id) is None


def test_a_command_that_could_not_be_executed_may_be_tried_again(bench: Bench) -> None:
    plan = bench.plan("./tool", tree=bench.tree(name="late"))
    with pytest.raises(LaunchError):
        bench.start(plan)
    bench.tree({"tool": "#!/bin/sh\nexit 4\n"}, name="late")

    assert bench.run(plan).exit_code == 4


def test_a_full_disk_starts_nothing(bench: Bench) -> None:
    """The record cannot be written, so there is no process; here, since its place is taken."""
    plan = bench.shell("true")
    bench.run(bench.shell("true"))
    in_the_way = Place(bench.keeper_root, plan.attempt_id).record
    in_the_way.mkdir()
    with pytest.raises(LaunchError, match="not started") as caught:
        bench.start(plan)

    assert caught.value.retryable
    in_the_way.rmdir()
    assert bench.run(plan).phase is Phase.SUCCEEDED


def test_cleanup_leaves_nothing(bench: Bench, tmp_path: Path) -> None:
    """It stops what still runs, too, and returns when it is over."""
    handles = [bench.start(bench.shell("trap '' TERM; while :; do sleep 0.05; done")) for _ in range(3)]
    for handle in handles:
        bench.runner.cleanup(handle)

        assert bench.marked(handle.attempt_id) == []
    assert bench.runner.owned() == []
    assert list((bench.keeper_root / "attempts").iterdir()) == []


def test_strange_attempt_ids(bench: Bench) -> None:
    for number, name in enumerate(["../../etc", "a b", "x" * 500, "é", ".", "a/b"]):
        plan = bench.shell(f"exit {number}", attempt="r1-1")
        plan = attrs.evolve(plan, attempt_id=name)

        assert bench.run(plan).exit_code == number
    assert len(bench.runner.owned()) == 6
    assert {each.parent for each in (bench.keeper_root / "attempts").iterdir()} == {
        bench.keeper_root / "attempts"
    }


@pytest.mark.parametrize("name", ["r1-1", "A.b_c-9"])
def test_ordinary_names_stay(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["", "..", ".x", "a/b", "a\0b", "x" * 200, "\udcff", "ü"])
def test_other_names_become_digests(name: str) -> None:
    assert len(safe_name(name)) == 41
    assert safe_name(name).isalnum()


def test_tombstones_are_forgotten_after_a_day_and_beyond_a_number(tmp_path: Path) -> None:
    stones = Tombstones(tmp_path, most=3)
    for number in range(5):
        stones.add(f"r{number}-1")
    assert [stones.has(f"r{number}-1") for number in range(5)] == [False, False, True, True, True]

    file = tmp_path / "tombstones"
    file.write_text(f"\n{time.time() - 90_000} r9-1{file.read_text()}\n{time.time():.3f} r10-1\n17")
    later = Tombstones(tmp_path, most=3)
    assert [later.has(f"r{number}-1") for number in (2, 3, 4, 9, 10)] == [False, True, True, False, True]


def test_the_file_of_tombstones_does_not_grow_for_ever(tmp_path: Path) -> None:
    stones = Tombstones(tmp_path, most=10)
    for number in range(3000):
        stones.add(f"r{number}-1")

    assert len((tmp_path / "tombstones").read_text().splitlines()) < 1100
    assert [Tombstones(tmp_path, most=10).has(f"r{number}-1") for number in (0, 2989, 2990)] == [
        False,
        False,
        True,
    ]


def test_a_handle_of_another_machine(bench: Bench) -> None:
    handle = RunHandle(runner="process", attempt_id="r1-1", data={"host": "elsewhere"})

    status = bench.status(handle)
    assert status.phase is Phase.UNKNOWN
    assert "elsewhere" in (status.message or "")
    with pytest.raises(LaunchError, match="elsewhere"):
        bench.runner.cancel(handle, 1.0)
    with pytest.raises(LaunchError, match="elsewhere"):
        bench.runner.cleanup(handle)


def test_a_handle_from_another_state_directory(bench: Bench, tmp_path: Path) -> None:
    """Takeover by an agent of the same machine that keeps its state elsewhere."""
    handle = bench.start(bench.shell("sleep 100"))
    other = Bench(tmp_path / "other")
    try:
        assert other.status(handle).phase is Phase.RUNNING
        other.runner.cancel(handle, 5.0)
        assert other.ended(handle).signal == 15
        other.runner.cleanup(handle)
        assert other.status(handle).phase is Phase.GONE
    finally:
        other.close()


def test_a_handle_that_points_anywhere(bench: Bench, tmp_path: Path) -> None:
    """A queue service cannot make the agent read a directory that is not a keeper's, and private."""
    place = tmp_path / "public" / "attempts" / "r1-1"
    place.mkdir(parents=True)
    (place / "log").write_text("not yours")
    (tmp_path / "public" / "keeper.lock").touch()
    for directory in (str(tmp_path / "public"), "/etc", "relative", "a\0b", 3):
        handle = RunHandle(runner="process", attempt_id="r1-1", data={"directory": directory})

        assert bench.status(handle).phase is Phase.GONE
        assert bench.runner.logs(handle, None, 100).data == b""


def test_poll_of_many_and_of_unknown_ones(bench: Bench) -> None:
    running = bench.start(bench.shell("sleep 100"))
    done = bench.start(bench.shell("exit 1"))
    bench.ended(done)
    unknown = RunHandle(runner="process", attempt_id="never-1")
    found = bench.runner.poll([running, done, unknown])

    assert [found[each.key].phase for each in (running, done, unknown)] == [
        Phase.RUNNING,
        Phase.FAILED,
        Phase.GONE,
    ]
    assert bench.runner.poll([]) == {}


@pytest.mark.slow
def test_three_hundred_sleepers(bench: Bench) -> None:
    """No thread, and no descriptor, for each run: neither here nor in the keeper."""
    bench.start(bench.shell("sleep 100"))
    keeper = bench.keeper()

    def threads_and_descriptors(pid: int) -> tuple[int, int]:
        return len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208

    threads, descriptors = threads_and_descriptors(os.getpid())
    before = threads_and_descriptors(keeper)
    handles = [bench.start(bench.plan("sleep", "1000")) for _ in range(300)]
    assert {status.phase for status in bench.runner.poll(handles).values()} == {Phase.RUNNING}
    assert threads_and_descriptors(keeper) == before
    assert threads_and_descriptors(os.getpid()) <= (threads, descriptors)

    for handle in handles:
        bench.runner.cancel(handle, 20.0)
    eventually(lambda: all(each.phase.final for each in bench.runner.poll(handles).values()))
    assert {status.signal for status in bench.runner.poll(handles).values()} == {15}
