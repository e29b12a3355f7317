"""Fencing: what the holder of a lease may write, how often, and what nobody else may."""

from __future__ import annotations

from typing import Any

import pytest

from launchcore.plugin import (
    Cancelled,
    Failure,
    Fault,
    LaunchError,
    Lease,
    LeaseLost,
    LogAppend,
    Outcome,
    Reason,
    RunState,
    SourceRef,
    Stage,
    TimelineEvent,
    Update,
    Verdict,
)
from tests.store.rig import LEASE, Agent, Rig, handle, outcome

EVERY_PART: list[dict[str, Any]] = [
    {},
    {"state": RunState.PREPARING},
    {"state": RunState.STARTING},
    {"state": RunState.RUNNING},
    {"image": "busybox"},
    {"events": (TimelineEvent(at=1.0, stage=Stage.SOURCE, what="started"),)},
    {"log": LogAppend(offset=0, data=b"late", cursor=None)},
    {"outcome": Outcome(verdict=Verdict.SUCCEEDED)},
]


@pytest.mark.parametrize("part", EVERY_PART, ids=lambda part: next(iter(part), "nothing"))
def test_a_stale_token_changes_nothing(rig: Rig, part: dict[str, Any]) -> None:
    rig.submit()
    one, two = rig.agent("one"), rig.agent("two")
    claim = one.one()
    one.start(claim)
    rig.clock.pass_(LEASE + 1)
    two.renew()
    two.one()
    before = rig.run(claim)

    with pytest.raises(LeaseLost):
        one.write(claim, **part)

    assert rig.run(claim) == before
    assert rig.service.logs(claim.run_id).data == b""


@pytest.mark.parametrize("token", ["", "guessed", "' OR '1'='1"])
@pytest.mark.parametrize("ended", [False, True])
def test_a_token_that_nobody_was_given_changes_nothing(rig: Rig, token: str, ended: bool) -> None:
    rig.submit()
    agent = rig.agent()
    claim = agent.one()
    if ended:  # by a sweep, which clears the token
        rig.clock.pass_(LEASE + 1)
        agent.renew()
    lease = Lease(attempt_id=claim.attempt_id, token=token, expires_at=0.0)

    with pytest.raises(LeaseLost):
        agent.write(lease, outcome=outcome(Verdict.SUCCEEDED))
    with pytest.raises(LeaseLost):
        agent.client.release(lease, "")
    assert agent.client.renew(agent.info, [lease], lease_seconds=LEASE) == (claim.attempt_id,)


@pytest.mark.parametrize("attempt", ["", "x", "nobody-1", "-1", "a-b-c", "zzzz-0", "é-1", "a" * 999 + "-1"])
def test_an_attempt_that_is_none_is_a_lost_lease(rig: Rig, attempt: str) -> None:
    agent = rig.agent()
    with pytest.raises(LeaseLost):
        agent.write(Lease(attempt_id=attempt, token="t", expires_at=0.0), state=RunState.PREPARING)
    assert agent.client.ended([attempt]) == frozenset()


def test_the_journey_of_an_attempt(rig: Rig) -> None:
    run = rig.submit()
    agent = rig.agent()
    claim = agent.one()
    pinned = SourceRef(type="git", fields={"url": "https://example.com/x", "commit": "4b1d2c9"})

    agent.write(claim, state=RunState.PREPARING, pinned=pinned, image="x@sha256:1")
    rig.clock.pass_(1.0)
    agent.write(claim, state=RunState.STARTING)
    rig.clock.pass_(1.0)
    agent.write(claim, state=RunState.RUNNING, handle=handle(claim))
    running = rig.run(run)
    rig.clock.pass_(1.0)
    agent.end(claim, exit_code=0, usage={"cpu_seconds": 0.5, "nothing": float("nan")})

    assert (running.state, running.started_at, running.pinned) == (
        RunState.RUNNING,
        rig.clock.now - 1,
        pinned,
    )
    assert running.image == "x@sha256:1"
    assert running.attempts[0].handle == handle(claim)
    ended = rig.run(run)
    assert (ended.state, ended.exit_code, ended.ended_at) == (RunState.SUCCEEDED, 0, rig.clock.now)
    assert ended.attempts[0].usage == {"cpu_seconds": 0.5}
    assert ended.attempts[0].running_since == rig.clock.now - 1
    assert ended.changes > running.changes


