"""``launch queue``, against the real embedded queue."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from launchcore.cli.exits import Exit
from tests.cli.conftest import Launch
from tests.cli.player import create_queue


@pytest.fixture(autouse=True)
def default(home: Path) -> None:
    create_queue("default")


def test_create_says_how_to_serve_it(launch: Launch) -> None:
    result = launch("queue", "create", "gpu", "--type", "process", "--max-running", "2")

    assert result.code == Exit.OK
    assert result.err == "created queue gpu of type process; serve it with: launch agent --queue gpu\n"


def test_create_with_everything(launch: Launch) -> None:
    queue = launch(
        *(
            "queue",
            "create",
            "gpu",
            "-t",
            "process",
            "--max-running",
            "2",
            "--timeout",
            "2h",
            "--memory",
            "1GiB",
        ),
        *("--start-timeout", "5m", "--max-retries", "3", "--retry-on", "evicted", "--retry-on", "preempted"),
        *(
            "--max-lost",
            "5",
            "--allow-secret",
            "HF_TOKEN",
            "--open-env",
            "LR_*",
            "--description",
            "for training",
        ),
        *("--retry-delay", "10s", "--max-retry-delay", "30m", "--max-preempted", "20"),
        *("--max-quarantined", "0", "--queue-timeout", "1d", "--max-running-per-submitter", "1"),
        *("--max-queued", "100", "--max-queued-per-submitter", "50", "--max-priority", "high"),
        *("--variables", '{"lr": {"type": "number", "default": 0.1}}', "--json"),
    ).json

    config = queue["config"]
    assert config["limits"] == {
        "run_seconds": 7200.0,
        "start_seconds": 300.0,
        "memory_bytes": 1 << 30,
        "grace_seconds": 10.0,
        "queue_seconds": 86400.0,
    }
    assert config["retry"] == {
        "max_lost": 5,
        "reasons": ["evicted", "preempted"],
        "max_retries": 3,
        "delay_seconds": 10.0,
        "max_delay_seconds": 1800.0,
        "jitter": 0.1,
        "max_preempted": 20,
        "max_quarantined": 0,
    }
    assert config["secrets"] == ["HF_TOKEN"]
    assert config["open_env"] == ["LR_*"]
    assert config["variables"] == {"lr": {"type": "number", "default": 0.1}}
    assert (config["max_running"], config["description"]) == (2, "for training")
    assert (config["max_running_per_submitter"], config["max_priority"]) == (1, "high")
    assert (config["max_queued"], config["max_queued_per_submitter"]) == (100, 50)


def test_list_and_show(launch: Launch) -> None:
    launch("queue", "create", "gpu", "--type", "process")

    assert [line.split()[0] for line in launch("queue", "list").lines] == ["QUEUE", "default", "gpu"]
    assert [queue["name"] for queue in launch("queue", "list", "--json").json] == ["default", "gpu"]
    assert launch("queue", "show", "gpu", "--json").json["config"]["type"] == "process"
    assert "0 queued, 0 running" in launch("queue", "show", "gpu").out


def test_no_queues_is_said(launch: Launch) -> None:
    launch("queue", "delete", "default")

    result = launch("queue", "list")

    assert result.out == ""
    assert result.err == "no queues: create one with launch queue create default --type process\n"
    assert launch("queue", "list", "--json").json == []


def test_a_queue_travels_as_yaml(launch: Launch, tmp_path: Path) -> None:
    launch("queue", "edit", "default", "--max-running", "7", "--timeout", "90s")
    file = tmp_path / "queue.yaml"
    file.write_text(launch("queue", "show", "default", "--yaml").out)

    assert launch("queue", "create", "copy", "--from", file).code == 0

    ours, theirs = (launch("queue", "show", name, "--json").json["config"] for name in ("default", "copy"))
    assert ours == theirs


def test_edit_by_flags_changes_only_what_is_named(launch: Launch) -> None:
    launch("queue", "edit", "default", "--timeout", "1h", "--max-retries", "2")
    launch("queue", "edit", "default", "--memory", "64M")
    launch("queue", "edit", "default", "--max-running", "3")

    config = launch("queue", "show", "default", "--json").json["config"]
    assert config["limits"]["run_seconds"] == 3600
    assert config["limits"]["memory_bytes"] == 64_000_000
    assert config["retry"]["max_retries"] == 2
    assert config["max_running"] == 3
    assert (
        launch("queue", "edit", "default", "--max-running", "0", "--json").json["config"]["max_running"]
        is None
    )


def test_edit_that_changes_nothing(launch: Launch) -> None:
    assert launch("queue", "edit", "default", "--type", "process").err == "queue default is as it was\n"


def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
    """An editor that executes ``body`` with ``path`` and ``text``, and counts how often it was opened."""
    script = tmp_path / "editor.py"
    count = tmp_path / "opened"
    script.write_text(
        "import sys, pathlib\n"
        "path = pathlib.Path(sys.argv[1]); text = path.read_text()\n"
        f"count = pathlib.Path({str(count)!r})\n"
        "opened = int(count.read_text()) + 1 if count.exists() else 1\n"
        f"count.write_text(str(opened))\n{body}\n"
    )
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
    return count


def test_edit_in_an_editor(launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, monkeypatch, "path.write_text(text.replace('max_running: null', 'max_running: 9'))")

    assert launch("queue", "edit", "default").err == "changed queue default\n"
    assert launch("queue", "show", "default", "--json").json["config"]["max_running"] == 9


def test_an_editor_gets_its_mistake_back(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = editor(
        tmp_path,
        monkeypatch,
        "first = text.replace('max_running:', 'max_runing:')\n"
        "assert opened == 1 or '# error: ' in text and 'max_runing' in text, text\n"
        "path.write_text(first if opened == 1 else text.replace('max_runing: null', 'max_running: 4'))",
    )

    assert launch("queue", "edit", "default").code == 0
    assert count.read_text() == "2"
    assert launch("queue", "show", "default", "--json").json["config"]["max_running"] == 4


def test_an_editor_that_gives_up(launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, monkeypatch, "opened == 1 and path.write_text(text + 'oops: [')")

    result = launch("queue", "edit", "default")

    assert result.code == Exit.USAGE
    assert result.err.startswith("error: gave up: queue default line")
    kept = Path(result.err.split("your text is in ")[1].strip())
    assert "oops" in kept.read_text()
    kept.unlink()


@pytest.mark.parametrize("body", ["pass", "path.write_text('')"])
def test_an_editor_without_a_change(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    editor(tmp_path, monkeypatch, body)

    assert launch("queue", "edit", "default").err == "queue default is as it was\n"


def test_no_editor(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "no-such-editor")

    result = launch("queue", "edit", "default")

    assert result.code == Exit.USAGE
    assert result.err.startswith("error: the editor 'no-such-editor' did not work")


def test_pause_and_resume(launch: Launch) -> None:
    assert launch("queue", "pause", "default").err == "queue default is paused\n"
    assert launch("queue", "list", "--json").json[0]["paused"] is True
    assert launch("queue", "resume", "default").err == "queue default is open\n"
    assert launch("queue", "list", "--json").json[0]["paused"] is False


def test_delete(launch: Launch, home: Path) -> None:
    (home / "work").mkdir()
    (home / "work" / "a.py").write_text("")
    launch("submit", "work", "--", "python", "a.py")

    refused = launch("queue", "delete", "default")

    assert refused.code == Exit.USAGE
    assert refused.err.startswith("error: ")
    assert launch("queue", "delete", "default", "--force").code == 0
    assert launch("queue", "list", "--json").json == []


@pytest.mark.parametrize(
    ("words", "line", "code"),
    [
        (
            "queue create gpu --type proces",
            "error: no installed plugin offers the runner 'proces'; installed runners: ",
            Exit.USAGE,
        ),
        ("queue create gpu", "error: a queue needs a --type; hint: one of ", Exit.USAGE),
        ("queue create default -t process", "error: queue 'default' exists already", Exit.USAGE),
        ("queue create a/b -t process", "error: 'a/b' cannot be the name of a queue", Exit.USAGE),
        (
            'queue create gpu -t process --config {"nise":1}',
            "error: queue gpu: config.nise: is not a known key (config_error, fault user); hint: use 'nice'",
            Exit.USAGE,
        ),
        (
            "queue create gpu -t process --retry-on evictd",
            "error: queue gpu.retry.reasons[0]: expected one of",
            Exit.USAGE,
        ),
        ("queue show defualt", "error: no queue 'defualt'", Exit.NOT_FOUND),
        ("queue delete nightly", "error: no queue 'nightly'", Exit.NOT_FOUND),
        ("queue pause nightly", "error: no queue 'nightly'", Exit.NOT_FOUND),
    ],
)
def test_mistakes(launch: Launch, words: str, line: str, code: Exit) -> None:
    result = launch(*words.split())

    assert result.err.startswith(line)
    assert result.err.count("\n") == 1
    assert result.code == code


def test_a_type_from_elsewhere_is_taken_when_asked(launch: Launch) -> None:
    assert launch("queue", "create", "gpu", "--type", "nomad", "--no-check").code == 0


def test_a_configuration_with_macros_is_taken(launch: Launch) -> None:
    """What a macro stands for is known when a run is claimed."""
    made = launch(
        *("queue", "create", "gpu", "-t", "process", "--config", '{"nice": "${nice}"}'),
        *("--variables", '{"nice": {"type": "integer", "default": 5}}'),
    )

    assert (made.code, made.err.split(";")[0]) == (0, "created queue gpu of type process")


def test_yaml_that_is_none(launch: Launch, tmp_path: Path) -> None:
    for text, complaint in (
        ("a: [", "not YAML"),
        ("- a", "expected a mapping, found list"),
        ("\x00", "not YAML"),
    ):
        file = tmp_path / "bad.yaml"
        file.write_text(text)
        result = launch("queue", "create", "gpu", "--from", file)
        assert (result.code, complaint in result.err, result.err.count("\n")) == (Exit.USAGE, True, 1), (
            result.err
        )


def test_show_as_yaml_is_yaml(launch: Launch) -> None:
    assert yaml.safe_load(launch("queue", "show", "default", "--yaml").out)["type"] == "process"
