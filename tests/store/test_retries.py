"""Runs that come back: retries, what was preempted, what is quarantined, and deadlines that time brings."""

from __future__ import annotations

from typing import Any

import pytest

from launchcore.plugin import (
    LaunchError,
    Limits,
    QueueConfig,
    Reason,
    RetryPolicy,
    RunState,
    SourceRef,
    Verdict,
)
from launchcore.queues.base import JobDefinition, RunInfo
from launchcore.queues.retries import beyond, policy_of, retry_problems
from tests.store.rig import LOST_AFTER, Agent, Rig

OPEN = RetryPolicy(max_retries=3, reasons=(Reason.OUT_OF_MEMORY,), jitter=0.0)


def sweep(rig: Rig) -> None:
    """What a server does every few seconds, whether agents live or not."""
    rig.database.sweep(lost_after=LOST_AFTER)


def again(rig: Rig, agent: Agent, seconds: float = 4000.0) -> Any:
    """The run's next attempt, when its time has come."""
    rig.clock.pass_(seconds)
    agent.renew()
    return agent.one()


class TestPoliciesOfRuns:
    def test_a_run_says_how_often_and_why(self, rig: Rig) -> None:
        rig.service.edit_queue("default", QueueConfig(type="process", retry=OPEN))
        run = rig.submit(retry=RetryPolicy(max_retries=1, reasons=(Reason.USER_ERROR,)))
        agent = rig.agent()
        agent.end(agent.one(), Verdict.FAILED)
        assert rig.run(run).retries == 1
        agent.end(again(rig, agent), Verdict.FAILED)
        assert rig.run(run).state is RunState.FAILED

    def test_within_the_bounds_of_its_queue(self, rig: Rig) -> None:
        rig.service.edit_queue("default", QueueConfig(type="process", retry=OPEN))
        for policy, said in (
            (RetryPolicy(max_retries=4), "retry.max_retries: 4 is more than the queue allows .3."),
            (RetryPolicy(max_lost=9), "retry.max_lost: 9 is more"),
            (RetryPolicy(max_preempted=11), "retry.max_preempted: 11 is more"),
            (RetryPolicy(delay_seconds=1.0), "retry.delay_seconds: 1 is less than the queue allows .5."),
            (RetryPolicy(jitter=2.0), "retry.jitter: 2.0 is not between 0 and 1"),
            (RetryPolicy(reasons=(Reason.CANCELLED,)), "what was cancelled is never tried again"),
        ):
            with pytest.raises(LaunchError, match=said):
                rig.submit(retry=policy)

    def test_what_it_leaves_out_is_the_queue_s(self) -> None:
        queue = RetryPolicy(
            max_lost=5,
            max_retries=7,
            reasons=(Reason.EVICTED,),
            delay_seconds=60.0,
            max_delay_seconds=600.0,
            max_quarantined=9,
        )
        assert beyond(queue, RetryPolicy(max_retries=2)) == []
        policy = policy_of(queue, RetryPolicy(max_retries=2))
        assert (policy.max_retries, policy.max_lost, policy.max_quarantined) == (2, 5, 9)
        assert policy.reasons == (Reason.EVICTED,)
        assert (policy.delay_seconds, policy.max_delay_seconds) == (60.0, 600.0)
        assert policy_of(queue, RetryPolicy()).max_retries == 0
        assert policy_of(queue, None) == queue

    def test_the_queue_s_bounds_count_as_they_are_when_it_is_claimed(self, rig: Rig) -> None:
        rig.service.edit_queue("default", QueueConfig(type="process", retry=OPEN))
        run = rig.submit(retry=RetryPolicy(max_retries=3, reasons=(Reason.USER_ERROR,)))
        rig.service.edit_queue("default", QueueConfig(type="process"))
        agent = rig.agent()
        agent.end(agent.one(), Verdict.FAILED)
        assert rig.run(run).state is RunState.FAILED

    @pytest.mark.parametrize(
        ("policy", "said"),
        [
            (RetryPolicy(max_lost=0), "max_lost"),
            (RetryPolicy(max_retries=-1), "max_retries"),
            (RetryPolicy(max_preempted=10**9), "max_preempted"),
            (RetryPolicy(max_quarantined=-1), "max_quarantined"),
            (RetryPolicy(delay_seconds=float("nan")), "delay_seconds"),
            (RetryPolicy(delay_seconds=20.0, max_delay_seconds=10.0), "max_delay_seconds"),
            (RetryPolicy(jitter=-0.1), "jitter"),
        ],
    )
    def test_absurd_numbers(self, policy: RetryPolicy, said: str) -> None:
        assert any(said in problem for problem in retry_problems(policy))


