"""What EventBridge tells about training jobs, into an SQS queue."""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from launch_sagemaker.testing.jobs import JobRecord

_TIMES: Final = ("CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime")
_NOT_TOLD: Final = ("Environment", "WarmPoolStatus")


def event_of(job: JobRecord, known: frozenset[str]) -> dict[str, Any]:
    """The event of a job's last change. Its times are milliseconds, unlike those of the API.

    Source: "SageMaker AI training job state change" in SageMaker's guide.
    """
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "SageMaker Training Job State Change",
        "source": "aws.sagemaker",
        "account": job.arn.split(":")[4],
        "time": now,
        "region": job.region,
        "resources": [job.arn],
        "detail": {**_detail(job.described(known)), "Tags": dict(job.tags)},
    }


def _detail(described: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: value for key, value in described.items() if key not in _NOT_TOLD}
    told |= {key: _milliseconds(told[key]) for key in _TIMES if key in told}
    told["SecondaryStatusTransitions"] = [
        {key: _milliseconds(value) if key.endswith("Time") else value for key, value in each.items()}
        for each in described["SecondaryStatusTransitions"]
    ]
    return told


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


class Outbox:
    """Sends in the order of what happened, from one thread.

    :param send: an event to SQS.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None], fault: Callable[[str], None]) -> None:
        self._send = send
        self._fault = fault
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def put(self, event: dict[str, Any]) -> None:
        self._events.put(event)

    def close(self) -> None:
        """Send the rest, and end."""
        self._events.put(None)
        self._thread.join(10)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            try:
                self._send(event)
            except Exception as error:
                self._fault(f"an event was not sent: {error}")
