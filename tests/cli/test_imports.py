"""Asking for help is quick: it imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from launchcore.cli.app import COMMANDS

HEAVY = {
    "attr",
    "boto3",
    "docker",
    "jsonschema",
    "kubernetes",
    "launchcore.agent",
    "launchcore.host",
    "launchcore.plugin",
    "launchcore.queues",
    "launchcore.store",
    "msgspec",
    "pathspec",
    "pluggy",
    "requests",
    "rich",
    "sqlalchemy",
    "sqlite3",
    "yaml",
}
HELP = """
import sys
from launchcore.cli import run
code = run(sys.argv[1:])
sys.stderr.write("\\n".join(sys.modules))
sys.exit(code)
"""


def help_of(*words: str) -> tuple[str, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", HELP, *words, "--help"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(done.stderr.split("\n"))


def test_help_imports_nothing_heavy_and_no_command() -> None:
    text, modules = help_of()

    assert modules & HEAVY == set()
    assert not {entry.target.partition(":")[0] for entry in COMMANDS} & modules
    assert all(entry.name in text for entry in COMMANDS)


@pytest.mark.parametrize("name", [entry.name for entry in COMMANDS])
def test_help_of_a_command_imports_nothing_heavy(name: str) -> None:
    text, modules = help_of(name)

    assert modules & HEAVY == set()
    assert f"launch {name}" in text


def test_the_summaries_of_the_table_are_those_of_the_commands() -> None:
    """``launch --help`` must not load commands to describe them, so it says it twice."""
    from launchcore.cli.app import root

    launch = root()
    for entry in COMMANDS:
        about = launch.get_command(None, entry.name).help
        first = " ".join(about.split("\n\n")[0].split())
        assert first == entry.summary, entry.name
