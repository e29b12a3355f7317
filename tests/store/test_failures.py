"""The disk fills, the machine dies: what was acknowledged is there, and the rest is said."""

from __future__ import annotations

import collections
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from launchcore.plugin import LogAppend, QueueUnavailable, RunState
from tests.store.rig import Rig

pytestmark = pytest.mark.sqlite


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no space."""
    ballast = folder / "ballast"
    file = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(file, bytes(4096))
    except OSError:
        return ballast
    finally:
        os.close(file)


def until_full(act: Callable[[int], None]) -> None:
    """The write-ahead log has some space of its own left: so many acts may still succeed."""
    with pytest.raises(QueueUnavailable, match="no space left"):
        collections.deque(map(act, range(1000)), maxlen=0)


def test_a_full_disk_loses_nothing_and_is_over_when_there_is_space(small_disk: Path) -> None:
    rig = Rig(small_disk)
    rig.queue()
    agent = rig.agent()
    accepted = [rig.submit().id]
    claim = agent.one()
    ballast = fill(small_disk)

    offset = 0

    def submit(_time: int) -> None:
        accepted.append(rig.submit().id)

    def append(_time: int) -> None:
        nonlocal offset
        agent.write(claim, log=LogAppend(offset=offset, data=bytes(8000), cursor=None))
        offset += 8000

    until_full(submit)
    until_full(append)
    with pytest.raises(QueueUnavailable):
        rig.service.put_archive([bytes(100_000)])

    assert [rig.run(run).state.live or rig.run(run).state is RunState.QUEUED for run in accepted]
    assert len(rig.service.logs(claim.run_id, limit=1 << 24).data) == offset
    ballast.unlink()
    accepted.append(rig.submit().id)
    agent.end(claim)
    assert rig.run(claim).state is RunState.SUCCEEDED
    assert all(rig.run(run).id == run for run in accepted)
    assert not [path for path in (small_disk / "archives").iterdir() if path.name.startswith(".")]
    rig.service.close()


def test_a_disk_that_is_full_when_the_file_is_made(small_disk: Path) -> None:
    ballast = fill(small_disk)
    with pytest.raises(QueueUnavailable, match="no space left"):
        Rig(small_disk)
    ballast.unlink()
    Rig(small_disk).service.close()


WRITER = """
import sys
from pathlib import Path
from launchcore.queues.embedded import EmbeddedService
from launchcore.store.database import Database
from tests.store.rig import spec
service = EmbeddedService(Database(Path(sys.argv[1])))
while True:
    print(service.submit("default", spec()).id, flush=True)
"""


def test_kill_9_in_the_middle_of_writing_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.queue()
    rig.service.close()
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONPATH": str(root)}
    acknowledged: list[str] = []
    for count in (3, 80):
        command = [sys.executable, "-c", WRITER, str(rig.path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ, cwd=root)
        assert process.stdout is not None
        acknowledged += [process.stdout.readline().strip() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        acknowledged += rest.split("\n")[:-1]  # a last line without its end was not acknowledged

        with closing(sqlite3.connect(rig.path)) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            stored = {row[0] for row in raw.execute("SELECT id FROM runs")}
        assert len(acknowledged) > count - 1
        assert set(acknowledged) <= stored
        assert len(stored - set(acknowledged)) <= count  # at most one for each kill was not said
