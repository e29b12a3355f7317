"""The life of a training job that has containers: one thread, from Starting to its end."""

from __future__ import annotations

import threading
import time
from typing import Final

from launch_sagemaker.testing.containers import NoImage, NoStart
from launch_sagemaker.testing.contract import Checkpoints, NoData
from launch_sagemaker.testing.faults import Interruptions
from launch_sagemaker.testing.fleet import Fleet, Surroundings
from launch_sagemaker.testing.jobs import JobRecord, algorithm_error

_SAVE_SECONDS: Final = 0.2
"""Between two copies of the checkpoints into S3, while the job trains."""
_LONGEST: Final = 86400.0
"""SageMaker's own MaxRuntimeInSeconds."""


class _Over(Exception):
    """The job ends in this secondary status."""

    def __init__(self, secondary: str, failure: str | None = None) -> None:
        super().__init__(secondary)
        self.secondary = secondary
        self.failure = failure


class Life:
    """Of one job. ``interruptions``: those that happen by themselves."""

    def __init__(self, job: JobRecord, around: Surroundings, interruptions: Interruptions | None) -> None:
        self._job = job
        self._around = around
        self._interruptions = interruptions or Interruptions(times=0)
        self._closed = False
        config = job.body.get("CheckpointConfig")
        self._checkpoints = None if config is None else Checkpoints(config)
        self._fleet: Fleet | None = None
        self._trained = 0.0
        self._thread = threading.Thread(target=self._run, name=f"job-{job.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End it now, whatever state that leaves the record in; :meth:`join` waits for it."""
        with self._job.changed:
            self._closed = True
            self._job.changed.notify_all()

    def join(self) -> None:
        self._thread.join(30)

    def _run(self) -> None:
        from botocore.exceptions import ClientError

        try:
            self._live()
        except _Over as over:
            self._end(over.secondary, over.failure)
        except ClientError as error:  # S3's: there is no such bucket
            self._end("Failed", f"ClientError: {error}")
        except Exception as error:
            if not self._closed:  # else its S3 and its engine may be gone, too
                self._around.fault(f"{self._job.name}: {type(error).__name__}: {error}")
            self._end("Failed", "InternalServerError: We encountered an internal error. Please try again.")
        finally:
            self._clear()

    def _end(self, secondary: str, failure: str | None) -> None:
        if not self._closed:
            self._job.move(secondary, failure=failure)

    def _clear(self) -> None:
        if self._fleet is not None:
            self._fleet.clear()
            self._fleet = None

    def _live(self) -> None:
        while True:
            self._prepare()
            fleet = self._download()
            if self._train(fleet):
                break
            self._away()
        self._upload(fleet)
        raise _Over("Stopped" if self._job.stop_asked else "Completed")

    # Stages

    def _prepare(self) -> None:
        job = self._job
        messages = ["Starting the training job", "Launching requested ML instances"]
        messages = [*messages[: 1 if job.reuses_pool else 2], "Preparing the instances for training"]
        for message in messages:
            job.move("Starting", message)
            self._pause()
        self._end_as_scripted("Starting")

    def _download(self) -> Fleet:
        job = self._job
        job.move("Downloading", "Downloading input data")
        self._pause()
        self._end_as_scripted("Downloading")
        fleet = self._fleet = Fleet(job, self._around, self._checkpoints, lambda: self._closed)
        try:
            fleet.download()
            job.move("Downloading", "Downloading the training image")
            fleet.pull()
        except (NoData, NoImage) as error:
            raise _Over("Failed", f"ClientError: {error}") from error
        self._pause()
        return fleet

    def _end_as_scripted(self, secondary: str) -> None:
        ending = self._job.ending
        if ending is not None and ending.in_status == secondary:
            raise _Over("Failed", ending.reason)

    def _train(self, fleet: Fleet) -> bool:
        """The containers, until they have ended. False: the instances were taken away.

        :raises _Over: they failed, or ran for too long.
        """
        job, grace = self._job, self._around.stop_seconds()
        job.move("Training")
        began = time.monotonic()
        try:
            fleet.start()
        except NoStart as error:
            raise _Over("Failed", _cannot_start(str(error))) from error
        limit, too_long = self._limit(began)
        interrupted = self._interrupted_at(began)
        code = 0
        while not fleet.has_ended:
            now = time.monotonic()
            if now >= interrupted and job.interruption is None:
                job.comes_back, job.interruption = self._interruptions.comes_back, self._interruptions.notice
            if self._closed:
                fleet.kill()
                raise _Over("Stopped")
            if job.broken is not None:
                fleet.kill()
                fleet.end_logs()
                raise _Over("Failed", job.broken)
            if job.stop_asked:
                fleet.terminate(grace)
            elif job.interruption is not None:
                notice = job.interruption
                job.take_interruption()
                self._trained += now - began
                fleet.terminate(notice)
                fleet.collect()
                return False
            elif now >= limit:
                job.move("Stopping")
                fleet.terminate(grace)
                fleet.collect()
                self._upload(fleet)
                raise _Over(too_long)
            elif code := fleet.failure:
                fleet.terminate(grace)
            else:
                fleet.save()
                self._wait(fleet, min(limit, interrupted))
        code = code or fleet.failure
        fleet.collect()
        if code and not job.stop_asked:
            raise _Over("Failed", algorithm_error(code, fleet.failure_text))
        return True

    def _upload(self, fleet: Fleet) -> None:
        self._job.move("Uploading")
        fleet.upload()

    def _away(self) -> None:
        """Between an interruption and the next start."""
        self._job.move("Interrupted")
        self._clear()
        self._pause(None if self._job.comes_back else float("inf"))

    # Waiting

    def _limit(self, began: float) -> tuple[float, str]:
        """When training ends at the latest, on the monotonic clock, and what that is called."""
        most = self._job.limit("MaxRuntimeInSeconds") or _LONGEST
        limits = [(began + most - self._trained, "MaxRuntimeExceeded")]
        return min([*limits, (self._waits_until, "MaxWaitTimeExceeded")])

    @property
    def _waits_until(self) -> float:
        """When ``MaxWaitTimeInSeconds`` is over, on the monotonic clock."""
        limit = self._job.limit("MaxWaitTimeInSeconds")
        left = float("inf") if limit is None else self._job.created + limit - time.time()
        return time.monotonic() + left

    def _interrupted_at(self, began: float) -> float:
        happens = self._job.spot and self._job.interruptions < self._interruptions.times
        return began + self._interruptions.after if happens else float("inf")

    def _pause(self, seconds: float | None = None) -> None:
        """One step, or so many seconds.

        :raises _Over: the job is to stop, or has waited for too long.
        """
        job, wanted = self._job, self._around.step_seconds() if seconds is None else seconds
        left = max(0.0, self._waits_until - time.monotonic())
        wait = min(wanted, left, _LONGEST)
        with job.changed:
            job.changed.wait_for(lambda: self._closed or job.stop_asked, wait)
        if job.stop_asked or self._closed:
            raise _Over("Stopped")
        if left <= wanted:
            raise _Over("MaxWaitTimeExceeded")

    def _wait(self, fleet: Fleet, until: float) -> None:
        """Until something may have happened while they train."""
        job = self._job
        most = _LONGEST if self._checkpoints is None else _SAVE_SECONDS
        seconds = min(max(0.0, until - time.monotonic()), most)

        def news() -> bool:
            asked = self._closed or job.stop_asked
            told = job.interruption is not None or job.broken is not None
            return asked or told or fleet.has_ended or fleet.failure != 0

        with job.changed:
            job.changed.wait_for(news, seconds)


def _cannot_start(why: str) -> str:
    return (
        "AlgorithmError: CannotStartContainerError. Please make sure the container can be run with 'docker "
        f"run <image> train'. Please refer SageMaker documentation for details. {why}"
    )
