"""From an exception to a problem document (RFC 9457) and its status. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import msgspec

from launchcore.plugin import (
    AgentNameTaken,
    Cancelled,
    Fault,
    LaunchError,
    LeaseLost,
    LogBehind,
    QueueDamaged,
    QueueUnavailable,
    Reason,
)
from launchcore.queues.base import NotFound
from launchcore.queues.wire import PROBLEM_TYPE, Problem
from launchcore.server.strict import Malformed
from launchcore.store.engine import Conflict

URN = "urn:launchcore:problem:"
RETRY_SECONDS = 1

TITLES: Mapping[str, tuple[int, str]] = {
    "invalid": (400, "The request is malformed"),
    "unauthorized": (401, "A token is needed"),
    "forbidden": (403, "The token does not allow this"),
    "not_found": (404, "There is no such thing"),
    "method_not_allowed": (405, "This path has no such method"),
    "timeout": (408, "The request took too long"),
    "conflict": (409, "It is in the way of something else"),
    "lease_lost": (409, "The lease is lost"),
    "agent_name_taken": (409, "The agent's name is taken"),
    "cancelled": (409, "The run is cancelled"),
    "log_behind": (409, "Less of the log is stored"),
    "too_large": (413, "The request is too large"),
    "unsupported": (415, "This media type is not taken here"),
    "config_error": (422, "The request cannot be carried out"),
    "too_many_requests": (429, "Too many requests"),
    "internal": (500, "The server failed"),
    "damaged": (500, "The database is damaged"),
    "unavailable": (503, "The queue is not available now"),
}
"""Every type of problem, with the status that it usually has."""


class Refusal(Exception):
    """A request that is refused before it reaches the store."""

    def __init__(
        self, kind: str, detail: str, *, hint: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.problem = problem(kind, detail, hint=hint)
        self.headers = dict(headers or {})


EXPECTED = (Refusal, LeaseLost, LaunchError)
"""What a write can be refused with: it is the writer's own matter, and repeating it helps nobody."""


@attrs.frozen(kw_only=True)
class Rendered:
    """A problem as it is sent."""

    problem: Problem
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(self.problem)

    @property
    def kind(self) -> str:
        return PROBLEM_TYPE


def problem(
    kind: str,
    detail: str,
    *,
    hint: str | None = None,
    status: int | None = None,
    about: LaunchError | None = None,
) -> Problem:
    """A document of one of the types of :data:`TITLES`."""
    usual, title = TITLES[kind]
    return Problem(
        type=URN + kind,
        title=title,
        status=status or usual,
        detail=_text(detail),
        hint=_text(hint) if hint else None,
        reason=about.reason.value if about else None,
        fault=about.fault.value if about else None,
        extra={"retryable": True} if about and about.retryable else {},
    )


def of(error: Exception) -> Rendered:
    """The document for an error. What is nobody's business stays out of it."""
    if isinstance(error, Refusal):
        return Rendered(problem=error.problem, headers=error.headers)
    if isinstance(error, Malformed):
        return Rendered(problem=problem("invalid", str(error)))
    if isinstance(error, QueueUnavailable):
        again = {"Retry-After": str(RETRY_SECONDS)}
        return Rendered(problem=problem("unavailable", str(error)), headers=again)
    if isinstance(error, LeaseLost):
        return Rendered(problem=problem("lease_lost", str(error)))
    if isinstance(error, AgentNameTaken):
        return Rendered(problem=problem("agent_name_taken", str(error)))
    if isinstance(error, Conflict):
        return Rendered(problem=problem("conflict", "somebody else was quicker", hint="look, and try again"))
    if isinstance(error, LaunchError):
        return Rendered(problem=_of_launch_error(error))
    return Rendered(problem=problem("internal", "it is in the server's log, under this request's id"))


def of_write(error: Exception) -> Problem:
    """The same of one write among several: what was wrong with it is the writer's own matter."""
    if isinstance(error, LogBehind):
        found = problem("log_behind", error.detail, about=error)
        return attrs.evolve(found, extra={"offset": error.position.offset, "cursor": error.position.cursor})
    if isinstance(error, LaunchError) and error.fault is Fault.CORE and not isinstance(error, QueueDamaged):
        return problem("config_error", error.detail, hint=error.hint, about=error)
    return of(error).problem


def _of_launch_error(error: LaunchError) -> Problem:
    if isinstance(error, NotFound):
        kind, status = "not_found", None
    elif isinstance(error, QueueDamaged):
        kind, status = "damaged", None
    elif isinstance(error, Cancelled):
        kind, status = "cancelled", None
    elif error.reason is Reason.SOURCE_FAILED:
        kind, status = "config_error", 404
    elif error.fault in (Fault.CORE, Fault.PLUGIN):
        kind, status = "internal", None
    elif error.fault is Fault.INFRASTRUCTURE:
        kind, status = "unavailable", None
    else:
        kind, status = "config_error", None
    return problem(kind, error.detail, hint=error.hint, status=status, about=error)


def _text(text: str) -> str:
    """One line that is text."""
    return " ".join(text.encode("utf-8", "replace").decode().split())[:2000]
