"""The echo plugin: every kind of component, made of files, with faults on request.

It goes through the real hooks, and what its runner starts lives outside the agent (in files), so a
killed agent finds it again. It is not registered by default: load it with
``Host.load(extra=("launchcore.testing.echo",))``, or name it in the entry-point group of a test
distribution. What a run does is its script (:class:`launchcore.testing.echo.script.Script`): the
queue's configuration, overridden by the run's own command::

    queue:  {type: echo, config: {run_for: 2}}
    run:    command: ["exit_code=3", "lines=[\"hello\"]"]
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from launchcore.plugin import (
    Builder,
    BuilderSpec,
    Kind,
    Registry,
    RegistrySpec,
    Runner,
    RunnerSpec,
    Secret,
    Site,
    Source,
    SourceSpec,
    hookimpl,
    setting,
)
from launchcore.testing.echo.script import Script


@attrs.frozen(kw_only=True)
class EchoSettings:
    """The agent's settings of the echo runners."""

    directory: Path | None = setting(
        "Where its objects live; without one, in the agent's state. Agents that share it adopt each other's.",
        default=None,
    )


@attrs.frozen(kw_only=True)
class EchoSourceFields:
    """What a run may say about an echo source."""

    files: dict[str, str] = setting("Files of the tree: path to text.", factory=dict)
    error: str | None = setting("Fail with this text, as a source that is not there.", default=None)
    fetch_for: float = setting("Seconds that fetching takes; it obeys a cancel.", default=0.0)


@attrs.frozen(kw_only=True)
class EchoBuilderSettings:
    """Settings of the echo builder."""

    error: str | None = setting("Fail every build with this text.", default=None)
    push_error: str | None = setting("Fail every push with this text.", default=None)
    build_for: float = setting("Seconds that a build takes; it obeys a cancel.", default=0.0)


@attrs.frozen(kw_only=True)
class EchoRegistrySettings:
    """Settings of the echo registry."""

    repository: str = setting("Where images go.", default="echo.invalid/launch")
    password: Secret | None = setting("Gives a login with this password.", default=None)
    error: str | None = setting("Fail every question with this text.", default=None)


def echo_directory(settings: EchoSettings, site: Site) -> Path:
    """Where the objects of the echo runner live."""
    return settings.directory or site.state / "echo"


def _runner(name: str, settings: Any, site: Site) -> Runner:
    from launchcore.testing.echo.runner import EchoRunner

    return EchoRunner(echo_directory(settings, site), site, name)


def _source(_settings: Any, _site: Site) -> Source:
    from launchcore.testing.echo.parts import EchoSource

    return EchoSource()


def _builder(settings: Any, site: Site) -> Builder:
    from launchcore.testing.echo.parts import EchoBuilder

    return EchoBuilder(settings, site.state / "echo")


def _registry(settings: Any, site: Site) -> Registry:
    from launchcore.testing.echo.parts import EchoRegistry

    return EchoRegistry(settings, site.state / "echo")


def _repository(settings: Any) -> str | None:
    return str(settings.repository)


def _spec(name: str, summary: str, *, needs_image: bool = False, watches: bool = False) -> RunnerSpec:
    return RunnerSpec(
        name=name,
        summary=summary,
        create=functools.partial(_runner, name),
        settings=EchoSettings,
        config=Script,
        needs_image=needs_image,
        applies=frozenset(Kind),
        watches=watches,
        host_bound=True,
    )


@hookimpl
def launch_register_runners() -> Iterable[RunnerSpec]:
    return (
        _spec("echo", "Runs nothing: does what its script says. For tests.", watches=True),
        _spec("echo-polled", "The same, asked instead of watched."),
        _spec("echo-image", "The same, for images.", needs_image=True),
    )


@hookimpl
def launch_register_sources() -> Iterable[SourceSpec]:
    return (
        SourceSpec(
            name="echo",
            summary="Writes the files that the run names. For tests.",
            create=_source,
            fields=EchoSourceFields,
        ),
    )


@hookimpl
def launch_register_builders() -> Iterable[BuilderSpec]:
    return (
        BuilderSpec(
            name="echo",
            summary="Builds images of nothing. For tests.",
            create=_builder,
            settings=EchoBuilderSettings,
            applies=frozenset(Kind),
        ),
    )


@hookimpl
def launch_register_registries() -> Iterable[RegistrySpec]:
    return (
        RegistrySpec(
            name="echo",
            summary="Remembers what the echo builder pushed. For tests.",
            create=_registry,
            settings=EchoRegistrySettings,
            repository=_repository,
        ),
    )