class TestPreempted:
    @pytest.mark.parametrize("reason", [Reason.PREEMPTED, Reason.EVICTED])
    def test_it_is_resumed_at_once_and_told_so(self, rig: Rig, reason: Reason) -> None:
        run = rig.submit()
        agent = rig.agent()
        first = agent.one()
        assert not first.resumed
        agent.start(first)
        agent.end(first, Verdict.FAILED, reason=reason)
        waiting = rig.run(run)
        assert (waiting.state, waiting.retry_at, waiting.preempted) == (RunState.QUEUED, None, 1)
        assert (waiting.retries, waiting.attempts[0].failure is not None) == (0, True)
        second = agent.one()
        assert (second.attempt, second.resumed) == (2, True)
        assert rig.notes(run) == [f"attempt 1 was {reason.value}: queued again (1 of at most 10 times)"]

    def test_up_to_a_limit_of_its_own(self, rig: Rig) -> None:
        policy = RetryPolicy(max_preempted=2, max_retries=1, reasons=(Reason.OUT_OF_MEMORY,), jitter=0.0)
        rig.service.edit_queue("default", QueueConfig(type="process", retry=policy))
        run = rig.submit()
        agent = rig.agent()
        reasons = [Reason.PREEMPTED, Reason.OUT_OF_MEMORY, Reason.PREEMPTED, Reason.PREEMPTED]
        for reason in reasons:
            agent.end(again(rig, agent), Verdict.FAILED, reason=reason)
        ended = rig.run(run)
        assert (ended.state, ended.preempted, ended.retries) == (RunState.FAILED, 2, 1)
        assert ended.failure is not None
        assert ended.failure.reason is Reason.PREEMPTED
        assert "resumed 2 times before" in ended.failure.detail

    def test_a_retry_may_follow_where_the_policy_says_so(self, rig: Rig) -> None:
        policy = RetryPolicy(max_preempted=0, max_retries=1, reasons=(Reason.PREEMPTED,))
        rig.service.edit_queue("default", QueueConfig(type="process", retry=policy))
        run = rig.submit()
        agent = rig.agent()
        agent.end(agent.one(), Verdict.FAILED, reason=Reason.PREEMPTED)
        assert (rig.run(run).retries, rig.run(run).preempted) == (1, 0)

    def test_a_cancelled_run_is_not_resumed(self, rig: Rig) -> None:
        run = rig.submit()
        agent = rig.agent()
        claim = agent.one()
        agent.start(claim)
        rig.service.cancel(run.id)
        agent.end(claim, Verdict.FAILED, reason=Reason.PREEMPTED)
        assert rig.run(run).state is RunState.CANCELLED

    def test_an_attempt_that_never_ran_leaves_nothing_to_resume(self, rig: Rig) -> None:
        rig.submit()
        agent = rig.agent()
        agent.one()
        assert not again(rig, agent, 31.0).resumed


