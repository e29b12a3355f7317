"""What is said when a queue's configuration, or a run, asks for what cannot be. Pure."""

from __future__ import annotations

from launchcore.plugin import Fault, LaunchError, Reason

OWNER_HINT = "`launch queue show` shows the queue's configuration; its owner can change it"


def refused(detail: str, hint: str = OWNER_HINT) -> LaunchError:
    """The queue's owner can mend it; for the run that is infrastructure."""
    return LaunchError(detail, reason=Reason.CONFIG_ERROR, fault=Fault.INFRASTRUCTURE, hint=hint)


def refused_run(detail: str, hint: str) -> LaunchError:
    """The submitter can mend it."""
    return LaunchError(detail, reason=Reason.CONFIG_ERROR, fault=Fault.USER, hint=hint)
