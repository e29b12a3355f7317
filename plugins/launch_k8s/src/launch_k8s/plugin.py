"""What Kubernetes offers to launchcore. Imports no SDK: that happens when something is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from launch_k8s.settings import ClusterSettings, RunConfig
from launchcore.plugin import Check, Given, Kind, Runner, RunnerSpec, RunPlan, Site, hookimpl


def _runner(settings: Any, site: Site) -> Runner:
    from launch_k8s.runner import make_runner

    return make_runner(settings, site)


def _render(plan: RunPlan, given: Given, settings: Any) -> Sequence[str]:
    from launch_k8s.preview import documents

    return documents(plan, given, settings)


def _validate(plan: RunPlan, given: Given, settings: Any) -> Sequence[str]:
    from launch_k8s.preview import dry_run

    return dry_run(plan, given, settings)


def _checks(settings: Any) -> Iterable[Check]:
    from launch_k8s.checks import checks

    return checks(settings)


def _watch_ages(runner: Any) -> Mapping[str, float]:
    ages: Mapping[str, float] = runner.watch_ages()
    return ages


@hookimpl
def launch_register_runners() -> Iterable[RunnerSpec]:
    yield RunnerSpec(
        name="kubernetes",
        summary="Jobs or custom resources on a Kubernetes cluster.",
        create=_runner,
        settings=ClusterSettings,
        config=RunConfig,
        needs_image=True,
        applies=frozenset(Kind),
        watches=True,
        log_patience=30.0,  # a kubelet that is busy, or that rotates a large log, takes its time
        render=_render,
        validate=_validate,
        checks=_checks,
        watch_ages=_watch_ages,
        aliases=("k8s",),
    )
