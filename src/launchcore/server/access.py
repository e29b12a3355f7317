"""Who may call what: one table of scopes, and no decision anywhere else but about single runs and queues.

A token has scopes: ``submit``, ``read``, ``admin``, and ``agent:<queue>`` (``agent:*``: every queue).
``admin`` may call everything. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from launchcore.plugin import Fault, LaunchError, Reason
from launchcore.queues.admission import check_name

SUBMIT, READ, ADMIN, AGENT = "submit", "read", "admin", "agent"
KINDS = (SUBMIT, READ, ADMIN, AGENT)
EVERY_QUEUE = "*"

OPEN: frozenset[str] = frozenset({"nobody"})
"""Needs no token."""
ANY = frozenset(KINDS)
_ADMIN: frozenset[str] = frozenset({ADMIN})
_READ = frozenset({READ, ADMIN})
_RUNS = frozenset({SUBMIT, READ, ADMIN})
_SUBMIT = frozenset({SUBMIT, ADMIN})
_AGENT = frozenset({AGENT, ADMIN})

ACCESS: Mapping[tuple[str, str], frozenset[str]] = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/metrics"): _READ,
    ("GET", "/v1/identity"): ANY,
    ("GET", "/v1/queues"): _RUNS | _AGENT,
    ("POST", "/v1/queues"): _ADMIN,
    ("GET", "/v1/queues/{name}"): _RUNS | _AGENT,
    ("PUT", "/v1/queues/{name}"): _ADMIN,
    ("DELETE", "/v1/queues/{name}"): _ADMIN,
    ("GET", "/v1/jobs"): _RUNS,
    ("POST", "/v1/jobs"): _SUBMIT,
    ("GET", "/v1/jobs/{ref}"): _RUNS,
    ("GET", "/v1/jobs/{ref}/versions"): _RUNS,
    ("POST", "/v1/runs"): _SUBMIT,
    ("GET", "/v1/runs"): _RUNS,
    ("GET", "/v1/runs/{ref}"): _RUNS,
    ("GET", "/v1/runs/{ref}/timeline"): _RUNS,
    ("GET", "/v1/runs/{ref}/wait"): _RUNS,
    ("GET", "/v1/runs/{ref}/logs"): _RUNS,
    ("GET", "/v1/runs/{ref}/logs/stream"): _RUNS,
    ("GET", "/v1/runs/{ref}/events"): _RUNS,
    ("POST", "/v1/runs/{ref}/cancel"): _SUBMIT,
    ("POST", "/v1/runs/{ref}/retry"): _SUBMIT,
    ("POST", "/v1/runs/check"): _SUBMIT,
    ("POST", "/v1/arrays"): _SUBMIT,
    ("GET", "/v1/arrays/{ref}"): _RUNS,
    ("POST", "/v1/arrays/{ref}/cancel"): _SUBMIT,
    ("POST", "/v1/archives"): _SUBMIT,
    ("HEAD", "/v1/archives/{digest}"): ANY,
    ("GET", "/v1/archives/{digest}"): _READ | _AGENT,
    ("GET", "/v1/agents"): _READ,
    ("POST", "/v1/agents/register"): _AGENT,
    ("POST", "/v1/agents/unregister"): _AGENT,
    ("POST", "/v1/agents/claim"): _AGENT,
    ("POST", "/v1/agents/reclaim"): _AGENT,
    ("POST", "/v1/agents/renew"): _AGENT,
    ("POST", "/v1/agents/stops"): _AGENT,
    ("POST", "/v1/attempts/writes"): _AGENT,
    ("POST", "/v1/attempts/release"): _AGENT,
    ("POST", "/v1/attempts/ended"): _AGENT,
    ("GET", "/v1/tokens"): _ADMIN,
    ("POST", "/v1/tokens"): _ADMIN,
    ("DELETE", "/v1/tokens/{id}"): _ADMIN,
    ("GET", "/v1/audit"): _ADMIN,
}
"""Method and path → the kinds of scope of which one is needed. An endpoint that is not here cannot be
served."""


def kinds(scopes: Iterable[str]) -> frozenset[str]:
    """What sorts of scope these are: ``agent:gpu`` is an ``agent``."""
    return frozenset(scope.partition(":")[0] for scope in scopes)


def allowed(where: tuple[str, str], scopes: Iterable[str] | None) -> bool:
    """Whether a token with these scopes may call the endpoint; ``None``: there is no token."""
    needed = ACCESS[where]
    if needed is OPEN:
        return True
    return scopes is not None and not needed.isdisjoint(kinds(scopes))


def needed(where: tuple[str, str]) -> tuple[str, ...]:
    """The scopes of which one is needed, for people."""
    if ACCESS[where] is OPEN:
        return ()
    return tuple(f"{kind}:<queue>" if kind == AGENT else kind for kind in KINDS if kind in ACCESS[where])


def queues_of(scopes: Iterable[str]) -> frozenset[str] | None:
    """The queues that an agent with these scopes may serve; ``None``: all."""
    if ADMIN in scopes or f"{AGENT}:{EVERY_QUEUE}" in scopes:
        return None
    return frozenset(scope.partition(":")[2] for scope in scopes if scope.startswith(f"{AGENT}:"))


def check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes of a new token, each once.

    :raises LaunchError: ``config_error`` (user): none, or one that there is not.
    """
    found = tuple(dict.fromkeys(scopes))
    hint = "scopes are submit, read, admin, agent:QUEUE and agent:* (every queue)"
    if not found:
        raise LaunchError("a token needs a scope", reason=Reason.CONFIG_ERROR, fault=Fault.USER, hint=hint)
    for scope in found:
        kind, colon, queue = scope.partition(":")
        if kind == AGENT and colon and queue != EVERY_QUEUE:
            check_name("queue", queue)
        elif scope not in (SUBMIT, READ, ADMIN, f"{AGENT}:{EVERY_QUEUE}"):
            raise LaunchError(
                f"there is no scope {scope[:80]!r}", reason=Reason.CONFIG_ERROR, fault=Fault.USER, hint=hint
            )
    return found