def test_a_state_moves_forward_only(rig: Rig) -> None:
    """An older write that arrives late does not turn the attempt back; the rest of it counts."""
    rig.submit()
    agent = rig.agent()
    claim = agent.one()
    agent.start(claim)

    agent.write(claim, state=RunState.PREPARING, image="busybox")
    agent.write(claim, state=RunState.STARTING)

    assert rig.run(claim).state is RunState.RUNNING
    assert rig.run(claim).image == "busybox"


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.SUCCEEDED])
def test_an_attempt_ends_by_its_outcome_only(rig: Rig, state: RunState) -> None:
    rig.submit()
    agent = rig.agent()
    claim = agent.one()

    with pytest.raises(LaunchError) as error:
        agent.write(claim, state=state)
    assert error.value.fault is Fault.CORE


class TestAnExpiredLease:
    """Nobody has taken the attempt yet, so its holder may still report; but it must not start."""

    def _expired(self, rig: Rig) -> tuple[Agent, Any]:
        rig.submit()
        agent = rig.agent()
        claim = agent.one()
        agent.write(claim, state=RunState.PREPARING)
        rig.clock.pass_(LEASE)
        return agent, claim

    def test_may_be_written_with(self, rig: Rig) -> None:
        agent, claim = self._expired(rig)
        agent.write(claim, image="busybox")
        agent.end(claim, Verdict.FAILED)
        assert rig.run(claim).state is RunState.FAILED

    def test_may_be_renewed(self, rig: Rig) -> None:
        agent, claim = self._expired(rig)
        assert agent.renew(claim) == ()
        agent.write(claim, state=RunState.STARTING)

    def test_starts_nothing(self, rig: Rig) -> None:
        agent, claim = self._expired(rig)
        with pytest.raises(LeaseLost):
            agent.write(claim, state=RunState.STARTING)
        assert rig.run(claim).state is RunState.PREPARING


class TestARepeatedWrite:
    """The answer to the first may have been lost: everything may be written twice."""

    def test_of_everything_but_the_end_changes_nothing(self, rig: Rig) -> None:
        rig.submit()
        agent = rig.agent()
        claim = agent.one()
        agent.write(claim, state=RunState.STARTING)
        event = TimelineEvent(at=5.0, stage=Stage.EXECUTE, what="started", detail="x")
        update = Update(
            state=RunState.RUNNING,
            handle=handle(claim),
            events=(event,),
            log=LogAppend(offset=0, data=b"hello", cursor="5"),
        )
        agent.client.write(claim.lease, update)
        before = rig.run(claim)
        rig.clock.pass_(1.0)

        agent.client.write(claim.lease, update)

        again = rig.run(claim)
        assert again.attempts == before.attempts
        assert rig.service.logs(claim.run_id).data == b"hello"
        told = [each for _, each in rig.service.timeline(claim.run_id)]
        assert told.count(event) == 1

    def test_of_the_end_is_accepted_and_the_first_one_stands(self, rig: Rig) -> None:
        rig.submit()
        agent = rig.agent()
        claim = agent.one()
        agent.end(claim, exit_code=0)
        before = rig.run(claim)
        rig.clock.pass_(100.0)

        agent.end(claim, exit_code=0)
        agent.end(claim, Verdict.FAILED)

        assert rig.run(claim) == before

    def test_of_an_end_that_queued_the_run_again_does_not_queue_it_twice(self, rig: Rig) -> None:
        run = rig.submit()
        agent = rig.agent()
        claim = agent.one()
        agent.end(claim, Verdict.LOST, reason=Reason.LOST)
        second = agent.one()

        agent.end(claim, Verdict.LOST, reason=Reason.LOST)

        assert second.attempt_id == f"{run.id}-2"
        assert rig.run(run).state is RunState.CLAIMED

    def test_of_anything_else_after_the_end_is_refused(self, rig: Rig) -> None:
        rig.submit()
        agent = rig.agent()
        claim = agent.one()
        agent.end(claim)

        with pytest.raises(LeaseLost):
            agent.write(claim, log=LogAppend(offset=0, data=b"late", cursor=None))

    def test_of_an_end_does_not_cover_what_a_sweep_has_ended(self, rig: Rig) -> None:
        rig.submit()
        one, two = rig.agent("one"), rig.agent("two")
        claim = one.one()
        rig.clock.pass_(LEASE + 1)
        two.renew()

        with pytest.raises(LeaseLost):
            one.end(claim)

        assert rig.run(claim).state is RunState.QUEUED

    def test_of_an_end_does_not_cover_a_released_attempt(self, rig: Rig) -> None:
        rig.submit()
        agent = rig.agent()
        claim = agent.one()
        agent.client.release(claim.lease, "drains")

        with pytest.raises(LeaseLost):
            agent.end(claim)


