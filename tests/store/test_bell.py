"""Who waits hears of it: from other threads, from other processes, and when a ring is lost."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
import sqlalchemy as sa

from launchcore.plugin import (
    Lease,
    Limits,
    LogAppend,
    QueueConfig,
    QueueUnavailable,
    Reason,
    RetryPolicy,
    RunState,
    Verdict,
)
from launchcore.queues.base import RunInfo
from launchcore.queues.connect import open_service
from launchcore.queues.embedded import EmbeddedService
from launchcore.queues.embedded_client import EmbeddedClient
from launchcore.store import bell, bell_postgres
from launchcore.store.database import Database
from launchcore.store.tables import attempts, runs
from tests.store.rig import LEASE, Agent, Rig, spec

T = TypeVar("T")
SOON = 20.0
"""Seconds that a machine under load may take for what takes milliseconds."""


class Call(threading.Thread, Generic[T]):
    """A call that waits, on a thread of its own."""

    def __init__(self, call: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.result: T | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._call()
        except Exception as error:
            self.error = error

    def answer(self) -> T:
        self.join(SOON)
        assert not self.is_alive(), "nobody rang"
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


@pytest.fixture(autouse=True)
def only_the_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look at the database by itself: what wakes, the bell has woken."""
    monkeypatch.setattr(bell, "RECHECK_SECONDS", 3600.0)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def waits(where: Rig | Database, topic: str) -> Callable[[], bool]:
    if isinstance(where, Rig):
        return lambda: where.waits(topic)
    return lambda: topic in where.bell._counts


@pytest.fixture
def agent(rig: Rig) -> Agent:
    return rig.agent()


@pytest.fixture
def other(rig: Rig) -> Iterator[Database]:
    """The same file, opened as another process would."""
    database = rig.open()
    yield database
    database.close()


class TestAClaimHears:
    def test_of_a_submit(self, rig: Rig, agent: Agent) -> None:
        call = Call(lambda: agent.claim(wait=60))
        until(waits(rig, "queue:default"))
        run = rig.submit()
        (claim,) = call.answer()
        assert claim.run_id == run.id

    def test_of_a_submit_elsewhere(self, rig: Rig, other: Database, agent: Agent) -> None:
        theirs = Agent(EmbeddedClient(other), agent.info)
        call = Call(lambda: theirs.claim(wait=60))
        until(waits(other, "queue:default"))
        rig.submit()
        assert len(call.answer()) == 1

    def test_of_a_free_slot(self, rig: Rig, agent: Agent) -> None:
        rig.queue("narrow", max_running=1)
        rig.submit("narrow")
        rig.submit("narrow")
        first = agent.one("narrow")
        call = Call(lambda: agent.claim("narrow", wait=60))
        until(waits(rig, "queue:narrow"))
        agent.end(first)
        assert len(call.answer()) == 1

    @pytest.mark.parametrize("change", ["resumed", "widened"])
    def test_of_an_edited_queue(self, rig: Rig, agent: Agent, change: str) -> None:
        rig.queue("narrow", max_running=1)
        rig.submit("narrow")
        if change == "widened":
            agent.one("narrow")
        config = rig.service.queue("narrow").config
        rig.service.edit_queue("narrow", config, paused=change == "resumed")
        rig.submit("narrow")
        call = Call(lambda: agent.claim("narrow", wait=60))
        until(waits(rig, "queue:narrow"))
        rig.service.edit_queue("narrow", type(config)(type="process"), paused=False)
        assert len(call.answer()) == 1

    def test_of_a_run_that_is_given_back(self, rig: Rig, agent: Agent) -> None:
        rig.submit()
        first = agent.one()
        call = Call(lambda: agent.claim(wait=60))
        until(waits(rig, "queue:default"))
        agent.client.release(first.lease, "drains")
        assert len(call.answer()) == 1

    def test_of_a_goodbye(self, rig: Rig, agent: Agent) -> None:
        rig.submit()
        agent.start(agent.one())
        heir = rig.agent("heir")
        call = Call(lambda: heir.claim(wait=60))
        until(waits(rig, "queue:default"))
        agent.client.unregister(agent.info)
        assert len(call.answer()) == 1


