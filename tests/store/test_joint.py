"""Writes about several attempts at once: what comes of each is as if it were alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from launchcore.plugin import (
    Cancelled,
    Claim,
    LeaseLost,
    LogAppend,
    LogBehind,
    Outcome,
    Reason,
    RunHandle,
    RunState,
    Stage,
    TimelineEvent,
    Update,
    Verdict,
)
from launchcore.store import attempts
from launchcore.store.database import Database
from launchcore.store.joint import Joint
from tests.store.rig import Agent, Rig, handle, outcome

DONE = Outcome(verdict=Verdict.SUCCEEDED, exit_code=0)


def claims(rig: Rig, agent: Agent, count: int) -> Sequence[Claim]:
    for _ in range(count):
        rig.submit()
    found = agent.claim(limit=count)
    assert len(found) == count
    return found


def together(database: Database, *asked: tuple[Claim, Update]) -> list[Exception | None]:
    """In one transaction where that is possible: what was wrong with each."""
    operations = [
        Joint(
            attempts.write,
            attempts.write_many,
            attempts.Write(claim.lease.attempt_id, claim.lease.token, update),
        )
        for claim, update in asked
    ]
    return [error for _, error in database.write_many(operations)]


def event(detail: str) -> TimelineEvent:
    return TimelineEvent(at=1.0, stage=Stage.EXECUTE, what="note", detail=detail)


def log(data: bytes, offset: int = 0) -> LogAppend:
    return LogAppend(offset=offset, data=data, cursor=f"c{offset + len(data)}")


def test_writes_of_all_shapes(rig: Rig) -> None:
    agent = rig.agent()
    prepared, running, noted, logged, done, failed, again = claims(rig, agent, 7)
    failure = outcome(Verdict.FAILED)
    preempted = outcome(Verdict.FAILED, reason=Reason.PREEMPTED)

    errors = together(
        rig.database,
        (prepared, Update(state=RunState.PREPARING, image="an/image")),
        (running, Update(state=RunState.RUNNING, handle=handle(running))),
        (noted, Update(events=(event("one"), event("two"), event("one")))),
        (logged, Update(log=log(b"hello\n"))),
        (done, Update(outcome=DONE, log=log(b"bye\n"), events=(event("end"),))),
        (failed, Update(outcome=failure)),
        (again, Update(outcome=preempted)),
    )

    assert errors == [None] * 7
    states = [rig.run(each).state.value for each in (prepared, running, noted, logged, done, failed, again)]
    assert states == ["preparing", "running", "claimed", "claimed", "succeeded", "failed", "queued"]
    assert rig.run(prepared).image == "an/image"
    assert rig.run(running).started_at == rig.clock.now
    assert rig.notes(rig.run(noted)) == ["one", "two"]
    assert rig.service.logs(logged.run_id).data == b"hello\n"
    assert rig.service.logs(done.run_id).data == b"bye\n"
    assert rig.run(done).exit_code == 0
    assert rig.run(failed).failure == failure.failure


def test_each_refusal_is_its_own(rig: Rig) -> None:
    agent = rig.agent()
    good, stale, gap, cancelled, backwards, repeated, last = claims(rig, agent, 7)
    rig.service.cancel(cancelled.run_id, by="ann")
    agent.start(backwards)
    agent.end(repeated)
    thief = attrs.evolve(stale, lease=attrs.evolve(stale.lease, token="0" * 32))

    errors = together(
        rig.database,
        (good, Update(outcome=DONE)),
        (thief, Update(outcome=DONE)),
        (gap, Update(log=log(b"x", offset=5))),
        (cancelled, Update(state=RunState.STARTING)),
        (backwards, Update(state=RunState.PREPARING, events=(event("kept"),))),
        (repeated, Update(outcome=DONE)),
        (last, Update(outcome=DONE)),
    )

    kinds = [type(None), LeaseLost, LogBehind, Cancelled, type(None), type(None), type(None)]
    assert [type(error) for error in errors] == kinds
    assert rig.run(good).state is RunState.SUCCEEDED
    assert rig.run(stale).state is RunState.CLAIMED
    assert rig.run(gap).state is RunState.CLAIMED
    assert rig.run(backwards).state is RunState.RUNNING
    assert rig.notes(rig.run(backwards)) == ["kept"]
    assert rig.run(last).state is RunState.SUCCEEDED


def test_writes_about_one_attempt_are_carried_out_in_order(rig: Rig) -> None:
    agent = rig.agent()
    one, other = claims(rig, agent, 2)

    errors = together(
        rig.database,
        (one, Update(state=RunState.PREPARING)),
        (one, Update(state=RunState.STARTING, log=log(b"first "))),
        (other, Update(state=RunState.PREPARING)),
        (one, Update(state=RunState.RUNNING, handle=handle(one), log=log(b"second", offset=6))),
        (one, Update(outcome=DONE)),
    )

    assert errors == [None] * 5
    assert rig.run(one).state is RunState.SUCCEEDED
    assert rig.service.logs(one.run_id).data == b"first second"
    assert rig.run(other).state is RunState.PREPARING


def test_a_value_that_no_database_holds_spoils_no_other_write(rig: Rig) -> None:
    agent = rig.agent()
    good, bad, last = claims(rig, agent, 3)
    before: Any = rig.run(bad)

    errors = together(
        rig.database,
        (good, Update(outcome=DONE)),
        (bad, Update(outcome=attrs.evolve(DONE, exit_code=1 << 70), events=(event("never"),))),
        (last, Update(outcome=DONE)),
    )

    assert [error is None for error in errors] == [True, False, True]
    assert rig.run(good).state is rig.run(last).state is RunState.SUCCEEDED
    assert rig.run(bad) == before
    assert rig.notes(before) == []


def test_what_is_no_text_is_stored_as_it_is_by_a_single_write(rig: Rig) -> None:
    agent = rig.agent()
    alone, one, other = claims(rig, agent, 3)
    odd = {"text": 'nul \0, "quote", \\u0000, \\, ü, \u2028, 😀', "number": 0.1}

    def update(claim: Claim) -> Update:
        return Update(
            handle=RunHandle(runner="process", attempt_id=claim.attempt_id, data=odd),
            log=LogAppend(offset=0, data=b"\0\xff", cursor="nul \0 \\u0000"),
        )

    agent.client.write(alone.lease, update(alone))
    errors = together(rig.database, (one, update(one)), (other, update(other)))

    assert errors == [None, None]
    again = agent.restart("one-2")
    again.register(previous_is_dead=True)
    adopted = {each.run_id: (each.handle and each.handle.data, each.log) for each in again.reclaim()}
    assert adopted[one.run_id] == adopted[other.run_id] == adopted[alone.run_id]
    assert adopted[one.run_id][0] == odd


def test_a_queue_that_is_full_hears_of_each_end(rig: Rig) -> None:
    rig.queue("small", max_running=2)
    agent = rig.agent()
    for _ in range(4):
        rig.submit("small")
    taken = agent.claim("small", limit=4)
    assert len(taken) == 2

    with rig.database.bell.listen(["queue:small"]) as ear:
        assert together(rig.database, *((each, Update(outcome=DONE)) for each in taken)) == [None, None]
        assert ear.wait(30)

    assert len(agent.claim("small", limit=4)) == 2