class TestQuarantine:
    def job(self, rig: Rig, *commands: str) -> None:
        source = SourceRef(type="image", fields={"image": "busybox"})
        for command in commands:
            rig.service.create_job("train", JobDefinition(source=source, command=(command,)))

    def lose(self, rig: Rig, run: RunInfo, times: int = 1) -> RunInfo:
        for number in range(times):
            agent = rig.agent(f"victim-{run.id}-{number}")
            agent.one()
            rig.clock.pass_(31)
            sweep(rig)
        return rig.run(run)

    @pytest.fixture(autouse=True)
    def strict(self, rig: Rig) -> None:
        policy = RetryPolicy(max_lost=1, max_quarantined=2)
        rig.service.edit_queue("default", QueueConfig(type="process", retry=policy))
        self.job(rig, "one", "two")

    def test_a_run_that_kills_its_agents_says_so_and_may_be_retried(self, rig: Rig) -> None:
        run = self.lose(rig, rig.submit())
        assert (run.state, run.quarantined) == (RunState.FAILED, True)
        assert run.failure is not None
        assert run.failure.detail.startswith("quarantined: 1 attempt was lost (agents: victim-")
        again = rig.service.retry(run.id)
        assert (again.state, again.quarantined, again.retry_of) == (RunState.QUEUED, False, run.id)

    def test_a_version_of_a_job_is_refused_after_several(self, rig: Rig) -> None:
        for _ in range(2):
            last = self.lose(rig, rig.submit(job="train:1"))
        assert rig.service.queue("default").refused_jobs == ("train:1",)
        with pytest.raises(LaunchError, match="takes no more runs of train:1: 2 of them in a row") as error:
            rig.submit(job="train:1")
        assert error.value.hint is not None
        assert "launch queue edit default --release train:1" in error.value.hint
        rig.submit(job="train:2")
        rig.submit()
        assert rig.service.retry(last.id).state is RunState.QUEUED  # who asks for it by itself gets it

    @pytest.mark.parametrize("ref", ["train:1", "train"])
    def test_until_its_owner_releases_it(self, rig: Rig, ref: str) -> None:
        for _ in range(2):
            self.lose(rig, rig.submit(job="train:1"))
        config = rig.service.queue("default").config
        after = rig.service.edit_queue("default", config, release=ref)
        assert after.refused_jobs == ()
        rig.submit(job="train:1")
        with pytest.raises(LaunchError, match="refuses no runs of"):
            rig.service.edit_queue("default", config, release=ref)

    def test_a_success_between_them_ends_the_row(self, rig: Rig) -> None:
        self.lose(rig, rig.submit(job="train:1"))
        rig.submit(job="train:1")
        agent = rig.agent()
        agent.end(agent.one())
        self.lose(rig, rig.submit(job="train:1"))
        assert rig.service.queue("default").refused_jobs == ()
        rig.submit(job="train:1")

    def test_zero_means_never(self, rig: Rig) -> None:
        policy = RetryPolicy(max_lost=1, max_quarantined=0)
        rig.service.edit_queue("default", QueueConfig(type="process", retry=policy))
        for _ in range(4):
            self.lose(rig, rig.submit(job="train:1"))


