"""Tokens and the audit trail: for admins."""

from __future__ import annotations

import math
from typing import Annotated

import attrs
import msgspec

from launchcore.queues.admission import check_name
from launchcore.queues.wire import AuditPage, TokenCreate, TokenCreated, TokenInfo, TokenList
from launchcore.server.access import check_scopes
from launchcore.server.core import record
from launchcore.server.endpoints import Answer, Call, Endpoint, Large
from launchcore.server.problems import Refusal
from launchcore.store import audit, tokens
from launchcore.store.writer import Transaction


@attrs.frozen(kw_only=True)
class AuditQuery:
    """``before`` is the ``next`` of the page before."""

    before: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    limit: Large = 100


async def listed(call: Call) -> Answer:
    return Answer(body=TokenList(tokens=tuple(await call.core.read(tokens.listed))))


async def create(call: Call) -> Answer:
    asked: TokenCreate = call.body
    expires_at = asked.expires_at
    if expires_at is not None and not math.isfinite(expires_at):
        raise Refusal("invalid", "`expires_at` is no time")
    check_name("token", asked.name)
    scopes = check_scopes(asked.scopes)

    def make(transaction: Transaction) -> tuple[TokenInfo, str]:
        info, secret = tokens.create(transaction, asked.name, scopes, call.who.name, expires_at)
        record(transaction, call.who, "create token", info.id, f"{asked.name}: {', '.join(scopes)}")
        return info, secret

    info, secret = await call.core.write(make)
    call.core.auth.forget(info.id)
    return Answer(body=TokenCreated(token=info, secret=secret), status=201)


async def revoke(call: Call) -> Answer:
    token_id = call.path["id"]

    def end(transaction: Transaction) -> TokenInfo:
        info = tokens.revoke(transaction, token_id, call.who.name)
        record(transaction, call.who, "revoke token", info.id, info.name)
        return info

    info = await call.core.write(end)
    call.core.auth.forget(info.id)
    return Answer(body=info)


async def trail(call: Call) -> Answer:
    asked: AuditQuery = call.query
    return Answer(
        body=await call.core.read(lambda connection: audit.page(connection, asked.before, asked.limit))
    )


ENDPOINTS = (
    Endpoint(method="GET", path="/v1/tokens", does=listed, summary="List tokens.", answer=TokenList),
    Endpoint(
        method="POST",
        path="/v1/tokens",
        does=create,
        summary="Make a token. Its secret is shown this once.",
        body=TokenCreate,
        answer=TokenCreated,
        status=201,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/tokens/{id}",
        does=revoke,
        summary="Revoke a token. Idempotent.",
        answer=TokenInfo,
    ),
    Endpoint(
        method="GET",
        path="/v1/audit",
        does=trail,
        summary="Who did what, the newest first.",
        query=AuditQuery,
        answer=AuditPage,
    ),
)