class TestCancel:
    """After it is acknowledged, nothing starts; and the run ends as cancelled, unless it succeeds."""

    def test_of_a_queued_run_ends_it_at_once(self, rig: Rig) -> None:
        run = rig.submit()
        done = rig.service.cancel(run.id, by="ann")

        assert (done.state, done.ended_at) == (RunState.CANCELLED, rig.clock.now)
        assert done.failure == Failure(
            reason=Reason.CANCELLED, fault=Fault.USER, stage=Stage.CLAIM, detail="cancelled by ann"
        )
        assert rig.agent().claim() == ()
        assert rig.service.cancel(run.id) == done

    @pytest.mark.parametrize("state", [None, RunState.PREPARING, RunState.STARTING])
    def test_refuses_a_start(self, rig: Rig, state: RunState | None) -> None:
        run = rig.submit()
        agent = rig.agent()
        claim = agent.one()
        if state:
            agent.write(claim, state=state)
        rig.service.cancel(run.id, by="ann")

        with pytest.raises(Cancelled, match="ann"):
            agent.write(claim, state=RunState.STARTING)

        agent.end(claim, Verdict.CANCELLED)
        assert rig.run(run).state is RunState.CANCELLED

    def test_of_a_running_run_is_its_agents_to_carry_out(self, rig: Rig) -> None:
        run = rig.submit()
        agent = rig.agent()
        claim = agent.one()
        agent.start(claim)

        asked = rig.service.cancel(run.id, by="ann")

        assert (asked.state, asked.cancel_requested_at) == (RunState.RUNNING, rig.clock.now)
        (stop,) = agent.client.stops(agent.info, frozenset(), wait=0)
        assert (stop.attempt_id, stop.reason, stop.detail) == (
            claim.attempt_id,
            Reason.CANCELLED,
            "cancelled by ann",
        )
        assert agent.client.stops(agent.info, frozenset({claim.attempt_id}), wait=0) == ()
        agent.write(claim, image="still-fenced")  # it may go on reporting

    @pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.CANCELLED, Verdict.LOST])
    def test_decides_every_end_but_success(self, rig: Rig, verdict: Verdict) -> None:
        run = rig.submit()
        agent = rig.agent()
        claim = agent.one()
        agent.start(claim)
        rig.service.cancel(run.id, by="ann")

        agent.end(claim, verdict, retryable=True)

        ended = rig.run(run)
        assert ended.state is RunState.CANCELLED
        assert ended.failure is not None
        assert ended.failure.reason is Reason.CANCELLED

    def test_comes_too_late_for_a_run_that_succeeds(self, rig: Rig) -> None:
        run = rig.submit()
        agent = rig.agent()
        claim = agent.one()
        agent.start(claim)
        rig.service.cancel(run.id)

        agent.end(claim)

        assert rig.run(run).state is RunState.SUCCEEDED

    @pytest.mark.parametrize("again", [False, True])
    def test_of_a_run_whose_agent_is_gone_before_it_started_ends_it(self, rig: Rig, again: bool) -> None:
        run = rig.submit()
        rig.agent().one()
        if again:
            assert rig.service.cancel(run.id).state is RunState.CLAIMED
        rig.clock.pass_(LEASE + 1)

        assert rig.service.cancel(run.id).state is RunState.CANCELLED

    def test_of_a_released_attempt_leaves_nothing_in_the_queue(self, rig: Rig) -> None:
        run = rig.submit()
        agent = rig.agent()
        claim = agent.one()
        rig.service.cancel(run.id)
        agent.client.release(claim.lease, "drains")

        assert rig.run(run).state is RunState.CANCELLED