class TestTimeAlone:
    """A waiting call wakes by itself when something is due on the store's clock."""

    @pytest.fixture
    def agent(self, rig: Rig) -> Agent:
        """With a clock that goes on by itself."""
        start = time.monotonic() - rig.clock.now
        rig.database.clock = lambda: time.monotonic() - start
        carrier: Any = rig.database._writer
        carrier._clock = rig.database.clock
        return rig.agent()

    def test_brings_an_expired_lease(self, rig: Rig, agent: Agent) -> None:
        rig.submit()
        silent = rig.agent("silent")
        silent.client.claim(silent.info, ["default"], limit=1, lease_seconds=0.3, wait=0)
        (claim,) = agent.claim(wait=SOON)
        assert claim.attempt == 2

    def test_brings_a_retry(self, rig: Rig, agent: Agent) -> None:
        policy = RetryPolicy(reasons=(Reason.USER_ERROR,), max_retries=1, delay_seconds=0.3)
        rig.queue("again", retry=policy)
        rig.submit("again")
        agent.end(agent.one("again"), Verdict.FAILED)
        assert len(agent.claim("again", wait=SOON)) == 1

    def test_brings_a_deadline(self, rig: Rig, agent: Agent) -> None:
        rig.submit(limits=Limits(run_seconds=0.3))
        claim = agent.one()
        call = Call(lambda: agent.client.stops(agent.info, frozenset(), wait=SOON))
        until(waits(rig, "agent:one"))
        agent.start(claim)
        (stop,) = call.answer()
        assert stop.reason is Reason.RUN_TIMEOUT


class TestStopsHear:
    def test_of_a_cancel(self, rig: Rig, other: Database, agent: Agent) -> None:
        run = rig.submit()
        agent.start(agent.one())
        theirs = EmbeddedClient(other)
        call = Call(lambda: theirs.stops(agent.info, frozenset(), wait=60))
        until(waits(other, "agent:one"))
        rig.service.cancel(run.id)
        assert len(call.answer()) == 1


class TestWaitHears:
    """Of states, log and time-line: all that ``launch logs -f`` and ``--watch`` show."""

    def test_of_every_change(self, rig: Rig, other: Database, agent: Agent) -> None:
        theirs = EmbeddedService(other)
        run = rig.submit()

        def step(act: Callable[[], object]) -> RunInfo:
            call = Call(lambda: theirs.wait(run.id, run.changes, timeout=60))
            until(waits(other, f"run:{run.id}"))
            act()
            changed = call.answer()
            assert changed.changes > run.changes
            return changed

        run = step(agent.claim)
        lease = _lease(rig)
        run = step(lambda: agent.write(lease, state=RunState.RUNNING))
        run = step(lambda: agent.write(lease, log=LogAppend(offset=0, data=b"x", cursor=None)))
        run = step(lambda: rig.service.cancel(run.id))
        assert run.cancel_requested_at is not None

    def test_returns_at_once_what_has_changed_before(self, rig: Rig) -> None:
        run = rig.submit()
        assert rig.service.wait(run.id, run.changes - 1, timeout=60).changes == run.changes

    def test_returns_in_time_when_nothing_changes(self, rig: Rig) -> None:
        run = rig.submit()
        assert rig.service.wait(run.id, run.changes, timeout=0.01).id == run.id

    def test_ends_when_the_service_is_closed(self, rig: Rig) -> None:
        run = rig.submit()
        call = Call(lambda: rig.service.wait(run.id, run.changes, timeout=60))
        until(waits(rig, f"run:{run.id}"))
        rig.service.close()
        with pytest.raises(QueueUnavailable):
            call.answer()


class TestWake:
    def test_returns_all_waiting_calls(self, rig: Rig, agent: Agent) -> None:
        calls: list[Call[Any]] = [
            Call(lambda: agent.claim(wait=60)),
            Call(lambda: agent.claim(wait=60)),
            Call(lambda: agent.client.stops(agent.info, frozenset(), wait=60)),
        ]
        until(lambda: rig.waiting() == 3)
        agent.client.wake()
        assert [call.answer() for call in calls] == [(), (), ()]

    def test_is_not_lost_on_a_call_that_begins_just_then(self, rig: Rig, agent: Agent) -> None:
        agent.client.wake()
        assert Call(lambda: agent.claim(wait=60)).answer() == ()
        assert Call(lambda: agent.client.stops(agent.info, frozenset(), wait=60)).answer() == ()

    def test_is_for_one_client(self, rig: Rig, agent: Agent) -> None:
        neighbour = Agent(rig.client(), agent.info)
        call = Call(lambda: neighbour.claim(wait=60))
        until(waits(rig, "queue:default"))
        agent.client.wake()
        rig.submit()
        assert len(call.answer()) == 1


