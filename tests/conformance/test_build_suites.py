"""The suites for builders and registries: echo, none and local pass them, and every test has its mutant."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from launchcore.plugin import BuiltImage, ImageRef
from launchcore.testing.conformance import BuilderConformance, RegistryConformance
from launchcore.testing.conformance.build_bench import BuilderBench, Files
from launchcore.testing.conformance.registry import RegistryBench
from launchcore.testing.conformance.suite import Suite
from tests.conformance import broken_builders as broken
from tests.conformance.test_mutants import GUARD, _tests_of, fails, pairs


class EchoBuilders(BuilderConformance):
    plugin = "launchcore.testing.echo"
    name = "echo"
    repository: str | None = "echo.invalid/launch"

    def example(self, number: int) -> Files:
        return {"train.py": f"print({number})\n"}

    def broken(self) -> Files | None:
        return {"broken": ""}

    def labels_of(self, bench: BuilderBench, image: BuiltImage) -> Mapping[str, str]:
        builder: Any = bench.builder
        labels: Mapping[str, str] = builder.labels_of(image)
        return labels


class TestEchoBuilder(EchoBuilders):
    pass


class TestEchoBuilderWithoutRegistry(EchoBuilders):
    repository = None


class TestNoBuilder(BuilderConformance):
    plugin = "launchcore.builtin.none.plugin"
    name = "none"


class EchoRegistries(RegistryConformance):
    plugin = "launchcore.testing.echo"
    name = "echo"
    settings: Mapping[str, Any] = {"password": "hunter2-of-the-suite"}
    secret = "hunter2-of-the-suite"
    away: Mapping[str, Any] | None = {"error": "nobody answers"}

    def present(self, bench: RegistryBench) -> ImageRef:
        return broken.push(bench.site.state / "echo", ImageRef(name=f"{bench.repository}:there"))


class TestEchoRegistry(EchoRegistries):
    pass


class TestLocalRegistry(RegistryConformance):
    plugin = "launchcore.builtin.local.plugin"
    name = "local"


BUILDERS: dict[str, tuple[type[Any], ...]] = {
    "test_every_setting_is_documented": (broken.SettingsWithoutHelp,),
    "test_one_that_builds_nothing_says_so": (broken.RefusesWithoutAdvice, broken.BuildsAfterAll),
    "test_an_image_has_the_repository_and_a_tag": (broken.NoTag, broken.AnotherRepository),
    "test_two_agents_agree_on_the_name": (broken.TagOfTheAttempt, broken.TagOfThePlace),
    "test_another_content_has_another_name": (broken.OneTagForAll, broken.ForgetsArguments),
    "test_the_tag_does_not_depend_on_the_repository": (broken.TagOfTheRepository,),
    "test_what_is_there_is_not_built_again": (broken.BuildsAgain, broken.RemembersInMemory),
    "test_builds_at_the_same_time_build_once": (broken.BuildsInRace,),
    "test_the_tree_is_left_as_it_was": (broken.WritesIntoTheTree,),
    "test_a_build_that_fails_is_the_users_fault": (broken.FailsWithAnything, broken.FailsAsInfrastructure),
    "test_after_a_failure_others_can_be_built": (broken.LeavesItsLock,),
    "test_a_cancel_is_obeyed": (broken.IgnoresCancel, broken.CancelledIsBuilt),
    "test_a_push_gives_the_digest": (broken.PushesWithoutDigest, broken.AnotherDigestEachTime),
    "test_a_push_obeys_a_cancel": (broken.PushIgnoresCancel,),
    "test_cleanup_keeps_the_image": (broken.CleanupRemovesImages, broken.CleansUpOnce),
    "test_labels_reach_the_image": (broken.DropsLabels, broken.DropsTheOwner),
    "test_a_container_of_the_image_is_not_taken_for_ours": (broken.LabelsAsContainers,),
    "test_secrets_show_nowhere": (
        broken.LogsTheLogin,
        broken.KeepsTheLogin,
        broken.TellsTheLogin,
        broken.LabelsWithTheLogin,
    ),
}
REGISTRIES: dict[str, tuple[type[Any], ...]] = {
    "test_every_setting_is_documented": (broken.RegistryWithoutHelp,),
    "test_a_remote_registry_names_its_repository": (broken.RepositoryWithTag, broken.NoRepository),
    "test_a_full_name_is_itself": (
        broken.ResolvesEachTime,
        broken.ResolvesForHimself,
        broken.TakesEverything,
    ),
    "test_ensure_may_be_repeated": (broken.EnsuresOnce,),
    "test_ensure_makes_no_image": (broken.EnsureMakesImages,),
    "test_what_is_not_there_is_none": (broken.MissingIsAnError, broken.MissingIsEmpty),
    "test_the_digest_of_what_is_there": (broken.AnotherDigest,),
    "test_a_digest_can_be_asked_for_by_digest": (broken.IgnoresTheDigest,),
    "test_one_that_is_away_says_so": (broken.AwayIsNotThere, broken.AwayIsTheUsersFault),
    "test_logins_are_for_the_repositorys_host": (broken.LoginOfAnotherHost, broken.NoLogin),
    "test_nobody_else_gets_the_login": (broken.LoginForEverybody,),
    "test_secrets_show_nowhere": (broken.ShowsThePassword, broken.FailsWithThePassword),
}


@pytest.mark.parametrize(
    ("suite", "table"), [(BuilderConformance, BUILDERS), (RegistryConformance, REGISTRIES)]
)
def test_every_test_of_a_suite_has_a_mutant(suite: type[Suite], table: dict[str, Any]) -> None:
    assert set(table) == _tests_of(suite) - {GUARD}


@pytest.mark.parametrize("suite", [BuilderConformance, RegistryConformance])
def test_every_test_says_what_to_check(suite: type[Suite]) -> None:
    for name in _tests_of(suite):
        last = inspect.cleandoc(getattr(suite, name).__doc__ or "").split("\n\n")[-1]
        assert last.startswith("If this fails, check "), name
        assert last.endswith("."), name


@pytest.mark.parametrize(("test", "mutant"), pairs(BUILDERS))
def test_a_broken_builder_fails(
    test: str, mutant: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mutant(EchoBuilders):
        plugin = broken.__name__
        name = mutant.__name__.lower()

    fails(Mutant(), test, tmp_path, monkeypatch)


@pytest.mark.parametrize(("test", "mutant"), pairs(REGISTRIES))
def test_a_broken_registry_fails(
    test: str, mutant: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mutant(EchoRegistries):
        plugin = broken.__name__
        name = mutant.__name__.lower()
        settings = {} if mutant is broken.RegistryWithoutHelp else EchoRegistries.settings

    fails(Mutant(), test, tmp_path, monkeypatch)
