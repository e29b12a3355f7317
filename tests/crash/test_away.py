"""A queue service that is away for longer than a lease, and one whose database was restored meanwhile:
nothing that runs dies of it, no result and no line of a log is lost, nothing runs twice."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launchcore.plugin import RunState
from launchcore.queues.connect import open_service
from launchcore.store.database import Database
from tests.crash.world import World, expected_log, wait_until
from tests.serving import Served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LEASE = 4.0
"""Seconds."""
LEASES = {"LAUNCHCORE_LEASE_SECONDS": str(LEASE)}


class Service:
    """A server over the world's database, which can be away."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._file = world.root / "queue.db"
        self._database: Database | None = None
        self._served: Served | None = None
        self._port = 0
        self.open()

    def open(self) -> None:
        self._database = Database(self._file)
        self._served = Served(self._database, port=self._port)
        self._port, self._world.url = self._served.port, self._served.url
        self._world.service = open_service(f"sqlite://{self._file}")

    def close(self) -> None:
        if self._served is not None and self._database is not None:
            self._served.close()
            self._database.close()
        self._served = self._database = None
        self._world.service.close()

    def copy(self, into: Path) -> None:
        """A consistent copy of the database, as a backup makes it."""
        with (
            contextlib.closing(sqlite3.connect(self._file)) as now,
            contextlib.closing(sqlite3.connect(into)) as then,
        ):
            now.backup(then)

    def restore(self, copy: Path) -> None:
        """While it is closed: what was written since is gone."""
        for name in ("queue.db-wal", "queue.db-shm"):
            self._file.with_name(name).unlink(missing_ok=True)
        shutil.copyfile(copy, self._file)


@pytest.fixture
def service(world: World) -> Iterator[Service]:
    made = Service(world)
    yield made
    made.close()
    world.service = open_service(f"sqlite://{world.root}/queue.db")


def starts(world: World) -> list[str]:
    return [attempt for what, attempt, _ in world.records() if what == "start"]


def ends(world: World) -> list[str]:
    return [attempt for what, attempt, _ in world.records() if what == "end"]


def away() -> None:
    """Let leases pass, in the service's own time."""
    time.sleep(2 * LEASE)


def once(world: World, run: str, lines: int) -> None:
    """The run has succeeded: it was started once (on a slow machine an attempt may be lost before that), and
    all that it printed is stored."""
    (info,) = world.finished(seconds=90.0)
    assert info.state is RunState.SUCCEEDED, world.report()
    last = info.attempts[-1]
    assert starts(world) == [last.id], world.report()
    assert world.log(run, last.number) == expected_log(last.id, lines), world.report()


def running(world: World, run: str) -> None:
    wait_until("it runs", lambda: world.service.run(run).state is RunState.RUNNING)
    wait_until("its log comes", lambda: world.log(run))


@pytest.mark.parametrize("killed", [False, True])
def test_runs_that_end_while_it_is_away(world: World, service: Service, killed: bool) -> None:
    """Also when the agent is killed meanwhile, and its successor begins before the service is back."""
    world.queue()
    run = world.submit(seconds=3.0, lines=30)
    agent = world.agent(environ=LEASES)
    running(world, run)

    service.close()
    wait_until("it has ended", lambda: ends(world))
    if killed:
        agent.kill()
        world.agent(environ=LEASES, ready=False)
    away()
    service.open()

    once(world, run, 30)


def test_runs_that_go_on_afterwards(world: World, service: Service) -> None:
    world.queue()
    run = world.submit(seconds=15.0, lines=100)
    world.agent(environ=LEASES)
    running(world, run)

    service.close()
    away()
    service.open()

    once(world, run, 100)


def test_a_database_that_was_restored_while_a_run_went_on(world: World, service: Service) -> None:
    """The copy knows the run and its lease, and less of its log than the agent was told."""
    world.queue()
    run = world.submit(seconds=15.0, lines=100)
    world.agent(environ=LEASES)
    running(world, run)
    service.copy(world.root / "copy.db")
    known = len(world.log(run))
    wait_until("more of its log comes", lambda: len(world.log(run)) > known + 100)

    service.close()
    service.restore(world.root / "copy.db")
    away()
    service.open()

    once(world, run, 100)


def test_a_database_that_does_not_know_the_agent(world: World, service: Service) -> None:
    """The copy is of before the agent came: it registers again, and finds the run running."""
    world.queue()
    run = world.submit(seconds=15.0, lines=100)
    service.copy(world.root / "copy.db")
    world.agent(environ=LEASES)
    running(world, run)

    service.close()
    service.restore(world.root / "copy.db")
    away()
    service.open()

    once(world, run, 100)


def test_a_database_that_knows_an_earlier_session(world: World, service: Service) -> None:
    """The agent was restarted after the copy was made: its attempts come back to it."""
    world.queue()
    run = world.submit(seconds=18.0, lines=100)
    first = world.agent(environ=LEASES)
    running(world, run)
    service.copy(world.root / "copy.db")
    first.kill()
    world.agent(environ=LEASES)

    service.close()
    service.restore(world.root / "copy.db")
    away()
    service.open()

    once(world, run, 100)
