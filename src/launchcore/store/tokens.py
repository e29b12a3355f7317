"""Tokens of the queue service, without their secrets.

A token's secret is ``lc_<id>_<43 base64url characters>``: 256 bits of chance, of which a plain SHA-256 is
stored. It is looked up by its id, and compared in constant time (:func:`matches`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.queues.wire import TokenInfo
from launchcore.store import codec
from launchcore.store.lookup import unknown
from launchcore.store.tables import tokens
from launchcore.store.writer import Transaction

_SECRET: Final = re.compile(r"lc_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_USED_EVERY: Final = 60.0
"""Seconds: a token's last use is not written more often."""

_BY_ID = sa.select(tokens).where(tokens.c.id == bindparam("id"))
_LIST = sa.select(tokens).order_by(tokens.c.created_at.desc(), tokens.c.id)
_IDS = sa.select(tokens.c.id)
_INSERT = tokens.insert()
_REVOKE = (
    tokens.update()
    .where(tokens.c.id == bindparam("p_id"), tokens.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("p_now", type_=sa.Float), revoked_by=bindparam("p_by"))
)
_USED = (
    tokens.update()
    .where(
        tokens.c.id == bindparam("p_id"),
        sa.or_(tokens.c.used_at.is_(None), tokens.c.used_at < bindparam("p_before", type_=sa.Float)),
    )
    .values(used_at=bindparam("p_now", type_=sa.Float))
)


def create(
    transaction: Transaction, name: str, scopes: Sequence[str], by: str, expires_at: float | None
) -> tuple[TokenInfo, str]:
    """A new token, and its secret, which is stored nowhere. Scopes are for the caller to check."""
    token_id = secrets.token_hex(6)
    secret = f"lc_{token_id}_{secrets.token_urlsafe(32)}"
    row: dict[str, Any] = {
        "id": token_id,
        "hash": _hash(secret),
        "name": codec.text(name, 255),
        "scopes": codec.encode(list(scopes)),
        "created_at": transaction.now,
        "created_by": codec.text(by, 255),
        "expires_at": expires_at,
    }
    transaction.execute(_INSERT, row)
    info = TokenInfo(
        id=token_id,
        name=row["name"],
        scopes=tuple(scopes),
        created_at=transaction.now,
        created_by=row["created_by"],
        expires_at=expires_at,
    )
    return info, secret


def id_of(secret: str) -> str | None:
    """The id that stands in a secret; ``None``: it cannot be one of ours."""
    match = _SECRET.fullmatch(secret)
    return match[1] if match else None


def matches(secret: str, stored: str) -> bool:
    """Whether this is the secret whose hash is stored; in constant time."""
    return hmac.compare_digest(_hash(secret), stored)


def by_id(connection: sa.Connection, token_id: str) -> tuple[TokenInfo, str] | None:
    """A token and the hash of its secret, revoked and expired ones too."""
    row = connection.execute(_BY_ID, {"id": token_id}).first()
    return None if row is None else (_info(row), row.hash)


def listed(connection: sa.Connection) -> tuple[TokenInfo, ...]:
    """All tokens, the newest first."""
    return tuple(_info(row) for row in connection.execute(_LIST))


def revoke(transaction: Transaction, token_id: str, by: str) -> TokenInfo:
    """It is good for nothing any more. Idempotent.

    :raises NotFound: there is no such token.
    """
    values = {"p_id": token_id, "p_now": transaction.now, "p_by": codec.text(by, 255)}
    transaction.execute(_REVOKE, values)
    found = by_id(transaction.connection, token_id)
    if found is None:
        known = transaction.execute(_IDS).scalars().all()
        raise unknown("token", token_id, known, otherwise="see `launch token list`")
    return found[0]


def used(transaction: Transaction, token_id: str) -> None:
    """Note that it was used; written at most once a minute."""
    now = transaction.now
    transaction.execute(_USED, {"p_id": token_id, "p_now": now, "p_before": now - _USED_EVERY})


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _info(row: Any) -> TokenInfo:
    return TokenInfo(
        id=row.id,
        name=row.name,
        scopes=codec.decode_names(row.scopes),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        used_at=row.used_at,
    )
