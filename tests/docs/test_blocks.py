"""Every fenced block of every page runs, or at least parses. The conventions: :mod:`tests.docs.markdown`."""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.markdown import PAGES, ROOT, Block, all_blocks, blocks
from tests.docs.test_hooks import FACTORIES

LANGUAGES = {"python", "pycon", "yaml", "toml", "json", "console", "text", "sh", "jinja"}
BIN = Path(sys.executable).parent


def named(block: Block) -> str:
    return block.id


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if any(block.language == language for block in blocks(page))]


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("block", all_blocks("", *LANGUAGES), ids=named)
def test_block_names_its_language(block: Block) -> None:
    """A drawing is ``text``; a block without a language could not be checked."""
    assert block.language in LANGUAGES


@pytest.mark.parametrize("page", pages_with("python"), ids=page_name)
def test_python_blocks_run(page: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "docs"}
    for block in blocks(page):
        if block.language == "python":
            exec(compile("\n" * block.line + block.text, str(page), "exec"), namespace)


@pytest.mark.parametrize("block", all_blocks("pycon"), ids=named)
def test_pycon_blocks_say_what_happens(block: Block) -> None:
    test = doctest.DocTestParser().get_doctest(block.text, dict(FACTORIES), block.id, None, block.line)
    failures: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=failures.append)

    assert not failures, "".join(failures)


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=named)
def test_yaml_blocks_parse(block: Block, tmp_path: Path) -> None:
    """And a configuration is one that the agent accepts."""
    assert yaml.safe_load(block.text) is not None
    if block.text.startswith("# launch-config.yaml"):
        from launchcore.config.load import load_config

        file = tmp_path / "launch-config.yaml"
        file.write_text(block.text)
        load_config(path=file, environ={"HOME": str(tmp_path)}, flags={})


@pytest.mark.parametrize("block", all_blocks("toml", "json"), ids=named)
def test_toml_and_json_blocks_parse(block: Block) -> None:
    assert tomllib.loads(block.text) if block.language == "toml" else json.loads(block.text)


# --- console -----------------------------------------------------------------------------------


def launch_commands(block: Block) -> Iterator[list[str]]:
    """The words of each ``launch`` command of a block, up to a pipe, a redirection or ``--``."""
    for command, _ in block.commands:
        lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if re.fullmatch(r"[;|&<>()]+", word):
                if words and words[0] == "launch":
                    yield words[1:]
                words = []
            elif not words and "=" in word:  # VARIABLE=value before a command
                continue
            else:
                words.append(word)


def unknown_words(words: list[str]) -> list[str]:
    """Commands and options that ``launch`` does not have."""
    from launchcore.cli.app import root

    command = root()
    unknown = []
    for word in words:
        if word == "--":
            break
        if word.startswith("-"):
            name = word.partition("=")[0]
            known = {"-h", "--help", "--base-url"}
            known.update(*(parameter.opts + parameter.secondary_opts for parameter in command.params))
            short = re.match(r"-\w\w", name) and name[:2] in known  # -j4
            if not short and name not in known:
                unknown.append(f"{command.name} {name}")
        elif hasattr(command, "commands"):
            found = command.get_command(None, word)
            if found is None:
                unknown.append(f"{command.name} {word}")
                break
            command = found
    return unknown


@pytest.mark.parametrize("block", all_blocks("console"), ids=named)
def test_console_blocks_name_commands_that_exist(block: Block) -> None:
    assert block.commands, "a console block has lines that begin with `$ `"
    assert [word for words in launch_commands(block) for word in unknown_words(words)] == []


def pattern(shown: str) -> str:
    """A regular expression for output as a page shows it: ``…`` is anything, spaces are any spaces."""
    parts = [r"\s+".join(re.escape(word) for word in part.split()) for part in shown.strip().split("…")]
    return r"[\s\S]*?".join(parts)


@contextmanager
def agent(environ: dict[str, str], directory: Path) -> Iterator[None]:
    """While in the block, an agent serves the queue ``default``."""
    with (directory / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            ["launch", "agent", "--queue", "default"],
            env=environ,
            cwd=directory,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def shell(command: str, environ: dict[str, str], directory: Path) -> tuple[int, str]:
    """Execute one command line; its exit code and everything that it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        check=False,
        env=environ,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(b.directive.startswith("run") for b in blocks(p))], ids=page_name
)
def test_console_blocks_do_what_they_show(page: Path, tmp_path: Path) -> None:
    """Those that are marked: in order, in one directory, with one queue."""
    environ = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "COLUMNS": "100",
        "LAUNCHCORE_BASE_URL": f"sqlite://{tmp_path}/queue/queue.db",
        "LAUNCHCORE_STATE_DIR": str(tmp_path / "state"),
        "LAUNCHCORE_CACHE_DIR": str(tmp_path / "cache"),
    }
    with ExitStack() as stack:
        for block in blocks(page):
            if block.language != "console" or not block.directive.startswith("run"):
                continue
            if "agent" in block.directive:
                stack.enter_context(agent(environ, tmp_path))
            last = len(block.commands) - 1
            for index, (command, shown) in enumerate(block.commands):
                code, output = shell(command, environ, tmp_path)
                wanted = re.search(r"exit (\d+)", block.directive) if index == last else None
                assert code == (int(wanted[1]) if wanted else 0), f"{block.id}: {command}\n{output}"
                assert re.search(pattern(shown), output), f"{block.id}: {command}\n{output}"
