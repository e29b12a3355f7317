"""DescribeTrainingJob's answer → how a run is. Pure; an answer may lack anything, and hold new words.

``SecondaryStatus`` and ``StatusMessage`` "are subject to change" (API reference of
SecondaryStatusTransition): they are shown, and only the five old primary statuses decide.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
from launch_aws.diagnosis import scrubbed

from launch_sagemaker.diagnosis import RAN, ending_of, failure_of, was_trained
from launchcore.plugin import Phase, RunStatus

_TROUBLE: Final = re.compile(r"capacity|unhealthy|retrying|replacing|insufficient", re.IGNORECASE)
_ENDED: Final = {
    "Completed": "Completed",
    "Failed": "Failed",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
    "MaxWaitTimeExceeded": "Stopped",
}
"""Secondary statuses that are an end → the primary status of it."""
_USAGE: Final = (("billed_seconds", "BillableTimeInSeconds"), ("training_seconds", "TrainingTimeInSeconds"))
"""Of one instance each: SageMaker bills them times the number of instances."""


@attrs.frozen(kw_only=True)
class Sight:
    """One look at a training job: its status, and what reading its logs needs."""

    status: RunStatus
    instances: int = 1
    ended_at: float | None = None
    """UNIX seconds, of every job that has ended; from then on its log is near its end."""
    trained: bool = False
    """It has come to its own program, so that there is a log, or will be."""


def sight_of(described: Mapping[str, Any]) -> Sight:
    """The same for the same answer, whoever looks."""
    status = status_of(described)
    return Sight(
        status=status,
        instances=_instances(described.get("ResourceConfig")),
        ended_at=(status.finished_at or 0.0) if status.phase.final else None,
        trained=was_trained(described),
    )


def status_of(described: Mapping[str, Any]) -> RunStatus:
    """How the run is."""
    described = _before_deletion(described)
    primary, steps = described.get("TrainingJobStatus"), _steps(described)
    usage = {name: used for name, key in _USAGE if (used := _number(described.get(key))) is not None}
    started = _started(described, steps)
    if primary in ("Completed", "Failed", "Stopped"):
        finished, ending = _finished(described, steps), ending_of(described)
        return RunStatus(
            phase=Phase.SUCCEEDED if primary == "Completed" else Phase.FAILED,
            failure=failure_of(described),
            message=_interruptions(described, steps),
            started_at=started if started is None or finished is None else min(started, finished),
            finished_at=finished,
            usage=usage,
            exit_code=ending.get("exit_code"),
            signal=ending.get("signal"),
        )
    if primary not in ("InProgress", "Stopping"):
        said = scrubbed(primary, 60)
        return RunStatus(
            phase=Phase.UNKNOWN, message=f"SageMaker says {said!r} of it, which we do not understand"
        )
    trained = was_trained(described)
    return RunStatus(
        phase=Phase.RUNNING if trained else Phase.PENDING,
        progress=_progress(described, steps),
        message=_warning(described, steps),
        started_at=started,
        usage=usage,
    )


@attrs.frozen
class _Step:
    """One secondary status that it went through. Times are UNIX seconds."""

    status: str
    said: str
    began: float | None
    ended: float | None


def _steps(described: Mapping[str, Any]) -> list[_Step]:
    found = described.get("SecondaryStatusTransitions")
    return [
        _Step(
            str(each.get("Status") or ""),
            scrubbed(each.get("StatusMessage") or "", 200),
            _unix(each.get("StartTime")),
            _unix(each.get("EndTime")),
        )
        for each in (found if isinstance(found, list | tuple) else ())
        if isinstance(each, Mapping)
    ]


def _before_deletion(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record of a job that ended may be deleted: how it ended counts as long as it is there."""
    if described.get("TrainingJobStatus") != "Deleting":
        return described
    ends = [each.status for each in _steps(described) if each.status in _ENDED]
    secondary = str(described.get("SecondaryStatus"))
    last = secondary if secondary in _ENDED else next(reversed(ends), None)
    if last is None:
        return described
    return {**described, "TrainingJobStatus": _ENDED[last], "SecondaryStatus": last}


def _started(described: Mapping[str, Any], steps: list[_Step]) -> float | None:
    found = next((each.began for each in steps if each.status in RAN), None)
    if found is None and was_trained(described):
        return _unix(described.get("TrainingStartTime"))
    return found


def _finished(described: Mapping[str, Any], steps: list[_Step]) -> float | None:
    """``TrainingEndTime`` is missing from jobs that never had instances."""
    last = next(reversed(steps), None)
    told = (
        _unix(described.get("TrainingEndTime")),
        (last.ended or last.began) if last is not None else None,
        _unix(described.get("LastModifiedTime")),
        _unix(described.get("CreationTime")),
    )
    return next((each for each in told if each is not None), None)


def _progress(described: Mapping[str, Any], steps: list[_Step]) -> str | None:
    """``Downloading: Downloading the training image``."""
    name = scrubbed(described.get("SecondaryStatus") or described.get("TrainingJobStatus") or "", 60)
    last = next(reversed(steps), None)
    said = last.said if last is not None and last.status == described.get("SecondaryStatus") else ""
    return f"{name}: {said}" if said and said != name else name or None


def _warning(described: Mapping[str, Any], steps: list[_Step]) -> str | None:
    last = next(reversed(steps), None)
    trouble = last.said if last is not None and _TROUBLE.search(last.said) else None
    return "; ".join(filter(None, (_interruptions(described, steps), trouble))) or None


def _interruptions(described: Mapping[str, Any], steps: list[_Step]) -> str | None:
    spot = sum(each.status == "Interrupted" for each in steps)
    again = sum(each.status == "Restarting" for each in steps)
    found = []
    if spot:
        onward = "at its checkpoint" if described.get("CheckpointConfig") else "from its beginning"
        found.append(f"its spot instances were taken back {_times(spot)}, and it goes on {onward}")
    if again:
        found.append(f"SageMaker has restarted it {_times(again)}")
    return "; ".join(found) or None


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _instances(config: object) -> int:
    """Of one kind, or of several groups."""
    if not isinstance(config, Mapping):
        return 1
    groups = config.get("InstanceGroups")
    several = groups if isinstance(groups, list | tuple) else ()
    counts = [each.get("InstanceCount") for each in several if isinstance(each, Mapping)]
    total = sum(each for each in [*counts, config.get("InstanceCount")] if isinstance(each, int))
    return max(total, 1)


def _unix(value: object) -> float | None:
    if not isinstance(value, datetime.datetime):
        return _number(value)
    try:
        return value.timestamp()
    except (OverflowError, ValueError, OSError):
        return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e15 else None
