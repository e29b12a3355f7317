"""A plugin whose runner shows what it would create, and asks a backend that is a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from launchcore.plugin import (
    Given,
    Kind,
    LaunchError,
    Runner,
    RunnerSpec,
    RunPlan,
    Site,
    hookimpl,
    setting,
)


@attrs.frozen(kw_only=True)
class Settings:
    backend: str = setting("The file that says no, one line each.", default="/nonexistent")


@attrs.frozen(kw_only=True)
class Config:
    size: int = setting("How large.", default=1)
    words: tuple[str, ...] = setting("Some words.", default=())


def _create(settings: Any, site: Site) -> Runner:
    raise AssertionError("nothing is made to show what would be")


def _render(plan: RunPlan, given: Given, settings: Any) -> Sequence[str]:
    secrets = ",".join(f"{each.name}={each.value}" for each in given.env)
    return (
        f"name: {plan.name}\nimage: {plan.image}\ncommand: {list(plan.command)}\n",
        f"size: {plan.settings.size}\nwords: {list(plan.settings.words)}\n"
        f"env: {dict(plan.env)}\nsecrets: {secrets}\n",
    )


def _validate(plan: RunPlan, given: Given, settings: Any) -> Sequence[str]:
    try:
        return Path(settings.backend).read_text(encoding="utf-8").splitlines()
    except OSError:
        raise LaunchError("the backend does not answer") from None


@hookimpl
def launch_register_runners() -> Iterable[RunnerSpec]:
    yield RunnerSpec(
        name="showing",
        summary="Shows.",
        create=_create,
        settings=Settings,
        config=Config,
        applies=frozenset({Kind.ENV, Kind.LOGIN}),
        render=_render,
        validate=_validate,
    )
