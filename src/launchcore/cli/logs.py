"""``launch logs``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from launchcore.cli.errors import CommandError
from launchcore.cli.exits import Exit
from launchcore.cli.options import BaseUrl
from launchcore.cli.output import LogWriter, say
from launchcore.cli.runs import RunRef
from launchcore.cli.service import service

if TYPE_CHECKING:
    from launchcore.queues.base import RunInfo, Service


def logs(
    run: RunRef,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", metavar="N", min=1, help="Of this attempt only.")
    ] = None,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", metavar="N", min=0, help="Only the last N lines.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The bytes as they are, on a terminal too. Trust the run first.")
    ] = False,
    base_url: BaseUrl = None,
) -> int:
    """Print the log of a run.

    Of its newest attempt, or of the one that is named. On a terminal, colours pass, and every other
    control sequence in the log is made visible instead of obeyed. Into a pipe or a file go the
    bytes as they are.
    """
    from launchcore.cli.follow import Follower, launch_command

    with service(base_url) as queues:
        info = queues.run(run)
        number = _attempt(info, attempt)
        writer = LogWriter(raw=raw or None)
        follower = Follower(queues, writer, stages=False, attempt=attempt)
        if number is not None:
            follower.start_at(number, 0 if tail is None else tail_offset(queues, info.id, number, tail))
        elif not follow:
            say(f"run {info.id} is {info.state.value} and has no log yet")
            return Exit.OK
        try:
            if follow:
                follower.follow(info)
            else:
                follower.catch_up(info)
        except KeyboardInterrupt:
            writer.line_start()
            say(f"detached: {launch_command('logs', info.id, '-f', base_url=base_url)} comes back")
            return Exit.INTERRUPTED
        finally:
            writer.close()
    return Exit.OK


def _attempt(run: RunInfo, wanted: int | None) -> int | None:
    """The attempt to print: the one asked for, or the newest that has a log, or the newest."""
    numbers = [each.number for each in run.attempts]
    if wanted is None:
        logged = [each.number for each in run.attempts if each.log_bytes]
        return max(logged or numbers, default=None)
    if wanted not in numbers:
        known = ", ".join(map(str, numbers)) or "none yet"
        raise CommandError(
            f"run {run.id} has no attempt {wanted}", hint=f"its attempts: {known}", code=Exit.NOT_FOUND
        )
    return wanted


def tail_offset(service: Service, run_id: str, attempt: int, lines: int) -> int:
    """Where the last ``lines`` lines of an attempt's log begin, in bytes.

    Reads backwards in growing steps, so that the tail of a long log costs no more than itself.
    """
    length = next((each.log_bytes for each in service.run(run_id).attempts if each.number == attempt), 0)
    if lines == 0:
        return length
    start, data = length, b""
    step = 1 << 16
    while start > 0:
        begin = max(0, start - step)
        data = _read(service, run_id, attempt, begin, start) + data
        start, step = begin, step * 2
        body = data[:-1] if data.endswith(b"\n") else data
        if body.count(b"\n") >= lines:
            break
    body = data[:-1] if data.endswith(b"\n") else data
    at = len(body)
    for _ in range(lines):
        at = body.rfind(b"\n", 0, at)
        if at < 0:
            return start
    return start + at + 1


def _read(service: Service, run_id: str, attempt: int, begin: int, end: int) -> bytes:
    parts = []
    while begin < end:
        chunk = service.logs(run_id, attempt=attempt, offset=begin, limit=end - begin)
        if not chunk.data:
            break
        parts.append(chunk.data[: end - begin])
        begin = chunk.next
    return b"".join(parts)