@pytest.mark.sqlite
def test_another_process_hears_of_a_submit(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/queue.db"
    service = open_service(url)
    service.create_queue("default", QueueConfig(type="process"))
    script = (
        "import sys\n"
        "from launchcore.store import bell\n"
        "bell.RECHECK_SECONDS = 3600.0\n"
        "from launchcore.plugin import AgentInfo\n"
        "from launchcore.queues.connect import open_client\n"
        "client = open_client(sys.argv[1])\n"
        "agent = AgentInfo(name='a', session='s', host='h', pid=1, version='0', queues=('default',))\n"
        "client.register(agent, lease_seconds=600)\n"
        "print('ready', flush=True)\n"
        "for claim in client.claim(agent, ['default'], limit=1, lease_seconds=600, wait=60):\n"
        "    print(claim.run_id, flush=True)\n"
        "client.close()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        until(lambda: list(tmp_path.glob("queue.db-bell/*")))
        run = service.submit("default", spec())
        assert process.stdout.readline() == f"{run.id}\n"
        assert process.wait(SOON) == 0
        assert list(tmp_path.glob("queue.db-bell/*")) == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        service.close()


@pytest.mark.embedded
def test_a_lost_ring_costs_a_look_at_the_database(
    rig: Rig, other: Database, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (bell, bell_postgres):
        monkeypatch.setattr(module, "RECHECK_SECONDS", 0.1)
    monkeypatch.setattr(other._writer, "_ring", lambda _topics: None)
    call = Call(lambda: agent.claim(wait=60))
    until(waits(rig, "queue:default"))
    EmbeddedService(other).submit("default", spec())
    assert len(call.answer()) == 1


@pytest.mark.sqlite
@pytest.mark.embedded
def test_where_no_socket_can_be_bound_waiting_still_works(
    rig: Rig, other: Database, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "DEAF_RECHECK_SECONDS", 0.05)
    Path(f"{rig.path}-bell").write_text("in the way")
    call = Call(lambda: agent.claim(wait=60))
    until(waits(rig, "queue:default"))
    EmbeddedService(other).submit("default", spec())
    assert len(call.answer()) == 1


@pytest.mark.sqlite
@pytest.mark.embedded
def test_paths_that_are_too_long_for_a_socket(quick_path: Path) -> None:
    folder = quick_path / ("long" * 40)
    rig = Rig(folder)
    rig.queue()
    other = Database(rig.path, clock=rig.clock)
    agent = rig.agent()
    call = Call(lambda: Agent(EmbeddedClient(other), agent.info).claim(wait=60))
    until(waits(other, "queue:default"))
    rig.submit()
    assert len(call.answer()) == 1
    other.close()
    rig.service.close()


@pytest.mark.sqlite
@pytest.mark.embedded
def test_sockets_of_dead_processes_are_removed(rig: Rig) -> None:
    folder = Path(f"{rig.path}-bell")
    folder.mkdir()
    left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.bind(str(folder / "4711-dead"))
    left.close()

    rig.submit()

    assert list(folder.iterdir()) == []


@pytest.mark.sqlite
@pytest.mark.embedded
def test_a_socket_that_nobody_reads_holds_nobody_up(rig: Rig) -> None:
    folder = Path(f"{rig.path}-bell")
    folder.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stopped:
        stopped.bind(str(folder / "4711-stopped"))
        for _ in range(50):
            rig.submit()
        assert (folder / "4711-stopped").exists()


@pytest.mark.sqlite
@pytest.mark.embedded
def test_the_sockets_are_for_their_owner_alone(rig: Rig, agent: Agent) -> None:
    agent.claim(wait=0.001)
    assert Path(f"{rig.path}-bell").stat().st_mode & 0o777 == 0o700


@pytest.mark.sqlite
@pytest.mark.embedded
def test_waiting_asks_nothing_of_the_database(
    rig: Rig, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look before it registers with the bell, one after, one at the end; not one in between."""
    asked: list[int] = []
    begin = rig.database._engine.begin

    def counted(connection: sa.Connection) -> None:
        asked.append(1)
        begin(connection)

    monkeypatch.setattr(rig.database._engine, "begin", counted)
    agent.claim(wait=0.3)
    assert len(asked) == 3


def _lease(rig: Rig) -> Lease:
    """The lease that was taken on another thread."""
    query = sa.select(attempts.c.lease_token, runs.c.id).join(runs, runs.c.seq == attempts.c.run_seq)
    with rig.database.read() as connection:
        token, run_id = connection.execute(query).one()
    return Lease(attempt_id=f"{run_id}-1", token=token, expires_at=rig.clock.now + LEASE)
