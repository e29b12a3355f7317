"""What SageMaker offers to launchcore. Imports no SDK: that happens when something is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from launch_sagemaker.settings import Settings, TrainingJob
from launchcore.plugin import Given, Kind, Runner, RunnerSpec, RunPlan, Site, hookimpl

if TYPE_CHECKING:
    from launch_aws.environment import AwsEnvironment


def _runner(settings: Any, site: Site) -> Runner:
    from launch_sagemaker.runner import make_runner

    return make_runner(settings, site, cast("AwsEnvironment", site.environment))


def _render(plan: RunPlan, given: Given, settings: Any) -> Sequence[str]:
    from launch_sagemaker.preview import documents

    return documents(plan, given, settings)


def _watch_ages(runner: Any) -> Mapping[str, float]:
    ages: Mapping[str, float] = runner.watch_ages()
    return ages


@hookimpl
def launch_register_runners() -> Iterable[RunnerSpec]:
    yield RunnerSpec(
        name="sagemaker",
        summary="SageMaker training jobs.",
        create=_runner,
        settings=Settings,
        config=TrainingJob,
        needs_image=True,
        applies=frozenset({Kind.ENV, Kind.FILE, Kind.LABEL}),
        watches=True,
        own_logins=True,
        keeps_records=True,
        log_patience=90.0,
        render=_render,
        watch_ages=_watch_ages,
        requires_environment="aws",
    )
