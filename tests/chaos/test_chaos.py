"""Hundreds of runs, while the network between agents and servers fails, and everything is killed.

The invariants are those of the crash matrix. Each history is drawn from a seed, which is printed; the same
seed draws the same faults again: ``LAUNCHCORE_CHAOS_SEED=… pytest tests/chaos``.
"""

from __future__ import annotations

import collections
import functools
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launchcore.plugin import Limits, RetryPolicy, RunState
from launchcore.queues.base import RunInfo
from tests.chaos import canary
from tests.chaos.proxy import Fault
from tests.chaos.served import LINES, Served, patiently, seed_of_this_run, serve
from tests.crash import invariants
from tests.crash.world import LEASE, expected_log, wait_until
from tests.postgres import Server, own_postgres, postgres

__all__ = ["own_postgres", "postgres"]

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]

PATIENT = RetryPolicy(max_lost=50)
LIMIT = 8


@pytest.fixture
def root() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="lc-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def check(
    world: Served,
    runs: list[RunInfo],
    accepted: list[str],
    *,
    limit: int = LIMIT,
    also: tuple[Path, ...] = (),
) -> None:
    """I1 to I6, I8 and I9, over a history in which every run was to succeed.

    :param also: files in which no secret may be, besides the world's.
    """
    try:
        assert collections.Counter(run.id for run in runs) == collections.Counter(accepted), "I2"
        invariants.starts_once(world)
        invariants.every_run_ended(runs)
        invariants.never_above(world, limit)
        for run in runs:
            stored = world.log(run.id)
            written = stored[stored.find(b"line 0 of") :]
            assert written == expected_log(run.attempts[-1].id, LINES), f"I6: {run.id}: {stored!r}"
        invariants.terminal_states_stay(world, runs)
        invariants.nothing_left(world, seconds=60)
        wait_until("no slot is taken", lambda: patiently(lambda: world.service.queue("q")).running == 0)
        canary.absent(world, runs, also=also)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{world.report()}") from None


def send_all(world: Served, count: int, *, while_: Callable[[int], None] = lambda _: None) -> list[str]:
    """Submit so many runs, and do something after each."""
    accepted = []
    for number in range(count):
        accepted.append(world.send(seconds=world.random.choice((0.0, 0.0, 0.05, 0.2))))
        while_(number)
    return accepted


def test_a_bad_network(root: Path) -> None:
    """Every fifth request meets a fault, and every connection is cut now and then."""
    with serve(root, f"sqlite:///{root}/queue.db", seed=seed_of_this_run()) as world:
        world.queue(max_running=LIMIT, retry=PATIENT)
        world.agent("one")
        world.agent("two", environ={"LAUNCHCORE_STATE_DIR": str(root / "two")})
        world.weather(chance=0.2, delay=0.2, stall=1.0)

        def cut(number: int) -> None:
            if number % 40 == 39:
                world.proxies[0].hang_up()

        accepted = send_all(world, 200, while_=cut)
        runs = world.finished()
        world.weather()
        met = world.proxies[0].met
        check(world, runs, accepted)
        assert set(met) == set(Fault), f"each fault was met: {met}"