class TestTimeAlone:
    """Deadlines that nobody but the store can keep."""

    def test_a_run_that_waited_for_too_long_fails(self, rig: Rig) -> None:
        rig.service.edit_queue("default", QueueConfig(type="process", limits=Limits(queue_seconds=60.0)))
        run = rig.submit()
        patient = rig.submit(limits=Limits(queue_seconds=30.0))
        rig.clock.pass_(59)
        sweep(rig)
        assert rig.run(run).state is RunState.QUEUED
        assert rig.run(patient).state is RunState.FAILED
        rig.clock.pass_(2)
        sweep(rig)
        ended = rig.run(run)
        assert ended.state is RunState.FAILED
        assert ended.failure is not None
        assert ended.failure.reason is Reason.UNSCHEDULABLE
        assert "no agent took it within 60 s" in ended.failure.detail
        assert ended.failure.hint
        assert rig.notes(run)
        with pytest.raises(LaunchError, match=r"limits\.queue_seconds: 90 is more"):
            rig.submit(limits=Limits(queue_seconds=90.0))

    def test_a_claim_does_not_take_it_either(self, rig: Rig) -> None:
        run = rig.submit(limits=Limits(queue_seconds=5.0))
        agent = rig.agent()
        rig.clock.pass_(6)
        assert agent.claim() == ()
        assert rig.run(run).state is RunState.FAILED

    def test_each_wait_counts_for_itself(self, rig: Rig) -> None:
        policy = RetryPolicy(max_retries=1, reasons=(Reason.USER_ERROR,), delay_seconds=100.0, jitter=0.0)
        rig.service.edit_queue("default", QueueConfig(type="process", retry=policy))
        run = rig.submit(limits=Limits(queue_seconds=30.0))
        agent = rig.agent()
        claim = agent.one()
        agent.start(claim)
        rig.clock.pass_(25)
        agent.end(claim, Verdict.FAILED)
        rig.clock.pass_(101)
        sweep(rig)
        assert rig.run(run).state is RunState.QUEUED
        rig.clock.pass_(30)
        sweep(rig)
        assert rig.run(run).state is RunState.FAILED

    def test_one_that_was_taken_in_time_runs_on(self, rig: Rig) -> None:
        run = rig.submit(limits=Limits(queue_seconds=30.0))
        agent = rig.agent()
        claim = agent.one()
        agent.start(claim)
        rig.clock.pass_(20)
        agent.renew(claim)
        rig.clock.pass_(20)
        sweep(rig)
        assert rig.run(run).state is RunState.RUNNING

    def test_a_retry_that_is_due_needs_no_claim(self, rig: Rig) -> None:
        policy = RetryPolicy(max_retries=1, reasons=(Reason.USER_ERROR,), delay_seconds=10.0)
        rig.service.edit_queue("default", QueueConfig(type="process", retry=policy))
        run = rig.submit()
        agent = rig.agent()
        agent.end(agent.one(), Verdict.FAILED)
        assert rig.run(run).retry_at is not None
        rig.clock.pass_(10)
        sweep(rig)
        assert rig.run(run).retry_at is None

    @pytest.mark.parametrize(
        ("running", "reason"), [(True, Reason.RUN_TIMEOUT), (False, Reason.START_TIMEOUT)]
    )
    def test_a_deadline_counts_without_an_agent(self, rig: Rig, running: bool, reason: Reason) -> None:
        limits = Limits(run_seconds=60.0, start_seconds=60.0, grace_seconds=20.0)
        rig.service.edit_queue("default", QueueConfig(type="process", limits=limits))
        run = rig.submit()
        agent = rig.agent()
        claim = agent.one()
        agent.write(claim, state=RunState.STARTING)
        if running:
            agent.write(claim, state=RunState.RUNNING)
        rig.clock.pass_(31)
        sweep(rig)
        assert rig.run(run).state.live  # its agent is gone; another one may adopt it
        rig.clock.pass_(60 + 20 + 60 - 31 - 1)
        sweep(rig)
        assert rig.run(run).state.live  # its runner has the deadline too, and gets its grace
        rig.clock.pass_(2)
        sweep(rig)
        ended = rig.run(run)
        assert ended.state is RunState.FAILED
        assert ended.failure is not None
        assert ended.failure.reason is reason
        assert ended.attempts[0].ended_at is not None

    def test_a_sweep_wakes_who_waits_for_the_queue(self, rig: Rig) -> None:
        policy = RetryPolicy(max_retries=1, reasons=(Reason.USER_ERROR,), delay_seconds=10.0)
        rig.service.edit_queue("default", QueueConfig(type="process", retry=policy))
        rig.submit()
        agent = rig.agent()
        agent.end(agent.one(), Verdict.FAILED)
        rig.clock.pass_(10)
        with rig.database.bell.listen(["queue:default"]) as ear:
            sweep(rig)
            assert ear.wait(30)
