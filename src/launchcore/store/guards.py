"""Whose something is: what a server looks at before it lets a token act."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.store import codec
from launchcore.store.ids import split_attempt_id
from launchcore.store.lookup import is_attempt
from launchcore.store.sets import Many
from launchcore.store.tables import agents, attempts, queues

_QUEUE = Many(
    lambda given: (
        sa.select(queues.c.name)
        .join(attempts, attempts.c.queue_id == queues.c.id)
        .where(is_attempt("p_run", "p_number", given))
    )
)
_SERVED = sa.select(agents.c.queues).where(agents.c.name == bindparam("name"))


def queue_of_attempt(connection: Any, attempt_id: str) -> str | None:
    """The queue of an attempt; ``None``: there is no such attempt."""
    return queues_of_attempts(connection, [attempt_id]).get(attempt_id)


def queues_of_attempts(connection: Any, attempt_ids: Iterable[str]) -> dict[str, str]:
    """The queue of each attempt that there is."""
    wanted = {text: parsed for text in attempt_ids if (parsed := split_attempt_id(text))}
    found = _QUEUE.rows(connection, [{"p_run": run, "p_number": number} for run, number in wanted.values()])
    texts = list(wanted)
    return {texts[place]: str(row.name) for place, row in found}


def queues_of_agent(connection: Any, name: str) -> tuple[str, ...] | None:
    """The queues that the latest session of an agent's name serves; ``None``: there was none."""
    stored = connection.execute(_SERVED, {"name": name}).scalar()
    return None if stored is None else codec.decode_names(stored)
