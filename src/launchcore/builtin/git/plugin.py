"""Registers the source ``git``, and the check that git is there."""

from __future__ import annotations

from collections.abc import Iterable

from launchcore.builtin.git.settings import GitFields, GitSettings
from launchcore.plugin import Check, CheckResult, Site, Source, SourceSpec, hookimpl


def _create(settings: GitSettings, _site: Site) -> Source:
    from launchcore.builtin.git.source import GitSource

    return GitSource(settings)


def _check() -> CheckResult:
    from launchcore.builtin.git.doctor import look

    return look()


@hookimpl
def launch_register_sources() -> Iterable[SourceSpec]:
    yield SourceSpec(
        name="git",
        summary="A git repository at a branch, tag or commit, with submodules and local changes.",
        create=_create,
        settings=GitSettings,
        fields=GitFields,
    )


@hookimpl
def launch_checks() -> Iterable[Check]:
    yield Check(name="git", run=_check)
