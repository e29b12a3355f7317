"""What an endpoint is: one row that says its path, what goes in, what comes out, and what it does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import attrs
import msgspec

if TYPE_CHECKING:
    from launchcore.server.auth import Principal
    from launchcore.server.core import Core

Large = Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)]
"""Any number that JSON and a database hold exactly."""
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86400)]
JSON = "application/json"
BYTES = "application/octet-stream"
EVENTS = "text/event-stream"
TEXT = "text/plain; charset=utf-8"


@attrs.frozen(kw_only=True)
class Answer:
    """What goes back. ``body`` is a value for JSON, bytes as they are, or pieces that come by and by."""

    body: Any = None
    status: int = 200
    kind: str = JSON
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Call:
    """One request that may be answered: let in, read, and checked."""

    core: Core
    who: Principal
    path: Mapping[str, str]
    query: Any
    """An instance of the endpoint's ``query``."""
    body: Any
    """An instance of the endpoint's ``body``."""
    key: str | None
    """The idempotency key."""
    headers: Mapping[str, str]
    chunks: Callable[[], AsyncIterator[bytes]]
    """The body piece by piece, of an endpoint that takes bytes."""
    gone: Callable[[], Awaitable[None]]
    """Returns when the caller has hung up."""


Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]


@attrs.frozen(kw_only=True)
class Endpoint:
    """One method of one path. Everything that is said about it, to clients too, comes from here."""

    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE"]
    path: str
    """With names in braces: ``/v1/queues/{name}``."""
    does: Handler
    summary: str
    query: type | None = None
    """A frozen attrs class: its fields are the parameters."""
    body: type | None = None
    answer: type | None = None
    """What the JSON of a success is; ``None``: nothing, or ``kind``."""
    status: int = 200
    kind: str = JSON
    keyed: bool = False
    """It takes an idempotency key."""
    takes_bytes: bool = False
    waits: bool = False
    """It may wait for something: its duration says nothing about the server."""

    @property
    def where(self) -> tuple[str, str]:
        return self.method, self.path
