"""Registers the runner ``process``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from launchcore.builtin.process.settings import ProcessConfig, ProcessSettings
from launchcore.plugin import Check, Kind, Runner, RunnerSpec, Site, hookimpl


def _create(settings: Any, site: Site) -> Runner:
    from launchcore.builtin.process.runner import ProcessRunner

    return ProcessRunner(settings, site)


@hookimpl
def launch_register_runners() -> Iterable[RunnerSpec]:
    """The runner without a container."""
    yield RunnerSpec(
        name="process",
        summary="Processes of this machine, without a container; they outlive the agent.",
        create=_create,
        settings=ProcessSettings,
        config=ProcessConfig,
        needs_image=False,
        applies=frozenset({Kind.ENV, Kind.FILE, Kind.LABEL}),
        watches=True,
        immediate=True,
        host_bound=True,
    )


@hookimpl
def launch_checks() -> Iterable[Check]:
    """Whether this machine has what the runner uses."""
    from launchcore.builtin.process.checks import checks

    return checks()
