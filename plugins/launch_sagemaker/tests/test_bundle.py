"""What waits in S3 for a run: the script that it starts with, really executed, and where it all is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from launch_sagemaker import bundle
from launch_sagemaker.bundle import Bundle, file_name, place, segment, start_script, unsegment

from launchcore.plugin import Secret

SHELLS = [["/bin/sh"], *([[found, "sh"]] if (found := shutil.which("busybox")) else [])]
if found := shutil.which("bash"):
    SHELLS.append([found, "--posix"])

TELL = "import json, os, sys; print(json.dumps([os.getpid(), dict(os.environ), sys.argv[1:]]))"
HOSTILE = (
    *("", " ", "two words", "it's", "''", '"', '\\"', "\\", "a\\nb", "a\nb", "\n", "\r\n", "\t", "$HOME"),
    *("$(id)", "`id`", "${X:-y}", "a;b", "a&b", "a|b", "#", "!", "*", "?", "[a]", "~", "-n", "--", "=", "%s"),
    *("é", "日本語", "🙂", "\u2028", "\u200f", "\x01\x1b[31m", "\x7f", "'; exit 3; '", "x" * 100_000),
)


def execute(
    shell: Sequence[str],
    folder: Path,
    variables: Mapping[str, str],
    words: Sequence[str],
    **env: str,
) -> subprocess.CompletedProcess[str]:
    script = folder / "start"
    text = start_script({name: Secret(value) for name, value in variables.items()}, words)
    script.write_bytes(text.reveal().encode())
    script.chmod(0o400)
    try:
        return subprocess.run(
            [*shell, str(script)],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **env},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    finally:
        script.unlink()


def told(*args: Any, **env: str) -> tuple[int, dict[str, str], list[str]]:
    """The program's id, variables and words, as it sees them."""
    shell, folder, variables, words = args
    done = execute(shell, folder, variables, [sys.executable, "-c", TELL, *words], **env)
    assert (done.returncode, done.stderr) == (0, "")
    pid, found, argv = json.loads(done.stdout)
    return pid, found, argv


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
def test_every_value_and_word_arrives_as_it_is(shell: list[str], tmp_path: Path) -> None:
    variables = {f"V{at}": value for at, value in enumerate(HOSTILE)}
    _, env, argv = told(shell, tmp_path, variables, HOSTILE)
    assert {name: env[name] for name in variables} == variables
    assert argv == [*HOSTILE]


plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)


@settings(deadline=None, max_examples=25)
@given(value=plain, word=plain)
@example(value="\x00".replace("\0", "'"), word="\\'")
def test_any_text_arrives(tmp_path_factory: pytest.TempPathFactory, value: str, word: str) -> None:
    _, env, argv = told(["/bin/sh"], tmp_path_factory.mktemp("any"), {"V": value}, [word])
    assert (env["V"], argv) == (value, [word])


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
def test_the_shell_becomes_the_program(shell: list[str], tmp_path: Path) -> None:
    """The program is the container's first process: signals reach it, and its end is the container's."""
    ready = tmp_path / "ready"
    code = (
        "import os, signal, sys, pathlib\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(43))\n"
        f"pathlib.Path({str(ready)!r}).write_text(str(os.getpid()))\n"
        "signal.pause()"
    )
    script = tmp_path / "start"
    script.write_text(start_script({"TOKEN": Secret("canary")}, [sys.executable, "-c", code]).reveal())
    process = subprocess.Popen([*shell, str(script)])
    try:
        while not (ready.exists() and ready.read_text()):
            assert process.poll() is None
        assert int(ready.read_text()) == process.pid
        assert b"canary" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 43
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
@pytest.mark.parametrize(
    ("words", "code"),
    [(["sh", "-c", "exit 7"], 7), (["no-such-program"], 127), (["/etc"], 126)],
)
def test_exit_codes_are_a_shells(shell: list[str], tmp_path: Path, words: list[str], code: int) -> None:
    done = execute(shell, tmp_path, {}, words)
    assert done.returncode == code


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
def test_secrets_are_not_traced(shell: list[str], tmp_path: Path) -> None:
    """A run's own variables come before ours: those that make a shell print what it does, too."""
    done = execute(shell, tmp_path, {"TOKEN": "canary"}, ["true"], SHELLOPTS="xtrace", ENV="/dev/null")
    assert "canary" not in done.stdout + done.stderr


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
def test_a_path_among_the_variables_is_used(shell: list[str], tmp_path: Path) -> None:
    program = tmp_path / "bin" / "hello"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    done = execute(shell, tmp_path, {"PATH": f"{program.parent}:{os.environ['PATH']}"}, ["hello"])
    assert done.stdout == "hello\n"


@pytest.mark.parametrize("name", sorted(bundle.UNSETTABLE))
def test_what_a_shell_keeps_to_itself_is_not_set(name: str) -> None:
    assert not bundle.settable(name)


def test_every_other_variable_can_be_set_in_every_shell(tmp_path: Path) -> None:
    """The names that mean something to shells, each in a script of its own."""
    special = ["IFS", "PS1", "PS4", "HOME", "PWD", "OLDPWD", "ENV", "BASH_ENV", "CDPATH", "MAIL", "OPTARG"]
    special += ["LINENO", "RANDOM", "SECONDS", "HISTSIZE", "TERM", "SHELL", "_x", "FUNCNAME", "GROUPS"]
    assert all(map(bundle.settable, special))
    for shell in SHELLS:
        for name in special:
            done = execute(shell, tmp_path, {name: "text"}, ["echo", "on"])
            assert (done.returncode, done.stdout) == (0, "on\n"), (shell, name, done.stderr)


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A;id", "é", "A\n", "$(id)"])
def test_what_is_no_name_is_not_set(name: str) -> None:
    assert not bundle.settable(name)


def test_a_bundle_shows_nothing() -> None:
    made = Bundle(files={"start": start_script({"TOKEN": Secret("canary")}, ["x"])})
    assert "canary" not in f"{made} {made!r}"


def test_what_is_too_large() -> None:
    fits, not_so = Secret("x" * bundle.MAX_BYTES), Secret("é" * (bundle.MAX_BYTES // 2 + 1))
    assert Bundle(files={"a": fits, "b": not_so}).too_large() == ("b",)


# -- where it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..", ".", "", "a/b", "a\0b", "é", "x" * 400, "key.json"]
)
def test_a_file_is_one_component_of_a_path(name: str) -> None:
    clean = file_name(name)
    assert clean not in ("", ".", "..")
    assert not set(clean) & set("/\0\n ")
    assert len(clean) <= 201


def test_ordinary_names_are_used_as_they_are() -> None:
    assert file_name("key.json") == "key.json"
    assert place("s3://bucket", "owner", "6j2c0000k3fd-1") == "s3://bucket/owner/6j2c0000k3fd-1/"
    assert place("s3://bucket/a/b/", "owner", "r-1") == "s3://bucket/a/b/owner/r-1/"


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_different_attempts_are_in_different_places(one: str, other: str) -> None:
    assert unsegment(segment(one)) == one
    assert "/" not in segment(one)
    assert segment(one).isascii()
    assert segment(one).isprintable()
    assert segment(one) not in ("", ".", "..")
    assert (segment(one) == segment(other)) == (one == other)
