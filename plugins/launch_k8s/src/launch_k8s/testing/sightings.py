"""What is seen of runs, for tests of the diagnosis: recorded, or recorded and then changed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from launch_k8s.diagnosis import Observed, diagnose
from launch_k8s.kinds import JOB, kind_of
from launch_k8s.names import MAIN_CONTAINER
from launch_k8s.pods import annotation, trim_event, trim_main, trim_pod
from launch_k8s.times import unix
from launchcore.plugin import Fault, Phase, RunStatus

DATA = Path(__file__).parents[3] / "tests" / "data"
"""In a checkout: what ``recording.py`` has written."""
STARTED = "2026-11-23T21:00:00Z"
INFRA = Fault.INFRASTRUCTURE


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return found


def observed(seen: dict[str, Any]) -> Observed:
    main = seen["main"]
    return Observed(
        main=trim_main(main) if main else None,
        pods=tuple(trim_pod(pod) for pod in seen["pods"]),
        events=tuple(trim_event(event) for event in seen["events"]),
        deleted=main is None,
        at=seen["at"],
        kind=kind_of(main) if main else JOB,
        main_container=annotation(main, MAIN_CONTAINER) or "main",
    )


def look(seen: dict[str, Any]) -> RunStatus:
    status = diagnose(observed(seen))
    assert_complete(status)
    return status


def assert_complete(status: RunStatus) -> None:
    """Whatever is said can be shown and acted on."""
    assert status.exit_code is None or status.signal is None
    assert (status.phase in (Phase.FAILED, Phase.GONE)) == (status.failure is not None)
    failure = [status.failure.detail, status.failure.hint] if status.failure else []
    for text in (status.message, *failure):
        if text is not None:
            assert text.strip()
            assert text.isprintable()
            assert len(text) <= 500


def with_pod(status: dict[str, Any], *, base: str = "running", **metadata: Any) -> dict[str, Any]:
    """A recording with one pod of this status."""
    seen = recorded(base)
    seen["pods"][0]["status"].update(copy.deepcopy(status))
    seen["pods"][0]["metadata"].update(metadata)
    return seen


def waits(reason: str, message: str, after: float, events: list[dict[str, Any]] | None = None) -> RunStatus:
    state = {"name": "main", "state": {"waiting": {"reason": reason, "message": message}}}
    seen = with_pod({"phase": "Pending", "startTime": STARTED, "containerStatuses": [state]})
    seen["at"] = (unix(STARTED) or 0) + after
    uid = seen["pods"][0]["metadata"]["uid"]
    seen["events"] = [{"type": "Warning", "involvedObject": {"uid": uid}, **each} for each in events or []]
    return look(seen)


def died(code: int, ended: str = "Error", **status: Any) -> dict[str, Any]:
    state = {"exitCode": code, "reason": ended, "startedAt": STARTED, "finishedAt": "2026-11-23T21:05:00Z"}
    return with_pod(
        {"phase": "Failed", "containerStatuses": [{"name": "main", "state": {"terminated": state}}], **status}
    )


def target(reason: str, message: str = "") -> list[dict[str, Any]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}]
