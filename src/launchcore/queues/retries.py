"""Retry policies: what a queue's may be, and a run's own within its bounds. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import attrs

from launchcore.plugin import Reason, RetryPolicy

MAX_LOST: Final = 100
MAX_RETRIES: Final = 1000
_DAY: Final = 86400
_DEFAULT: Final = RetryPolicy()


def retry_problems(policy: RetryPolicy, path: str = "retry") -> Iterator[str]:
    """Absurd numbers, and what no policy can say."""
    counts = (
        ("max_lost", policy.max_lost, 1, MAX_LOST),
        ("max_retries", policy.max_retries, 0, MAX_RETRIES),
        ("max_preempted", policy.max_preempted, 0, MAX_RETRIES),
        ("max_quarantined", policy.max_quarantined, 0, MAX_RETRIES),
        ("delay_seconds", policy.delay_seconds, 0, _DAY),
        ("max_delay_seconds", policy.max_delay_seconds, 0, _DAY),
        ("jitter", policy.jitter, 0, 1),
    )
    for name, value, least, most in counts:
        if not (math.isfinite(value) and least <= value <= most):
            yield f"{path}.{name}: {value} is not between {least} and {most}"
    if policy.delay_seconds > policy.max_delay_seconds:
        yield f"{path}.max_delay_seconds: {policy.max_delay_seconds:g} is less than delay_seconds"
    if Reason.CANCELLED in policy.reasons:
        yield f"{path}.reasons: what was cancelled is never tried again"


def policy_of(queue: RetryPolicy, run: RetryPolicy | None) -> RetryPolicy:
    """The policy that counts for a run: its own, within the bounds that its queue has now."""
    return queue if run is None else _bounded(queue, run)[0]


def beyond(queue: RetryPolicy, run: RetryPolicy) -> list[str]:
    """What of a run's own policy goes beyond the bounds of its queue's."""
    return _bounded(queue, run)[1]


def _bounded(queue: RetryPolicy, run: RetryPolicy) -> tuple[RetryPolicy, list[str]]:
    """A run's own policy within the bounds of its queue's, and what goes beyond them.

    ``max_retries`` is as the run says, at most the queue's; so are the other counts, of which the default
    means: as the queue says. No reasons are the queue's reasons. The waits are the run's own, as long as
    they are not shorter than the queue's; their defaults are the queue's.
    """
    problems = []
    chosen: dict[str, Any] = {}
    for name in ("max_retries", "max_lost", "max_preempted"):
        asked, most = getattr(run, name), getattr(queue, name)
        unset = name != "max_retries" and asked == getattr(_DEFAULT, name)
        chosen[name] = most if unset else asked
        if chosen[name] > most:
            problems.append(f"retry.{name}: {asked} is more than the queue allows ({most})")
            chosen[name] = most
    for name in ("delay_seconds", "max_delay_seconds", "jitter"):
        asked, own = getattr(run, name), getattr(queue, name)
        chosen[name] = own if asked == getattr(_DEFAULT, name) else asked
        if name == "delay_seconds" and chosen[name] < own:
            problems.append(f"retry.{name}: {asked:g} is less than the queue allows ({own:g})")
            chosen[name] = own
    chosen["max_delay_seconds"] = max(chosen["max_delay_seconds"], chosen["delay_seconds"])
    policy = attrs.evolve(
        run, reasons=run.reasons or queue.reasons, max_quarantined=queue.max_quarantined, **chosen
    )
    return policy, problems
