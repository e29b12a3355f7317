"""Values of the queue, made up, for tests of what they look like."""

from __future__ import annotations

from typing import Any

import attrs

from launchcore.plugin import (
    Failure,
    Fault,
    Limits,
    Priority,
    QueueConfig,
    Reason,
    RunSpec,
    RunState,
    SourceRef,
    Stage,
    TimelineEvent,
)
from launchcore.queues.base import AgentRow, AttemptInfo, Job, JobDefinition, QueueInfo, RunInfo

NOW = 1_000_000.0
GIT = SourceRef(
    type="git",
    fields={"url": "https://host/repo", "ref": "main", "commit": "4b1d2c9e5f60718293a4b5c6d7e8f90011223344"},
)
EVIL = "\x1b[31m[bold]x[/bold]\n\u202e"
FAILURE = Failure(
    reason=Reason.OUT_OF_MEMORY,
    fault=Fault.USER,
    stage=Stage.EXECUTE,
    detail="killed at 2.0 GB",
    hint="ask for more with --memory",
    plugin="launchcore 0.1.0",
)


def spec(**fields: Any) -> RunSpec:
    return RunSpec(**{"source": GIT, "command": ("python", "train.py", "--name", "a b"), **fields})


def run(**fields: Any) -> RunInfo:
    values: dict[str, Any] = {
        "id": "01jd7x2k9m3q",
        "queue": "default",
        "state": RunState.SUCCEEDED,
        "priority": Priority.MEDIUM,
        "spec": spec(name="first"),
        "submitter": "ana@box",
        "submitted_at": NOW - 200,
        "started_at": NOW - 190,
        "ended_at": NOW - 100,
        "exit_code": 0,
    }
    return RunInfo(**{**values, **fields})


def attempt(**fields: Any) -> AttemptInfo:
    values: dict[str, Any] = {
        "id": "01jd7x2k9m3q-1",
        "number": 1,
        "agent": "box",
        "state": RunState.SUCCEEDED,
        "claimed_at": NOW - 195,
        "ended_at": NOW - 100,
        "log_bytes": 14_200,
        "exit_code": 0,
    }
    return AttemptInfo(**{**values, **fields})


def queue(**fields: Any) -> QueueInfo:
    values: dict[str, Any] = {
        "name": "default",
        "config": QueueConfig(type="process", max_running=4),
        "created_at": NOW - 90_000,
        "updated_at": NOW - 60,
        "queued": 3,
        "running": 1,
        "agents": ("box",),
    }
    return QueueInfo(**{**values, **fields})


def agent(**fields: Any) -> AgentRow:
    values: dict[str, Any] = {
        "name": "box",
        "host": "box.example.com",
        "pid": 4242,
        "version": "0.1.0",
        "queues": ("default", "nightly"),
        "max_jobs": -1,
        "alive": True,
        "registered_at": NOW - 500,
        "seen_at": NOW - 3,
        "running": 1,
    }
    return AgentRow(**{**values, **fields})


def job(**fields: Any) -> Job:
    definition = JobDefinition(
        source=GIT,
        command=("python", "train.py", "--lr", "${inputs.lr}"),
        inputs={"lr": {"type": "number", "default": 0.1, "description": "the learning rate"}},
    )
    values: dict[str, Any] = {
        "name": "train",
        "version": 2,
        "definition": definition,
        "created_at": NOW - 7200,
    }
    return Job(**{**values, **fields})


TIMELINE = (
    (0, TimelineEvent(at=NOW - 200, stage=Stage.SUBMIT, what="finished", detail="in default")),
    (1, TimelineEvent(at=NOW - 195, stage=Stage.CLAIM, what="finished", detail="by box")),
    (1, TimelineEvent(at=NOW - 195, stage=Stage.SOURCE, what="started")),
    (
        1,
        TimelineEvent(
            at=NOW - 194, stage=Stage.SOURCE, what="finished", detail="4b1d2c9, 3 files", seconds=1.0
        ),
    ),
    (1, TimelineEvent(at=NOW - 194, stage=Stage.BUILD, what="skipped", detail="no image is needed")),
    (1, TimelineEvent(at=NOW - 190, stage=Stage.EXECUTE, what="started")),
)
LIMITED = attrs.evolve(
    run(), spec=spec(limits=Limits(run_seconds=7200, memory_bytes=2_000_000_000), secrets=("HF_TOKEN",))
)
