"""Who did what: written in the transaction of what it tells of, and never changed."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.queues.wire import AuditEntry, AuditPage
from launchcore.store import codec
from launchcore.store.tables import audit
from launchcore.store.writer import Transaction

MOST_ON_A_PAGE: Final = 1000

_INSERT = audit.insert()
_PAGE = sa.select(audit).order_by(audit.c.id.desc()).limit(bindparam("limit"))
_BEFORE = _PAGE.where(audit.c.id < bindparam("before", type_=sa.BigInteger))


def record(  # noqa: PLR0917 - one row, in the order of its columns
    transaction: Transaction, who: str, token: str, action: str, subject: str, detail: str = ""
) -> None:
    """Write an entry.

    :param who: the name of a token, or of an account of this machine.
    :param token: its id; "" where there is none.
    :param action: a word and an object, as ``cancel run``.
    :param subject: the name or id of what was changed.
    """
    row = {
        "at": transaction.now,
        "who": codec.text(who, 255),
        "token": codec.text(token, 64),
        "action": codec.text(action, 64),
        "subject": codec.text(subject, 255),
        "detail": codec.text(detail, 1000),
    }
    transaction.execute(_INSERT, row)


def page(connection: sa.Connection, before: str | None, limit: int) -> AuditPage:
    """Entries, the newest first.

    :param before: the ``next`` of the page before.
    :raises LaunchError: ``config_error`` (user): the cursor is none.
    """
    limit = max(1, min(limit, MOST_ON_A_PAGE))
    asked = {"limit": limit + 1}
    if before is not None:
        if not (before.isascii() and before.isdecimal()) or len(before) > 18:
            raise codec.user_error(f"{before[:40]!r} is no page of a listing", "begin with the first page")
        asked["before"] = int(before)
    found = connection.execute(_PAGE if before is None else _BEFORE, asked).all()
    entries = tuple(
        AuditEntry(
            id=row.id,
            at=row.at,
            who=row.who,
            token=row.token,
            action=row.action,
            subject=row.subject,
            detail=row.detail,
        )
        for row in found[:limit]
    )
    return AuditPage(entries=entries, next=str(entries[-1].id) if len(found) > limit else None)
