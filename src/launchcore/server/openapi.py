"""The OpenAPI document, from the same table that the routes are made from. Pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from launchcore.queues.wire import (
    IDEMPOTENCY_KEY,
    LOG_ATTEMPT,
    LOG_END,
    LOG_NEXT,
    LOG_OFFSET,
    PROBLEM_TYPE,
    Problem,
)
from launchcore.server import access
from launchcore.server.endpoints import BYTES, EVENTS, JSON, TEXT, Endpoint
from launchcore.server.problems import TITLES

_REF = "#/components/schemas/{name}"
_PLACE = re.compile(r"\{(\w+)\}")
_SAID = {
    "name": "The name of a queue.",
    "ref": "A name or an id, as the endpoint's summary says.",
    "digest": "`sha256:` and 64 hexadecimal digits.",
    "id": "A token's id.",
}
_BINARY = {"type": "string", "format": "binary"}


@functools.lru_cache(maxsize=1)
def document(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """The whole document."""
    kinds = {kind for each in endpoints for kind in (each.body, each.answer) if attrs.has(kind or int)}
    kinds.add(Problem)
    queries = [each.query for each in endpoints if each.query is not None]
    ordered = sorted(kinds, key=lambda kind: str(kind.__name__) if kind else "")
    _, components = msgspec.json.schema_components([*ordered, *queries], ref_template=_REF)
    parameters = {query.__name__: components.pop(query.__name__) for query in queries}
    for kind in {each.body for each in endpoints if each.body is not None}:
        components[kind.__name__].setdefault("additionalProperties", False)
    paths: dict[str, dict[str, Any]] = {}
    for each in endpoints:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, parameters)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "launchcore queue service",
            "version": version,
            "description": "Queues of runs of machine-learning jobs. Errors are problems (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `launch token create`: lc_<id>_<secret>.",
                }
            },
        },
    }


def _operation(endpoint: Endpoint, queries: dict[str, Any]) -> dict[str, Any]:
    scopes = access.needed(endpoint.where)
    words = re.findall(r"\w+", endpoint.path.removeprefix("/v1"))
    made: dict[str, Any] = {
        "operationId": "_".join([endpoint.method.lower(), *words]),
        "summary": endpoint.summary,
        "tags": [words[0]],
        "parameters": [*_in_path(endpoint), *_in_query(endpoint, queries), *_in_headers(endpoint)],
        "responses": {str(endpoint.status): _success(endpoint), **_failures(endpoint)},
        "security": [{"token": []}] if scopes else [],
    }
    if scopes:
        made["description"] = f"Needs one of these scopes: {', '.join(scopes)}."
    if endpoint.body is not None:
        schema = {"$ref": _REF.format(name=endpoint.body.__name__)}
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    if endpoint.takes_bytes:
        made["requestBody"] = {"required": True, "content": {BYTES: {"schema": _BINARY}}}
    return made


def _in_path(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _SAID[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in _PLACE.findall(endpoint.path)
    ]


def _in_query(endpoint: Endpoint, queries: dict[str, Any]) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    schema = queries[endpoint.query.__name__]
    return [
        {"name": name, "in": "query", "required": False, "schema": inner}
        for name, inner in schema["properties"].items()
    ]


def _in_headers(endpoint: Endpoint) -> list[dict[str, Any]]:
    found = []
    if endpoint.keyed:
        key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        said = "The same key again makes nothing twice."
        found.append({"name": IDEMPOTENCY_KEY, "in": "header", "description": said, "schema": key})
    if endpoint.kind == EVENTS:
        last = {"type": "string", "pattern": "^[0-9]{1,15}$"}
        found.append({"name": "Last-Event-ID", "in": "header", "schema": last})
    return found


def _success(endpoint: Endpoint) -> dict[str, Any]:
    said: dict[str, Any] = {"description": "It is done." if endpoint.answer is None else "The answer."}
    if endpoint.answer is dict:
        said["content"] = {JSON: {"schema": {"type": "object"}}}
    elif endpoint.answer is not None:
        said["content"] = {JSON: {"schema": {"$ref": _REF.format(name=endpoint.answer.__name__)}}}
    elif endpoint.status != 204 and endpoint.method != "HEAD":
        said["content"] = {
            endpoint.kind: {"schema": _BINARY if endpoint.kind == BYTES else {"type": "string"}}
        }
    if endpoint.kind == TEXT and endpoint.query is not None:
        headers = (LOG_ATTEMPT, LOG_OFFSET, LOG_NEXT, LOG_END)
        said["headers"] = {name: {"schema": {"type": "string"}} for name in headers}
    return said


def _failures(endpoint: Endpoint) -> dict[str, Any]:
    """What an endpoint can refuse, by status. Server errors stand for all that is not expected."""
    open_ = access.ACCESS[endpoint.where] is access.OPEN
    statuses = {500, 503}
    if not open_:
        statuses |= {400, 401, 403, 422, 429}
    if "{" in endpoint.path:
        statuses |= {404, 409}
    if endpoint.body is not None or endpoint.takes_bytes:
        statuses |= {404, 408, 409, 413, 415}
    if endpoint.query is not None:
        statuses |= {413}
    titles: dict[int, str] = {}
    for status, title in TITLES.values():
        titles.setdefault(status, title)
    content = {} if endpoint.method == "HEAD" else {"content": {PROBLEM_TYPE: {"schema": _problem()}}}
    return {str(status): {"description": titles[status], **content} for status in sorted(statuses)}


def _problem() -> dict[str, str]:
    return {"$ref": _REF.format(name=Problem.__name__)}
