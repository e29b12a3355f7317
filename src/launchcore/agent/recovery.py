"""What becomes of attempts that another agent, or this one before its restart, has begun."""

from __future__ import annotations

import logging
import time

from launchcore.agent.attempt import Attempt
from launchcore.agent.closer import Closer
from launchcore.config.secrets import SecretStore
from launchcore.plugin import (
    Failure,
    Fault,
    LaunchError,
    Reason,
    RunHandle,
    RunState,
    Secret,
    Stage,
    TimelineEvent,
    Update,
)
from launchcore.stages.workshop import Workshop

log = logging.getLogger("launchcore.agent")

NEVER_STARTED = Failure(
    reason=Reason.LOST,
    fault=Fault.INFRASTRUCTURE,
    stage=Stage.EXECUTE,
    detail="its agent died, or slept through its lease, before it had started anything",
)


def recover(attempt: Attempt, shop: Workshop, secrets: SecretStore, closer: Closer) -> bool:
    """Take up an adopted attempt. True: it has a handle and is to be followed.

    An attempt in ``starting`` without a handle is looked for by its deterministic name; only when the
    runner promises that there is nothing, and will be nothing, does the run go back to its queue.
    """
    attempt.hit("recover.before")
    attempt.runner = shop.runner(attempt.claim.queue_config.type)
    attempt.mask(_known_secrets(attempt, secrets))
    attempt.note(
        TimelineEvent(at=time.time(), stage=Stage.EXECUTE, what="note", detail=f"adopted by {shop.site.host}")
    )
    if attempt.handle is None:
        found = _find(attempt)
        if found is None:
            closer.lost(attempt, NEVER_STARTED)
            return False
        immediate = attempt.runner.spec.immediate
        attempt.write(Update(handle=found, state=RunState.RUNNING if immediate else None))
    attempt.hit("recover.after")
    return True


def _find(attempt: Attempt) -> RunHandle | None:
    assert attempt.runner is not None
    delay = 0.2
    while True:
        try:
            return attempt.runner.object.find(attempt.id)
        except LaunchError as error:
            log.warning("%s: cannot be looked for yet: %s", attempt.id, error)
        time.sleep(delay)
        if attempt.lost:
            attempt.check()
        delay = min(delay * 2, 10.0)


def _known_secrets(attempt: Attempt, secrets: SecretStore) -> tuple[Secret, ...]:
    """The values to mask in what the attempt prints from now on."""
    found = []
    for name in attempt.claim.spec.secrets:
        try:
            found.append(secrets.resolve(name))
        except LaunchError as error:
            log.warning("%s: a secret cannot be masked: %s", attempt.id, error)
    return tuple(found)
