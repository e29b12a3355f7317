"""The demo itself: each step says what it does, and the command that does the same."""

from __future__ import annotations

import json
import shlex
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from launchcore.cli.exits import Exit
from launchcore.cli.follow import launch_command, watch
from launchcore.cli.output import emit, me, show
from launchcore.cli.source import path_as_url
from launchcore.demo.agent import serving
from launchcore.demo.place import BRANCH, Place, configure, make_place, make_repository
from launchcore.demo.scene import AUTO, PROCESS, Scene, set_scene

if TYPE_CHECKING:
    from launchcore.queues.base import RunInfo, Service

COMMAND = ("python", "train.py", "--epochs", "${inputs.epochs}", "--learning-rate", "${inputs.learning_rate}")
INPUTS = {"epochs": 20, "learning_rate": 0.02}


def run_demo(directory: Path | None, *, keep: bool, runner: str = AUTO) -> int:
    """Make everything, run a job, and show how it went. The exit code is that of the run.

    :param directory: where to put everything; without it, a directory of the user's own.
    :param keep: leave the agent running.
    :param runner: what executes the job; ``auto``: a container where that can be had, else a process.
    :raises CommandError: what the demo needs is not there.
    """
    from launchcore.queues.connect import open_service

    place = make_place(directory)
    emit(f"launch demo: a queue, an agent and a training job, all in {place.directory}")
    with closing(open_service(place.base_url)) as service, ExitStack() as stack:
        scene = set_scene(runner, service, stack)
        if scene.why is not None:
            emit(f"a process, not a container: {scene.why}")
        configure(place, scene.queue)
        commit = make_repository(place)
        emit(f"1. a git repository  {place.repository.name} at {commit[:12]}")
        _make_queue(service, scene)
        emit(f"2. a queue           launch queue create {scene.queue} --type {scene.config.type}")
        with serving(service, place, scene.queue, keep=keep) as pid:
            who = "one is there already" if pid is None else f"pid {pid}"
            emit(f"3. an agent          launch agent --queue {scene.queue}  ({who})")
            run, code = _train(service, place, scene, commit)
        if keep:
            stack.pop_all()  # the agent that stays goes on using what the scene has made
        _summary(service, place, run)
        _next_steps(place, run, pid if keep else None, again=keep or scene.config.type == PROCESS)
    return code


def _make_queue(service: Service, scene: Scene) -> None:
    if scene.queue not in [queue.name for queue in service.list_queues()]:
        service.create_queue(scene.queue, scene.config)
    else:
        service.edit_queue(scene.queue, scene.config)


def _train(service: Service, place: Place, scene: Scene, commit: str) -> tuple[RunInfo, Exit]:
    from launchcore.plugin import RunSpec, SourceRef

    fields = {"url": path_as_url(place.repository), "ref": BRANCH, "commit": commit}
    spec = RunSpec(
        source=SourceRef(type="git", fields=fields),
        command=COMMAND,
        name="two-spirals",
        # A container has its own files.
        env={"METRICS_FILE": str(place.metrics)} if scene.config.type == PROCESS else {},
        inputs=INPUTS,
    )
    place.metrics.unlink(missing_ok=True)
    words = f"-q {scene.queue} --git {place.repository.name} -- python train.py …"
    emit(f"4. a run             launch submit {words}")
    emit("")
    run = service.submit(scene.queue, spec, submitter=me())
    code = watch(service, run, base_url=place.base_url)
    return service.run(run.id), code


def _summary(service: Service, place: Place, run: RunInfo) -> None:
    from rich.console import Group
    from rich.text import Text

    from launchcore.cli.run_page import run_facts
    from launchcore.cli.timeline import steps, timeline_view

    now = time.time()
    lines = steps(service.timeline(run.id), now, over=run.state.final)
    emit("")
    show(Group(run_facts(run, now), Text(""), timeline_view(lines, run.submitted_at)))
    if place.metrics.is_file():
        metrics = json.loads(place.metrics.read_text())
        emit("")
        emit(f"trained: loss {metrics['loss']}, accuracy {metrics['accuracy']:.1%} ({place.metrics})")


def _next_steps(place: Place, run: RunInfo, pid: int | None, *, again: bool) -> None:
    """``again``: what the queue needs is still there, so that more can be submitted to it."""
    emit("")
    emit("Try next:")
    emit(f"  cd {shlex.quote(str(place.directory))}")
    emit(f"  export LAUNCHCORE_BASE_URL={shlex.quote(place.base_url)}")
    if pid is None and again:
        emit(f"  launch agent --config {place.config.name} > {place.agent_log.name} &")
    repository = place.repository.name
    submit = ("submit", "-q", run.queue, "--git", repository, "--watch", "--", "python", "train.py")
    for words in (
        ("show", run.id),
        ("logs", run.id),
        *([(*submit, "--epochs", "5"), (*submit, "--epochs", "many")] if again else []),
        ("runs",),
        ("queue", "list"),
        ("doctor",),
    ):
        emit(f"  {launch_command(*words)}")
    if pid is not None:
        emit(f"The agent goes on: kill {pid} stops it.")
