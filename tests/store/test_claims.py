"""What a claim gives, in which order, and what keeps it from giving more."""

from __future__ import annotations

import pytest

from launchcore.plugin import (
    AgentNameTaken,
    Claim,
    LeaseLost,
    Priority,
    Reason,
    RetryPolicy,
    RunState,
    Verdict,
)
from launchcore.store import claims
from tests.store.rig import LEASE, LOST_AFTER, Agent, Rig, handle


def test_first_in_first_out_within_a_priority(rig: Rig) -> None:
    low = rig.submit(priority=Priority.LOW)
    first, second = rig.submit(), rig.submit()
    urgent = rig.submit(priority=Priority.CRITICAL)
    agent = rig.agent()

    claims = agent.claim(limit=10)

    assert [claim.run_id for claim in claims] == [urgent.id, first.id, second.id, low.id]


def test_one_run_of_each_queue_in_turn_in_the_order_of_preference(rig: Rig) -> None:
    for name in ("a", "b", "c"):
        rig.queue(name)
    for name in ("a", "a", "a", "b", "c", "c"):
        rig.submit(name)
    agent = rig.agent()

    assert [claim.queue for claim in agent.claim("b", "a", "c", limit=5)] == ["b", "a", "c", "a", "c"]
    assert [claim.queue for claim in agent.claim("b", "a", "c", limit=5)] == ["a"]


def test_a_claim_carries_all_that_an_attempt_needs(rig: Rig) -> None:
    run = rig.submit(command=("python", "train.py"), env={"LR": "0.1"})
    rig.clock.pass_(3.0)
    agent = rig.agent()

    claim = agent.one()

    assert claim.attempt_id == f"{run.id}-1"
    assert claim.spec == run.spec
    assert (claim.queue, claim.queue_config.type, claim.state) == ("default", "process", RunState.CLAIMED)
    assert claim.claimed_at - claim.submitted_at == 3.0
    assert claim.lease.expires_at == rig.clock.now + LEASE
    assert rig.run(run).state is RunState.CLAIMED


def test_a_paused_queue_gives_nothing_until_it_is_resumed(rig: Rig) -> None:
    rig.submit()
    agent = rig.agent()
    config = rig.service.queue("default").config

    assert rig.service.edit_queue("default", config, paused=True).paused
    assert agent.claim() == ()
    rig.service.edit_queue("default", config, paused=False)
    assert len(agent.claim()) == 1


def test_a_queue_runs_no_more_than_its_limit(rig: Rig) -> None:
    rig.queue("narrow", max_running=2)
    for _ in range(5):
        rig.submit("narrow")
    one, two = rig.agent("one"), rig.agent("two")

    first, second = one.claim("narrow", limit=4)
    assert two.claim("narrow", limit=4) == ()
    one.end(first)
    assert len(two.claim("narrow", limit=4)) == 1
    one.client.release(second.lease, "drains")
    assert len(two.claim("narrow", limit=4)) == 1


def test_an_attempt_whose_agent_is_gone_still_holds_its_slot(rig: Rig) -> None:
    """It may be running: only its end, or its loss, frees the slot."""
    rig.queue("narrow", max_running=1, type="bound")
    rig.submit("narrow")
    rig.submit("narrow")
    one = rig.agent("one", host="left", host_bound=("bound",))
    one.start(one.one("narrow"))
    rig.clock.pass_(LEASE + 1)
    two = rig.agent("two", host="right", host_bound=("bound",))

    assert two.claim("narrow", limit=4) == ()
    assert rig.service.queue("narrow").running == 1
    rig.clock.pass_(LOST_AFTER)
    two.renew()
    assert len(two.claim("narrow", limit=4)) == 1


def test_an_edited_queue_changes_new_attempts_only(rig: Rig) -> None:
    rig.submit()
    rig.submit()
    agent = rig.agent()
    before = agent.one()
    agent.start(before)
    config = rig.service.queue("default").config
    rig.service.edit_queue("default", type(config)(type="echo"))
    assert agent.one().queue_config.type == "echo"

    rig.clock.pass_(LEASE + 1)
    heir = rig.agent("heir")
    adopted = next(claim for claim in heir.claim(limit=2) if claim.attempt_id == before.attempt_id)

    assert adopted.queue_config.type == "process"


