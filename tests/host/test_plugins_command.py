"""``launch plugins``: what became of every plugin, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launchcore.cli.app import execute
from tests.host.conftest import Installed

HELLO = """
import attrs
from launchcore.plugin import Kind, RunnerSpec, hookimpl, setting

@attrs.frozen(kw_only=True)
class RunnerConfig:
    nodes: int = setting("How many nodes.", default=1)
    partition: str = setting("Which partition.")

class Hello:
    @attrs.frozen(kw_only=True)
    class Settings:
        greeting: str = setting("What it says.", default="hello")

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def launch_register_runners(self):
        return [RunnerSpec(name="greeter", summary="Says hello.", create=lambda settings, site: None,
                           config=RunnerConfig, applies=frozenset({Kind.ENV}), aliases=("greet",))]
"""


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = execute(["plugins", *args])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def listed(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    code, out, _ = run(capsys, "list", "--json", *args)
    assert code == 0
    return {one["name"]: one for one in json.loads(out)}


def test_the_list_has_every_plugin_with_its_state(
    installed: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    installed.add("launch-hello", HELLO, points={"hello": "launch_hello:Hello"})
    installed.add("launch-bad", "import nothing_like_this")
    installed.add("launch-new", HELLO, requires=["launchcore>=99"])

    found = listed(capsys)
    assert found["hello"] == {
        "name": "hello",
        "distribution": "launch-hello",
        "version": "1.0",
        "state": "loaded",
        "reason": None,
        "module": "launch_hello:Hello",
        "hooks": ["launch_register_runners"],
        "offers": ["runner greeter"],
    }
    assert (found["bad"]["state"], found["new"]["state"]) == ("failed", "refused")
    assert found["git"]["distribution"] == "launchcore"

    code, out, err = run(capsys, "list")
    assert code == 0
    assert "ModuleNotFoundError: No module named 'nothing_like_this'" in out
    assert "launch plugins show bad says more" in err


def test_disabled_plugins_are_those_of_the_configuration(
    installed: Installed, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    installed.add("launch-hello", HELLO, points={"hello": "launch_hello:Hello"})
    config = tmp_path / "launch.yaml"
    config.write_text("base_url: sqlite:////tmp/x.db\ndisabled_plugins: [hello]\n")

    assert listed(capsys, "--config", str(config))["hello"]["state"] == "disabled"


def test_a_malformed_configuration_does_not_hide_the_plugins(
    installed: Installed, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "launch.yaml"
    config.write_text("]: [")
    monkeypatch.setenv("LAUNCHCORE_CONFIG", str(config))

    code, out, err = run(capsys, "list", "--json")
    assert code == 0
    assert json.loads(out)
    assert "see launch config check" in err
    assert run(capsys, "list", "--config", str(config))[0] == 2


@pytest.mark.parametrize("name", ["hello", "launch-hello", "greeter", "greet"])
def test_show_finds_a_plugin_by_itself_or_by_what_it_offers(
    installed: Installed, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    installed.add("launch-hello", HELLO, points={"hello": "launch_hello:Hello"})
    code, out, _ = run(capsys, "show", name)

    assert code == 0
    for text in (
        "launch-hello 1.0",
        "runner greeter, greet: Says hello.",
        "What it says. (text; default: hello)",
        "Which partition. (text; required)",
        "env",
    ):
        assert text in out


def test_show_as_json(installed: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    installed.add("launch-hello", HELLO, points={"hello": "launch_hello:Hello"})
    _, out, _ = run(capsys, "show", "hello", "--json")
    page = json.loads(out)

    assert [row["key"] for row in page["settings"]] == ["greeting"]
    [spec] = page["specs"]
    assert spec["capabilities"]["applies"] == ["env"]
    assert spec["capabilities"]["needs_image"] is True
    assert spec["config"][1] == {
        "key": "partition",
        "type": "text",
        "required": True,
        "default": None,
        "help": "Which partition.",
    }


def test_show_has_the_traceback_of_a_failed_one(
    installed: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    installed.add("launch-bad", "def deep():\n    1 / 0\ndeep()\n")
    code, out, _ = run(capsys, "show", "bad")

    assert code == 0
    assert "ZeroDivisionError: division by zero" in out
    assert "in deep" in out


def test_an_unknown_name_is_not_found(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "show", "proces")

    assert code == 3
    assert err == "error: there is no plugin 'proces', and none offers it; hint: did you mean 'process'?\n"
