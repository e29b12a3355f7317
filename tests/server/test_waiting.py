"""Who waits: without a thread each, woken by the bell, and by no more of it than there is to find."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
import pytest
import requests

from launchcore.server.waiting import Room, Waiter
from tests.server.world import Later, World, agent, until


class Bell:
    """Rings by hand."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[frozenset[str]], None]] = []

    def hear(self, listener: Callable[[frozenset[str]], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def ring(self, *topics: str) -> None:
        for listener in self.listeners:
            listener(frozenset(topics))


class Sleeper:
    """Waits in the room until it is woken, and counts how often that was."""

    def __init__(self, room: Room, *, finds: bool = False, own: str = "", shared: str = "") -> None:
        self.room = room
        self.finds = finds
        self.waiter = room.waiter(own=filter(None, [own]), shared=filter(None, [shared]))
        self.woken = 0
        self.left = False
        self.running = asyncio.ensure_future(self.run())

    async def run(self) -> None:
        with self.waiter:
            while True:
                await self.waiter.sleep(60)
                self.woken += 1
                chosen = self.waiter.looking()
                if self.finds:
                    self.room.wake_one(chosen)
                if self.finds or self.room.closed:
                    break
        self.left = True


def scenario(test: Callable[[Room, Bell], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    async def whole() -> None:
        bell = Bell()
        room = Room(bell)
        room.open()
        try:
            await test(room, bell)
        finally:
            room.close()
            for each in asyncio.all_tasks() - {asyncio.current_task()}:
                each.cancel()

    def run() -> None:
        asyncio.run(whole())

    run.__name__ = test.__name__
    return run


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@scenario
async def test_one_of_those_that_share_a_topic_is_woken(room: Room, bell: Bell) -> None:
    sleepers = [Sleeper(room, shared="queue:a") for _ in range(5)]
    await settled()

    bell.ring("queue:a")
    await settled()
    assert [sleeper.woken for sleeper in sleepers] == [1, 0, 0, 0, 0]

    bell.ring("queue:a")
    await settled()
    assert [sleeper.woken for sleeper in sleepers] == [1, 1, 0, 0, 0]


@scenario
async def test_whoever_finds_something_wakes_the_next(room: Room, bell: Bell) -> None:
    sleepers = [Sleeper(room, shared="queue:a", finds=number < 2) for number in range(5)]
    await settled()

    bell.ring("queue:a")
    await settled()

    assert [sleeper.woken for sleeper in sleepers] == [1, 1, 1, 0, 0]
    assert [sleeper.left for sleeper in sleepers] == [True, True, False, False, False]


@scenario
async def test_whoever_leaves_without_having_looked_passes_the_call_on(room: Room, bell: Bell) -> None:
    first, second = Sleeper(room, shared="queue:a"), Sleeper(room, shared="queue:a")
    await settled()

    room.wake_one(["queue:a"])
    first.running.cancel()  # its agent has hung up in this very moment
    await settled()

    assert (first.woken, second.woken) == (0, 1)


@scenario
async def test_an_own_topic_wakes_all(room: Room, bell: Bell) -> None:
    sleepers = [Sleeper(room, own="run:1"), Sleeper(room, own="run:1"), Sleeper(room, own="run:2")]
    await settled()

    bell.ring("run:1", "run:3")
    await settled()

    assert [sleeper.woken for sleeper in sleepers] == [1, 1, 0]


@scenario
async def test_when_everything_may_have_changed(room: Room, bell: Bell) -> None:
    """All look whose own something is, and one of each queue."""
    sleepers = [
        *(Sleeper(room, shared="queue:a") for _ in range(2)),
        *(Sleeper(room, shared="queue:b") for _ in range(2)),
        *(Sleeper(room, own="agent:x") for _ in range(2)),
    ]
    await settled()

    bell.ring("*")
    await settled()

    assert [sleeper.woken for sleeper in sleepers] == [1, 0, 1, 0, 1, 1]


@scenario
async def test_a_ring_from_another_thread_before_it_sleeps_is_not_lost(room: Room, bell: Bell) -> None:
    with room.waiter(own=["run:1"]) as waiter:
        ringing = threading.Thread(target=bell.ring, args=("run:1",))
        ringing.start()
        ringing.join()
        await settled()
        await asyncio.wait_for(waiter.sleep(60), 10)


@scenario
async def test_a_time_wakes_one_and_the_earliest_counts(room: Room, bell: Bell) -> None:
    sleepers = [Sleeper(room, shared="queue:a") for _ in range(3)]
    await settled()

    for seconds in (60.0, 0.01, 30.0):
        room.wake_at(["queue:a"], seconds)
    while not any(sleeper.woken for sleeper in sleepers):
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)

    assert sum(sleeper.woken for sleeper in sleepers) == 1


@scenario
async def test_nothing_is_left_of_those_that_left(room: Room, bell: Bell) -> None:
    sleeper = Sleeper(room, shared="queue:a", own="agent:x")
    await settled()
    room.wake_at(["queue:a"], 60)
    assert room.waiting == 1
    sleeper.running.cancel()
    await settled()

    assert (room.waiting, room._own, room._shared, room._alarms) == (0, {}, {}, {})


@scenario
async def test_when_the_room_closes_all_look_a_last_time(room: Room, bell: Bell) -> None:
    sleepers = [Sleeper(room, shared="queue:a") for _ in range(3)]
    await settled()

    room.close()
    await settled()

    assert all(sleeper.left and sleeper.woken == 1 for sleeper in sleepers)
    assert bell.listeners == []


def test_a_waiter_that_is_not_in_a_room_is_nobody(tmp_path: object) -> None:
    assert Waiter(Room(Bell()), ["a"], ["b"]).looking() == frozenset()


# --- over HTTP --------------------------------------------------------------------------------------


def test_a_waiting_agent_hears_of_a_run(world: World) -> None:
    worker, submitter = world.caller("agent:*"), world.caller("submit")
    worker.register(agent())
    waiting = Later(lambda: worker.claim(agent(), wait=50))
    until(lambda: world.serving.core.room.waiting == 1)

    run = submitter.submit()

    (claim,) = waiting.result().json()["claims"]
    assert claim["run_id"] == run
    assert world.serving.core.room.waiting == 0


def test_of_many_waiting_agents_each_run_wakes_one(world: World) -> None:
    """And those that find nothing do not look: the store is asked about as often as there are runs."""
    submitter = world.caller("submit")
    callers = [world.caller("agent:*") for _ in range(12)]
    for number, caller in enumerate(callers):
        caller.register(agent(f"agent-{number}"))
    waiting = [
        Later(lambda caller=caller, number=number: caller.claim(agent(f"agent-{number}"), wait=50))  # type: ignore[misc]
        for number, caller in enumerate(callers)
    ]
    until(lambda: world.serving.core.room.waiting == 12)
    asked: list[int] = []
    whole = world.database.write_many

    def counting(operations: Any) -> Any:
        asked.append(len(operations))
        return whole(operations)

    world.serving.core.database.write_many = counting  # type: ignore[method-assign]

    runs = {submitter.submit() for _ in range(3)}
    until(lambda: sum(each.done for each in waiting) == 3)

    got = {claim["run_id"] for each in waiting if each.done for claim in each.result().json()["claims"]}
    assert got == runs
    assert sum(asked) <= 3 * 3  # a claim each, one that found no more each, and the tokens' notes
    world.serving.stop()
    assert sum(len(each.result().json()["claims"]) for each in waiting) == 3


def test_an_agent_that_hung_up_takes_no_run(world: World) -> None:
    worker, submitter = world.caller("agent:*"), world.caller("submit")
    worker.register(agent())
    with pytest.raises(requests.exceptions.ReadTimeout):
        worker.post(
            "/v1/agents/claim",
            {"agent": agent(), "queues": ["default"], "limit": 1, "lease_seconds": 30, "wait": 50},
            timeout=0.5,
        )
    until(lambda: world.serving.core.room.waiting == 0)

    run = submitter.submit()

    assert submitter.get(f"/v1/runs/{run}").json()["state"] == "queued"
    assert worker.one(agent())["run_id"] == run


def test_the_same_key_gives_the_same_claims(world: World) -> None:
    worker, submitter = world.caller("agent:*"), world.caller("submit")
    submitter.submit(), submitter.submit()
    worker.register(agent())

    first = worker.claim(agent(), key="k").json()["claims"]
    again = worker.claim(agent(), key="k").json()["claims"]
    other = worker.claim(agent(), key="l").json()["claims"]

    assert first == again
    assert first[0]["run_id"] != other[0]["run_id"]


def test_a_cancel_reaches_the_agent_that_waits_for_one(world: World) -> None:
    worker, submitter = world.caller("agent:*"), world.caller("submit")
    run = submitter.submit()
    worker.register(agent())
    lease = worker.one(agent())["lease"]
    waiting = Later(lambda: worker.post("/v1/agents/stops", {"agent": agent(), "wait": 50}))
    until(lambda: world.serving.core.room.waiting == 1)

    submitter.post(f"/v1/runs/{run}/cancel", {})

    (stop,) = waiting.result().json()["stops"]
    assert stop["attempt_id"] == lease["attempt_id"]
    assert stop["reason"] == "cancelled"


def test_whoever_waits_for_a_run_hears_of_its_change(world: World) -> None:
    worker, submitter = world.caller("agent:*"), world.caller("submit")
    run = submitter.submit()
    changes = submitter.get(f"/v1/runs/{run}").json()["changes"]
    assert submitter.get(f"/v1/runs/{run}/wait?changes=0&timeout=50").json()["changes"] == changes
    waiting = Later(lambda: submitter.get(f"/v1/runs/{run}/wait?changes={changes}&timeout=50"))
    until(lambda: world.serving.core.room.waiting == 1)

    worker.register(agent())
    worker.one(agent())

    assert waiting.result().json()["state"] == "claimed"


def test_an_adoptable_run_wakes_the_agent_that_can_adopt_it(world: World) -> None:
    """Not every agent of the queue can: so all that wait look."""
    submitter, worker = world.caller("submit"), world.caller("agent:*")
    submitter.submit()
    first = attrs.evolve(agent("first"), host="there", host_bound=("process",))
    elsewhere = attrs.evolve(agent("elsewhere"), host="elsewhere", host_bound=("process",))
    there = attrs.evolve(agent("there"), host="there", host_bound=("process",))
    for info in (first, elsewhere, there):
        worker.register(info)
    lease = worker.one(first)["lease"]
    handle = {"runner": "process", "attempt_id": lease["attempt_id"], "data": {}}
    assert worker.write(lease, state="starting", handle=handle) is None
    other, same = world.caller("agent:*"), world.caller("agent:*")
    idle = Later(lambda: other.claim(elsewhere, wait=50))
    until(lambda: world.serving.core.room.waiting == 1)
    waiting = Later(lambda: same.claim(there, wait=50))
    until(lambda: world.serving.core.room.waiting == 2)

    worker.post("/v1/agents/unregister", {"agent": first})

    (claim,) = waiting.result().json()["claims"]
    assert claim["adopted"]
    assert not idle.done
    world.serving.stop()
    assert idle.result().json()["claims"] == []


def test_when_the_server_stops_whoever_waits_is_answered(world: World) -> None:
    worker = world.caller("agent:*")
    worker.register(agent())
    waiting = Later(lambda: worker.claim(agent(), wait=50))
    until(lambda: world.serving.core.room.waiting == 1)

    world.serving.stop()

    assert waiting.result().json() == {"claims": []}
