"""What ``launch`` returns to the shell: one table, shown in ``launch --help`` and in docs/cli.md."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4
    CANCELLED = 5
    INTERNAL = 70
    INTERRUPTED = 130
    CLOSED = 141


MEANINGS: tuple[tuple[Exit, str], ...] = (
    (Exit.OK, "it worked; a run that was watched succeeded"),
    (Exit.FAILED, "the run that was watched failed, or a check failed"),
    (Exit.USAGE, "wrong usage or configuration, or a source that cannot be used"),
    (Exit.NOT_FOUND, "there is no such queue, job or run"),
    (Exit.UNAVAILABLE, "the queue, or something that the command needs, is not available"),
    (Exit.CANCELLED, "the run that was watched was cancelled"),
    (Exit.INTERNAL, "a bug in launchcore or in a plugin; the error says where the traceback is"),
    (Exit.INTERRUPTED, "interrupted by Ctrl-C; a run that was watched goes on"),
    (Exit.CLOSED, "the reader of the output went away"),
)
