"""Tokens and the audit trail, for the command line: over HTTP, or in the database itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from launchcore.queues.admission import check_name
from launchcore.queues.connect import is_http
from launchcore.queues.http_calls import Calls, decoded, segment
from launchcore.queues.http_settings import HttpSettings
from launchcore.queues.http_transport import Ask
from launchcore.queues.wire import VERSION, AuditPage, TokenCreate, TokenCreated, TokenInfo, TokenList
from launchcore.server.access import check_scopes
from launchcore.store import audit, tokens
from launchcore.store.database import Database, open_database
from launchcore.store.writer import Transaction

_PATIENCE = 10.0


class Admin(Protocol):
    """What an admin does. Methods raise :class:`LaunchError` and :class:`QueueUnavailable`."""

    def create(self, asked: TokenCreate) -> TokenCreated: ...
    def listed(self) -> tuple[TokenInfo, ...]: ...
    def revoke(self, token_id: str) -> TokenInfo: ...
    def trail(self, before: str | None, limit: int) -> AuditPage: ...


@contextlib.contextmanager
def open_admin(url: str, settings: HttpSettings, *, who: str) -> Iterator[Admin]:
    """At a service (with an admin's token), or at its database, where whoever may write it may do all.

    :param who: the account that does it, for the audit trail; a service knows better.
    """
    if is_http(url):
        calls = Calls(url, settings, patience=_PATIENCE)
        try:
            yield HttpAdmin(calls)
        finally:
            calls.transport.close()
        return
    database = open_database(url)
    try:
        yield DatabaseAdmin(database, who)
    finally:
        database.close()


class DatabaseAdmin:
    """In the database: how the first token is made."""

    def __init__(self, database: Database, who: str) -> None:
        self._database = database
        self._who = who

    def create(self, asked: TokenCreate) -> TokenCreated:
        check_name("token", asked.name)
        scopes = check_scopes(asked.scopes)

        def make(transaction: Transaction) -> TokenCreated:
            info, secret = tokens.create(transaction, asked.name, scopes, self._who, asked.expires_at)
            self._note(transaction, "create token", info.id, f"{asked.name}: {', '.join(scopes)}")
            return TokenCreated(token=info, secret=secret)

        return self._database.write(make)

    def listed(self) -> tuple[TokenInfo, ...]:
        with self._database.read() as connection:
            return tokens.listed(connection)

    def revoke(self, token_id: str) -> TokenInfo:
        def end(transaction: Transaction) -> TokenInfo:
            info = tokens.revoke(transaction, token_id, self._who)
            self._note(transaction, "revoke token", info.id, info.name)
            return info

        return self._database.write(end)

    def trail(self, before: str | None, limit: int) -> AuditPage:
        with self._database.read() as connection:
            return audit.page(connection, before, limit)

    def _note(self, transaction: Transaction, action: str, subject: str, detail: str) -> None:
        audit.record(transaction, who=self._who, token="", action=action, subject=subject, detail=detail)


class HttpAdmin:
    """Over HTTP, with a token of scope ``admin``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def create(self, asked: TokenCreate) -> TokenCreated:
        return self._calls.send(TokenCreated, "/tokens", asked, again=False)

    def listed(self) -> tuple[TokenInfo, ...]:
        return self._calls.get(TokenList, "/tokens").tokens

    def revoke(self, token_id: str) -> TokenInfo:
        path = f"/{VERSION}/tokens/{segment('token', token_id)}"
        return decoded(TokenInfo, self._calls.transport.call(Ask(method="DELETE", path=path)))

    def trail(self, before: str | None, limit: int) -> AuditPage:
        return self._calls.get(AuditPage, "/audit", (("before", before), ("limit", limit)))
