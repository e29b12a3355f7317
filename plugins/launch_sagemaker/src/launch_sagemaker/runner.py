"""The runner `sagemaker`: one training job for each attempt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from launch_sagemaker import shapes
from launch_sagemaker.api import Api
from launch_sagemaker.events import Events
from launch_sagemaker.logs import Logs
from launch_sagemaker.names import job_name
from launch_sagemaker.observer import Observer
from launch_sagemaker.places import Job, handle_of, job_of
from launch_sagemaker.settings import Settings
from launch_sagemaker.starter import Starter
from launch_sagemaker.stopper import Stopper
from launch_sagemaker.store import Store
from launch_sagemaker.tags import MAX_VALUE, tag_text
from launchcore.plugin import (
    Given,
    LaunchError,
    LogBatch,
    OnChange,
    RunHandle,
    RunPlan,
    RunStatus,
    Site,
    StageContext,
)

if TYPE_CHECKING:
    from launch_aws.environment import AwsEnvironment

UNSEEN: Final = 8.0
"""Seconds for which a cancel waits until a job that nobody has seen is known; the core repeats it later."""


def make_runner(settings: Settings, site: Site, environment: AwsEnvironment) -> SageMakerRunner:
    """The runner in the environment's account and region. Asks nobody."""
    shapes.loaded()
    return SageMakerRunner(settings, site, environment)


class SageMakerRunner:
    """Implements :class:`launchcore.plugin.Runner`. Keeps nothing that another process would miss."""

    def __init__(self, settings: Settings, site: Site, environment: AwsEnvironment) -> None:
        account = environment.account
        self._settings = settings
        self._account = account
        self._owner = tag_text(site.owner, MAX_VALUE)
        self._api = Api(account, settings)
        self._store = Store(account, settings, site.owner)
        self._observer = Observer(self._api, settings)
        self._logs = Logs(account, settings, self._observer.sight)
        self._stopper = Stopper(self._api)
        self._starter = Starter(account, self._api, self._store, self._stopper, settings, owner=site.owner)

    def __repr__(self) -> str:
        return f"SageMakerRunner(owner={self._owner})"

    # -- starting ------------------------------------------------------------------------------

    def prepare(self, plan: RunPlan, given: Given, context: StageContext) -> None:
        self._starter.check(plan, given)

    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        job = self._starter.start(plan, given)
        self._observer.follow(job, made_now=True)
        return handle_of(job)

    def find(self, attempt_id: str) -> RunHandle | None:
        job = self._starter.find(attempt_id)
        return None if job is None else handle_of(job)

    # -- looking -------------------------------------------------------------------------------

    def poll(self, handles: Sequence[RunHandle]) -> Mapping[str, RunStatus]:
        return self._observer.look(handles) if handles else {}

    @contextlib.contextmanager
    def watch(self, on_change: OnChange) -> Iterator[None]:
        with self._observer.watching(on_change), self._listening():
            yield

    def watch_ages(self) -> Mapping[str, float]:
        """Seconds since each region was heard."""
        return self._observer.ages()

    def logs(self, handle: RunHandle, cursor: str | None, limit: int) -> LogBatch:
        job = job_of(handle)
        if job is None:
            raise LaunchError("there is no log: nothing was started under this name")
        self._observer.follow(job)
        return self._logs.read(job, cursor, limit)

    def owned(self) -> Sequence[RunHandle]:
        """Training jobs that are not over, and what still waits in S3 for others."""
        if not self._settings.sweep:
            return ()
        region = self._account.region
        found = {job.attempt_id: job for job in self._api.search(region, self._owner)}
        for attempt_id in self._store.attempts():
            found.setdefault(attempt_id, self._left(attempt_id))
        return [handle_of(job) for job in found.values()]

    # -- ending --------------------------------------------------------------------------------

    def cancel(self, handle: RunHandle, grace: float) -> None:
        """SageMaker itself says how long a run may take to end: 120 seconds, whatever ``grace`` is."""
        job = job_of(handle)
        if job is not None and not self._is_over(job):
            # What was just made may be unknown for seconds, and would go on.
            unseen = self._observer.sight(job.attempt_id) is None
            self._stopper.stop(job, seconds=UNSEEN if unseen else 0.0)
            self._observer.hurry(job.attempt_id)

    def cleanup(self, handle: RunHandle) -> None:
        job = job_of(handle)
        if job is None:
            return
        if not self._is_over(job):
            self._stopper.stop(job)
        if job.bundle is not None:
            self._store.remove(job.bundle)
        self._observer.forget(job.attempt_id)
        self._logs.forget(job.attempt_id)

    # -- inside --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """To the events' queue, where there is one."""
        if self._settings.events_queue is None:
            yield
            return
        events = Events(self._account, self._settings.events_queue, self._observer)
        self._observer.trust(events.healthy)
        events.start()
        try:
            yield
        finally:
            events.close()

    def _left(self, attempt_id: str) -> Job:
        return Job(
            attempt_id=attempt_id,
            name=job_name(attempt_id),
            region=self._account.region,
            bundle=self._store.url(attempt_id),
        )

    def _is_over(self, job: Job) -> bool:
        sight = self._observer.sight(job.attempt_id)
        return sight is not None and sight.status.phase.final
