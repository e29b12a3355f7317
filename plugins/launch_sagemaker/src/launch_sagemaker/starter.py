"""Starts training jobs, and finds what was started: one attempt, one name, one job."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from launch_aws.session import Account

from launch_sagemaker.api import Api, Exists, Throttled, job_from
from launch_sagemaker.names import ATTEMPT, OWNER, job_name
from launch_sagemaker.places import Job
from launch_sagemaker.request import Order, order
from launch_sagemaker.settings import Settings
from launch_sagemaker.status import status_of
from launch_sagemaker.stopper import Stopper
from launch_sagemaker.store import Store
from launch_sagemaker.tags import MAX_VALUE, tag_text
from launchcore.plugin import Busy, Fault, Given, LaunchError, Reason, RunPlan

log = logging.getLogger("launchcore.sagemaker")

SHORT: Final = 2.0
"""Seconds for which a start waits for its turn by itself; what takes longer is for :class:`Busy`: many wait,
nobody says who is first, and a start that waits for long has a lease that may run out."""
AGAIN: Final = 0.5
"""Seconds between two tries of a request whose answer was lost."""
DOUBTS: Final = 3.0
"""Part of ``appear_seconds`` for which a name has to stay unknown before anybody believes it."""
ENDING: Final = 150.0
"""Seconds in which a job that is stopped ends: SageMaker gives it 120."""


class Starter:
    """Keeps nothing: what was started, SageMaker knows by its name."""

    def __init__(
        self,
        account: Account,
        api: Api,
        store: Store,
        stopper: Stopper,
        settings: Settings,
        *,
        owner: str,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account = account
        self._api = api
        self._store = store
        self._stopper = stopper
        self._settings = settings
        self._owner = owner
        self._clock = clock
        self._sleep = sleep

    def check(self, plan: RunPlan, given: Given) -> None:
        """What cannot be started is known now, before anything is.

        :raises Busy: SageMaker takes no more for now.
        :raises LaunchError: it would be refused.
        """
        self._order(plan, given)
        busy = self._api.control(self._account.region).busy_for()
        if busy > 0:
            raise _busy(busy)

    def start(self, plan: RunPlan, given: Given) -> Job:
        """Have the attempt's training job made, or find that it is there.

        :raises Busy: SageMaker takes no more for now; nothing was made.
        :raises LaunchError: nothing was made, or what was made has been stopped.
        """
        made = self._order(plan, given)
        job = Job(
            attempt_id=plan.attempt_id,
            name=made.body["TrainingJobName"],
            region=self._account.region,
            bundle=made.bundle_url if made.bundle else None,
        )
        self._turn(job.region)
        self._in_time(plan)
        if made.bundle is not None and made.bundle_url is not None:
            self._store.put(made.bundle_url, made.bundle)
        try:
            self._create(job, made, plan)
        except LaunchError:
            if job.bundle is not None:
                with contextlib.suppress(LaunchError):  # the sweep removes it
                    self._store.remove(job.bundle)
            raise
        if not self._still_in_time(plan):
            self._undo(job)
            raise _late()
        return job

    def find(self, attempt_id: str) -> Job | None:
        """The training job of an attempt, if there is one. What was just made may be unknown for seconds, so
        that nobody is believed at once that there is none.

        One that was stopped is none: nobody has a handle of it, so its start was given up.

        :raises LaunchError: SageMaker could not be asked.
        """
        job = Job(attempt_id=attempt_id, name=job_name(attempt_id), region=self._account.region)
        until = self._clock() + self._settings.appear_seconds / DOUBTS
        while True:
            try:
                found = self._look(job)
            except Throttled:
                raise LaunchError(
                    f"cannot look for {job.name} now: SageMaker throttles us", retryable=True
                ) from None
            if found is None and self._clock() >= until:
                return None
            if found is not None and found.get("TrainingJobStatus") != "Stopping":
                undone = found.get("SecondaryStatus") == "Stopped"
                ours = not undone and self._is_ours(job, found)
                return job_from(found, job.attempt_id, job.region) if ours else None
            self._sleep(AGAIN)

    # -- inside --------------------------------------------------------------------------------

    def _order(self, plan: RunPlan, given: Given) -> Order:
        return order(plan, given, self._settings, region=self._account.region, owner=self._owner)

    def _create(self, job: Job, made: Order, plan: RunPlan) -> None:
        """Repeated until the answer is clear: the name allows one job only, however often it is asked for.

        :raises LaunchError: there is none, as far as can be known.
        """
        unclear = False
        try:
            while True:
                self._in_time(plan)
                try:
                    self._api.create(job.region, made.body)
                    return
                except Exists:
                    if self._adopt(job, plan):
                        return
                    unclear = False
                    raise _foreign(job) from None
                except Throttled:
                    if not unclear:
                        raise _busy(max(self._api.control(job.region).busy_for(), SHORT)) from None
                except LaunchError as error:
                    if not error.retryable or error.reason is not Reason.INFRASTRUCTURE:
                        raise
                    unclear = True  # it may be there: "busy" would be a promise that it is not
                self._sleep(AGAIN)
                self._next_turn(job.region, plan)
        except LaunchError:
            if unclear:
                self._undo(job)
            raise

    def _next_turn(self, region: str, plan: RunPlan) -> None:
        control = self._api.control(region)
        while (pause := control.take()) > 0:
            self._sleep(min(pause, SHORT))
            self._in_time(plan)

    def _turn(self, region: str) -> None:
        """Wait a little for a place among the requests."""
        control, waited = self._api.control(region), 0.0
        while (pause := control.take()) > 0:
            waited += pause
            if waited > SHORT:
                raise _busy(max(pause, SHORT))
            self._sleep(pause)

    def _adopt(self, job: Job, plan: RunPlan) -> bool:
        """It was made before: by a request whose answer was lost, or by somebody else (False)."""
        while (ours := self._seen_as_ours(job)) is None:
            self._in_time(plan)
            self._sleep(AGAIN)
        return ours

    def _seen_as_ours(self, job: Job) -> bool | None:
        """``None``: it cannot be seen now. :raises LaunchError: nor will it be: somebody has to mend that."""
        try:
            found = self._look(job)
            return None if found is None else self._is_ours(job, found)
        except Throttled:
            return None
        except LaunchError as error:
            if not error.retryable:
                raise
            return None

    def _undo(self, job: Job) -> None:
        """Stop what was made, or may have been, and wait until it does not train."""
        try:
            if not self._stopper.stop(job, seconds=self._settings.appear_seconds / DOUBTS):
                return
            until = self._clock() + ENDING
            while self._clock() < until:
                with contextlib.suppress(Throttled):
                    found = self._look(job)
                    if found is not None and status_of(found).phase.final:
                        return
                self._sleep(AGAIN)
        except LaunchError as error:
            log.warning(
                "%s may train although its start was given up; the sweep stops it: %s", job.name, error
            )

    def _look(self, job: Job) -> Mapping[str, Any] | None:
        """:raises Throttled: ask later."""
        self._api.looks(job.region).wait()
        return self._api.describe(job)

    def _is_ours(self, job: Job, found: Mapping[str, Any]) -> bool:
        """Its tags say that it is this attempt's."""
        tags = self._api.tags(job.region, str(found["TrainingJobArn"]))
        mine = tag_text(self._owner, MAX_VALUE)
        return tags.get(OWNER) == mine and tags.get(ATTEMPT) == job.attempt_id

    def _still_in_time(self, plan: RunPlan) -> bool:
        return plan.start_before is None or self._clock() < plan.start_before

    def _in_time(self, plan: RunPlan) -> None:
        if not self._still_in_time(plan):
            raise _late()


def _busy(seconds: float) -> Busy:
    return Busy("SageMaker takes no more requests for now", after=seconds)


def _foreign(job: Job) -> LaunchError:
    return LaunchError(
        f"there is a training job {job.name} already, and it is not this run's",
        reason=Reason.CONFIG_ERROR,
        fault=Fault.INFRASTRUCTURE,
        hint="names of training jobs are taken for good: submit the run again",
    )


def _late() -> LaunchError:
    return LaunchError("too late to start: the lease on this attempt has run out", reason=Reason.LOST)
