"""The labels on everything that is made for an attempt, and its deterministic name."""

from __future__ import annotations

from launchcore.plugin import ATTEMPT_LABEL, OWNER_LABEL, QUEUE_LABEL, RUN_LABEL, Claim, Site


def labels(claim: Claim, site: Site) -> dict[str, str]:
    """Whose it is, and of which run; by the owner's label orphans are found."""
    return {
        OWNER_LABEL: site.owner,
        RUN_LABEL: claim.run_id,
        ATTEMPT_LABEL: claim.attempt_id,
        QUEUE_LABEL: claim.queue,
    }


def object_name(claim: Claim) -> str:
    """``launch-<run>-<attempt>``: one attempt can have one object only, since it can have one name only."""
    return f"launch-{claim.attempt_id}"
