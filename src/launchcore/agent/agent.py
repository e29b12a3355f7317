"""The agent: takes runs from queues and leads each one through its journey. Knows no backend."""

from __future__ import annotations

import collections
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from launchcore.agent.attempt import Attempt
from launchcore.agent.closer import Closer
from launchcore.agent.failpoints import Failpoints
from launchcore.agent.intake import Intake, StopListener
from launchcore.agent.leases import LeaseKeeper
from launchcore.agent.monitors import Monitors
from launchcore.agent.pool import Pool
from launchcore.agent.recovery import NEVER_STARTED, recover
from launchcore.agent.roster import Roster
from launchcore.agent.sweeper import Sweeper
from launchcore.agent.view import AgentView, Row, Snapshot
from launchcore.agent.waiting import Again, WaitingRoom
from launchcore.config.secrets import SecretStore
from launchcore.config.values import AgentConfig
from launchcore.plugin import (
    AgentInfo,
    Claim,
    LeaseLost,
    Outcome,
    QueueClient,
    QueueDamaged,
    QueueUnavailable,
    Reason,
    Stage,
    Stop,
    Verdict,
)
from launchcore.stages.journey import travel
from launchcore.stages.work import Late, Postponed, Released, StageFailed, describe
from launchcore.stages.workshop import Workshop
from launchcore.telemetry.gauges import Gauges
from launchcore.telemetry.witness import Witness

log = logging.getLogger("launchcore.agent")

LAST_WRITES = 5.0
"""Seconds that a leaving agent waits for ends that are being written."""
ERRANDS = 8
"""Threads that do what the return of the queue asks for, at most."""