def test_everything_is_killed(root: Path, own_postgres: Server) -> None:
    """Two servers on one PostgreSQL; servers, agents and PostgreSQL die at random, and come back."""
    own_postgres.start()
    database = own_postgres.url(own_postgres.database())
    with serve(root, database, seed=seed_of_this_run(), servers=2) as world:
        world.queue(max_running=LIMIT, retry=PATIENT)
        agents = [_agent(world, number) for number in range(2)]
        world.weather(chance=0.05, delay=0.1, stall=0.5)
        over = threading.Event()

        def havoc() -> None:
            number = 0
            while not over.wait(world.random.uniform(0.5, 1.5)):
                number += 1
                victim = number % 4
                if victim == 0:
                    own_postgres.kill()
                    over.wait(0.5)
                    own_postgres.start()
                elif victim == 3:
                    which = world.random.randrange(2)
                    agents[which].kill()
                    agents[which] = _agent(world, which)
                else:
                    server = world.servers[victim - 1]
                    server.kill()
                    server.start()
                    server.ready()  # on a slow machine it would otherwise never serve

        demon = threading.Thread(target=havoc)
        demon.start()
        try:
            accepted = send_all(world, 250)
            wait_until("most are over", lambda: _ended(world) >= len(accepted) // 2, seconds=240)
        finally:
            over.set()
            demon.join()
            own_postgres.start()
        world.weather()
        check(world, world.finished(), accepted, also=(own_postgres.folder / "log",))


def test_an_agent_that_sleeps_for_three_leases(root: Path) -> None:
    """It wakes to find its runs adopted or ended by another; nothing is run twice."""
    with serve(root, f"sqlite:///{root}/queue.db", seed=seed_of_this_run()) as world:
        world.queue(max_running=LIMIT, retry=PATIENT)
        first = _agent(world, 0)
        _agent(world, 1)
        accepted = send_all(world, 25)
        first.signal(signal.SIGSTOP)
        time.sleep(3 * LEASE)
        accepted += send_all(world, 25)
        first.signal(signal.SIGCONT)
        check(world, world.finished(), accepted)


def test_a_server_that_is_away_for_longer_than_a_lease_kills_no_run(root: Path) -> None:
    """What runs goes on; its result and its log are there when the server is."""
    with serve(root, f"sqlite:///{root}/queue.db", seed=seed_of_this_run()) as world:
        world.queue(max_running=LIMIT, retry=PATIENT)
        _agent(world, 0)
        accepted = [world.send(seconds=0.5 + LEASE * number / 2) for number in range(5)]
        wait_until("all run", lambda: len(world.records()) >= 5)
        world.servers[0].kill()
        time.sleep(2 * LEASE)
        world.servers[0].start()
        check(world, world.finished(), accepted)
        assert {len(run.attempts) for run in world.runs()} == {1}, world.report()


def test_a_cancel_that_was_acknowledged_holds(root: Path) -> None:
    """I7: through a bad network, after the answer no attempt starts."""
    with serve(root, f"sqlite:///{root}/queue.db", seed=seed_of_this_run()) as world:
        world.queue(max_running=2, retry=PATIENT)
        _agent(world, 0)
        world.weather(chance=0.2, delay=0.1, stall=0.5)
        acknowledged: dict[str, float] = {}
        for number in range(30):
            run_id = world.send(seconds=0.2, limits=Limits(grace_seconds=0.5))
            time.sleep(world.random.choice((0.0, 0.02, 0.1)))
            if number % 10 == 9:  # some have begun, however slow the machine is
                wait_until("it runs", functools.partial(_is_born, world, run_id))
            patiently(lambda run_id=run_id: world.front[0].cancel(run_id))  # type: ignore[misc]
            acknowledged[run_id] = time.time()
        runs = world.finished()
        for attempt, at in world.born().items():
            late = at - acknowledged[attempt.rpartition("-")[0]]
            assert late < 0.05, f"I7: {attempt} started {late:.3f} s later\n{world.report()}"
        ended = {run.state for run in runs}
        assert ended <= {RunState.CANCELLED, RunState.SUCCEEDED}, world.report()
        assert RunState.CANCELLED in ended
        invariants.nothing_left(world)


def _agent(world: Served, number: int):  # type: ignore[no-untyped-def]
    """Agent 0 or 1, behind the proxy of its number, on a machine of their own: one state directory."""
    proxy = world.proxies[number % len(world.proxies)]
    return world.agent(f"agent-{number}", environ={"LAUNCHCORE_BASE_URL": proxy.url}, ready=False)


def _is_born(world: Served, run_id: str) -> bool:
    return any(attempt.startswith(f"{run_id}-") for attempt in world.born())


def _ended(world: Served) -> int:
    return sum(run.state.final for run in patiently(world.runs))
