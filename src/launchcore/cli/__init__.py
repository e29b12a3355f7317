"""The ``launch`` command. This package's root imports nothing, so that asking for help is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn


def main() -> NoReturn:
    """The console script."""
    code = run(sys.argv[1:])
    # CPython kills itself by SIGINT in place of this exit code if the interrupt struck in an `exec` of a
    # text (a dataclass that is being made), although it was caught; the next `exec` makes it forget that.
    exec("")  # noqa: S102
    sys.exit(code)


def run(args: Sequence[str]) -> int:
    """Execute one command line and return its exit code (see :mod:`launchcore.cli.exits`).

    Errors are printed as one line; nothing is raised but what ends the interpreter anyway.
    """
    from launchcore.cli.app import execute

    return execute(args)
