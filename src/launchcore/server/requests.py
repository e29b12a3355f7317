"""From one HTTP request to one answer: let in, counted, read, checked, carried out."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from launchcore.queues.wire import IDEMPOTENCY_KEY
from launchcore.server import access, auth, problems, strict
from launchcore.server.core import Core
from launchcore.server.endpoints import BYTES, JSON, Answer, Call, Endpoint
from launchcore.server.problems import Refusal

log = logging.getLogger("launchcore.server")

REQUEST_ID = "x-request-id"
_LONGEST_QUERY = 8192
_MOST_PARAMETERS = 100
_LONGEST_ID = 64
_WRITES = ("POST", "/v1/attempts/writes")


class Names:
    """What requests are called in the log and in their answers."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(6)
        self._count = itertools.count(1)

    def of(self, headers: Mapping[str, str]) -> str:
        """The caller's name for it, if it has a harmless one; or else one that no other request has."""
        given = headers.get(REQUEST_ID, "")
        if given and len(given) <= _LONGEST_ID and given.isascii() and given.replace("-", "").isalnum():
            return given
        return f"{self._process}-{next(self._count):x}"


async def answer(
    core: Core,
    endpoint: Endpoint,
    *,
    scope: Mapping[str, Any],
    path: Mapping[str, str],
    headers: Mapping[str, str],
    receive: Callable[[], Awaitable[Any]],
) -> Answer:
    """The answer to a request; whatever goes wrong becomes a problem document."""
    began = time.monotonic()
    try:
        made = await _answer(core, endpoint, scope=scope, path=path, headers=headers, receive=receive)
    except Exception as error:
        made = failed(error, headers)
    seconds = time.monotonic() - began
    core.metrics.request(*endpoint.where, made.status, None if endpoint.waits else seconds)
    if core.options.access_log:  # the path only: a query is nobody's business
        log.info(
            "%s %s %d %.1f ms %s",
            endpoint.method,
            scope["path"],
            made.status,
            1000 * seconds,
            headers[REQUEST_ID],
        )
    return made


def failed(error: Exception, headers: Mapping[str, str]) -> Answer:
    """A problem as an answer. What nobody expected goes to the log, and not to the caller."""
    found = problems.of(error)
    if found.problem.status == 500:
        log.error("request %s failed", headers.get(REQUEST_ID, ""), exc_info=error)
    return Answer(body=found.body, status=found.problem.status, kind=found.kind, headers=dict(found.headers))


async def _answer(
    core: Core,
    endpoint: Endpoint,
    *,
    scope: Mapping[str, Any],
    path: Mapping[str, str],
    headers: Mapping[str, str],
    receive: Callable[[], Awaitable[Any]],
) -> Answer:
    if endpoint.waits and core.room.closed:
        raise Refusal("unavailable", "this server is about to stop", headers={"Retry-After": "1"})
    body = _Body(receive, headers, core.options.body_seconds)
    who = await _let_in(core, endpoint, headers, scope)
    if any("\0" in part for part in path.values()):
        raise Refusal("not_found", "no name has a NUL character")
    call = Call(
        core=core,
        who=who,
        path=path,
        query=_query(endpoint, scope),
        body=await _value(core, endpoint, body, headers),
        key=_key(endpoint, headers),
        headers=headers,
        chunks=body.chunks,
        gone=body.gone,
    )
    return await endpoint.does(call)


async def _let_in(
    core: Core, endpoint: Endpoint, headers: Mapping[str, str], scope: Mapping[str, Any]
) -> auth.Principal:
    """:raises Refusal: not with this token, not without one, not so often."""
    if access.ACCESS[endpoint.where] is access.OPEN or (
        core.options.open_metrics and endpoint.path == "/metrics"
    ):
        return auth.NOBODY
    client = scope.get("client")
    who = await core.auth.who(headers, str(client[0]) if client else "")
    if who is None:
        raise auth.unauthorized()
    if not access.allowed(endpoint.where, who.scopes):
        wanted = " or ".join(access.needed(endpoint.where))
        raise Refusal("forbidden", f"this needs a token with the scope {wanted}")
    if who.token:
        pause = core.requests.take(who.token)
        if pause > 0:
            again = {"Retry-After": str(max(1, round(pause)))}
            raise Refusal("too_many_requests", "this token sends too many requests", headers=again)
    return who


def _query(endpoint: Endpoint, scope: Mapping[str, Any]) -> Any:
    raw: bytes = scope.get("query_string", b"")
    if len(raw) > _LONGEST_QUERY:
        raise Refusal("too_large", f"the query is longer than {_LONGEST_QUERY} bytes")
    if endpoint.query is None:
        return None
    try:
        given = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise Refusal("invalid", "the query cannot be read") from None
    return strict.query(endpoint.query, given)


def _key(endpoint: Endpoint, headers: Mapping[str, str]) -> str | None:
    return headers.get(IDEMPOTENCY_KEY.lower()) if endpoint.keyed else None


async def _value(core: Core, endpoint: Endpoint, body: _Body, headers: Mapping[str, str]) -> Any:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if endpoint.takes_bytes:
        if kind not in ("", BYTES):
            raise Refusal("unsupported", f"this takes {BYTES}")
        body.expect(core.options.max_archive)
        return None
    if endpoint.body is None:
        return None
    if kind != JSON:
        raise Refusal("unsupported", f"this takes {JSON}")
    limit = core.options.max_writes if endpoint.where == _WRITES else core.options.max_body
    return strict.body(endpoint.body, await body.whole(limit))


class _Body:
    """The body of a request, and whether its sender is still there."""

    def __init__(
        self, receive: Callable[[], Awaitable[Any]], headers: Mapping[str, str], seconds: float
    ) -> None:
        self._receive = receive
        self._length = headers.get("content-length", "")
        self._seconds = seconds
        self._over = False

    def expect(self, limit: int) -> None:
        """:raises Refusal: what is announced is more than that."""
        if self._length.isdecimal() and int(self._length) > limit:
            raise Refusal("too_large", f"it has {self._length} bytes; {limit} are the most")

    async def whole(self, limit: int) -> bytes:
        """All of it.

        :raises Refusal: it is larger than ``limit``, or does not come.
        """
        self.expect(limit)
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._seconds):
                async for piece in self._pieces():
                    size += len(piece)
                    if size > limit:
                        raise Refusal("too_large", f"it has more than {limit} bytes")
                    pieces.append(piece)
        except TimeoutError:
            raise _too_slow() from None
        return b"".join(pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Piece by piece; each has its time.

        :raises Refusal: the next one does not come.
        """
        pieces = self._pieces()
        while True:
            try:
                async with asyncio.timeout(self._seconds):
                    piece = await anext(pieces, None)
            except TimeoutError:
                raise _too_slow() from None
            if piece is None:
                return
            yield piece

    async def gone(self) -> None:
        """Returns when the sender has hung up."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _pieces(self) -> AsyncIterator[bytes]:
        while not self._over:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Refusal("invalid", "the request broke off")
            self._over = not message.get("more_body", False)
            if message.get("body"):
                yield message["body"]


def _too_slow() -> Refusal:
    return Refusal("timeout", "the request came too slowly", headers={"Connection": "close"})


def encoded(made: Answer) -> bytes:
    """The body of an answer that does not come in pieces."""
    if made.body is None:
        return b""
    return made.body if isinstance(made.body, bytes) else msgspec.json.encode(made.body)
