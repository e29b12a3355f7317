"""What Kubernetes offers to launchcore. Imports no SDK: that happens when something is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from launch_k8s.settings import ClusterSettings, RunConfig
from launchcore.plugin import Kind, Runner, RunnerSpec, Site, hookimpl


def _runner(settings: Any, site: Site) -> Runner:
    from launch_k8s.runner import make_runner

    return make_runner(settings, site)


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
        aliases=("k8s",),
    )
