"""Asking for help is quick: it imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

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
import json, sys
from launchcore.cli import run
for words in json.loads(sys.argv[1]):
    assert run([*words, "--help"]) == 0
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
"""Asks for the help of some commands, one after the other; after each: what has been imported by then."""


def help_of(*commands: list[str]) -> tuple[str, list[set[str]]]:
    done = subprocess.run(
        [sys.executable, "-c", HELP, json.dumps(commands)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, [set(json.loads(line)) for line in done.stderr.splitlines()]


def test_help_imports_nothing_heavy_and_no_command() -> None:
    text, (modules,) = help_of([])

    assert modules & HEAVY == set()
    assert not {entry.target.partition(":")[0] for entry in COMMANDS} & modules
    assert all(entry.name in text for entry in COMMANDS)


def test_help_of_a_command_imports_nothing_heavy() -> None:
    text, imported = help_of(*([entry.name] for entry in COMMANDS))

    assert {entry.name: modules & HEAVY for entry, modules in zip(COMMANDS, imported, strict=True)} == {
        entry.name: set() for entry in COMMANDS
    }
    assert all(f"Usage: launch {entry.name}" in text for entry in COMMANDS)


def test_the_summaries_of_the_table_are_those_of_the_commands() -> None:
    """``launch --help`` must not load commands to describe them, so it says it twice."""
    from launchcore.cli.app import root

    launch = root()
    for entry in COMMANDS:
        about = launch.get_command(None, entry.name).help
        first = " ".join(about.split("\n\n")[0].split())
        assert first == entry.summary, entry.name
