"""The ``launch`` command. This package's root imports nothing, so that asking for help is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn


def main() -> NoReturn:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Execute one command line and return its exit code (see :mod:`launchcore.cli.exits`).

    Errors are printed as one line; nothing is raised but what ends the interpreter anyway.
    """
    from launchcore.cli.app import execute

    return execute(args)