def test_a_queue_that_is_gone_gives_nothing_and_hurts_nobody(rig: Rig) -> None:
    rig.queue("gone")
    rig.submit()
    agent = rig.agent(queues=("gone", "default"))
    rig.service.delete_queue("gone")

    assert [claim.queue for claim in agent.claim("gone", "default", limit=2)] == ["default"]


def test_an_agent_without_a_live_session_gets_nothing(rig: Rig) -> None:
    rig.submit()
    agent = rig.agent()
    rig.clock.pass_(LEASE + 1)

    assert agent.claim() == ()
    agent.renew()
    assert len(agent.claim()) == 1


def test_an_agent_whose_session_was_replaced_is_told(rig: Rig) -> None:
    rig.submit()
    old = rig.agent()
    old.restart("new").register(previous_is_dead=True)

    with pytest.raises(AgentNameTaken):
        old.claim()


class TestAdoption:
    """Attempts that may have started something outlive their agent."""

    def test_by_another_agent_with_a_new_token(self, rig: Rig) -> None:
        rig.submit()
        one, two = rig.agent("one"), rig.agent("two")
        claim = one.one()
        one.start(claim)
        one.write(claim, log=_log(b"hello\n", "6"))
        rig.clock.pass_(LEASE + 1)
        two.renew()

        (adopted,) = two.claim()

        assert adopted.adopted
        assert adopted.attempt_id == claim.attempt_id
        assert adopted.lease.token != claim.lease.token
        assert (adopted.state, adopted.handle) == (RunState.RUNNING, handle(claim))
        assert (adopted.log.offset, adopted.log.cursor) == (6, "6")
        assert adopted.running_since is not None
        attempt = rig.run(claim).attempts[0]
        assert (attempt.number, attempt.agent) == (1, "two")

    def test_comes_before_new_runs(self, rig: Rig) -> None:
        rig.submit()
        one, two = rig.agent("one"), rig.agent("two")
        one.start(one.one())
        rig.submit(priority=Priority.CRITICAL)
        rig.clock.pass_(LEASE + 1)
        two.renew()

        assert [claim.adopted for claim in two.claim(limit=2)] == [True, False]

    def test_of_one_that_may_have_started_without_a_handle(self, rig: Rig) -> None:
        rig.submit()
        one, two = rig.agent("one"), rig.agent("two")
        claim = one.one()
        one.write(claim, state=RunState.STARTING)
        rig.clock.pass_(LEASE + 1)
        two.renew()

        (adopted,) = two.claim()

        assert (adopted.state, adopted.handle) == (RunState.STARTING, None)

    @pytest.mark.parametrize("known", ["by the claimer", "by the adopter only"])
    def test_of_what_is_bound_to_a_host_happens_there_only(self, rig: Rig, known: str) -> None:
        rig.queue("bound", type="bound")
        rig.submit("bound")
        bound = ("bound",)
        one = rig.agent("one", host="left", host_bound=bound if known == "by the claimer" else ())
        two = rig.agent("two", host="right", host_bound=bound)
        three = rig.agent("three", host="left", host_bound=bound)
        one.start(one.one("bound"))
        rig.clock.pass_(LEASE + 1)
        two.renew()
        three.renew()

        assert two.claim("bound") == ()
        (adopted,) = three.claim("bound")
        assert adopted.adopted

    def test_that_nobody_can_do_ends_as_lost_and_is_not_run_again(self, rig: Rig) -> None:
        rig.queue("bound", type="bound")
        run = rig.submit("bound")
        one = rig.agent("one", host="left", host_bound=("bound",))
        one.start(one.one("bound"))
        two = rig.agent("two", host="right", host_bound=("bound",))
        rig.clock.pass_(LEASE + LOST_AFTER - 1)
        two.renew()
        assert two.claim("bound") == ()
        assert rig.run(run).state is RunState.RUNNING

        rig.clock.pass_(2.0)
        two.renew()

        ended = rig.run(run)
        assert ended.state is RunState.FAILED
        assert ended.failure is not None
        assert ended.failure.reason is Reason.LOST
        assert "one" in ended.failure.detail
        assert "left" in ended.failure.detail
        assert ended.failure.hint

    def test_by_the_session_that_still_holds_it_keeps_the_token(self, rig: Rig) -> None:
        """An agent that was stopped for a while, or that never got the answer to its claim."""
        rig.submit()
        one = rig.agent("one")
        claim = one.one()
        one.start(claim)
        rig.clock.pass_(LEASE + 1)
        one.renew()  # the session, not the lease

        (again,) = one.claim()

        assert again.adopted
        assert again.lease.token == claim.lease.token

    def test_is_not_possible_once_the_lease_is_renewed(self, rig: Rig) -> None:
        rig.submit()
        one, two = rig.agent("one"), rig.agent("two")
        claim = one.one()
        one.start(claim)
        rig.clock.pass_(LEASE + 1)
        two.renew()  # sweeps: it may be adopted from now on
        assert one.renew(claim) == ()

        assert two.claim() == ()

    def test_hears_at_once_that_the_run_is_to_be_stopped(self, rig: Rig) -> None:
        run = rig.submit()
        one, two = rig.agent("one"), rig.agent("two")
        one.start(one.one())
        rig.clock.pass_(LEASE + 1)
        rig.service.cancel(run.id)
        two.renew()

        (adopted,) = two.claim()

        assert adopted.stop is Reason.CANCELLED