class Agent:
    """One agent. The threads it has do not depend on how many runs it follows.

    intake (claims) · stops · leases · sweeper · up to ``stage_workers`` stage workers · one monitor, and
    closers, for each runner in use.
    """

    def __init__(
        self,
        *,
        info: AgentInfo,
        config: AgentConfig,
        client: QueueClient,
        shop: Workshop,
        secrets: SecretStore,
        failpoints: Failpoints,
        view: AgentView,
        witness: Witness,
        local: bool,
    ) -> None:
        self.info = info
        self._config = config
        self._client = client
        self._shop = shop
        self._secrets = secrets
        self._failpoints = failpoints
        self._view = view
        self._witness = witness
        self._local = local
        self._attempts_dir = Path(config.state_dir) / "attempts"
        self.roster = Roster(max_jobs=config.max_jobs, stage_workers=config.stage_workers)
        self._stagers = Pool(config.stage_workers, "stage")
        self._errands = Pool(ERRANDS, "errand")
        self._waiting = WaitingRoom(self.roster, self._try_again)
        self._sweeper = Sweeper(client, shop, self.roster, self._attempts_dir)
        self._closer = Closer(shop.host, self.roster, ended=self._ended, dropped=self._sweeper.nudge)
        self._monitors = Monitors(
            shop,
            self._closer,
            config,
            known=lambda attempt_id: self.roster.get(attempt_id) is not None,
            came=self._sweeper.nudge,
        )
        self._done: collections.Counter[Verdict] = collections.Counter()
        self._away_since: float | None = None
        self._away_first = 0.0
        self.on_change: Callable[[], None] = lambda: None
        """Rung when the main thread has something to do."""
        self.draining = False
        self.replaced: str | None = None
        """Why this agent must go: another session has taken its name."""
        self.damaged: QueueDamaged | None = None
        """Why this agent must go: nothing that the queue says can be trusted."""
        lease = config.lease_seconds
        self._leases = LeaseKeeper(
            client,
            info,
            self.roster,
            failpoints,
            lease_seconds=lease,
            lost=self._lost,
            unavailable=self._unavailable,
            damaged=self._damaged,
            replaced=self._replaced,
            returned=self._returned,
        )
        self._intake = Intake(
            client,
            info,
            self.roster,
            failpoints,
            lease_seconds=lease,
            take=self._take,
            begin_again=self._leases.begin_again,
            unavailable=self._unavailable,
            replaced=self._replaced,
            damaged=self._damaged,
        )
        self._stops = StopListener(
            client,
            info,
            self.roster,
            stop=self._stop_attempt,
            unavailable=self._unavailable,
            damaged=self._damaged,
        )

    # -- life ----------------------------------------------------------------------------------

    def start(self, claims: Sequence[Claim]) -> None:
        """Serve; first take up ``claims``, what this agent left before its restart."""
        self._attempts_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._leases.start()
        for claim in claims:
            self._take(claim)
        self._stops.start()
        self._sweeper.start()
        self._intake.start()

    def drain(self) -> None:
        """No new claims; what has started nothing goes back to its queue. What runs goes on."""
        self.draining = True
        self._intake.stop()
        for attempt in self.roster.preparing():
            attempt.mark_released()
        self._waiting.hurry(lambda _: True)

    def cancel_all(self, detail: str) -> None:
        """Stop every run of this agent, with grace."""
        for attempt in self.roster.all():
            self._stop_attempt(Stop(attempt_id=attempt.id, reason=Reason.CANCELLED, detail=detail))

    def close(self) -> None:
        """Leave. What still runs is left to be adopted: by a restart, or by another agent at once."""
        self._intake.stop()
        self._stops.close()
        self._monitors.close()
        if self.damaged is None:
            self._wait_for_closers(LAST_WRITES)
            for attempt in self.roster.all():
                attempt.last_words()
        for attempt in self.roster.all():
            attempt.mark_lost()
        self._stagers.close()
        self._errands.close()
        self._monitors.close_closers()
        self._leases.close()
        self._sweeper.close()
        with contextlib.suppress(QueueUnavailable, QueueDamaged):
            self._client.unregister(self.info)
        self._client.close()

    def unfinished(self) -> bool:
        """Something is still being given back, or its end is still being written."""
        preparing = self.roster.preparing()
        return bool(preparing) or any(each.closing for each in self.roster.all())

    def _wait_for_closers(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while any(each.closing for each in self.roster.all()) and time.monotonic() < until:
            time.sleep(0.02)

    # -- one attempt ---------------------------------------------------------------------------

    def _take(self, claim: Claim) -> None:
        """A claim has come: begin its journey, or take up an adopted one where it is."""
        scratch = self._attempts_dir / claim.attempt_id
        ends = time.time() + self._config.lease_seconds - 1.0
        attempt = Attempt(
            claim, self._client, self._failpoints, scratch, lease_ends=ends, damaged=self._damaged
        )
        if not self.roster.add(attempt, preparing=True):
            here = self.roster.get(claim.attempt_id)
            if here is not None and here.claim.lease.token != claim.lease.token:
                self._errands.submit(partial(self._take_again, claim))
            return
        if claim.stop is not None:
            attempt.request_stop(Stop(attempt_id=attempt.id, reason=claim.stop))
        what = "adopted" if claim.adopted else "claimed"
        name = f" ({claim.spec.name})" if claim.spec.name else ""
        self._view.event(
            what, f"{attempt.id}{name} from {claim.queue}", attempt=attempt.id, queue=claim.queue
        )
        self._witness.claimed(claim)
        if claim.attempt > 1:
            self._sweeper.nudge()  # the attempt before it may have left its directory on this machine
        self._stagers.submit(partial(self._lead, attempt))
        if len(self.roster) == 1:
            self.on_change()  # the main thread sleeps while there is nothing to look after

    def _try_again(self, attempt: Attempt, again: Again) -> None:
        self._stagers.submit(partial(self._lead, attempt, again))

    def _lead(self, attempt: Attempt, again: Again | None = None) -> None:
        postponed = False
        try:
            if again is not None:
                again()
                follow = True
            elif attempt.claim.adopted:
                follow = recover(attempt, self._shop, self._secrets, self._closer)
            else:
                follow = self._travel(attempt)
            if follow:
                self._monitors.of(attempt.claim.queue_config.type).track(attempt)
        except Postponed as wait:
            postponed, wait.again = True, wait.again or again
            self._waiting.enter(attempt, wait, time.monotonic())
        except LeaseLost:
            self._closer.drop(attempt)
        except Late:
            self._closer.lost(attempt, NEVER_STARTED)
        except Released:
            self._release(attempt)
        except StageFailed as failed:
            self._closer.fail(attempt, failed)
        except Exception as error:
            log.exception("%s: failed unexpectedly", attempt.id)
            self._closer.fail(attempt, describe(error, Stage.EXECUTE, None))
        finally:
            if not postponed:
                self.roster.prepared(attempt)

    def _travel(self, attempt: Attempt) -> bool:
        attempt.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        attempt.runner = self._monitors.of(attempt.claim.queue_config.type).component
        allowed = attempt.claim.queue_config.secrets
        travel(
            attempt,
            self._shop,
            lambda name: self._secrets.resolve(name, allowed=allowed),
            local=self._local,
        )
        return True

    def _release(self, attempt: Attempt) -> None:
        self._failpoints.hit("release.before")
        with contextlib.suppress(LeaseLost):
            attempt.until_answered(lambda: self._client.release(attempt.claim.lease, "its agent drains"))
        self._view.event("released", f"{attempt.id}: back to {attempt.claim.queue}", attempt=attempt.id)
        attempt.clean()
        self.roster.remove(attempt)

    def _ended(self, attempt: Attempt, outcome: Outcome) -> None:
        self._done[outcome.verdict] += 1
        self._witness.ended(attempt.claim, outcome)
        detail = f": {outcome.failure.one_line()}" if outcome.failure else ""
        self._view.event(
            outcome.verdict.value, f"{attempt.id}{detail}", attempt=attempt.id, queue=attempt.claim.queue
        )

    # -- what the other threads tell -------------------------------------------------------------

    def _stop_attempt(self, stop: Stop) -> None:
        attempt = self.roster.get(stop.attempt_id)
        if attempt is None or attempt.stop is not None:
            return
        self._view.event("stopping", f"{attempt.id}: {stop.detail or stop.reason.value}", attempt=attempt.id)
        attempt.request_stop(stop)
        self._waiting.hurry(lambda each: each is attempt)
        self._monitors.nudge()

    def _lost(self, attempt: Attempt) -> None:
        """This very one: another may have come in its place, under a new lease."""
        attempt.mark_lost()
        self._waiting.hurry(lambda each: each is attempt)
        self._monitors.nudge()

    def _unavailable(self, why: str) -> None:
        if self._away_since is None:
            self._away_first = time.monotonic()
            self._view.event("warning", f"the queue is unavailable, runs go on: {why}")
        self._away_since = time.monotonic()

    def _returned(self, claims: Sequence[Claim]) -> None:
        """The queue is back. What it may have forgotten is said again; what it gives us back is taken up."""
        for attempt in self.roster.all():
            self._errands.submit(attempt.say_again)
        for claim in claims:
            self._errands.submit(partial(self._take_again, claim))

    def _take_again(self, claim: Claim) -> None:
        """With a new lease. What is here under the old one is let go of first."""
        until = time.monotonic() + self._config.lease_seconds / 2
        while (here := self.roster.get(claim.attempt_id)) is not None and time.monotonic() < until:
            if here.claim.lease.token == claim.lease.token:
                return
            self._lost(here)
            time.sleep(0.02)
        self._take(claim)

    def _damaged(self, error: QueueDamaged) -> None:
        self.damaged = error
        self.on_change()

    def _replaced(self, why: str) -> None:
        self.replaced = why
        self.on_change()

    # -- looking in ----------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Write notes that have waited, and try again what its runner was too busy for; called about twice a
        second while there are attempts."""
        self._waiting.tick(now)
        for attempt in self.roster.all():
            attempt.flush_if_due(now)
        if self._away_since is not None and self._leases.renewed_at > self._away_since:
            self._away_since = None
            self._view.event("info", "the queue is back")

    def gauges(self) -> Gauges:
        """The agent in numbers."""
        now, away = time.monotonic(), self._away_since
        if away is not None and self._leases.renewed_at > away:
            away = None
        return Gauges(
            attempts=collections.Counter(each.state.value for each in self.roster.all()),
            free=None if self._config.max_jobs < 0 else self.roster.free(),
            renewed_age=now - self._leases.renewed_at,
            queue_away=0.0 if away is None else max(now - self._away_first, 0.001),
            watched_age=self._monitors.ages(now),
            draining=self.draining,
        )

    def snapshot(self) -> Snapshot:
        now = time.time()
        rows = tuple(
            Row(
                attempt_id=each.id,
                queue=each.claim.queue,
                name=each.claim.spec.name or "",
                state="stopping" if each.stop else each.state.value,
                seconds=now - each.since,
            )
            for each in self.roster.all()
        )
        if self._away_since is not None:
            status = "waiting for the queue, serving"
        elif self.draining:
            status = "draining"
        else:
            status = "polling" if self.roster.free() else "full, serving"
        return Snapshot(
            agent=self.info.name,
            queues=self.info.queues,
            base_url=self._config.base_url,
            status=status,
            rows=rows,
            succeeded=self._done[Verdict.SUCCEEDED],
            failed=self._done[Verdict.FAILED] + self._done[Verdict.LOST],
            cancelled=self._done[Verdict.CANCELLED],
        )
