"""The life of a training job that has containers: one thread, from Starting to its end."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from launch_sagemaker.testing import contract
from launch_sagemaker.testing.containers import (
    DEFAULT_WORDS,
    Containers,
    NoImage,
    NoStart,
    Order,
    Running,
)
from launch_sagemaker.testing.faults import Interruptions
from launch_sagemaker.testing.jobs import JobRecord, algorithm_error
from launch_sagemaker.testing.streams import Stream, Streams

_SAVE_SECONDS: Final = 0.2
"""Between two copies of the checkpoints into S3, while the job trains."""


class _Over(Exception):
    """The job ends in this secondary status."""

    def __init__(self, secondary: str, failure: str | None = None) -> None:
        super().__init__(secondary)
        self.secondary = secondary
        self.failure = failure


class _Interrupted(Exception):
    """The instances are taken away."""


@attrs.frozen(kw_only=True)
class Surroundings:
    """What a life needs of the endpoint."""

    containers: Containers
    streams: Streams
    s3: Callable[[str], Any]
    step_seconds: float
    stop_seconds: float
    fault: Callable[[str], None]


class Life:
    """Of one job. ``interruptions``: those that happen by themselves."""

    def __init__(self, job: JobRecord, around: Surroundings, interruptions: Interruptions | None) -> None:
        self._job = job
        self._around = around
        self._interruptions = interruptions
        self._closed = False
        self._folders: list[Path] = []
        self._open: list[Stream] = []
        config = job.body.get("CheckpointConfig")
        self._checkpoints = None if config is None else contract.Checkpoints(config)
        self._trained = 0.0
        self._thread = threading.Thread(target=self._run, name=f"job-{job.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End it, without a word to anybody."""
        with self._job.changed:
            self._closed = True
            self._job.changed.notify_all()
        self._thread.join(30)

    def _run(self) -> None:
        try:
            self._live()
        except _Over as over:
            if not self._closed:
                self._job.move(over.secondary, failure=over.failure)
        except Exception as error:
            if not self._closed:  # else its S3 and its engine may be gone, too
                self._around.fault(f"{self._job.name}: {type(error).__name__}: {error}")
            self._job.move("Failed", failure="InternalServerError: We encountered an internal error.")
        finally:
            self._clear()

    def _live(self) -> None:
        while True:
            self._prepare()
            try:
                self._train()
            except _Interrupted:
                self._away()
                continue
            self._job.move("Uploading")
            self._upload()
            raise _Over("Stopped" if self._job.stop_asked else "Completed")

    # Stages

    def _prepare(self) -> None:
        job, ending = self._job, self._job.ending
        job.move("Starting", "Starting the training job")
        self._pause()
        if not job.reuses_pool:
            job.move("Starting", "Launching requested ML instances")
            self._pause()
        job.move("Starting", "Preparing the instances for training")
        self._pause()
        if ending is not None and ending.in_status == "Starting":
            raise _Over("Failed", ending.reason)
        job.move("Downloading", "Downloading input data")
        self._pause()
        if ending is not None and ending.in_status == "Downloading":
            raise _Over("Failed", ending.reason)
        s3 = self._around.s3(job.region)
        try:
            for host, _, _ in contract.hosts(job.body["ResourceConfig"]):
                folder = Path(tempfile.mkdtemp(prefix="lc-sagemaker-"))
                self._folders.append(folder)
                contract.write_configuration(folder, job.body, host)
                contract.download_channels(s3, folder, job.body, host)
                if self._checkpoints is not None:
                    self._checkpoints.restore(s3, folder)
            job.move("Downloading", "Downloading the training image")
            self._around.containers.pull(self._image)
        except (contract.NoData, NoImage) as error:
            raise _Over("Failed", f"ClientError: {error}") from error
        self._pause()
        if ending is not None:
            raise _Over("Failed", ending.reason)

    def _train(self) -> None:
        """The containers, until they have ended by themselves.

        :raises _Over: they failed, or were stopped or killed.
        :raises _Interrupted:
        """
        job = self._job
        job.move("Training")
        began = time.monotonic()
        try:
            running = self._start()
        except NoStart as error:
            raise _Over(
                "Failed",
                "AlgorithmError: CannotStartContainerError. Please make sure the container can be run with "
                f"'docker run <image> train'. Please refer SageMaker documentation for details. {error}",
            ) from error
        code = 0
        interrupted = self._interrupted_by_itself(began)
        limit = job.limit("MaxRuntimeInSeconds") or 86400.0
        until = {"MaxRuntimeExceeded": began + limit - self._trained}
        if job.spot:
            until["MaxWaitTimeExceeded"] = self._waits_until
        secondary, first = min(until.items(), key=lambda each: each[1])
        while not self._have_ended(running):
            now = time.monotonic()
            if interrupted is not None and now >= interrupted and job.interruption is None:
                how = self._interruptions
                assert how is not None
                job.comes_back, job.interruption = how.comes_back, how.notice
            if self._closed:
                self._kill(running)
                raise _Over("Stopped")
            if job.stop_asked:
                self._terminate(running, self._around.stop_seconds)
                break
            if job.interruption is not None:
                notice = job.interruption
                job.take_interruption()
                self._trained += now - began
                self._terminate(running, notice)
                self._collect(running)
                raise _Interrupted
            if now >= first:
                job.move("Stopping")
                self._terminate(running, self._around.stop_seconds)
                self._collect(running)
                job.move("Uploading")
                self._upload()
                raise _Over(secondary)
            if self._one_has_failed(running):
                code = self._first_failure(running)
                self._terminate(running, self._around.stop_seconds)
                break
            self._save(running)
            self._wait(running, min(x for x in (first, interrupted) if x is not None))
        code = code or self._first_failure(running)
        self._collect(running)
        if code and not job.stop_asked:
            raise _Over("Failed", algorithm_error(code, contract.failure_text(self._folders)))

    def _away(self) -> None:
        """Between an interruption and the next start."""
        job = self._job
        job.move("Interrupted")
        self._clear()
        if not job.comes_back:
            self._pause(max(0.0, self._waits_until - time.monotonic()))
            raise _Over("MaxWaitTimeExceeded")
        self._pause()

    def _upload(self) -> None:
        from botocore.exceptions import ClientError

        s3 = self._around.s3(self._job.region)
        try:
            contract.upload_output(s3, self._folders, self._job.body, self._job.name)
        except ClientError as error:
            raise _Over("Failed", f"ClientError: Artifact upload failed:{error}") from error

    # Containers

    @property
    def _image(self) -> str:
        algorithm = self._job.body["AlgorithmSpecification"]
        return str(algorithm.get("TrainingImage") or algorithm["AlgorithmName"])

    def _start(self) -> tuple[Running, ...]:
        job, made = self._job, list[Running]()
        algorithm = job.body["AlgorithmSpecification"]
        variables = {
            "TRAINING_JOB_NAME": job.name,
            "TRAINING_JOB_ARN": job.arn,
            "AWS_REGION": job.region,
            **(job.body.get("Environment") or {}),
        }
        try:
            for place, folder in enumerate(self._folders, 1):
                stream = self._around.streams.open(job.region, job.name, f"algo-{place}")
                self._open.append(stream)
                order = Order(
                    name=job.name,
                    host=f"algo-{place}",
                    image=self._image,
                    entrypoint=tuple(algorithm.get("ContainerEntrypoint") or ()),
                    words=tuple(algorithm.get("ContainerArguments") or DEFAULT_WORDS),
                    variables=variables,
                    folder=folder,
                    isolated=bool(job.body.get("EnableNetworkIsolation")),
                )
                made.append(self._around.containers.run(order, stream.write, self._tell))
                job.running = tuple(made)
        except NoStart:
            self._kill(made)
            raise
        return job.running

    def _tell(self) -> None:
        with self._job.changed:
            self._job.changed.notify_all()

    @staticmethod
    def _have_ended(running: tuple[Running, ...]) -> bool:
        return all(each.ended() is not None for each in running)

    @staticmethod
    def _one_has_failed(running: tuple[Running, ...]) -> bool:
        return any(each.ended() for each in running)

    @staticmethod
    def _first_failure(running: tuple[Running, ...]) -> int:
        return next((code for each in running if (code := each.ended())), 0)

    def _wait(self, running: tuple[Running, ...], until: float) -> None:
        """Until something may have happened."""
        job = self._job
        seconds = max(0.0, until - time.monotonic())
        if self._checkpoints is not None:
            seconds = min(seconds, _SAVE_SECONDS)

        def news() -> bool:
            asked = self._closed or job.stop_asked or job.interruption is not None
            return asked or self._have_ended(running) or self._one_has_failed(running)

        with job.changed:
            job.changed.wait_for(news, seconds)

    def _terminate(self, running: tuple[Running, ...], grace: float) -> None:
        """SIGTERM, and SIGKILL to those that are there after so many seconds."""
        for each in running:
            each.signal(signal.SIGTERM)
        with self._job.changed:
            self._job.changed.wait_for(lambda: self._closed or self._have_ended(running), grace)
        self._kill(running)

    def _kill(self, running: tuple[Running, ...] | list[Running]) -> None:
        for each in running:
            if each.ended() is None:
                each.signal(signal.SIGKILL)
        with self._job.changed:
            ended = self._job.changed.wait_for(lambda: self._have_ended(tuple(running)), 30)
        assert ended, "a container has survived SIGKILL for 30 s"

    def _collect(self, running: tuple[Running, ...]) -> None:
        """What the containers have left, and the rest of their logs."""
        for each in running:
            for path in ("/opt/ml/model", "/opt/ml/output"):
                each.fetch(path)
        self._save(running)
        self._close_streams()

    def _save(self, running: tuple[Running, ...]) -> None:
        if self._checkpoints is None:
            return
        s3 = self._around.s3(self._job.region)
        for each, folder in zip(running, self._folders, strict=True):
            each.fetch(self._checkpoints.path)
            self._checkpoints.save(s3, folder)

    def _close_streams(self) -> None:
        for stream in self._open:
            stream.close()
        self._open.clear()
        self._around.streams.flush()

    def _clear(self) -> None:
        """Nothing is left of the instances."""
        for each in self._job.running:
            each.remove()
        self._job.running = ()
        self._close_streams()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        self._folders.clear()

    # Waiting

    @property
    def _waits_until(self) -> float:
        """When ``MaxWaitTimeInSeconds`` is over, on the monotonic clock."""
        limit = self._job.limit("MaxWaitTimeInSeconds")
        left = float("inf") if limit is None else self._job.created + limit - time.time()
        return time.monotonic() + left

    def _pause(self, seconds: float | None = None) -> None:
        """One step, unless the job is to stop before.

        :raises _Over:
        """
        job, wanted = self._job, self._around.step_seconds if seconds is None else seconds
        wait = min(wanted, max(0.0, self._waits_until - time.monotonic()))
        with job.changed:
            job.changed.wait_for(lambda: self._closed or job.stop_asked, wait)
        if job.stop_asked or self._closed:
            raise _Over("Stopped")
        if wait < wanted:
            raise _Over("MaxWaitTimeExceeded")

    def _interrupted_by_itself(self, began: float) -> float | None:
        how = self._interruptions
        if how is None or not self._job.spot or self._job.interruptions >= how.times:
            return None
        return began + how.after
