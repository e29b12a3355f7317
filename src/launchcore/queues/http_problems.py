"""From an answer that is no success to the exception that the embedded queue raises. Pure."""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, TypeVar

import msgspec

from launchcore.plugin import (
    AgentNameTaken,
    Cancelled,
    Fault,
    Json,
    LaunchError,
    LeaseLost,
    LogBehind,
    LogPosition,
    QueueDamaged,
    QueueUnavailable,
    Reason,
)
from launchcore.queues.base import NotFound
from launchcore.queues.wire import PROBLEM_TYPE, Problem

_URN: Final = "urn:launchcore:problem:"
LONGEST_PAUSE: Final = 60.0
"""Seconds: a longer ``Retry-After`` is asked again after these."""
_OURS: Final = ("invalid", "unsupported", "method_not_allowed", "internal")
"""What a client of ours never sends, unless it has a bug."""
_TEXT: Final = 300
E_ = TypeVar("E_", bound=Enum)


class Refused(LaunchError):
    """The service, or something in front of it, does not let us in: token, certificate, address.

    A user is told; an agent that is at work goes on, and asks again: somebody mends it.
    """

    def __init__(self, detail: str, *, hint: str) -> None:
        super().__init__(detail, reason=Reason.CONFIG_ERROR, fault=Fault.USER, hint=hint)


class Trouble(QueueUnavailable):
    """One exchange that failed and may succeed later.

    ``unclear``: what was asked may have been done. ``pause``: seconds that the service asks for.
    """

    def __init__(self, detail: str, *, unclear: bool, pause: float | None = None) -> None:
        super().__init__(detail)
        self.unclear = unclear
        self.retry_after = pause


def problem_of(content_type: str, body: bytes) -> Problem | None:
    """The problem document, if it is one of ours."""
    if content_type.partition(";")[0].strip().lower() != PROBLEM_TYPE:
        return None
    try:
        found = msgspec.json.decode(body, type=Problem)
    except (ValueError, RecursionError):
        return None
    return found if found.type.startswith(_URN) else None


def error_of(problem: Problem) -> Exception:
    """The exception that a problem stands for."""
    kind = problem.type.removeprefix(_URN)
    detail = one_line(problem.detail or problem.title)
    hint = one_line(problem.hint) if problem.hint else None
    simple: dict[str, Callable[[], Exception]] = {
        "lease_lost": lambda: LeaseLost(detail),
        "agent_name_taken": lambda: AgentNameTaken(detail),
        "not_found": lambda: NotFound(detail, hint=hint),
        "damaged": lambda: QueueDamaged(detail, hint=hint or "look at the log of the queue service"),
        "unauthorized": lambda: Refused(detail, hint=hint or "set token_file, or LAUNCHCORE_TOKEN"),
        "forbidden": lambda: Refused(detail, hint=hint or "ask for a token with the scope that this needs"),
        "cancelled": lambda: Cancelled(detail, reason=_member(Reason, problem.reason, Reason.CANCELLED)),
        "log_behind": lambda: LogBehind(detail, position=_position(problem.extra)),
    }
    if kind in simple:
        return simple[kind]()
    if kind in ("unavailable", "internal") and problem.reason is None:
        return QueueUnavailable(detail)
    reason = _member(Reason, problem.reason, Reason.CONFIG_ERROR)
    return LaunchError(
        detail,
        reason=reason,
        fault=_member(Fault, problem.fault, Fault.CORE if kind in _OURS else Fault.USER),
        hint=hint,
        retryable=problem.extra.get("retryable") is True,
    )


def raise_for(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> None:
    """Raise what an answer means that is no success.

    :param now: UNIX seconds, for a ``Retry-After`` that is a date.
    :raises Trouble: it may be different later.
    """
    problem = problem_of(headers.get("Content-Type", ""), body)
    said = one_line(problem.detail or problem.title) if problem else f"HTTP {status}"
    if status == 429 or status >= 500 or status in (408, 425):
        if problem is not None and (problem.reason is not None or problem.type == _URN + "damaged"):
            raise error_of(problem)  # it is certain, and will be the same again
        raise Trouble(said, unclear=status != 429, pause=retry_after(headers.get("Retry-After"), now=now))
    if problem is not None:
        raise error_of(problem)
    if status == 401:
        raise Refused("the queue service wants a token", hint="set token_file, or LAUNCHCORE_TOKEN")
    if status == 407:
        raise Refused("the proxy on the way wants a login", hint="put it into HTTPS_PROXY, or NO_PROXY")
    raise not_ours(f"it answers {said}")


def not_ours(what: str) -> Refused:
    """Something answers, and it is not a queue service (or a proxy's page is in the way)."""
    return Refused(
        f"no queue service of launchcore answers there: {what}",
        hint="look at base_url, and at the proxy in front of the service",
    )


def retry_after(text: str | None, *, now: float) -> float | None:
    """Seconds from a ``Retry-After`` header (RFC 9110, 10.2.3): a number or a date, within bounds.

    >>> retry_after("3", now=0), retry_after("soon", now=0), retry_after("999999", now=0)
    (3.0, None, 60.0)
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 16:
        return min(float(text), LONGEST_PAUSE)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.UTC)
    return min(max(at.timestamp() - now, 0.0), LONGEST_PAUSE)


def one_line(text: str) -> str:
    """What a stranger's answer says, as one printable line of bounded length."""
    line = " ".join(text[: 4 * _TEXT].split())
    shown = "".join(char if char.isprintable() else "�" for char in line)
    return shown if len(shown) <= _TEXT else shown[:_TEXT] + "…"


def _position(extra: Mapping[str, Json]) -> LogPosition:
    try:
        return msgspec.convert(dict(extra), LogPosition)
    except ValueError:
        return LogPosition()


def _member(kind: type[E_], value: str | None, default: E_) -> E_:
    """A newer service may have a member that this version does not know."""
    try:
        return kind(value)
    except ValueError:
        return default
