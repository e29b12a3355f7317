"""What ``launch doctor`` runs."""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs


class Verdict(enum.Enum):
    """The outcome of one check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@attrs.frozen(kw_only=True)
class CheckResult:
    """One line of ``launch doctor``: what was found, and what to do when it is not good."""

    verdict: Verdict
    detail: str
    hint: str | None = None


@attrs.frozen(kw_only=True)
class Check:
    """A named look at the outside world. ``run`` may take seconds, changes nothing, may raise."""

    name: str
    run: Callable[[], CheckResult]
