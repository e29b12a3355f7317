"""The application: every endpoint of the table as a route, and what all answers have in common."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Any

from litestar import Litestar, Request, Response
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from launchcore.server import access, requests
from launchcore.server.core import Core
from launchcore.server.endpoints import Answer, Endpoint
from launchcore.server.options import Options
from launchcore.server.problems import Refusal
from launchcore.server.sweeping import Sweeper
from launchcore.server.table import ENDPOINTS
from launchcore.store.database import Database

log = logging.getLogger("launchcore.server")

_SAME_FOR_ALL = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"referrer-policy", b"no-referrer"),
)


def make_core(database: Database, options: Options | None = None) -> Core:
    """One server's parts over an open database, which stays its caller's."""
    return Core(database, options or Options())


def make_app(core: Core) -> ASGIApp:
    """The ASGI application.

    :raises RuntimeError: an endpoint about which nobody has decided who may call it, or the reverse.
    """
    undecided = {endpoint.where for endpoint in ENDPOINTS} ^ set(access.ACCESS)
    if undecided:
        raise RuntimeError(f"who may call these, or what are they? {sorted(undecided)}")

    @contextlib.asynccontextmanager
    async def living(_: Litestar) -> AsyncIterator[None]:
        core.room.open()
        sweeper = Sweeper(core)
        sweeper.start()
        try:
            yield
        finally:
            core.stop()
            await sweeper.stop()
            core.shut_down()

    litestar = Litestar(
        route_handlers=[_route(core, endpoint) for endpoint in ENDPOINTS],
        exception_handlers={Exception: _unrouted},
        lifespan=[living],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )
    return _common(core, litestar)


def _route(core: Core, endpoint: Endpoint) -> HTTPRouteHandler:
    """One endpoint for the router."""

    async def handle(request: Request[Any, Any, Any]) -> Response[Any]:
        made = await requests.answer(
            core,
            endpoint,
            scope=request.scope,
            path=request.path_params,
            headers=request.scope["state"]["headers"],
            receive=request.receive,
        )
        return _response(made)

    path = endpoint.path.replace("}", ":str}")
    return HTTPRouteHandler(path, http_method=[endpoint.method], status_code=200, include_in_schema=False)(
        handle
    )


def _response(made: Answer) -> Response[Any]:
    kind = made.kind.removesuffix("; charset=utf-8")  # the framework adds it to every text
    if hasattr(made.body, "__aiter__"):
        return Stream(made.body, status_code=made.status, media_type=kind, headers=dict(made.headers))
    return Response(
        requests.encoded(made), status_code=made.status, media_type=kind, headers=dict(made.headers)
    )


def _unrouted(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """What did not get as far as an endpoint."""
    if isinstance(error, MethodNotAllowedException):
        refused: Exception = Refusal(
            "method_not_allowed", "this path has no such method", headers=dict(error.headers or {})
        )
    elif isinstance(error, NotFoundException):
        refused = Refusal("not_found", "there is no such path", hint="see /openapi.json")
    elif isinstance(error, HTTPException) and error.status_code < 500:
        refused = Refusal("invalid", "the request cannot be read")
    else:
        refused = error
    return _response(requests.failed(refused, request.scope["state"].get("headers", {})))


def _common(core: Core, app: ASGIApp) -> ASGIApp:
    """Around everything: a name for each request, and headers that every answer has.

    A path without names in it needs no router. It is answered here, at half the cost: what agents call
    again and again is such a path.
    """
    fixed = {endpoint.where: endpoint for endpoint in ENDPOINTS if "{" not in endpoint.path}

    names = requests.Names()

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = headers[requests.REQUEST_ID] = names.of(headers)
        added = (*_SAME_FOR_ALL, (requests.REQUEST_ID.encode(), request_id.encode()))
        endpoint = fixed.get((scope["method"], scope["path"]))
        if endpoint is not None:
            made = await requests.answer(
                core, endpoint, scope=scope, path={}, headers=headers, receive=receive
            )
            await _send(made, added, send)
            return
        scope.setdefault("state", {})["headers"] = headers

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await app(scope, receive, send_more)

    return serve


async def _send(made: Answer, added: Iterable[tuple[bytes, bytes]], send: Send) -> None:
    """An answer that does not come in pieces."""
    body = requests.encoded(made)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in made.headers.items()]
    if body:
        headers.append((b"content-type", made.kind.encode("latin-1")))
    headers += (*added, (b"content-length", b"%d" % len(body)))
    start: HTTPResponseStartEvent = {
        "type": "http.response.start",
        "status": made.status,
        "headers": headers,
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})