class TestAttemptsThatStartedNothing:
    """Their run goes back to the queue when their lease is over."""

    @pytest.mark.parametrize("state", [None, RunState.PREPARING])
    def test_are_lost_and_the_run_is_queued_again_in_its_old_place(
        self, rig: Rig, state: RunState | None
    ) -> None:
        run = rig.submit()
        later = rig.submit()
        one, two = rig.agent("one"), rig.agent("two")
        claim = one.one()
        if state:
            one.write(claim, state=state)
        rig.clock.pass_(LEASE + 1)
        two.renew()

        claims = two.claim(limit=2)

        assert [claim.attempt_id for claim in claims] == [f"{run.id}-2", f"{later.id}-1"]
        assert not claims[0].adopted
        lost = rig.run(run).attempts[0]
        assert lost.state is RunState.FAILED
        assert lost.failure is not None
        assert lost.failure.reason is Reason.LOST

    def test_are_not_tried_for_ever(self, rig: Rig) -> None:
        """A run that kills each agent in turn is quarantined."""
        rig.queue("poisoned", retry=RetryPolicy(max_lost=3))
        run = rig.submit("poisoned")
        for number in range(3):
            assert len(rig.agent(f"agent-{number}").claim("poisoned")) == 1
            rig.clock.pass_(LEASE + 1)
        last = rig.agent("last")

        assert last.claim("poisoned") == ()

        ended = rig.run(run)
        assert ended.state is RunState.FAILED
        assert ended.failure is not None
        assert ended.failure.reason is Reason.LOST
        assert "3 attempts were lost" in ended.failure.detail
        assert "agent-0, agent-1, agent-2" in ended.failure.detail
        assert ended.failure.hint

    def test_may_be_given_back_as_often_as_one_likes(self, rig: Rig) -> None:
        rig.queue("fragile", retry=RetryPolicy(max_lost=1))
        run = rig.submit("fragile")
        agent = rig.agent()
        for _ in range(5):
            claim = agent.one("fragile")
            agent.client.release(claim.lease, "its agent drains")
            agent.client.release(claim.lease, "its agent drains")

        assert rig.run(run).state is RunState.QUEUED
        assert [attempt.number for attempt in rig.run(run).attempts] == [1, 2, 3, 4, 5]
        assert "its agent drains" in rig.notes(run)

    def test_cannot_be_given_back_with_a_handle(self, rig: Rig) -> None:
        rig.submit()
        agent = rig.agent()
        claim = agent.one()
        agent.start(claim)

        with pytest.raises(Exception, match="has started something"):
            agent.client.release(claim.lease, "its agent drains")


