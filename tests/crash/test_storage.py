"""The queue's file fails under a working agent: a full disk, a damaged database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launchcore.queues.connect import open_service
from tests.crash import invariants
from tests.crash.world import World, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(world: World) -> Iterator[Path]:
    """A file system of 8 MB for the database alone."""
    disk = world.root / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {made.stderr.decode().strip()}")
    world.service.close()
    world.url = f"sqlite:///{disk}/queue.db"
    world.service = open_service(world.url)
    yield disk
    world.service.close()
    for agent in world.agents:
        agent.signal(signal.SIGKILL)
        agent.process.wait()
    subprocess.run(["umount", "-l", str(disk)], check=True)
    world.service = open_service(f"sqlite:///{world.root}/other.db")


def test_a_full_disk_kills_no_run_and_loses_no_result(world: World, small_disk: Path) -> None:
    """The run ends while nothing can be written; when there is room again, its result and log are there."""
    world.queue()
    world.submit(seconds=2.0)
    agent = world.agent("one")
    wait_until("the job runs", world.records)

    ballast = small_disk / "ballast"
    with ballast.open("wb") as out:
        try:
            while True:
                out.write(b"\0" * 65536)
                out.flush()
        except OSError:
            pass
    wait_until("the job has ended", lambda: len(world.records()) == 2)
    wait_until("the agent says so", lambda: "unavailable" in agent.text() or "away" in agent.text())
    assert agent.process.poll() is None, agent.text()

    ballast.unlink()
    runs = world.finished()
    invariants.check_all(world, runs, limit=2)


def test_a_damaged_database_is_one_clear_line_and_is_left_alone(world: World) -> None:
    world.queue()
    world.service.close()
    database = world.root / "queue.db"
    for extra in ("-wal", "-shm"):
        Path(f"{database}{extra}").unlink(missing_ok=True)
    database.write_bytes(b"SQLite format 3\0" + os.urandom(20_000))
    before = database.read_bytes()

    agent = world.agent("one", ready=False)

    assert agent.died() not in (0, None)
    text = agent.text()
    assert "Traceback" not in text
    assert str(database) in text
    assert len(text.strip().splitlines()) <= 2, text
    assert database.read_bytes() == before
    listed = subprocess.run(
        [sys.executable, "-m", "launchcore", "--base-url", world.url, "runs"],
        capture_output=True,
        check=False,
    )
    assert listed.returncode not in (0, None)
    assert b"Traceback" not in listed.stderr
    database.unlink()
    world.service = open_service(world.url)


def test_a_database_that_is_damaged_while_runs_go_on_kills_none(world: World) -> None:
    """The agent can be sure of nothing any more: it leaves with one line, and the job goes on without it."""
    world.queue()
    world.submit(seconds=2.0)
    agent = world.agent("one")
    wait_until("the job runs", world.records)
    world.service.close()
    database = world.root / "queue.db"
    try:
        for name in (database, Path(f"{database}-wal")):
            with name.open("r+b") as out:
                out.write(os.urandom(name.stat().st_size))

        assert agent.died() == 4, agent.text()
        last = agent.text().splitlines()[-1]
        assert last.startswith("error: ")
        assert f"{database} is damaged" in last
        wait_until("the job has ended by itself", lambda: len(world.records()) == 2)
    finally:
        agent.kill()
        for extra in ("", "-wal", "-shm"):
            Path(f"{database}{extra}").unlink(missing_ok=True)
        world.service = open_service(world.url)
