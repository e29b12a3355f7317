"""The record of one training job: its statuses, and what DescribeTrainingJob says of it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from launch_sagemaker.testing.containers import Running
from launch_sagemaker.testing.faults import Ending

IN_PROGRESS: Final = "InProgress"
ENDED: Final = frozenset({"Completed", "Failed", "Stopped"})

_STATUS: Final = {
    "Completed": "Completed",
    "Failed": "Failed",
    "Stopping": "Stopping",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
    "MaxWaitTimeExceeded": "Stopped",
}
"""Secondary status → status; in all others it is in progress, or stopping."""

MESSAGES: Final = {
    "Starting": "Starting the training job",
    "Pending": "Waiting for compute capacity",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "Interrupted": "Training job interrupted: the managed spot training instances were interrupted",
    "Restarting": "Restarting the training job",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
}


@attrs.define
class Transition:
    status: str
    start: float
    message: str
    end: float | None = None

    def described(self) -> dict[str, Any]:
        made = {"Status": self.status, "StartTime": self.start, "StatusMessage": self.message}
        return made if self.end is None else {**made, "EndTime": self.end}


@attrs.define(eq=False, kw_only=True)
class JobRecord:
    """One training job. Times are UNIX seconds. Changes happen under ``changed``, which tells of each."""

    name: str
    region: str
    arn: str
    body: Mapping[str, Any]
    tags: dict[str, str]
    created: float
    changed: threading.Condition
    on_change: Callable[[JobRecord], None]
    paper: bool = False
    """It has no container, and ends when told (:meth:`end`)."""
    hidden_until: float = 0.0
    ending: Ending | None = None
    """What a script has it end with, without running."""

    secondary: str = "Starting"
    status: str = IN_PROGRESS
    transitions: list[Transition] = attrs.field(factory=list)
    started: float | None = None
    ended: float | None = None
    modified: float = 0.0
    failure: str | None = None
    stop_asked: bool = False
    broken: str | None = None
    """The FailureReason of instances that are to break down now."""
    interruption: float | None = None
    """The seconds of notice of a spot interruption that is to happen now."""
    comes_back: bool = True
    """Whether there is capacity again after an interruption."""
    interruptions: int = 0
    reused_by: str | None = None
    reuses_pool: bool = False
    running: tuple[Running, ...] = ()
    """The containers of the present start, algo-1 first."""

    @property
    def spot(self) -> bool:
        return bool(self.body.get("EnableManagedSpotTraining"))

    def limit(self, name: str) -> float | None:
        """A limit of ``StoppingCondition``, in seconds."""
        given = (self.body.get("StoppingCondition") or {}).get(name)
        return None if given is None else float(given)

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    # What happens to it

    def move(self, secondary: str, message: str | None = None, *, failure: str | None = None) -> None:
        """Into another secondary status, or on within it with another message. What has ended stays so."""
        with self.changed:
            if self.status in ENDED:
                return
            now = time.time()
            if self.transitions and self.transitions[-1].status == secondary:
                self.transitions[-1].message = message or self.transitions[-1].message
            else:
                if self.transitions:
                    self.transitions[-1].end = now
                self.transitions.append(Transition(secondary, now, message or MESSAGES[secondary]))
            self.secondary, self.modified = secondary, now
            before = "Stopping" if self.status == "Stopping" else IN_PROGRESS
            self.status = _STATUS.get(secondary, before)
            if secondary in ("Downloading", "Training") and self.started is None:
                self.started = now
            if self.status in ENDED:
                self.ended = self.transitions[-1].end = now
                self.failure = None if failure is None else failure[:1024]
            self.on_change(self)
            self.changed.notify_all()

    def end(self, exit_code: int = 0, *, reason: str | None = None) -> None:
        """End a job that is paper only, as its container would have."""
        assert self.paper, f"{self.name} has containers: they end it"
        if exit_code or reason:
            self.move("Failed", failure=reason or algorithm_error(exit_code))
        else:
            self.move("Uploading")
            self.move("Completed")

    def stop(self) -> None:
        """As StopTrainingJob has it: its life ends it, or, on paper, it ends now."""
        with self.changed:
            self.stop_asked = True
            self.move("Stopping")
            self.changed.notify_all()
            if self.paper:
                self.move("Stopped")

    def fail(self, reason: str) -> None:
        """Its instances break down while it trains: killed without a signal, for this FailureReason."""
        with self.changed:
            self.broken = reason
            if self.paper:
                self.move("Failed", failure=reason)
            self.changed.notify_all()

    def interrupt(self, *, notice: float = 0.0, comes_back: bool = True) -> None:
        """Take the spot instances away: SIGTERM, and SIGKILL after ``notice`` seconds.

        :param comes_back: False: there is no capacity again before ``MaxWaitTimeInSeconds``.
        """
        assert self.spot, f"{self.name} does not run on spot instances"
        with self.changed:
            self.comes_back = comes_back
            self.interruption = notice
            if self.paper and not self.has_ended:
                self.take_interruption()
                self.move("Interrupted")
                if comes_back:
                    self.move("Starting")
                    self.move("Training")
            self.changed.notify_all()

    def take_interruption(self) -> None:
        with self.changed:
            self.interruption = None
            self.interruptions += 1

    def wait(self, *statuses: str, seconds: float = 30.0) -> None:
        """Until its status or secondary status is, or was, one of these; without any: until it has ended."""
        wanted = set(statuses) or ENDED

        def there() -> bool:
            return self.status in wanted or any(one.status in wanted for one in self.transitions)

        with self.changed:
            assert self.changed.wait_for(there, seconds), (
                f"{self.name} is {self.status}/{self.secondary}, not {sorted(wanted)}, after {seconds:g} s"
            )

    # What is told about it

    @property
    def visible(self) -> bool:
        return time.time() >= self.hidden_until

    def described(self, known: frozenset[str]) -> dict[str, Any]:
        """DescribeTrainingJob's answer. ``known``: the members that it may have."""
        with self.changed:
            told = {key: value for key, value in self.body.items() if key in known and value is not None}
            told.pop("Tags", None)
            told |= {
                "TrainingJobArn": self.arn,
                "TrainingJobStatus": self.status,
                "SecondaryStatus": self.secondary,
                "ModelArtifacts": {"S3ModelArtifacts": self.artifacts},
                "StoppingCondition": self.body.get("StoppingCondition") or {"MaxRuntimeInSeconds": 86400},
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
                "SecondaryStatusTransitions": [each.described() for each in self.transitions],
            }
            for switch in ("NetworkIsolation", "InterContainerTrafficEncryption", "ManagedSpotTraining"):
                told.setdefault(f"Enable{switch}", False)
            times = {"TrainingStartTime": self.started, "TrainingEndTime": self.ended}
            told |= {key: value for key, value in times.items() if value is not None}
            if self.started is not None and self.ended is not None:
                told |= self._bill(self.ended - self.started)
            if self.failure is not None:
                told["FailureReason"] = self.failure
            if (pool := self.warm_pool()) is not None:
                told["WarmPoolStatus"] = pool
            return told

    @property
    def artifacts(self) -> str:
        output = self.body["OutputDataConfig"]
        kind = "model/" if output.get("CompressionType") == "NONE" else "model.tar.gz"
        return f"{output['S3OutputPath'].rstrip('/')}/{self.name}/output/{kind}"

    def warm_pool(self) -> dict[str, Any] | None:
        """The state of the instances that are kept after the job, if any are."""
        keep = self.body["ResourceConfig"].get("KeepAlivePeriodInSeconds") if self._has_machines else None
        if not keep:
            return None
        if self.ended is None:
            return {"Status": "InUse"}
        if self.reused_by is not None:
            return {"Status": "Reused", "ReusedByJob": self.reused_by}
        over = time.time() - self.ended
        if self.status == "Failed" or over >= keep:
            kept = 0 if self.status == "Failed" else keep
            return {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": kept}
        return {"Status": "Available", "ResourceRetainedBillableTimeInSeconds": int(over)}

    @property
    def _has_machines(self) -> bool:
        return "ResourceConfig" in self.body

    def _bill(self, seconds: float) -> dict[str, int]:
        # Spot instances cost less: SageMaker tells it as fewer seconds.
        billed = seconds * 0.3 if self.spot else seconds
        return {
            "TrainingTimeInSeconds": max(1, math.ceil(seconds)),
            "BillableTimeInSeconds": max(1, math.ceil(billed)),
        }


def algorithm_error(exit_code: int, text: str = "") -> str:
    """The FailureReason of a container that failed, with what it left in ``/opt/ml/output/failure``."""
    code = f", exit code: {exit_code}"
    return f"AlgorithmError: {text}"[: 1024 - len(code)] + code
