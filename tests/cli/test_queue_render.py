"""``launch queue render``: what a submit would create, without creating it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from launchcore.cli.exits import Exit
from tests.cli.conftest import Launch


@pytest.fixture(autouse=True)
def showing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, launch: Launch) -> Path:
    """A queue whose runner shows; the file that is its backend."""
    config = tmp_path / "launch-config.yaml"
    backend = tmp_path / "backend"
    text = {"plugin_modules": ["tests.cli.showing"], "plugins": {"showing": {"backend": str(backend)}}}
    config.write_text(yaml.safe_dump(text), encoding="utf-8")
    monkeypatch.setenv("LAUNCHCORE_CONFIG", str(config))
    target = '{"size": "${size}", "words": "${args}"}'
    schema = '{"size": {"type": "integer", "maximum": 9, "default": 3}}'
    created = launch("queue", "create", "q", "--type", "showing", "--config", target, "--variables", schema)
    assert created.code == Exit.OK, created.err
    return backend


def test_what_a_submit_would_create_is_shown(launch: Launch) -> None:
    shown = launch(
        *("queue", "render", "q", "--image", "r.example/x:1", "--var", "size=4", "--env", "A=b"),
        *("--secret", "TOKEN", "--", "echo", "$HOME"),
    )

    assert shown.code == Exit.OK
    first, second = yaml.safe_load_all(shown.out)
    assert first == {
        "name": "launch-000000000000-1",
        "image": "r.example/x:1",
        "command": ["echo", "$HOME"],
    }
    assert second["size"] == 4
    assert second["words"] == ["echo", "$HOME"]
    assert second["env"]["A"] == "b"
    assert second["secrets"] == "TOKEN=<secret>"
    assert "not checked: the backend does not answer" in shown.err


def test_nothing_is_submitted(launch: Launch) -> None:
    launch("queue", "render", "q", "--", "true")

    assert launch("runs", "--json").json["runs"] == []


def test_a_job_with_its_inputs(launch: Launch, tmp_path: Path) -> None:
    schema = '{"lr": {"type": "number", "default": 0.5}}'
    made = launch(
        *("job", "create", "train", "--image", "r.example/t:2", "--inputs", schema),
        *("--", "train", "${inputs.lr}"),
    )
    assert made.code == Exit.OK, made.err

    shown = launch("queue", "render", "q", "--job", "train", "--set", "lr=0.1", "--no-validate")

    first = next(yaml.safe_load_all(shown.out))
    assert first["image"] == "r.example/t:2"
    assert first["command"] == ["train", "0.1"]
    assert "checked" not in shown.err


def test_what_the_backend_says_decides_the_exit_code(launch: Launch, showing: Path) -> None:
    showing.write_text("too large\ntoo red\n", encoding="utf-8")
    refused = launch("queue", "render", "q", "--", "true")

    assert refused.code == Exit.FAILED
    assert "refused: too large\nrefused: too red\n" in refused.err

    showing.write_text("", encoding="utf-8")
    taken = launch("queue", "render", "q", "--", "true")

    assert taken.code == Exit.OK
    assert "the backend would take it" in taken.err


def test_what_the_queue_does_not_take_is_said(launch: Launch) -> None:
    refused = launch("queue", "render", "q", "--var", "size=10", "--", "true")

    assert refused.code == Exit.USAGE
    assert "size" in refused.err


def test_a_runner_that_has_nothing_to_show(launch: Launch) -> None:
    launch("queue", "create", "p", "--type", "process")

    shown = launch("queue", "render", "p", "--", "true")

    assert shown.code == Exit.USAGE
    assert "'process' has nothing to show" in shown.err
    assert shown.out == ""


def test_one_source(launch: Launch) -> None:
    assert launch("queue", "render", "q", "--job", "j", "--image", "i").code == Exit.USAGE
