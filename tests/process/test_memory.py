"""Memory limits, by a control group and without one; killed for memory is told apart from killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from launchcore.builtin.process import cgroups, oom, secret_files
from launchcore.plugin import Limits, Phase, Reason
from tests.process.kit import Bench, eventually

MIB = 1024**2
HOME = cgroups.find_home()
needs_groups = pytest.mark.skipif(HOME is None, reason="this account may not make control groups")

EAT = """import time
found = []
for _ in range(500):  # 2 GiB: whoever fails to stop it must not take the machine along
    found.append(bytearray(4 << 20)); time.sleep(0.002)
time.sleep(600)"""
LIMIT = Limits(memory_bytes=64 * MIB, grace_seconds=5.0)


def groups(bench: Bench) -> list[Path]:
    home = cgroups.find_home()
    assert home is not None
    return list(home.parent.glob(secret_files.prefix(bench.keeper_root) + "*"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One keeper for the tests that do not care."""
    made = Bench(tmp_path_factory.mktemp("memory"))
    yield made
    made.close()


@needs_groups
def test_a_group_ends_it(bench: Bench) -> None:
    handle = bench.start(bench.python(EAT, limits=LIMIT))
    assert len(groups(bench)) == 1
    status = bench.ended(handle)

    assert (status.phase, status.signal) == (Phase.FAILED, signal.SIGKILL)
    assert status.failure is not None
    assert status.failure.reason is Reason.OUT_OF_MEMORY
    assert "64 MiB" in status.failure.detail
    eventually(lambda: groups(bench) == [])


@needs_groups
def test_a_child_is_killed_for_memory_and_its_parent_exits(shared: Bench) -> None:
    """What a shell or a data loader makes of it is some exit code; the reason is still memory."""
    child = f"subprocess.run([sys.executable, '-S', '-c', {EAT!r}])"
    status = shared.run(shared.python(f"import subprocess, sys\n{child}\nsys.exit(9)", limits=LIMIT))

    assert status.failure is not None
    assert status.failure.reason is Reason.OUT_OF_MEMORY


@needs_groups
def test_within_the_limit(shared: Bench) -> None:
    status = shared.run(shared.python("x = bytearray(8 << 20)", limits=LIMIT))

    assert status.phase is Phase.SUCCEEDED
    eventually(lambda: groups(shared) == [])


@needs_groups
def test_the_keeper_stays_outside(bench: Bench) -> None:
    """It moves into the group for the moment of the start only."""
    handle = bench.start(bench.shell("sleep 100", limits=LIMIT))
    (group,) = groups(bench)

    members = (group / "cgroup.procs").read_text().split()
    assert str(handle.data["pid"]) in members
    assert not set(map(str, bench.keepers())) & set(members)


@needs_groups
def test_groups_of_a_killed_keeper_are_removed(bench: Bench) -> None:
    handle = bench.start(bench.python(EAT, limits=LIMIT))
    bench.kill_keeper()
    status = bench.ended(handle)

    assert status.failure is not None
    assert status.failure.reason is Reason.OUT_OF_MEMORY
    eventually(lambda: groups(bench) == [])


@pytest.mark.parametrize("forks", [False, True])
def test_without_groups_it_is_looked_at(shared: Bench, forks: bool) -> None:
    shared.runner = shared.another(cgroups=False)
    script = f"import os\nif os.fork() == 0:\n    exec({EAT!r})\nos.wait()" if forks else EAT
    status = shared.run(shared.python(script, limits=LIMIT))

    assert status.signal == signal.SIGKILL
    assert status.failure is not None
    assert status.failure.reason is Reason.OUT_OF_MEMORY
    assert status.usage["max_memory_bytes"] > 64 * MIB


@pytest.mark.slow
def test_shared_memory_counts_once(shared: Bench) -> None:
    """Eight processes that share 40 MiB do not use 320 MiB."""
    shared.runner = shared.another(cgroups=False)
    script = """
import os, time
data = b'x' * (40 << 20)
children = [os.fork() for _ in range(3)]
time.sleep(0.8)
"""
    status = shared.run(shared.python(script, limits=Limits(memory_bytes=100 * MIB, grace_seconds=1.0)))

    assert status.phase is Phase.SUCCEEDED


def test_killed_by_somebody_is_not_for_memory(shared: Bench) -> None:
    for cgroup in (True, False):
        shared.runner = shared.another(cgroups=cgroup)
        handle = shared.start(shared.shell("sleep 100", limits=LIMIT))
        os.kill(handle.data["pid"], signal.SIGKILL)
        status = shared.ended(handle)

        assert status.signal == signal.SIGKILL
        assert status.failure is not None
        assert status.failure.reason is Reason.USER_ERROR
        assert "not for lack of memory" in status.failure.detail


V1 = """10:cpu:/
4:memory:/outer/agent
0::/
"""
V1_MOUNTS = """30 25 0:26 / {root}/unified rw shared:1 - cgroup2 cgroup2 rw
31 25 0:27 /outer {root}/memory rw shared:2 - cgroup cgroup rw,memory
"""


def test_version_1_below_a_mount_that_begins_deeper(tmp_path: Path) -> None:
    """As in a container: the mount shows a part of the hierarchy only."""
    (tmp_path / "memory" / "agent").mkdir(parents=True)
    (tmp_path / "cgroup").write_text(V1)
    (tmp_path / "mountinfo").write_text(V1_MOUNTS.format(root=tmp_path))

    home = cgroups.find_home(tmp_path)
    assert home == cgroups.Home(1, tmp_path / "memory" / "agent", tmp_path / "memory" / "agent")
    made = cgroups.create(home, "g", 1000)
    assert made is not None
    assert (made / "memory.limit_in_bytes").read_text() == "1000"


def test_version_2_looks_for_a_parent_with_the_controller(tmp_path: Path) -> None:
    own = tmp_path / "slice" / "agent.service"
    own.mkdir(parents=True)
    (own / "cgroup.subtree_control").write_text("")
    (tmp_path / "slice" / "cgroup.subtree_control").write_text("cpu memory pids")
    (tmp_path / "cgroup").write_text("0::/slice/agent.service\n")
    (tmp_path / "mountinfo").write_text(f"30 25 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw\n")

    home = cgroups.find_home(tmp_path)
    assert home == cgroups.Home(2, own, tmp_path / "slice")
    made = cgroups.create(home, "g", 1000)
    assert made is not None
    assert (made / "memory.max").read_text() == "1000"
    assert (made / "memory.oom.group").read_text() == "1"
    (made / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert cgroups.oom_kills(made) == 2


def test_no_groups_at_all(tmp_path: Path) -> None:
    assert cgroups.find_home(tmp_path) is None
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "mountinfo").write_text("")
    assert cgroups.find_home(tmp_path) is None


def test_what_the_kernel_says_about_its_memory_killer(tmp_path: Path) -> None:
    vmstat, kmsg = tmp_path / "vmstat", tmp_path / "kmsg"
    vmstat.write_text("pgfault 17\noom_kill 3\nother 1\n")
    kmsg.write_bytes(b"6,1,5000000,-;Out of memory: Killed process 4711 (python) total-vm:1kB\n")

    assert oom.kill_count(vmstat) == 3
    assert oom.kill_count(tmp_path / "none") == 0
    assert oom.was_named(4711, 4.0, kmsg) is True
    assert oom.was_named(4711, 6.0, kmsg) is False
    assert oom.was_named(471, 4.0, kmsg) is False
    assert oom.was_named(4711, 4.0, tmp_path / "none") is None
