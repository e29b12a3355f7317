"""What the API server answers when it does not do what it was asked, and what that means for a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from launchcore.plugin import Fault, LaunchError, Reason

PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP codes of an API server (or of what is before it) that may answer better a moment later."""


class ApiAway(Exception):
    """No answer. ``sent``: the request may have been carried out all the same."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class ApiError(Exception):
    """An answer that says no: a ``Status`` of the API server (its conventions, "Response Status Kind")."""

    def __init__(self, code: int, status: Mapping[str, Any], *, retry_after: float | None = None) -> None:
        self.code = code
        self.reason = str(status.get("reason") or "")
        self.message = one_line(str(status.get("message") or f"HTTP {code}"))
        details = status.get("details")
        self.details: Mapping[str, Any] = details if isinstance(details, Mapping) else {}
        self.retry_after = retry_after
        super().__init__(self.message)

    @property
    def missing(self) -> bool:
        return self.code == 404

    @property
    def conflict(self) -> bool:
        """There is one of this name already, or it has changed meanwhile."""
        return self.code == 409

    @property
    def gone(self) -> bool:
        """The version that was asked for has been forgotten."""
        return self.code == 410 or self.reason in ("Expired", "Gone")

    @property
    def passing(self) -> bool:
        return self.code in PASSING


def one_line(text: str, limit: int = 400) -> str:
    """``text`` without line ends, and not endless."""
    clean = " ".join(text.split())
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def away(error: ApiAway | ApiError) -> LaunchError:
    """The cluster cannot be asked now."""
    return LaunchError(
        f"the cluster does not answer: {one_line(str(error), 200)}",
        hint="`launch doctor` shows which cluster is used, and whether it answers",
        retryable=True,
    )


def refused(error: ApiError, what: str) -> LaunchError:
    """The API server does not create ``what`` (a kind and a name)."""
    said = f"the cluster refuses the {what}: {error.message}"
    text = error.message.lower()
    if error.code in (401, 407):
        return LaunchError(
            f"the cluster does not know who the agent is: {error.message}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint="renew the credentials of plugins.kubernetes.kubeconfig",
        )
    if error.code == 403 and "exceeded quota" in text:
        return LaunchError(
            said,
            reason=Reason.UNSCHEDULABLE,
            hint="wait until other runs have ended, ask for less, or have the namespace's quota raised",
            retryable=True,
        )
    if error.code == 403 and ("cannot create" in text or "cannot patch" in text):
        return LaunchError(
            said,
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint="give the agent's Role this verb; `launch doctor` shows the line to add",
        )
    if error.code == 404:
        return LaunchError(
            said,
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint="create the namespace, or install the operator that the queue's manifest needs",
        )
    if error.code in (400, 403, 405, 413, 415, 422):
        causes = error.details.get("causes")
        field = ""
        if isinstance(causes, list) and causes and isinstance(causes[0], Mapping):
            field = str(causes[0].get("field") or "")
        where = f" at {field}" if field and field not in error.message else ""
        return LaunchError(
            said + where,
            reason=Reason.CONFIG_ERROR,
            hint="`launch queue render` prints the manifest as it is sent; mend the queue's config",
        )
    return LaunchError(said, retryable=error.passing)
