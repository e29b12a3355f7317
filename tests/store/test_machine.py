"""Random interleavings of all that users and agents do; the invariants are checked after each step."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from launchcore.plugin import (
    Cancelled,
    Claim,
    LaunchError,
    LeaseLost,
    Limits,
    LogAppend,
    Priority,
    Reason,
    RetryPolicy,
    RunState,
    Update,
    Verdict,
)
from launchcore.queues.base import AttemptInfo, RunFilter, RunInfo
from launchcore.store import claims
from tests.serving import over_http
from tests.store.rig import LEASE, LOST_AFTER, Agent, Rig, handle, outcome, spec

QUEUES = {
    "narrow": {"max_running": 2, "retry": RetryPolicy(max_lost=2)},
    "wide": {
        "type": "bound",
        "retry": RetryPolicy(
            max_lost=3, reasons=(Reason.USER_ERROR,), max_retries=2, delay_seconds=7.0, jitter=0.0
        ),
    },
    "fair": {"max_running_per_submitter": 2, "max_running": 5, "retry": RetryPolicy(max_preempted=1)},
}
EACH = 2
"""Runs at a time of one submitter of "fair"."""
FULL = {"narrow": 2, "fair": 5}
SUBMITTERS = ("ann", "bob", "")
CHOICES = [("narrow",), ("wide",), ("fair",), ("narrow", "wide"), ("wide", "narrow"), ("fair", "wide")]
STATES = (RunState.PREPARING, RunState.STARTING, RunState.RUNNING)
SHARED_MEMORY = Path("/dev/shm")

number = st.integers(0, 1_000_000)


@attrs.define
class Held:
    """A lease that some agent was given, perhaps long ago."""

    agent: Agent
    claim: Claim


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        where = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="launch-machine-", dir=where))
        self.rig = Rig(self.folder)
        self.accepted: list[str] = []
        self.ended: dict[str, RunInfo] = {}
        self.cancelled: set[str] = set()
        self.held: list[Held] = []
        self.latest: dict[str, str] = {}
        """The newest token of each attempt."""
        self.hosts: dict[str, str] = {}
        self.reported: set[str] = set()
        """Attempts that their holder has ended."""
        self.restarts = 0
        self.keys = 0
        self.arrays: dict[str, int | None] = {}
        """How many of each array may run at a time."""

    def teardown(self) -> None:
        self.rig.service.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @initialize()
    def begin(self) -> None:
        for name, parts in QUEUES.items():
            self.rig.queue(name, **parts)
        bound = ("bound",)
        self.agents = [
            self.rig.agent("one", host="left", host_bound=bound),
            self.rig.agent("two", host="left", host_bound=bound),
            self.rig.agent("three", host="right", host_bound=bound),
        ]

    # what users do

    @rule(
        queue=st.sampled_from(sorted(QUEUES)),
        priorities=st.lists(st.sampled_from(Priority), min_size=1, max_size=4),
        submitter=st.sampled_from(SUBMITTERS),
        patience=st.sampled_from([None, None, 25.0]),
    )
    def submit(self, queue: str, priorities: list[Priority], submitter: str, patience: float | None) -> None:
        limits = Limits(queue_seconds=patience)
        for priority in priorities:
            run = self.rig.submit(queue, priority=priority, submitter=submitter, limits=limits)
            self.accepted.append(run.id)

    @rule(
        queue=st.sampled_from(sorted(QUEUES)),
        size=st.integers(1, 4),
        most=st.sampled_from([None, 1, 2]),
        submitter=st.sampled_from(SUBMITTERS),
        twice=st.booleans(),
    )
    def submit_array(self, queue: str, size: int, most: int | None, submitter: str, twice: bool) -> None:
        asked = (queue, spec(), {"x": list(range(size))})
        key = f"array {len(self.arrays)}"
        array = self.rig.service.submit_array(*asked, max_parallel=most, submitter=submitter, key=key)
        if twice:  # its answer was lost
            again = self.rig.service.submit_array(*asked, max_parallel=most, submitter=submitter, key=key)
            assert again == array
        self.arrays[array.id] = most
        members = self.rig.service.list_runs(RunFilter(array=array.id)).runs
        assert [run.array.index for run in members if run.array] == list(range(size))
        self.accepted += [run.id for run in members]

    @precondition(lambda self: self.arrays)
    @rule(which=number)
    def cancel_array(self, which: int) -> None:
        array = self._pick(list(self.arrays), which)
        self.rig.service.cancel_array(array)
        for run in self.rig.service.list_runs(RunFilter(array=array)).runs:
            assert run.state.final or run.cancel_requested_at is not None
            if run.cancel_requested_at is not None:
                self.cancelled.add(run.id)

    @precondition(lambda self: self.accepted)
    @rule(which=number)
    def cancel(self, which: int) -> None:
        run = self.rig.service.cancel(self._pick(self.accepted, which), by="somebody")
        assert run.state.final or run.cancel_requested_at is not None
        self.cancelled.add(run.id)

    @precondition(lambda self: self.accepted)
    @rule(which=number)
    def retry(self, which: int) -> None:
        run = self.rig.run(self._pick(self.accepted, which))
        if run.state.final:
            again = self.rig.service.retry(run.id)
            assert again.retry_of == run.id
            self.accepted.append(again.id)
        else:
            with pytest.raises(LaunchError):
                self.rig.service.retry(run.id)

    # what agents do

    @rule(
        which=number,
        queues=st.sampled_from(CHOICES),
        limit=st.integers(1, 4),
        twice=st.booleans(),
    )
    def claim(self, which: int, queues: tuple[str, ...], limit: int, twice: bool) -> None:
        agent = self._pick(self.agents, which)
        found = self._claim(agent, queues, limit, twice)
        assert len(found) <= limit
        self._took(agent, found)
        runs = self._all()
        waiting = [run for run in runs if run.state is RunState.QUEUED and run.retry_at is None]
        held_up = self._held_up(runs)
        for name in queues:
            fresh = [claim for claim in found if claim.queue == name and not claim.adopted]
            places = [self._place(claim.run_id) for claim in fresh]
            assert places == sorted(places)
            left = [self._place(run.id) for run in waiting if run.queue == name and not held_up(run)]
            assert not places or not left or max(places) < min(left), "first in, first out"
            live = sum(run.queue == name for run in runs if run.state.live)
            full = live >= FULL.get(name, 1000)
            alive = self._is_alive(agent)
            assert not left or full or not alive or len(found) == limit, "nobody waits without a reason"

    def _claim(self, agent: Agent, queues: tuple[str, ...], limit: int, twice: bool) -> tuple[Claim, ...]:
        """With a key, as the server claims; ``twice``: the first answer was lost."""
        self.keys += 1
        found = [
            self.rig.database.write(
                lambda tx: claims.claim(
                    tx,
                    agent.info,
                    queues,
                    limit=limit,
                    lease_seconds=LEASE,
                    lost_after=LOST_AFTER,
                    host_bound=frozenset(agent.info.host_bound),
                    key=f"claim {self.keys}",
                )
            ).claims
            for _ in range(1 + twice)
        ]
        assert sorted(found[0], key=_attempt) == sorted(found[-1], key=_attempt)
        return found[0]

    def _held_up(self, runs: list[RunInfo]) -> Callable[[RunInfo], bool]:
        """Whether a run waits for others of its submitter, or of its array."""
        live = [run for run in runs if run.state.live]
        submitters = Counter(run.submitter for run in live if run.queue == "fair")
        arrays = Counter(run.array.id for run in live if run.array)

        def held_up(run: RunInfo) -> bool:
            most = self.arrays[run.array.id] if run.array else None
            if run.array and most is not None and arrays[run.array.id] >= most:
                return True
            return run.queue == "fair" and submitters[run.submitter] >= EACH

        return held_up

    def _is_alive(self, agent: Agent) -> bool:
        rows = {row.name: row for row in self.rig.service.agents()}
        return agent.info.name in rows and rows[agent.info.name].alive

    @rule(which=number, queue=st.sampled_from(sorted(QUEUES)))
    def begin_one(self, which: int, queue: str) -> None:
        """The common journey in one step, so that what follows it happens more often."""
        agent = self._pick(self.agents, which)
        for claim in agent.claim(queue):
            self._took(agent, [claim])
            if not claim.adopted:
                agent.start(claim)

    @rule(which=number)
    def silence(self, which: int) -> None:
        """Nobody renews until all leases are over; then one agent after the other is back."""
        self.rig.clock.pass_(31.0)
        for place in range(len(self.agents)):
            agent = self._pick(self.agents, which + place)
            agent.renew()
            self._took(agent, agent.claim(*QUEUES, limit=4))

    @precondition(lambda self: self.held)
    @rule(which=number)
    def cancel_before_a_write(self, which: int) -> None:
        held = self._pick(self.held, which)
        self.cancelled.add(held.claim.run_id)
        before = self.rig.run(held.claim)
        if before.state.final:
            self.cancelled.discard(held.claim.run_id)
        self.rig.service.cancel(held.claim.run_id)
        self.write(which, RunState.STARTING, False, b"")

    @precondition(lambda self: self._stale())
    @rule(which=number, ends=st.booleans())
    def write_with_a_stale_token(self, which: int, ends: bool) -> None:
        """The zombie: an agent that was stopped while another one adopted its attempt."""
        update = Update(outcome=outcome(Verdict.FAILED)) if ends else Update(state=RunState.RUNNING)
        assert self._fenced(self._pick(self._stale(), which), update) is None

    @rule(which=number)
    def renew(self, which: int) -> None:
        agent = self._pick(self.agents, which)
        mine = {each.claim.attempt_id: each for each in self.held if each.agent is agent}
        lost = agent.renew(*(each.claim for each in mine.values()))
        for each in mine.values():
            if each.claim.attempt_id not in lost:
                assert self._is_current(each)

    @precondition(lambda self: self.held)
    @rule(
        which=number, state=st.sampled_from(STATES), stores_handle=st.booleans(), says=st.binary(max_size=9)
    )
    def write(self, which: int, state: RunState, stores_handle: bool, says: bytes) -> None:
        held = self._pick(self.held, which)
        log = LogAppend(offset=self._log_bytes(held), data=says, cursor=None)
        update = Update(state=state, handle=handle(held.claim) if stores_handle else None, log=log)
        before = self._fenced(held, update)
        if before is not None and state is RunState.STARTING:
            assert held.claim.run_id not in self.cancelled or before.state is RunState.RUNNING

    @precondition(lambda self: self.held)
    @rule(
        which=number,
        verdict=st.sampled_from(Verdict),
        reason=st.sampled_from([Reason.USER_ERROR, Reason.LOST, Reason.PREEMPTED]),
    )
    def finish(self, which: int, verdict: Verdict, reason: Reason) -> None:
        held = self._pick(self.held, which)
        update = Update(outcome=outcome(verdict, reason))
        if self._fenced(held, update) is not None:
            before = self.rig.run(held.claim)
            held.agent.client.write(held.claim.lease, update)  # its answer was lost: again
            assert self.rig.run(held.claim) == before

    @precondition(lambda self: self.held)
    @rule(which=number)
    def release(self, which: int) -> None:
        held = self._pick(self.held, which)
        before = self.rig.run(held.claim)
        try:
            held.agent.client.release(held.claim.lease, "the agent drains")
        except (LeaseLost, LaunchError):
            assert self.rig.run(held.claim) == before

    @rule(which=number)
    def restart(self, which: int) -> None:
        """kill -9 and a new start of one agent."""
        self.restarts += 1
        agent = self._pick(self.agents, which)
        again = agent.restart(f"{agent.info.name}-{self.restarts + 1}")
        self.agents[self.agents.index(agent)] = again
        again.register(previous_is_dead=True)
        self._took(again, again.reclaim())

    @rule(which=number)
    def leave(self, which: int) -> None:
        agent = self._pick(self.agents, which)
        agent.client.unregister(agent.info)
        agent.register()

    @rule(seconds=st.sampled_from([1.0, 5.0, 20.0, 31.0, 650.0]))
    def time_passes(self, seconds: float) -> None:
        self.rig.clock.pass_(seconds)

    # what always holds

    @invariant()
    def what_always_holds(self) -> None:
        runs = self._all()
        self._every_run_is_queued_live_or_ended(runs)
        self._what_has_ended_stays_as_it_was(runs)
        live = [run.queue for run in runs for attempt in run.attempts if attempt.ended_at is None]
        for name, most in FULL.items():
            assert live.count(name) <= most
        self._limits_are_kept(runs)

    def _limits_are_kept(self, runs: list[RunInfo]) -> None:
        busy = [run for run in runs if run.state.live]
        fair = Counter(run.submitter for run in busy if run.queue == "fair")
        assert max(fair.values(), default=0) <= EACH
        arrays = Counter(run.array.id for run in busy if run.array)
        assert all(count <= (self.arrays[array] or count) for array, count in arrays.items())
        assert all(run.preempted <= (1 if run.queue == "fair" else 10) for run in runs)
        for array in list(self.arrays)[-2:]:
            info = self.rig.service.array(array)
            assert sum(info.counts.values()) == info.size

    def _every_run_is_queued_live_or_ended(self, runs: list[RunInfo]) -> None:
        assert sorted(run.id for run in runs) == sorted(self.accepted)
        for run in runs:
            live = [attempt for attempt in run.attempts if attempt.ended_at is None]
            assert len(live) == (1 if run.state.live else 0)
            assert [attempt.number for attempt in run.attempts] == list(range(1, len(run.attempts) + 1))
            if live:
                assert live[0].state is run.state
            assert (run.ended_at is not None) == run.state.final
            assert run.retry_at is None or run.state is RunState.QUEUED

    def _what_has_ended_stays_as_it_was(self, runs: list[RunInfo]) -> None:
        for run in runs:
            if run.state.final:
                assert self.ended.setdefault(run.id, run) == run
            else:
                assert run.id not in self.ended

    # helpers

    def _all(self) -> list[RunInfo]:
        return list(self.rig.service.list_runs(RunFilter(limit=1000)).runs)

    def _pick(self, things: list[Any], which: int) -> Any:
        return things[-1 - which % len(things)]  # the newest by the simplest number

    def _place(self, run_id: str) -> tuple[int, int]:
        run = self.rig.run(run_id)
        return run.priority, self.accepted.index(run_id)

    def _took(self, agent: Agent, claims: Any) -> None:
        for claim in claims:
            before = self.hosts.get(claim.attempt_id)
            if claim.queue == "wide" and before is not None:
                assert before == agent.info.host, "its objects are on another host"
            assert claim.adopted == (before is not None)
            self.hosts[claim.attempt_id] = agent.info.host
            self.latest[claim.attempt_id] = claim.lease.token
            self.held.append(Held(agent, claim))

    def _stale(self) -> list[Held]:
        return [each for each in self.held if not self._is_current(each)]

    def _is_current(self, held: Held) -> bool:
        return self.latest[held.claim.attempt_id] == held.claim.lease.token

    def _log_bytes(self, held: Held) -> int:
        attempts = self.rig.run(held.claim).attempts
        return next(each.log_bytes for each in attempts if each.number == held.claim.attempt)

    def _fenced(self, held: Held, update: Update) -> AttemptInfo | None:
        """Write. The attempt as it was before, if that was accepted.

        A stale token changes nothing, nor does any write about an attempt that has ended.
        """
        before = self.rig.run(held.claim)
        attempt = next(each for each in before.attempts if each.number == held.claim.attempt)
        try:
            held.agent.client.write(held.claim.lease, update)
        except (LeaseLost, Cancelled) as error:
            assert self.rig.run(held.claim) == before
            if isinstance(error, Cancelled):
                assert before.id in self.cancelled
            elif self._is_current(held) and attempt.ended_at is None:
                assert update.state is RunState.STARTING
                assert attempt.lease_expires_at is not None
                assert attempt.lease_expires_at <= self.rig.clock.now
            return None
        assert self._is_current(held)
        if attempt.ended_at is not None:
            assert update.outcome is not None
            assert held.claim.attempt_id in self.reported
            assert self.rig.run(held.claim) == before
            return None
        if update.outcome is not None:
            self.reported.add(held.claim.attempt_id)
        return attempt


def _attempt(claim: Claim) -> str:
    return claim.attempt_id


COMMON = settings(deadline=None, suppress_health_check=list(HealthCheck))


class TestStore(StoreMachine.TestCase):  # type: ignore[valid-type, misc]
    settings = settings(COMMON, max_examples=8 if over_http() else 40, stateful_step_count=50)


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestStoreForLonger(StoreMachine.TestCase):  # type: ignore[valid-type, misc]
    settings = settings(COMMON, max_examples=25 if over_http() else 150, stateful_step_count=70)
