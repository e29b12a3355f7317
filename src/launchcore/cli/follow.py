"""Following a run: its stages and its log as they happen, until it ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from launchcore.cli.exits import Exit
from launchcore.cli.output import LogWriter, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from launchcore.queues.base import RunInfo, Service

T = TypeVar("T")

WAIT = 30.0
"""Seconds that one question to the queue may wait for news."""
PATIENCE = 300.0
"""Seconds for which a queue that went away is asked again."""


def launch_command(*words: str, base_url: str | None = None) -> str:
    """A command line for the user to type, with the base URL if this one needed it."""
    import shlex

    where = ["--base-url", base_url] if base_url else []
    return shlex.join(["launch", *words, *where])


class Follower:
    """Prints what happens to a run: log bytes to stdout, stages to stderr.

    :param stages: print the time-line too.
    :param attempt: only this attempt's log.
    """

    def __init__(
        self, service: Service, writer: LogWriter, *, stages: bool = True, attempt: int | None = None
    ) -> None:
        self._service = service
        self._writer = writer
        self._stages = stages
        self._only = attempt
        self._attempt = attempt
        self._offset = 0
        self._seen = 0

    def start_at(self, attempt: int, offset: int) -> None:
        """Begin in the middle of an attempt's log."""
        self._attempt, self._offset = attempt, offset

    def follow(self, run: RunInfo) -> RunInfo:
        """Print until the run has ended; return it as it ended.

        :raises QueueUnavailable: the queue stayed away for longer than :data:`PATIENCE`.
        """
        while True:
            self.catch_up(run)
            if run.state.final or self._only_is_over(run):
                return run
            run = self._next(run)

    def catch_up(self, run: RunInfo) -> None:
        """Print what there is by now."""
        if self._stages:
            self._print_stages(run)
        self._patiently(lambda: self._print_log(run))

    def _next(self, run: RunInfo) -> RunInfo:
        return self._patiently(lambda: self._service.wait(run.id, run.changes, timeout=WAIT))

    def _only_is_over(self, run: RunInfo) -> bool:
        return any(each.number == self._only and each.ended_at is not None for each in run.attempts)

    def _print_stages(self, run: RunInfo) -> None:
        from launchcore.cli.timeline import step_line, steps

        events = self._patiently(lambda: self._service.timeline(run.id))
        fresh = events[self._seen :]
        self._seen = len(events)
        for step in steps(fresh, 0.0, over=True):
            if step.stage == "report":
                self._print_log(run)  # what it printed comes before the news of its end
            self._writer.line_start()
            say(step_line(step, run.submitted_at))

    def _print_log(self, run: RunInfo) -> None:
        numbers = [attempt.number for attempt in run.attempts]
        while numbers:
            if self._attempt is None:
                self._attempt = numbers[0]
            chunk = self._service.logs(run.id, attempt=self._attempt, offset=self._offset)
            self._writer.write(chunk.data)
            self._offset = chunk.next
            if chunk.data:
                continue
            later = [number for number in numbers if number > self._attempt]
            if self._only is not None or not chunk.end or not later:
                return
            self._attempt, self._offset = later[0], 0

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask again while the queue is away: losing sight of a run does not end it."""
        from launchcore.plugin import QueueUnavailable

        deadline = time.monotonic() + PATIENCE
        pause = 0.5
        while True:
            try:
                return ask()
            except QueueUnavailable as error:
                if time.monotonic() >= deadline:
                    raise
                if pause == 0.5:
                    self._writer.line_start()
                    say(f"! the queue is not available ({error}); asking again")
                time.sleep(pause)
                pause = min(pause * 2, 10.0)


def watch(service: Service, run: RunInfo, *, base_url: str | None) -> Exit:
    """Follow ``run`` with its stages; say how it ended; return the exit code for that."""
    from launchcore.plugin import RunState

    writer = LogWriter()
    if run.state is RunState.QUEUED:
        warn_if_unserved(service, run.queue, base_url=base_url)
    try:
        run = Follower(service, writer).follow(run)
    except KeyboardInterrupt:
        writer.line_start()
        writer.close()
        say(f"detached: run {run.id} goes on")
        say(f"  come back:  {launch_command('logs', run.id, '-f', base_url=base_url)}")
        say(f"  stop it:    {launch_command('cancel', run.id, base_url=base_url)}")
        return Exit.INTERRUPTED
    writer.line_start()
    writer.close()
    say(ending(run))
    if run.state is not RunState.SUCCEEDED:
        say(f"  look at it: {launch_command('show', run.id, base_url=base_url)}")
    return exit_of(run)


def ending(run: RunInfo) -> str:
    """How a run ended, in one line."""
    from launchcore.cli.times import duration
    from launchcore.plugin import RunState

    mark = {RunState.SUCCEEDED: "✓", RunState.CANCELLED: "■"}.get(run.state, "✗")
    took = f" after {duration((run.ended_at or run.submitted_at) - run.submitted_at)}"
    text = f"{mark} run {run.id} {run.state.value}{took}"
    return f"{text}: {run.failure.one_line()}" if run.failure is not None else text


def exit_of(run: RunInfo) -> Exit:
    """The exit code for a run that has ended."""
    from launchcore.plugin import RunState

    codes = {RunState.SUCCEEDED: Exit.OK, RunState.CANCELLED: Exit.CANCELLED}
    return codes.get(run.state, Exit.FAILED)


def warn_if_unserved(service: Service, queue: str, *, base_url: str | None) -> None:
    """Say so when a run would wait for ever: no agent, or a paused queue."""
    info = service.queue(queue)
    if info.paused:
        say(f"! queue {queue} is paused: {launch_command('queue', 'resume', queue, base_url=base_url)}")
    elif not info.agents:
        start = launch_command("agent", "--queue", queue, base_url=base_url)
        say(f"! no agent serves queue {queue}: start one with {start}")
