"""What the user's and the agent's side have in common: values out, values in, archives."""

from __future__ import annotations

import hashlib
import math
import re
import tempfile
from collections.abc import Iterable, Mapping
from typing import IO, Any, Final, TypeVar
from urllib.parse import quote

import attrs
import msgspec

from launchcore.plugin import Fault, LaunchError, QueueUnavailable, Reason, Update
from launchcore.queues.base import NotFound
from launchcore.queues.http_problems import not_ours
from launchcore.queues.http_settings import HttpSettings
from launchcore.queues.http_sockets import Wait
from launchcore.queues.http_transport import Answer, Ask, Transport
from launchcore.queues.wire import VERSION, ArchiveStored, Identity

T = TypeVar("T")

MAX_ARCHIVE: Final = 64 << 30
"""Bytes; the service's own limit is smaller."""
_JSON: Final = {"Content-Type": "application/json"}
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Calls:
    """Typed calls over one transport."""

    def __init__(self, url: str, settings: HttpSettings, *, patience: float) -> None:
        self.transport = Transport(url, settings, patience=patience)

    def get(
        self,
        kind: type[T],
        path: str,
        query: Iterable[tuple[str, object]] = (),
        *,
        seconds: float = 0.0,
        wait: Wait | None = None,
    ) -> T:
        """``GET``; ``None`` in ``query`` is left out."""
        given = tuple((key, str(value)) for key, value in query if value is not None)
        ask = Ask(method="GET", path=f"/{VERSION}{path}", query=given, seconds=seconds)
        return decoded(kind, self.transport.call(ask, wait=wait))

    def send(
        self,
        kind: type[T],
        path: str,
        value: Any,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        again: bool = True,
        seconds: float = 0.0,
        wait: Wait | None = None,
        eager: bool = True,
    ) -> T:
        """Send a value as JSON. ``kind`` may be ``type(None)`` where the answer says nothing."""
        ask = Ask(
            method=method,
            path=f"/{VERSION}{path}",
            body=encoded(value),
            headers={**_JSON, **(headers or {})},
            again=again,
            seconds=seconds,
        )
        answer = self.transport.call(ask, wait=wait, eager=eager)
        return decoded(kind, answer)

    def identity(self) -> Identity:
        """Of the service, and whom it takes us for."""
        return self.get(Identity, "/identity")

    def raw(self, method: str, path: str, query: Iterable[tuple[str, object]] = ()) -> Answer:
        """An answer that is no JSON."""
        given = tuple((key, str(value)) for key, value in query if value is not None)
        return self.transport.call(Ask(method=method, path=f"/{VERSION}{path}", query=given))

    # archives

    def put_archive(self, chunks: Iterable[bytes]) -> str:
        """Store an archive. It is written to a temporary file first, so that sending can be repeated,
        and is not sent at all when the service has it."""
        with tempfile.TemporaryFile(prefix="launch-upload-") as file:
            sha256 = hashlib.sha256()
            for chunk in chunks:
                sha256.update(chunk)
                file.write(chunk)
            digest = f"sha256:{sha256.hexdigest()}"
            if self.has_archive(digest):
                return digest
            ask = Ask(
                method="POST",
                path=f"/{VERSION}/archives",
                body=file,
                headers={"Content-Type": "application/octet-stream"},
            )
            stored = decoded(ArchiveStored, self.transport.call(ask)).digest
        if stored != digest:
            raise QueueUnavailable(
                f"the archive {digest[:19]}… was damaged on its way: it is now {stored[:19]}…"
            )
        return digest

    def has_archive(self, digest: str) -> bool:
        if not _DIGEST.fullmatch(digest):
            return False
        path = f"/{VERSION}/archives/{digest}"
        return self.transport.call(Ask(method="HEAD", path=path, also=(404,))).status != 404

    def open_archive(self, digest: str) -> IO[bytes]:
        """Fetch an archive whole, verify it, and open it.

        :raises LaunchError: ``source_failed``: not there.
        :raises QueueUnavailable: what comes is not what was asked for.
        """
        if not _DIGEST.fullmatch(digest):
            raise LaunchError(
                f"{digest[:80]!r} is no digest of an archive",
                reason=Reason.SOURCE_FAILED,
                fault=Fault.USER,
                hint="submit the directory again",
            )
        file = tempfile.TemporaryFile(prefix="launch-archive-")  # noqa: SIM115  # the caller closes it
        try:
            ask = Ask(method="GET", path=f"/{VERSION}/archives/{digest}")
            self.transport.download(ask, file, most=MAX_ARCHIVE)
            file.seek(0)
            _verify(file, digest)
            file.seek(0)
        except OSError as error:
            file.close()
            raise QueueUnavailable(f"the archive cannot be kept here: {error.strerror or error}") from None
        except BaseException:
            file.close()
            raise
        return file


def _verify(file: IO[bytes], digest: str) -> None:
    found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    if f"sha256:{found}" != digest:
        raise QueueUnavailable(f"the archive {digest[:19]}… came as {found[:12]}…")


def segment(kind: str, name: str) -> str:
    """A name as one part of a path.

    :raises NotFound: no name can be that.
    """
    text = name.encode("utf-8", "replace").decode()
    if text != name or name in ("", ".", "..") or "/" in name or "\0" in name:
        raise NotFound(f"there is no {kind} {text[:80]!r}", hint="it cannot be a name")
    return quote(name, safe="")


def encoded(value: Any) -> bytes:
    """:raises LaunchError: it cannot be JSON: of the user, since values come from them."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise LaunchError(
            f"it cannot be written as JSON: {' '.join(str(error).split())[:200]}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.USER,
            hint="use texts, numbers, lists and mappings",
        ) from None


def cleaned(update: Update) -> Update:
    """An update as JSON can carry it.

    It comes from logs and backends, and must never keep an end from being written: characters that are no
    text are replaced, numbers that are none are left out.
    """
    outcome = update.outcome
    if outcome is not None and not all(map(math.isfinite, outcome.usage.values())):
        usage = {name: number for name, number in outcome.usage.items() if math.isfinite(number)}
        update = attrs.evolve(update, outcome=attrs.evolve(outcome, usage=usage))
    if not all(math.isfinite(event.at) for event in update.events):
        events = (each if math.isfinite(each.at) else attrs.evolve(each, at=0.0) for each in update.events)
        update = attrs.evolve(update, events=tuple(events))
    try:
        msgspec.json.encode(attrs.evolve(update, log=None))
    except UnicodeEncodeError:
        texts = msgspec.to_builtins(attrs.evolve(update, log=None))
        update = attrs.evolve(msgspec.convert(_texts(texts), Update), log=update.log)
    return update


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_texts(key): _texts(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(inner) for inner in value]
    return value


def decoded(kind: type[T], answer: Answer) -> T:
    """:raises Refused: it is no answer of ours."""
    nothing = kind is type(None)
    try:
        if nothing and not answer.body:
            return None  # type: ignore[return-value]
        return msgspec.json.decode(answer.body, type=kind)
    except (ValueError, RecursionError):
        shown = answer.headers.get("Content-Type", "no type")[:80]
        raise not_ours(f"its answer is {shown}, and not what was asked for") from None
