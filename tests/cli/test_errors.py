"""Every mistake is one line that says what to do, with its exit code. No traceback."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from launchcore.cli.errors import CommandError, StageError, describe, near
from launchcore.cli.exits import MEANINGS, Exit
from launchcore.host.settings import Problem, SettingsError
from launchcore.plugin import LaunchError, QueueUnavailable, Reason, Stage
from launchcore.queues.base import NotFound
from tests.cli.conftest import Launch


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (
            LaunchError("no such commit 'abc'", reason=Reason.SOURCE_FAILED, hint="push it"),
            "error: no such commit 'abc' (source_failed, fault user); hint: push it",
            Exit.USAGE,
        ),
        (
            StageError(Stage.SUBMIT, NotFound("there is no queue 'x'", hint="use 'y'")),
            "error: there is no queue 'x' (config_error, stage submit, fault user); hint: use 'y'",
            Exit.NOT_FOUND,
        ),
        (
            LaunchError("the disk is full"),
            "error: the disk is full (infrastructure, fault infrastructure)",
            Exit.UNAVAILABLE,
        ),
        (
            LaunchError("hello 1.0 broke its contract", reason=Reason.PLUGIN_ERROR),
            "error: hello 1.0 broke its contract (plugin_error, fault plugin)",
            Exit.INTERNAL,
        ),
        (
            QueueUnavailable("it is locked"),
            "error: the queue is not available: it is locked (infrastructure, fault infrastructure); "
            "hint: try again; `launch doctor` looks for the cause",
            Exit.UNAVAILABLE,
        ),
        (CommandError("a\nb\x1b[2J", hint="c"), "error: a\\nb\\x1b[2J; hint: c", Exit.USAGE),
        (KeyboardInterrupt(), "interrupted", Exit.INTERRUPTED),
    ],
)
def test_one_line_and_a_code(error: BaseException, line: str, code: Exit) -> None:
    assert describe(error) == ([line], code)


def test_problems_of_a_configuration_are_a_line_each() -> None:
    problems = [
        Problem(path="max_jobs", message="expected a number"),
        Problem(path="x", message="is not known", hint="y"),
    ]

    lines, code = describe(SettingsError(problems))

    assert lines[1:] == ["  max_jobs: expected a number", "  x: is not known; y"]
    assert lines[0].startswith("error: 2 problems (config_error, fault user)")
    assert code is Exit.USAGE


def test_a_reader_that_went_away_is_not_news() -> None:
    assert describe(BrokenPipeError()) == ([], Exit.CLOSED)


def test_a_bug_is_one_line_and_a_private_file(home: Path) -> None:
    (line,), code = describe(RuntimeError("oh\nno"))

    assert code is Exit.INTERNAL
    assert line.startswith("error: unexpected RuntimeError: oh no (fault core); hint: please report it with ")
    file = Path(line.split("report it with ")[1].split(";")[0])
    assert file.is_relative_to(home)
    assert "RuntimeError" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_bug_shows_its_traceback_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUNCHCORE_DEBUG", "1")

    lines, _ = describe(RuntimeError("oh no"))

    assert lines[0] == "RuntimeError: oh no"
    assert lines[-1] == "error: unexpected RuntimeError: oh no (fault core)"


def test_near_names() -> None:
    assert near("defualt", ["default", "nightly"]) == "did you mean 'default'?"
    assert near("zzz", ["default"]) is None


def test_every_code_is_explained_once() -> None:
    assert [code for code, _ in MEANINGS] == list(Exit)


NO_SUCH = "No such option"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("submti .", "error: there is no command 'submti'; hint: did you mean 'submit'?"),
        ("zzz", "error: there is no command 'zzz'; hint: launch --help lists the commands"),
        ("runs --state runing", "error: --state 'runing' is not a state; hint: did you mean 'running'?"),
        (
            "runs --since yesterday",
            "error: 'yesterday' is neither a duration (2h, 3d) nor a date (2026-01-31)",
        ),
        (
            "submit . --git https://h/r -- x",
            "error: a run has one source, and this names 2: DIRECTORY and --git; "
            "hint: give DIRECTORY, --git, --image or --job",
        ),
        (
            "submit --git u --job j -- x",
            "error: a run has one source, and this names 2: --git and --job; "
            "hint: give DIRECTORY, --git, --image or --job",
        ),
        (
            "submit -- x",
            "error: there is nothing to run: no source; "
            "hint: give DIRECTORY, --git URL, --image REF or --job NAME",
        ),
        ("submit . --ref main -- x", "error: --ref belongs to a git source; hint: add --git URL"),
        ("submit . --dirty -- x", "error: --dirty belongs to a git source; hint: add --git URL"),
        (
            "submit --git . --patch f --dirty -- x",
            "error: --patch and --dirty are two patches; hint: give one of them",
        ),
        (
            "submit . --priority hihg -- x",
            "error: --priority 'hihg' is not a priority; hint: did you mean 'high'?",
        ),
        ("submit . --timeout soon -- x", "error: 'soon' is not a duration: write 90s, 15m, 1h30m or 2d"),
        ("submit . --memory lots -- x", "error: 'lots' is not a size: write 512M, 2G or 2GiB"),
        (
            "submit . --env NOT_THERE -- x",
            "error: --env NOT_THERE: your environment has no NOT_THERE; write --env NOT_THERE=VALUE",
        ),
        (
            "submit . --env 1A=x -- x",
            "error: --env '1A=x': '1A' cannot be the name of a variable; write NAME=VALUE",
        ),
        ("submit . --var lr -- x", "error: --var 'lr': write --var NAME=VALUE"),
        ("submit . --set a=1 --set a=2 -- x", "error: --set a is given twice"),
        ("submit . --env-file none.env -- x", "error: --env-file none.env: No such file or directory"),
        (
            "submit . --json --watch -- x",
            "error: --json prints the run as it was accepted; hint: leave --watch out",
        ),
        ("agent --log-format jsn", "error: --log-format 'jsn' is not a format; hint: did you mean 'json'?"),
        (
            "agent",
            "error: this agent has no queue to serve; "
            "hint: add --queue NAME, or `queues:` to its configuration",
        ),
        ("completion tcsh", "error: there is no completion for 'tcsh'; hint: name one: bash, zsh, fish"),
        ("job create train .", "error: a job needs a command; hint: write it after --"),
        ("queue create gpu --config none.yaml", "error: --config none.yaml: No such file or directory"),
        (
            "queue create gpu --config {oops",
            "error: --config: not JSON: Expecting property name enclosed in double ",
        ),
        (
            "agent --config none.yaml -q default",
            "error: --config: none.yaml does not exist (config_error, fault user)",
        ),
    ],
)
def test_mistakes_in_what_was_typed(launch: Launch, words: str, line: str) -> None:
    result = launch(*words.split())

    assert result.err.startswith(line)
    assert result.err.count("\n") == 1
    assert result.out == ""
    assert result.code == Exit.USAGE


@pytest.mark.parametrize(
    "words", ["submit --frobnicate", "runs --limit many", "show", "queue frob", "logs a b"]
)
def test_what_the_parser_refuses(launch: Launch, words: str) -> None:
    result = launch(*words.split())

    assert result.err.startswith("error: ")
    assert "--help" in result.err
    assert result.err.count("\n") == 1
    assert result.code == Exit.USAGE


def test_a_command_without_dashes_says_so(launch: Launch) -> None:
    result = launch("submit", ".", "python", "train.py")

    assert result.code == Exit.USAGE
    assert "stands after --" in result.err


def test_a_malformed_configuration(launch: Launch, home: Path) -> None:
    file = home / ".config" / "launchcore" / "launch-config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("queues: [default]\nmax-job: 3\nlease_seconds: soon\n")

    result = launch("runs")

    assert result.code == Exit.USAGE
    assert "max-job" in result.err
    assert "line 2" in result.err
    assert "use 'max_jobs'" in result.err
    assert "line 3" in result.err
    assert "Traceback" not in result.err


def test_help_of_nothing_is_help(launch: Launch) -> None:
    assert launch().code == 0
    assert "Exit codes:" in launch().out
    assert launch("queue").code == 0
    assert launch("-h").out == launch("--help").out


def test_version(launch: Launch) -> None:
    assert launch("--version").out.startswith("launch 0.")
    assert launch("version", "--json").json["launchcore"] == launch("--version").out.split()[1]