class TestDeadlines:
    """They run on the store's clock, whatever the agent does."""

    def test_of_a_run(self, rig: Rig) -> None:
        from launchcore.plugin import Limits

        rig.submit(limits=Limits(run_seconds=60.0))
        agent = rig.agent()
        claim = agent.one()
        agent.start(claim)
        rig.clock.pass_(59.0)
        assert agent.client.stops(agent.info, frozenset(), wait=0) == ()

        rig.clock.pass_(1.0)

        (stop,) = agent.client.stops(agent.info, frozenset(), wait=0)
        assert (stop.reason, stop.detail) == (Reason.RUN_TIMEOUT, "it ran for longer than 60 s")

    def test_of_a_start(self, rig: Rig) -> None:
        from launchcore.plugin import Limits

        rig.submit(limits=Limits(start_seconds=5.0))
        agent = rig.agent()
        claim = agent.one()
        agent.write(claim, state=RunState.STARTING)
        rig.clock.pass_(1.0)
        agent.write(claim, handle=handle(claim))  # started, not yet running: the time goes on
        rig.clock.pass_(4.0)

        (stop,) = agent.client.stops(agent.info, frozenset(), wait=0)
        assert stop.reason is Reason.START_TIMEOUT

        agent.write(claim, state=RunState.RUNNING)
        assert agent.client.stops(agent.info, frozenset(), wait=0) == ()

    def test_survive_the_agent(self, rig: Rig) -> None:
        from launchcore.plugin import Limits

        rig.submit(limits=Limits(run_seconds=40.0))
        one, two = rig.agent("one"), rig.agent("two")
        one.start(one.one())
        deadline = rig.clock.now + 40.0
        rig.clock.pass_(LEASE + 20)
        two.renew()

        (adopted,) = two.claim()

        assert adopted.deadline_at == deadline
        assert adopted.stop is Reason.RUN_TIMEOUT
        assert [stop.reason for stop in two.client.stops(two.info, frozenset(), wait=0)] == [
            Reason.RUN_TIMEOUT
        ]

    def test_end_with_the_attempt(self, rig: Rig) -> None:
        from launchcore.plugin import Limits

        rig.submit(limits=Limits(run_seconds=40.0))
        agent = rig.agent()
        claim = agent.one()
        agent.start(claim)
        agent.end(claim)
        rig.clock.pass_(50.0)

        assert agent.client.stops(agent.info, frozenset(), wait=0) == ()


def test_texts_that_are_no_texts_do_not_keep_an_end_from_being_written(rig: Rig) -> None:
    """A lone surrogate comes from a log line that is not UTF-8."""
    rig.submit()
    agent = rig.agent()
    claim = agent.one()
    event = TimelineEvent(at=1.0, stage=Stage.EXECUTE, what="failed", detail="\udcff\0", seconds=float("inf"))
    broken = Failure(
        reason=Reason.USER_ERROR, fault=Fault.USER, stage=Stage.EXECUTE, detail="said \udcff", hint="\ud800"
    )

    agent.write(claim, events=(event,), outcome=Outcome(verdict=Verdict.FAILED, failure=broken))

    ended = rig.run(claim)
    assert ended.failure is not None
    assert ended.failure.detail == "said ?"


def test_ended_names_the_attempts_that_have_ended(rig: Rig) -> None:
    for _ in range(3):
        rig.submit()
    agent = rig.agent()
    one, two, three = agent.claim(limit=3)
    agent.end(one)
    agent.client.release(two.lease, "drains")

    asked = [one.attempt_id, two.attempt_id, three.attempt_id, f"{one.run_id}-2", "nonsense"]

    assert agent.client.ended(asked) == {one.attempt_id, two.attempt_id}
