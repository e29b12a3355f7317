"""The registry, asked and pushed to through the engine: what counts is its network and certificates."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import attrs

from launch_docker.build_diagnosis import (
    is_denied,
    is_immutable,
    is_missing,
    is_temporary,
    registry_failed,
)
from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError, away
from launch_docker.images import auth_header, reference
from launch_docker.streams import stopping
from launchcore.plugin import ImageRef, LaunchError, Reason, StageContext

Credentials = Mapping[str, str]
_EVERY = 10.0
"""Seconds between two lines about a push that goes on."""


@attrs.frozen(kw_only=True)
class Look:
    """What the registry has under a name. ``known`` is False where the engine cannot ask (Podman)."""

    digest: str | None = None
    known: bool = True


def look(engine: Engine, name: str, login: Credentials | None) -> Look:
    """Ask for the digest of ``name``: one HEAD of the engine to the registry.

    :raises LaunchError: ``push_failed``: the registry is away, or refuses the login.
    """
    try:
        found = engine.request(
            "GET", f"/distribution/{quote(name, safe='/:@')}/json", headers=auth_header(login)
        ).json()
    except EngineError as error:
        said = str(error)
        if error.missing and re.search(r"page not found|^not found$", said, re.IGNORECASE):
            return Look(known=False)
        if is_missing(said) or (error.missing and not is_denied(said)) or is_denied(said):
            return Look()
        raise registry_failed(name, said, login=login is not None, doing="look for") from None
    except EngineAway as error:
        raise away(error) from None
    digest = (found.get("Descriptor") or {}).get("digest")
    return Look(digest=str(digest)) if digest else Look(known=False)


def push(
    engine: Engine,
    name: str,
    login: Credentials | None,
    context: StageContext,
    *,
    retries: int,
    silent_seconds: float,
) -> ImageRef:
    """Push ``name`` and say its digest. What is already there is not sent again, so a retry goes on.

    :raises LaunchError: ``push_failed``.
    """
    for attempt in range(retries + 1):
        context.check()
        try:
            digest = _push_once(engine, name, login, context, silent_seconds)
            break
        except _Refused as error:
            said = str(error)
            if is_immutable(said) and (there := look(engine, name, login).digest):
                digest = there
                break
            if attempt == retries or not is_temporary(said):
                raise registry_failed(name, said, login=login is not None) from None
            pause = min(2.0**attempt, 20.0)
            context.log(f"the push broke off ({said[:200]}); it goes on in {pause:.0f} s")
            _wait(pause, context)
        except EngineAway as error:
            context.check()
            raise away(error) from None
    seen = look(engine, name, login)
    if seen.known and seen.digest != digest:
        raise LaunchError(
            f"the registry has {seen.digest or 'nothing'} under {name}, and {digest} was pushed",
            reason=Reason.PUSH_FAILED,
            hint="does somebody else write to this repository? give launchcore one of its own",
            retryable=True,
        )
    return ImageRef(name=name, digest=digest)


class _Refused(Exception):
    """The engine says that the push has failed."""


def _push_once(
    engine: Engine, name: str, login: Credentials | None, context: StageContext, silent_seconds: float
) -> str:
    parts = reference(ImageRef(name=name))
    progress = PushProgress()
    try:
        response = engine.request(
            "POST",
            f"/images/{quote(parts.name, safe='/:')}/push",
            params={"tag": parts.tag},
            # The engine wants the header even when there is no login.
            headers=auth_header(login) or {"X-Registry-Auth": "e30="},
            stream=True,
            seconds=silent_seconds,
        )
    except EngineError as error:
        raise _Refused(str(error)) from None
    with stopping(context, response):
        for message in engine.lines(response):
            for line in progress.feed(message, time.monotonic()):
                context.log(line)
            if progress.error is not None:
                raise _Refused(progress.error)
    context.check()
    if progress.digest is None:
        raise _Refused("unexpected EOF: the engine ended the push without a digest")
    return progress.digest


def _wait(seconds: float, context: StageContext) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        context.check()
        time.sleep(min(left, 0.1))


class PushProgress:
    """The stream of a push → lines for the log, the digest, the error. Pure."""

    def __init__(self) -> None:
        self.digest: str | None = None
        self.error: str | None = None
        self._layers: dict[str, str] = {}
        self._sent: dict[str, tuple[int, int]] = {}
        self._next = 0.0

    def feed(self, message: Mapping[str, Any], now: float) -> Iterator[str]:
        """One message at ``now``, on any clock in seconds; the lines to show."""
        if "error" in message or "errorDetail" in message:
            detail = message.get("errorDetail")
            said = detail.get("message") if isinstance(detail, Mapping) else None
            self.error = str(said or message.get("error") or "no reason given")
            return
        aux = message.get("aux")
        if isinstance(aux, Mapping) and aux.get("Digest"):
            self.digest = str(aux["Digest"])
        layer, status = str(message.get("id") or ""), str(message.get("status") or "")
        if not layer:
            if found := re.search(r"digest: (sha256:[0-9a-f]{64})", status):
                self.digest = self.digest or found[1]
            if status:
                yield status
            return
        amount = message.get("progressDetail")
        if isinstance(amount, Mapping) and amount.get("total"):
            self._sent[layer] = (int(amount.get("current") or 0), int(amount["total"]))
        self._layers[layer] = status
        if self._next == 0.0:
            self._next = now + _EVERY
        if now >= self._next:
            self._next = now + _EVERY
            yield self._summary()

    def _summary(self) -> str:
        done = sum(1 for status in self._layers.values() if status in _DONE or status.startswith("Mounted"))
        sent = sum(current for current, _ in self._sent.values())
        total = sum(total for _, total in self._sent.values())
        return f"pushing: {done} of {len(self._layers)} layers, {sent >> 20} of {total >> 20} MiB"


_DONE = frozenset({"Pushed", "Layer already exists"})
