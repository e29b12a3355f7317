"""Tables of ``launch token list`` and ``launch audit``. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launchcore.cli.tables import Column, cell, table
from launchcore.cli.times import age
from launchcore.queues.wire import AuditEntry, TokenInfo

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text


def tokens_view(tokens: Sequence[TokenInfo], now: float) -> RenderableType:
    """The table of ``launch token list``."""
    columns = (
        Column("ID"),
        Column("NAME", flexible=True),
        Column("SCOPES", flexible=True),
        Column("STATE"),
        Column("MADE", right=True),
        Column("BY", flexible=True),
        Column("USED", right=True),
    )
    rows = [
        (
            token.id,
            token.name,
            ", ".join(token.scopes),
            _state(token, now),
            age(token.created_at, now),
            token.created_by,
            "never" if token.used_at is None else age(token.used_at, now),
        )
        for token in tokens
    ]
    return table(columns, rows)


def audit_view(entries: Sequence[AuditEntry]) -> RenderableType:
    """The table of ``launch audit``."""
    columns = (
        Column("WHEN"),
        Column("WHO", flexible=True),
        Column("WHAT"),
        Column("OF", flexible=True),
        Column("DETAIL", flexible=True),
    )
    rows = [(_when(entry.at), entry.who, entry.action, entry.subject, entry.detail) for entry in entries]
    return table(columns, rows)


def _state(token: TokenInfo, now: float) -> Text:
    if token.revoked_at is not None:
        return cell("revoked", "red")
    if token.expires_at is not None and token.expires_at <= now:
        return cell("expired", "red")
    return cell("good", "green")


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
