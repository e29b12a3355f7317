"""SageMaker on loopback: the API over HTTP, and the jobs that were made with it."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from launch_sagemaker.names import LOG_GROUP
from launch_sagemaker.testing.containers import Containers
from launch_sagemaker.testing.events import Outbox, event_of
from launch_sagemaker.testing.faults import Cut, Faults, Refusal, Refused
from launch_sagemaker.testing.fleet import Surroundings
from launch_sagemaker.testing.jobs import JobRecord
from launch_sagemaker.testing.lives import Life
from launch_sagemaker.testing.model import ServiceModel, WrongType
from launch_sagemaker.testing.operations import Operations
from launch_sagemaker.testing.streams import Stream, Streams
from launch_sagemaker.testing.wire import REGION, Server

if TYPE_CHECKING:
    from launch_aws.testing.cloud import Cloud


@attrs.define
class Call:
    """One request, as it came."""

    operation: str
    body: dict[str, Any]
    at: float
    """UNIX seconds."""
    region: str
    key_id: str
    error: str | None = None
    """The code of the error that was answered; ``cut``: there was no answer."""


class Endpoint:
    """A model of SageMaker, beside a model of the rest of AWS, in which its jobs find S3, CloudWatch and SQS.

    :param stop_seconds: between SIGTERM and SIGKILL.
    :param step_seconds: what each step before training takes.
    :param clients: (service, region) → a client of the cloud, where they are shared.
    """

    def __init__(
        self,
        cloud: Cloud,
        containers: Containers,
        *,
        stop_seconds: float = 120.0,
        step_seconds: float = 0.05,
        model: ServiceModel | None = None,
        clients: Callable[[str, str], Any] | None = None,
        port: int = 0,
    ) -> None:
        self._cloud = cloud
        self._model = model or ServiceModel.load()
        self.stop_seconds = stop_seconds
        self.step_seconds = step_seconds
        self.faults = Faults()
        self.calls: list[Call] = []
        self.faults_of_its_own: list[str] = []
        """Answers and deeds of this endpoint that are none of SageMaker's. Tests assert that it is empty."""
        self.on_change: Callable[[JobRecord], None] = lambda _: None
        """Called at each change of a job's status, by whoever made it."""
        self._clients = clients or functools.cache(cloud.client)
        self._streams = Streams(
            lambda region: self._clients("logs", region),
            lambda: self.faults.log_delay,
            self.faults_of_its_own.append,
        )
        self._around = Surroundings(
            containers=containers,
            streams=self._streams,
            s3=lambda region: self._clients("s3", region),
            step_seconds=lambda: self.step_seconds,
            stop_seconds=lambda: self.stop_seconds,
            fault=self.faults_of_its_own.append,
        )
        self._operations = Operations(self._model, self.faults, self._begin, self._changed)
        self._known = self._model.members("DescribeTrainingJobResponse")
        self._lives: list[Life] = []
        self._outbox: Outbox | None = None
        self._lock = threading.Lock()
        self._server = Server(self._answer, port)
        self.url = self._server.url

    def start(self) -> Endpoint:
        self._server.start()
        return self

    def close(self) -> None:
        """End it, and every container. Idempotent."""
        self._server.close()
        for life in self._lives:
            life.close()
        for life in self._lives:
            life.join()
        self._streams.close()
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None

    # For tests

    @property
    def jobs(self) -> list[JobRecord]:
        """All, in the order of their creation."""
        with self._operations.changed:
            return list(self._operations.jobs.values())

    def job(self, name: str) -> JobRecord:
        """The one of this name, in whatever region; an assertion fails where there is none."""
        found = [job for job in self.jobs if job.name == name]
        assert found, f"there is no {name!r} among {[job.name for job in self.jobs]}"
        return found[0]

    def called(self, operation: str) -> list[Call]:
        """The calls of an operation."""
        return [call for call in list(self.calls) if call.operation == operation]

    def environment(self, region: str = REGION) -> dict[str, Any]:
        """The block ``environment:`` of an agent's configuration that leads here."""
        return {
            "type": "aws",
            "region": region,
            "endpoint-url": self._cloud.url,
            "endpoints": {"sagemaker": self.url},
        }

    def client(self, region: str = REGION, **arguments: Any) -> Any:
        """A client of the test's own, which asks once only."""
        from botocore.config import Config
        from botocore.session import Session

        keys = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "test", **arguments}
        config = Config(retries={"mode": "standard", "total_max_attempts": 1}, parameter_validation=False)
        session = Session()
        session.register_component("data_loader", self._model.loader)
        return session.create_client(
            "sagemaker", region_name=region, endpoint_url=self.url, **{"config": config, **keys}
        )

    def log(self, name: str) -> dict[str, list[str]]:
        """The messages of a job's log streams, by the names of the streams, oldest first."""
        logs, folder = self._clients("logs", self.job(name).region), {"logGroupName": LOG_GROUP}
        if not logs.describe_log_groups(logGroupNamePrefix=LOG_GROUP)["logGroups"]:
            return {}
        found = logs.describe_log_streams(**folder, logStreamNamePrefix=f"{name}/")["logStreams"]
        return {
            stream: [
                event["message"]
                for event in logs.get_log_events(**folder, logStreamName=stream, startFromHead=True)["events"]
            ]
            for stream in sorted(each["logStreamName"] for each in found)
        }

    def stream(self, name: str, host: str = "algo-1") -> Stream:
        """A new log stream of a job that is paper only, to write to; :meth:`flush_logs` after it."""
        return self._streams.open(self.job(name).region, name, host)

    def flush_logs(self) -> None:
        """Until all that was written, and is not delayed, is in CloudWatch."""
        self._streams.flush()

    def events_to(self, queue_url: str, region: str = REGION) -> None:
        """Send the changes of all jobs from now on to this SQS queue of the cloud."""
        sqs = self._clients("sqs", region)

        def send(event: dict[str, Any]) -> None:
            sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps(event))

        if self._outbox is not None:
            self._outbox.close()
        self._outbox = Outbox(send, self.faults_of_its_own.append)

    # What happens

    def _begin(self, job: JobRecord) -> None:
        if job.paper:
            if job.ending is not None:
                job.move("Failed", failure=job.ending.reason)
            else:
                job.move(self.faults.paper_status)
            return
        life = Life(job, self._around, self.faults.next_interruptions() if job.spot else None)
        with self._lock:
            self._lives.append(life)
        life.start()

    def _changed(self, job: JobRecord) -> None:
        self.on_change(job)
        if self._outbox is not None and not self.faults.next_event_is_lost():
            self._outbox.put(event_of(job, self._known))

    def _answer(self, operation: str, region: str, key_id: str, body: dict[str, Any]) -> Any:
        call = Call(operation, body, time.time(), region, key_id)
        with self._lock:
            self.calls.append(call)
        try:
            return self._carry_out(operation, region, key_id, body)
        except Refused as refused:
            call.error = refused.refusal.code
            raise
        except Cut:
            call.error = "cut"
            raise
        except Exception as error:
            self.faults_of_its_own.append(f"{operation}: {type(error).__name__}: {error}")
            raise Refused(Refusal("InternalFailure", "The request processing has failed.", 500)) from error

    def _carry_out(self, operation: str, region: str, key_id: str, body: dict[str, Any]) -> Any:
        operations = self._operations
        if not self._model.knows(operation):
            raise Refused(Refusal("UnknownOperationException", ""))
        arn, actions = operations.arn(region, body), operations.actions(operation, body)
        self.faults.check(operation, key_id, region, arn, actions)
        try:
            problem = self._model.refusal(operation, body)
        except WrongType as wrong:
            raise Refused(Refusal("SerializationException", str(wrong))) from wrong
        if problem is not None:
            raise Refused(Refusal("ValidationException", problem))
        answer = operations.answer(operation, region, body)
        self.faults_of_its_own += self._model.faults_of_answer(operation, answer or {})
        self.faults.done(operation)
        return answer
