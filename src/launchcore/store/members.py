"""What an attempt is told of its past, and of the run array that its run is a member of."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.plugin import ArrayMember
from launchcore.store.lookup import is_of_run
from launchcore.store.prepared import Prepared
from launchcore.store.tables import arrays, attempts

_RAN = Prepared(
    sa.select(attempts.c.number)
    .where(
        is_of_run("seq"),
        attempts.c.running_since.is_not(None),
        attempts.c.number < bindparam("number", type_=sa.Integer),
    )
    .limit(1)
)
_ARRAY = Prepared(sa.select(arrays.c.id, arrays.c.size).where(arrays.c.seq == bindparam("seq")))


def ran_before(connection: sa.Connection, run_seq: int, number: int) -> bool:
    """Whether an attempt of the run before this one has run."""
    return number > 1 and _RAN.first(connection, {"seq": run_seq, "number": number}) is not None


def member_of(connection: sa.Connection, array_seq: int | None, index: Any) -> ArrayMember | None:
    """The place of a run in its array, if it is in one."""
    if array_seq is None:
        return None
    array = _ARRAY.first(connection, {"seq": array_seq})
    return ArrayMember(id=array.id, index=index, size=array.size)