def test_retries_wait_for_their_time(rig: Rig) -> None:
    policy = RetryPolicy(reasons=(Reason.USER_ERROR,), max_retries=2, delay_seconds=10.0, jitter=0.0)
    rig.queue("patient", retry=policy)
    run = rig.submit("patient")
    agent = rig.agent()
    delays = []
    for _ in range(2):
        agent.end(agent.one("patient"), Verdict.FAILED)
        waiting = rig.run(run)
        assert waiting.state is RunState.QUEUED
        assert waiting.retry_at is not None
        delays.append(waiting.retry_at - rig.clock.now)
        assert agent.claim("patient") == ()
        rig.clock.pass_(delays[-1])
        agent.renew()
    agent.end(agent.one("patient"), Verdict.FAILED)

    assert delays == [10.0, 20.0]
    ended = rig.run(run)
    assert ended.state is RunState.FAILED
    assert len(ended.attempts) == 3


def test_runs_that_wait_for_a_retry_hold_nobody_up(rig: Rig) -> None:
    rig.queue("patient", retry=RetryPolicy(reasons=(Reason.USER_ERROR,), max_retries=2))
    rig.submit("patient")
    agent = rig.agent()
    agent.end(agent.one("patient"), Verdict.FAILED)
    later = rig.submit("patient")

    assert agent.one("patient").run_id == later.id


def _log(data: bytes, cursor: str) -> object:
    from launchcore.plugin import LogAppend

    return LogAppend(offset=0, data=data, cursor=cursor)


class TestAnswersThatAreLost:
    """A claim whose answer never arrives loses no run, and gives none to two."""

    def test_the_same_key_again_gets_the_same_claims(self, rig: Rig) -> None:
        for _ in range(3):
            rig.submit()
        one = rig.agent()
        first = keyed(rig, one, "k1", limit=2)
        assert keyed(rig, one, "k1", limit=2) == first
        assert len(first) == 2
        (third,) = keyed(rig, one, "k2", limit=2)
        assert third.run_id not in {claim.run_id for claim in first}
        assert keyed(rig, one, "k3", limit=2) == ()

    def test_what_has_ended_does_not_come_again(self, rig: Rig) -> None:
        rig.submit()
        one = rig.agent()
        (claim,) = keyed(rig, one, "k")
        one.start(claim)
        one.end(claim)
        assert keyed(rig, one, "k") == ()

    def test_a_key_is_its_session_s_own(self, rig: Rig) -> None:
        rig.submit()
        one, two = rig.agent("one"), rig.agent("two")
        assert len(keyed(rig, one, "k")) == 1
        assert keyed(rig, two, "k") == ()

    def test_an_adoption_comes_again_as_one(self, rig: Rig) -> None:
        rig.submit()
        one, two = rig.agent("one"), rig.agent("two")
        one.start(one.one())
        rig.clock.pass_(31)
        two.renew()
        first = keyed(rig, two, "k")
        assert [claim.adopted for claim in first] == [True]
        assert keyed(rig, two, "k") == first

    def test_what_a_renewal_does_not_name_goes_back(self, rig: Rig) -> None:
        run = rig.submit()
        one = rig.agent()
        claim = one.one()
        assert one.renew() == ()
        assert rig.run(run).state is RunState.CLAIMED  # its answer may be on its way
        rig.clock.pass_(11)
        one.renew()
        assert rig.run(run).state is RunState.QUEUED
        assert rig.notes(run) == ["agent one never heard of attempt 1"]
        with pytest.raises(LeaseLost):
            one.write(claim, state=RunState.STARTING)
        again = one.one()
        assert again.attempt == 2

    def test_what_may_have_started_stays(self, rig: Rig) -> None:
        run = rig.submit()
        one = rig.agent()
        claim = one.one()
        one.write(claim, state=RunState.STARTING)
        rig.clock.pass_(11)
        one.renew()
        assert rig.run(run).state is RunState.STARTING

    def test_what_is_named_stays(self, rig: Rig) -> None:
        run = rig.submit()
        one = rig.agent()
        claim = one.one()
        rig.clock.pass_(11)
        one.renew(claim)
        assert rig.run(run).state is RunState.CLAIMED


def keyed(rig: Rig, agent: Agent, key: str, *, limit: int = 1) -> tuple[Claim, ...]:
    """A claim with a key, as the server makes it."""
    found = rig.database.write(
        lambda tx: claims.claim(
            tx,
            agent.info,
            ("default",),
            limit=limit,
            lease_seconds=LEASE,
            lost_after=LOST_AFTER,
            host_bound=frozenset(),
            key=key,
        )
    )
    return found.claims
