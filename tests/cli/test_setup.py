"""``launch config``, ``doctor``, ``completion`` and what the shell completes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from launchcore.cli.exits import Exit
from tests.cli.conftest import Launch


def test_init_writes_a_file_that_is_good(launch: Launch, home: Path) -> None:
    file = home / ".config" / "launchcore" / "launch-config.yaml"

    assert launch("config", "init").err == f"wrote {file}\n"
    checked = launch("config", "check")
    again = launch("config", "init")

    assert (checked.code, checked.err) == (Exit.OK, f"{file}: good\n")
    assert again.code == Exit.USAGE
    assert again.err == f"error: {file} is already there; hint: --force replaces it\n"
    assert launch("config", "init", "--force").code == Exit.OK
    assert launch("config", "init", "-").out == file.read_text()


def test_show_says_where_each_value_comes_from(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("max_jobs: 3\nqueues: [a, b]\n")

    shown = launch("config", "show", "--config", file, "--json").json

    assert shown["file"] == str(file)
    assert shown["values"]["queues"] == ["a", "b"]
    assert shown["origins"]["max_jobs"] == f"file {file} line 1"
    assert shown["origins"]["base_url"] == "environment LAUNCHCORE_BASE_URL"
    assert shown["origins"]["lease_seconds"] == "default"
    assert f"file {file} line 2" in launch("config", "show", "--config", file).out


def test_check_names_what_the_plugins_do_not_know(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("builder: {type: nonne}\nplugins: {proces: {idle_seconds: 3}}\n")

    result = launch("config", "check", "--config", file)
    listed = launch("config", "check", "--config", file, "--json").json

    assert result.code == Exit.USAGE
    assert "builder" in result.lines[0]
    assert "'none'" in result.out
    assert len(listed["problems"]) == len(result.lines) == 2


def test_schema_is_json_schema(launch: Launch) -> None:
    schema = launch("config", "schema").json

    assert schema["type"] == "object"
    assert {"base_url", "queues", "plugins"} <= set(schema["properties"])


def test_the_starter_configuration_has_every_key(launch: Launch) -> None:
    text = launch("config", "init", "-").out

    assert yaml.safe_load(text) is None or isinstance(yaml.safe_load(text), dict)
    assert all(key in text for key in launch("config", "show", "--json").json["values"])


def verdicts(launch: Launch, *words: str) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in launch("doctor", "--json", *words).json}


def test_doctor(launch: Launch) -> None:
    found = verdicts(launch)

    for name in (
        "Python",
        "process: uv",
        "configuration",
        "state directory",
        "cache directory",
        "environment",
        "clock",
        "queue",
        "git",
    ):
        assert found[name] == "ok", name
    assert found["agents"] == "warning"
    assert launch("queue", "list", "--json").json == []


def test_doctor_finds_what_is_wrong(launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "queue.db").write_bytes(b"not a database" * 1000)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAUNCHCORE_CACHE_DIR", str(tmp_path / "file" / "cache"))

    result = launch("doctor")

    assert result.code == Exit.FAILED
    lines = {line.split("  ")[0] for line in result.lines}
    assert {"✗ queue", "✗ cache directory"} <= lines
    assert "try: " in result.out
    assert "Traceback" not in result.out + result.err


def test_doctor_says_who_the_agent_is(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (line,) = [line for line in launch("doctor").lines if line.startswith("✓ environment")]
    assert " local: " in line

    file = tmp_path / "launch-config.yaml"
    file.write_text("environment: {type: nowhere}\n")
    monkeypatch.setenv("LAUNCHCORE_CONFIG", str(file))
    found = verdicts(launch)
    assert (found["environment"], found["configuration"]) == ("skipped", "failed")


def test_a_canary_needs_an_agent(launch: Launch) -> None:
    launch("queue", "create", "default", "--type", "process")

    assert verdicts(launch, "--canary")["canary"] == "failed"
    assert verdicts(launch, "--canary", "-q", "nope")["canary"] == "failed"
    assert launch("runs", "--json").json["runs"] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(launch: Launch, shell: str) -> None:
    assert "_LAUNCH_COMPLETE" in launch("completion", shell).out


def test_completion_is_installed_for_the_shell_in_use(
    launch: Launch, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/bin/bash")

    assert launch("completion", "--install").out.startswith("completion for bash is in ")
    assert any("launch" in path.read_text() for path in home.rglob("*") if path.is_file())


def completions(launch_process: Callable[..., subprocess.CompletedProcess[str]], *words: str) -> list[str]:
    env = {
        "_LAUNCH_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["launch", *words]),
        "COMP_CWORD": str(len(words)),
    }
    return launch_process(env=env).stdout.split()


def test_names_are_completed(
    launch: Launch, home: Path, launch_process: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    launch("queue", "create", "nightly", "--type", "process")
    (home / "work").mkdir()
    run_id = launch("submit", "work", "-q", "nightly", "--", "x").out.strip()

    assert completions(launch_process, "sub") == ["submit"]
    assert completions(launch_process, "submit", "--queue", "ni") == ["nightly"]
    assert completions(launch_process, "show", run_id[:2]) == [run_id]


def test_completion_of_a_queue_that_is_away_is_silent(
    launch_process: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUNCHCORE_BASE_URL", "sqlite:////proc/no/such/queue.db")

    assert completions(launch_process, "submit", "--queue", "") == []


def test_the_database_stays_private(launch: Launch, tmp_path: Path) -> None:
    launch("queue", "create", "default", "--type", "process")

    assert (tmp_path / "queue" / "queue.db").stat().st_mode & 0o077 == 0


def test_doctor_looks_at_the_configuration_that_it_is_given(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "an-agents.yaml"
    file.write_text("registry: {type: harbour}\n")
    result = launch("doctor", "--config", str(file), "--json")

    (found,) = [check for check in result.json if check["name"] == "configuration"]
    assert found["verdict"] == "failed"
    assert "harbour" in found["detail"]
