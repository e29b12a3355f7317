"""The suite for environments: `local` and a healthy one pass it, and every test has its mutant."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from launchcore.testing.conformance import EnvironmentConformance
from tests.conformance import broken_environments as broken
from tests.conformance.test_mutants import GUARD, _tests_of, fails, pairs


class TestLocalEnvironment(EnvironmentConformance):
    plugin = "launchcore.builtin.local.plugin"
    name = "local"


class TestSky(EnvironmentConformance):
    plugin = broken.__name__
    name = "sky"
    settings: Mapping[str, Any] = {"key": "hunter2-of-the-sky"}
    wrong: Sequence[Mapping[str, Any]] = ({"problem": "nobody answers"},)
    stores = ("sky://bucket/contexts",)
    secrets = ("hunter2-of-the-sky",)


MUTANTS: dict[str, tuple[type[Any], ...]] = {
    "test_every_setting_is_documented": (broken.SettingsWithoutHelp,),
    "test_it_says_who_we_are_in_one_line": (
        broken.SaysNothing,
        broken.SaysTooMuch,
        broken.SaysSomethingElse,
    ),
    "test_what_cannot_work_says_so": (
        broken.AsksNobody,
        broken.FailsWithAnything,
        broken.BlamesTheUser,
        broken.AdvisesNothing,
    ),
    "test_a_foreign_store_gets_nothing": (broken.OpensEveryStore,),
    "test_access_can_be_used": (broken.OpensNoStore, broken.GivesTwice, broken.GivesTheKeyInClear),
    "test_runs_get_no_secret_unless_settings_say_so": (broken.LendsToRuns, broken.LendsAFileToRuns),
    "test_many_threads_may_ask": (broken.ShowsItsHalf,),
    "test_secrets_show_nowhere": (
        broken.ShowsTheKey,
        broken.KeepsTheKey,
        broken.LogsTheKey,
        broken.FailsWithTheKey,
    ),
}


def test_every_test_of_the_suite_has_a_mutant() -> None:
    assert set(MUTANTS) == _tests_of(EnvironmentConformance) - {GUARD}
    assert {*broken.subclasses()} == {broken.Sky, *(cls for those in MUTANTS.values() for cls in those)}


def test_every_test_says_what_to_check() -> None:
    for name in _tests_of(EnvironmentConformance):
        last = inspect.cleandoc(getattr(EnvironmentConformance, name).__doc__ or "").split("\n\n")[-1]
        assert last.startswith("If this fails, check "), name
        assert last.endswith("."), name


@pytest.mark.parametrize(("test", "mutant"), pairs(MUTANTS))
def test_a_broken_environment_fails(
    test: str, mutant: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mutant(TestSky):
        name = mutant.__name__.lower()

    fails(Mutant(), test, tmp_path, monkeypatch)
