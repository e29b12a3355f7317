"""The hooks. With :mod:`launchcore.plugin`, this is all that a plugin author has to read.

Hooks declare and contribute; objects behave. Every hook is synchronous, is *collecting* (each
plugin is asked, every answer counts) and may be called twice. Registration hooks do no I/O and
import no SDK. Arguments are frozen values, passed by keyword; an implementation may leave out those
it does not need. To publish a plugin, name its module in the entry-point group ``launchcore``::

    [project.entry-points.launchcore]
    hello = "launch_hello.plugin"
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pluggy

from launchcore.plugin.checks import Check
from launchcore.plugin.contributions import Contribution
from launchcore.plugin.events import StageEvent
from launchcore.plugin.failures import Failure, Hint
from launchcore.plugin.specs import (
    BuilderSpec,
    EnvironmentSpec,
    QueueSpec,
    RegistrySpec,
    RunnerSpec,
    SourceSpec,
)
from launchcore.plugin.values import BuildPlan, RunPlan

PROJECT: Final = "launchcore"
"""pluggy's project name and the entry-point group: part of the contract, for ever."""

hookspec: Final = pluggy.HookspecMarker(PROJECT)
"""Marks a specification, here only."""

hookimpl: Final = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's implementation of a hook."""


@hookspec
def launch_register_sources() -> Iterable[SourceSpec]:
    """Offer sources.

    When:    once, when the host starts.
    Given:   nothing.
    Return:  descriptors; their names must be nobody else's.
    Failure: the plugin is marked *failed*, and none of its hooks is used; the others go on.

    >>> from launchcore.plugin import SourceSpec, hookimpl
    >>> @hookimpl
    ... def launch_register_sources():
    ...     yield SourceSpec(name="hg", summary="Mercurial repositories.", create=make_hg_source)
    """
    return ()


@hookspec
def launch_register_builders() -> Iterable[BuilderSpec]:
    """Offer builders.

    When:    once, when the host starts.
    Given:   nothing.
    Return:  descriptors; their names must be nobody else's.
    Failure: the plugin is marked *failed*, and none of its hooks is used; the others go on.

    >>> from launchcore.plugin import BuilderSpec, Kind, hookimpl
    >>> @hookimpl
    ... def launch_register_builders():
    ...     yield BuilderSpec(name="buildah", summary="Buildah, rootless.", create=make_buildah,
    ...                       applies=frozenset({Kind.LOGIN}))
    """
    return ()


@hookspec
def launch_register_registries() -> Iterable[RegistrySpec]:
    """Offer registries.

    When:    once, when the host starts.
    Given:   nothing.
    Return:  descriptors; their names must be nobody else's.
    Failure: the plugin is marked *failed*, and none of its hooks is used; the others go on.

    >>> from launchcore.plugin import RegistrySpec, hookimpl
    >>> @hookimpl
    ... def launch_register_registries():
    ...     yield RegistrySpec(name="quay", summary="Quay.", create=make_quay)
    """
    return ()


@hookspec
def launch_register_environments() -> Iterable[EnvironmentSpec]:
    """Offer environments.

    When:    once, when the host starts.
    Given:   nothing.
    Return:  descriptors; their names must be nobody else's.
    Failure: the plugin is marked *failed*, and none of its hooks is used; the others go on.

    >>> from launchcore.plugin import EnvironmentSpec, hookimpl
    >>> @hookimpl
    ... def launch_register_environments():
    ...     yield EnvironmentSpec(name="slurm", summary="A Slurm account.", create=make_slurm)
    """
    return ()


@hookspec
def launch_register_runners() -> Iterable[RunnerSpec]:
    """Offer runners.

    When:    once, when the host starts.
    Given:   nothing.
    Return:  descriptors; their names must be nobody else's.
    Failure: the plugin is marked *failed*, and none of its hooks is used; the others go on.

    >>> from launchcore.plugin import RunnerSpec, hookimpl
    >>> @hookimpl
    ... def launch_register_runners():
    ...     yield RunnerSpec(name="slurm", summary="sbatch.", create=make_slurm_runner)
    """
    return ()


@hookspec
def launch_register_queues() -> Iterable[QueueSpec]:
    """Offer clients of queue services, chosen by the scheme of ``base_url``.

    When:    once, when the host starts.
    Given:   nothing.
    Return:  descriptors; their names and schemes must be nobody else's.
    Failure: the plugin is marked *failed*, and none of its hooks is used; the others go on.

    >>> from launchcore.plugin import QueueSpec, hookimpl
    >>> @hookimpl
    ... def launch_register_queues():
    ...     yield QueueSpec(name="redis", summary="Queues in Redis.", schemes=("redis",),
    ...                     connect=connect_redis)
    """
    return ()


@hookspec
def launch_contribute_to_build(plan: BuildPlan) -> Iterable[Contribution]:
    """Add environment, files, logins, labels or volumes to one image build.

    When:    build stage, once or more for each attempt, before the builder is called.
    Given:   the frozen plan; ``plan.destination.registry`` is the registry's name.
    Return:  contributions, or nothing. Create nothing; reading (minting a token) is allowed.
    Failure: the run fails, blamed on this plugin.

    >>> from launchcore.plugin import EnvVar, hookimpl
    >>> @hookimpl
    ... def launch_contribute_to_build(plan):
    ...     yield EnvVar(name="PIP_INDEX_URL", value="https://mirror.example.com/simple")
    """
    return ()


@hookspec
def launch_contribute_to_run(plan: RunPlan) -> Iterable[Contribution]:
    """Add environment, files, logins, labels or volumes to one attempt.

    When:    execute stage, once or more for each attempt, before the runner is called.
    Given:   the frozen plan.
    Return:  contributions, or nothing. Create nothing; reading (minting a token) is allowed.
    Failure: the run fails, blamed on this plugin: a run without its credentials is worse than none.

    >>> from launchcore.plugin import Label, hookimpl
    >>> @hookimpl
    ... def launch_contribute_to_run(plan):
    ...     return [Label(name="cost-centre", value="ml-42")]
    """
    return ()


@hookspec
def launch_explain_failure(failure: Failure) -> Iterable[Hint]:
    """Add advice to a failure.

    When:    report stage, once for each failed attempt.
    Given:   the failure, complete with stage and plugin.
    Return:  hints, or nothing.
    Failure: logged; the hints of the others are still shown.

    >>> from launchcore.plugin import Hint, Reason, hookimpl
    >>> @hookimpl
    ... def launch_explain_failure(failure):
    ...     if failure.reason is Reason.OUT_OF_MEMORY:
    ...         yield Hint(text="see https://wiki.example.com/memory")
    """
    return ()


@hookspec
def launch_observe(event: StageEvent) -> None:
    """Be told of each boundary of each stage.

    When:    all the time, on the thread of the stage: be quick.
    Given:   the event.
    Return:  nothing.
    Failure: logged; never affects the run.

    >>> from launchcore.plugin import hookimpl
    >>> @hookimpl
    ... def launch_observe(event):
    ...     print(event.attempt_id, event.stage.value, event.what)
    """


@hookspec
def launch_checks() -> Iterable[Check]:
    """Add checks to ``launch doctor``.

    When:    ``launch doctor``.
    Given:   nothing.
    Return:  named checks; they run later, one by one.
    Failure: shown as a failed check.

    >>> from launchcore.plugin import Check, CheckResult, CheckVerdict, hookimpl
    >>> @hookimpl
    ... def launch_checks():
    ...     yield Check(name="disk", run=lambda: CheckResult(verdict=CheckVerdict.OK, detail="80 GB free"))
    """
    return ()
