"""Whose something is: what a server looks at before it lets a token act."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.store import codec
from launchcore.store.ids import split_attempt_id
from launchcore.store.lookup import is_attempt
from launchcore.store.prepared import Prepared
from launchcore.store.tables import agents, attempts, queues

_QUEUE = Prepared(
    sa.select(queues.c.name)
    .join(attempts, attempts.c.queue_id == queues.c.id)
    .where(is_attempt("p_run", "p_number"))
)
_SERVED = sa.select(agents.c.queues).where(agents.c.name == bindparam("name"))


def queue_of_attempt(connection: Any, attempt_id: str) -> str | None:
    """The queue of an attempt; ``None``: there is no such attempt."""
    parsed = split_attempt_id(attempt_id)
    row = parsed and _QUEUE.first(connection, {"p_run": parsed[0], "p_number": parsed[1]})
    return str(row.name) if row else None


def queues_of_agent(connection: Any, name: str) -> tuple[str, ...] | None:
    """The queues that the latest session of an agent's name serves; ``None``: there was none."""
    stored = connection.execute(_SERVED, {"name": name}).scalar()
    return None if stored is None else codec.decode_names(stored)
