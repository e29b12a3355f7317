"""The only file that calls hooks: one typed function for each, and whose fault it was when one raises.

Implementations are called one at a time, in the order of the plugins' names, and a generator is
read to its end inside the ``try``: so one bad plugin cannot silence or spoil another.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from launchcore.host import answers
from launchcore.host.blame import blamed, plugin_error
from launchcore.host.discovery import raised
from launchcore.host.manager import Implementation, Manager
from launchcore.plugin import (
    BuildPlan,
    Check,
    CheckResult,
    CheckVerdict,
    Contribution,
    Failure,
    Hint,
    LaunchError,
    RunPlan,
    Spec,
    StageEvent,
)

log = logging.getLogger("launchcore.host")
T = TypeVar("T")
SLOW = 5.0
"""Seconds after which a hook is named in the log: it holds up the run that it was called for."""


class Calls:
    """Every hook as a method. Safe to use from any thread."""

    def __init__(self, manager: Manager) -> None:
        self._of = {hook: manager.implementations(hook) for hook in manager.specified}

    def register(self, plugin: str) -> tuple[Spec, ...]:
        """Everything that one plugin offers, of all kinds.

        :raises LaunchError: it raised, or its answer is nonsense.
        """
        found: list[Spec] = []
        for hook, kind in answers.SPECS.items():
            for one in self._of[hook]:
                if one.plugin == plugin:
                    found += _ask(one, answers.spec(kind), quiet=True)
                    _refuse_twins(one, found)
        return tuple(found)

    def contribute_to_build(self, plan: BuildPlan) -> tuple[tuple[str, Contribution], ...]:
        """``(plugin, contribution)`` of every plugin.

        :raises LaunchError: fault and reason of the plugin that raised; ``error.plugin`` names it.
        """
        return self._contributions("launch_contribute_to_build", plan)

    def contribute_to_run(self, plan: RunPlan) -> tuple[tuple[str, Contribution], ...]:
        """``(plugin, contribution)`` of every plugin.

        :raises LaunchError: fault and reason of the plugin that raised; ``error.plugin`` names it.
        """
        return self._contributions("launch_contribute_to_run", plan)

    def explain_failure(self, failure: Failure) -> tuple[Hint, ...]:
        """The hints of every plugin; one that raises is logged and gives none."""
        found: list[Hint] = []
        for one in self._of["launch_explain_failure"]:
            try:
                found += _ask(one, answers.hint, failure=failure)
            except LaunchError as error:
                log.warning("%s; ignored", error)
        return tuple(found)

    def observe(self, event: StageEvent) -> None:
        """Tell every plugin; one that raises is logged."""
        for one in self._of["launch_observe"]:
            try:
                one(event=event)
            except (Exception, SystemExit):
                log.exception("%s: %s raised; ignored", one.label, one.hook)

    def checks(self) -> tuple[tuple[str, Check], ...]:
        """``(plugin, check)`` of every plugin. Their ``run`` never raises: that is a failed check."""
        found: list[tuple[str, Check]] = []
        for one in self._of["launch_checks"]:
            try:
                found += [(one.label, _guarded(check)) for check in _ask(one, answers.check)]
            except LaunchError as error:
                found.append((one.label, _failed(f"{one.plugin}: checks", error.detail)))
        return tuple(found)

    def _contributions(self, hook: str, plan: object) -> tuple[tuple[str, Contribution], ...]:
        return tuple(
            (one.label, value)
            for one in self._of[hook]
            for value in _ask(one, answers.contribution, plan=plan)
        )


def _ask(
    one: Implementation, check: Callable[[Any], T], *, quiet: bool = False, **arguments: object
) -> list[T]:
    began = time.monotonic()
    try:
        with blamed(one.label, one.hook, quiet=quiet):
            return answers.values(one(**arguments), check)
    finally:
        seconds = time.monotonic() - began
        if seconds > SLOW:
            log.warning("%s: %s took %.1f s", one.label, one.hook, seconds)


def _refuse_twins(one: Implementation, specs: Iterable[Spec]) -> None:
    seen: set[tuple[type, str]] = set()
    for spec in specs:
        for name in (spec.name, *spec.aliases):
            if (type(spec), name) in seen:
                raise plugin_error(one.label, f"{one.hook} of {one.label} offers {name!r} twice")
            seen.add((type(spec), name))


def _guarded(check: Check) -> Check:
    def run() -> CheckResult:
        try:
            result: object = check.run()
        except (Exception, SystemExit) as error:
            log.exception("the check %s raised", check.name)
            return CheckResult(verdict=CheckVerdict.FAILED, detail=raised(error))
        if not isinstance(result, CheckResult):
            return CheckResult(
                verdict=CheckVerdict.FAILED, detail=f"returned {type(result).__name__}, not a CheckResult"
            )
        return result

    return Check(name=check.name, run=run)


def _failed(name: str, detail: str) -> Check:
    return Check(name=name, run=lambda: CheckResult(verdict=CheckVerdict.FAILED, detail=detail))
