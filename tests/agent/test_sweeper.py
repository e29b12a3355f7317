"""What killed agents leave: builders clean up, and an attempt's directory reminds of it until then."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from launchcore.agent.sweeper import Sweeper
from launchcore.plugin import LaunchError


class Builder:
    """Cannot clean up the first few times."""

    def __init__(self, fails: int) -> None:
        self.fails = fails
        self.cleaned: list[str] = []

    def cleanup(self, attempt_id: str) -> None:
        if self.fails:
            self.fails -= 1
            raise LaunchError("the cluster does not answer")
        self.cleaned.append(attempt_id)


def sweeper(attempts: Path, builder: Builder) -> Sweeper:
    component = SimpleNamespace(object=builder, spec=SimpleNamespace(name="scripted"))
    shop: Any = SimpleNamespace(made_runners=list, known_builders=lambda: [component])
    client: Any = SimpleNamespace(ended=set)
    roster: Any = SimpleNamespace(get=lambda _: None)
    return Sweeper(client, shop, roster, attempts)


def test_an_attempts_directory_stays_until_its_builder_could_clean_up(tmp_path: Path) -> None:
    (tmp_path / "run-1").mkdir()
    builder = Builder(fails=1)
    made = sweeper(tmp_path, builder)
    assert made.sweep() == 0
    assert (tmp_path / "run-1").exists()
    assert made.sweep() == 1
    assert builder.cleaned == ["run-1"]
    assert not (tmp_path / "run-1").exists()
