"""The instances of one start of a training job: their folders, containers and log streams."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from launch_sagemaker.testing import contract
from launch_sagemaker.testing.containers import DEFAULT_WORDS, Containers, NoStart, Order, Running
from launch_sagemaker.testing.jobs import JobRecord
from launch_sagemaker.testing.streams import Stream, Streams


@attrs.frozen(kw_only=True)
class Surroundings:
    """What jobs need of the endpoint."""

    containers: Containers
    streams: Streams
    s3: Callable[[str], Any]
    """A region → a client."""
    step_seconds: Callable[[], float]
    stop_seconds: Callable[[], float]
    fault: Callable[[str], None]


class Fleet:
    """algo-1 to algo-n. ``given_up``: whether waiting has no purpose any more."""

    def __init__(
        self,
        job: JobRecord,
        around: Surroundings,
        checkpoints: contract.Checkpoints | None,
        given_up: Callable[[], bool],
    ) -> None:
        self._job = job
        self._around = around
        self._checkpoints = checkpoints
        self._given_up = given_up
        self._s3 = around.s3(job.region)
        self._folders: list[Path] = []
        self._streams: list[Stream] = []
        self._running: list[Running] = []

    # Before

    def download(self) -> None:
        """The folders, with all that is in them before the start.

        :raises NoData:
        """
        for host, _, _ in contract.hosts(self._job.body["ResourceConfig"]):
            folder = Path(tempfile.mkdtemp(prefix="lc-sagemaker-"))
            self._folders.append(folder)
            contract.write_configuration(folder, self._job.body, host)
            contract.download_channels(self._s3, folder, self._job.body, host)
            if self._checkpoints is not None:
                self._checkpoints.restore(self._s3, folder)

    def pull(self) -> None:
        """The image.

        :raises NoImage:
        """
        self._around.containers.pull(self._image)

    def start(self) -> None:
        """All containers.

        :raises NoStart: one of them; the others are killed.
        """
        try:
            for place, folder in enumerate(self._folders, 1):
                order = self._order(f"algo-{place}", folder)
                stream = self._around.streams.open(self._job.region, self._job.name, order.host)
                self._streams.append(stream)
                self._running.append(self._around.containers.run(order, stream.write, self._tell))
                self._job.running = tuple(self._running)
        except NoStart:
            self.kill()
            raise

    @property
    def _image(self) -> str:
        algorithm = self._job.body["AlgorithmSpecification"]
        return str(algorithm.get("TrainingImage") or algorithm["AlgorithmName"])

    def _order(self, host: str, folder: Path) -> Order:
        job = self._job
        algorithm = job.body["AlgorithmSpecification"]
        entrypoint = tuple(algorithm.get("ContainerEntrypoint") or ())
        words = tuple(algorithm.get("ContainerArguments") or ())
        of_sagemaker = {
            "TRAINING_JOB_NAME": job.name,
            "TRAINING_JOB_ARN": job.arn,
            "AWS_REGION": job.region,
        }
        return Order(
            name=job.name,
            host=host,
            image=self._image,
            entrypoint=entrypoint,
            words=words if words or entrypoint else DEFAULT_WORDS,
            variables={**of_sagemaker, **(job.body.get("Environment") or {})},
            folder=folder,
            isolated=bool(job.body.get("EnableNetworkIsolation")),
        )

    def _tell(self) -> None:
        with self._job.changed:
            self._job.changed.notify_all()

    # While they run

    @property
    def has_ended(self) -> bool:
        return all(each.ended() is not None for each in self._running)

    @property
    def failure(self) -> int:
        """The exit code of a container that failed; 0: none did, so far."""
        return next((code for each in self._running if (code := each.ended())), 0)

    def terminate(self, grace: float) -> None:
        """SIGTERM, and SIGKILL to those that are there after so many seconds."""
        for each in self._running:
            each.signal(signal.SIGTERM)
        with self._job.changed:
            self._job.changed.wait_for(lambda: self._given_up() or self.has_ended, grace)
        self.kill()

    def kill(self) -> None:
        for each in self._running:
            if each.ended() is None:
                each.signal(signal.SIGKILL)
        with self._job.changed:
            assert self._job.changed.wait_for(lambda: self.has_ended, 30), "a container survives SIGKILL"

    def save(self) -> None:
        """The checkpoints as they are now, into S3."""
        if self._checkpoints is not None:
            for each, folder in zip(self._running, self._folders, strict=True):
                each.fetch(self._checkpoints.path)
                self._checkpoints.save(self._s3, folder)

    # After

    def collect(self) -> None:
        """What they have left, and the rest of their logs."""
        for each in self._running:
            for path in ("/opt/ml/model", "/opt/ml/output"):
                each.fetch(path)
        self.save()
        self.end_logs()

    @property
    def failure_text(self) -> str:
        return contract.failure_text(self._folders)

    def upload(self) -> None:
        """The model and the output, into S3."""
        contract.upload_output(self._s3, self._folders, self._job.body, self._job.name)

    def clear(self) -> None:
        """Nothing is left of them. Idempotent."""
        for each in self._running:
            each.remove()
        self._job.running = ()
        self.end_logs()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def end_logs(self) -> None:
        """What was printed is in CloudWatch, as far as no script delays it."""
        for stream in self._streams:
            stream.close()
        self._streams.clear()
        self._around.streams.flush()
