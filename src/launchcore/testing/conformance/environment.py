"""What the core relies on in every environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from launchcore.host.settings import structure
from launchcore.plugin import (
    Contribution,
    Environment,
    EnvVar,
    Fault,
    LaunchError,
    Login,
    RunPlan,
    Secret,
    SecretFile,
)
from launchcore.testing.conformance.leaks import Records, error_of
from launchcore.testing.conformance.suite import Suite, load_plugin, undocumented
from launchcore.testing.sites import make_site

FOREIGN_STORES = ("nowhere://bucket/contexts", "/var/lib/contexts", "bucket", "")


class EnvironmentBench:
    """One environment of one test."""

    def __init__(self, root: Path, *, plugin: str, name: str, settings: Mapping[str, Any]) -> None:
        self.root = root
        self.spec = load_plugin(plugin).catalog.environment(name).spec
        self.raw = settings
        self.settings: Any = structure(self.spec.settings, settings, path="environment")
        self.site = make_site(root / "site")
        self.environment = self.again()

    def again(self, **changes: Any) -> Environment:
        """Another environment object at the same site, with other settings."""
        made: Any = structure(self.spec.settings, {**self.raw, **changes}, path="environment")
        return self.spec.create(made, self.site)

    def plan(self) -> RunPlan:
        """A run of somebody."""
        return RunPlan(
            run_id="r",
            attempt_id="r-1",
            attempt=1,
            queue="conformance",
            name="launch-r-1",
            settings=None,
            scratch=self.root,
        )


class EnvironmentConformance(Suite):
    """Subclass it, and set ``plugin`` and ``name``. What an environment does not have is not tested."""

    plugin: ClassVar[str]
    """The plugin's module, as its entry point names it."""
    name: ClassVar[str]
    """The environment's name."""
    settings: Mapping[str, Any] = {}
    """The ``environment:`` block, without its type. It opens no credentials to runs."""
    wrong: Sequence[Mapping[str, Any]] = ()
    """Further settings with each of which it cannot work: nobody answers, nobody is known by that name."""
    stores: Sequence[str] = ()
    """URLs of object stores of this environment."""
    secrets: Sequence[str] = ()
    """Everything secret that ``settings`` lead to."""

    def make_bench(self, root: Path) -> EnvironmentBench:
        return EnvironmentBench(root, plugin=self.plugin, name=self.name, settings=self.settings)

    @pytest.fixture
    def bench(self, tmp_path: Path) -> EnvironmentBench:
        return self.make_bench(tmp_path)

    def test_every_setting_is_documented(self, bench: EnvironmentBench) -> None:
        """Help is all that a user reads of a setting.

        If this fails, check that every field is made with ``setting("…")``.
        """
        assert [*undocumented(bench.spec.settings)] == []

    def test_it_says_who_we_are_in_one_line(self, bench: EnvironmentBench) -> None:
        """The agent logs it when it starts, and the same each time.

        If this fails, check what ``verify`` returns.
        """
        who = bench.environment.verify()
        assert who.strip()
        assert who.isprintable()
        assert bench.again().verify() == who

    def test_what_cannot_work_says_so(self, bench: EnvironmentBench) -> None:
        """At start, with what to do, and not as the fault of whoever submits the first run.

        If this fails, check that ``verify`` asks, and raises LaunchError with one line and a hint.
        """
        for changes in self.wrong:
            with pytest.raises(LaunchError) as caught:
                bench.again(**changes).verify()
            assert caught.value.fault is Fault.INFRASTRUCTURE, changes
            assert caught.value.detail.isprintable(), changes
            assert caught.value.hint, changes

    def test_a_foreign_store_gets_nothing(self, bench: EnvironmentBench) -> None:
        """A builder may use a store of another cloud: its owner must not get our credentials.

        If this fails, check that ``access`` looks at the scheme of the URL.
        """
        for store in FOREIGN_STORES:
            assert tuple(bench.environment.access(store)) == (), store

    def test_access_can_be_used(self, bench: EnvironmentBench) -> None:
        """By another object too, and its secrets are secrets.

        If this fails, check that ``access`` gives each variable once, and keys and tokens as ``Secret``.
        """
        for store in self.stores:
            given = tuple(bench.environment.access(store))
            assert given, store
            names = [one.name for one in given]
            assert len(set(names)) == len(names), names
            assert {type(one) for one in bench.again().access(store)} <= {EnvVar, SecretFile}
            assert [one.name for one in given if isinstance(one, EnvVar) and self._open(one.value)] == []

    def test_runs_get_no_secret_unless_settings_say_so(self, bench: EnvironmentBench) -> None:
        """Whoever may submit a run could print it.

        If this fails, check the defaults of the settings that open credentials to runs.
        """
        given = tuple(bench.environment.contribute_to_run(bench.plan()))
        assert [one for one in given if self._is_secret(one)] == []

    def test_many_threads_may_ask(self, bench: EnvironmentBench) -> None:
        """All stages of all runs share one environment.

        If this fails, check what is made when it is first needed: one thread must not see another's half.
        """
        for _ in range(3):
            environment = bench.again()

            def ask(_: int, environment: Environment = environment) -> list[str]:
                run = [one.kind.value for one in environment.contribute_to_run(bench.plan())]
                return [
                    environment.verify(),
                    *run,
                    *(str(environment.access(store)) for store in self.stores),
                ]

            with ThreadPoolExecutor(8) as threads:
                answers = list(threads.map(ask, range(16)))
            assert all(answer == answers[0] for answer in answers)

    def test_secrets_show_nowhere(self, bench: EnvironmentBench) -> None:
        """Not in a log, a representation or an error.

        If this fails, check where ``Secret.reveal()`` is called, and what becomes of its result.
        """
        with Records() as records:
            shown = [repr(bench.environment), str(vars(bench.environment)), repr(bench.settings)]
            shown.append(bench.environment.verify())
            shown += [str(bench.environment.access(store)) for store in self.stores]
            shown.append(str(bench.environment.contribute_to_run(bench.plan())))
            shown += [error_of(bench.again(**changes).verify) for changes in self.wrong]
        found = [each for each in (*shown, records.text()) for secret in self.secrets if secret in each]
        assert found == []

    def _open(self, value: str | Secret) -> bool:
        return isinstance(value, str) and any(secret in value for secret in self.secrets)

    def _is_secret(self, one: Contribution) -> bool:
        if isinstance(one, EnvVar):
            return isinstance(one.value, Secret) or self._open(one.value)
        return isinstance(one, SecretFile | Login)
