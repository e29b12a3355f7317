"""What Docker offers to launchcore. Imports no SDK: that happens when something is used."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from launch_docker.build_settings import BuilderSettings
from launch_docker.settings import RunConfig, Settings
from launchcore.plugin import (
    Builder,
    BuilderSpec,
    Check,
    Kind,
    QueueConfig,
    Runner,
    RunnerSpec,
    Site,
    hookimpl,
)


def _runner(settings: Any, site: Site) -> Runner:
    from launch_docker.runner import make_runner

    return make_runner(settings, site)


def _checks(settings: Any) -> Iterable[Check]:
    from launch_docker.checks import checks

    return checks(settings)


def _sample(settings: Any) -> AbstractContextManager[QueueConfig]:
    from launch_docker.sample import Sample

    return Sample(settings)


@hookimpl
def launch_register_runners() -> Iterable[RunnerSpec]:
    yield RunnerSpec(
        name="docker",
        summary="Containers on a Docker engine, local or remote, or on Podman.",
        create=_runner,
        settings=Settings,
        config=RunConfig,
        needs_image=True,
        applies=frozenset(Kind),
        watches=True,
        immediate=True,
        checks=_checks,
        sample=_sample,
    )


def _builder(settings: Any, site: Site) -> Builder:
    from launch_docker.builder import make_builder

    return make_builder(settings, site)


@hookimpl
def launch_register_builders() -> Iterable[BuilderSpec]:
    yield BuilderSpec(
        name="docker",
        summary="Builds on a Docker engine: the source's Dockerfile, or a generated one.",
        create=_builder,
        settings=BuilderSettings,
        applies=frozenset({Kind.ENV, Kind.FILE, Kind.LOGIN, Kind.LABEL}),
    )
