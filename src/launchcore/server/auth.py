"""Who calls: from the headers of a request to a principal."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from launchcore.queues.wire import TokenInfo
from launchcore.server.access import ADMIN, EVERY_QUEUE, READ, queues_of
from launchcore.server.limits import Buckets
from launchcore.server.options import Auth
from launchcore.server.problems import Refusal
from launchcore.store import tokens

if TYPE_CHECKING:
    from launchcore.server.core import Core

FRESH_SECONDS = 2.0
"""For so long a token is believed without a look at the database: a revoked one is refused after these
by every server, and at once by the one that was told."""
_MOST_KNOWN = 10_000
_NOTED_SECONDS = 60.0
_HINT = (
    "set LAUNCHCORE_TOKEN or token_file (it goes as `Authorization: Bearer TOKEN`); an admin makes one with "
    "`launch token create`"
)


@attrs.frozen(kw_only=True)
class Principal:
    """A caller: the name, the token's id (``""``: none was needed), and what they may do."""

    name: str
    token: str
    scopes: tuple[str, ...]
    queues: frozenset[str] | None
    """That it may serve as an agent; ``None``: all."""

    @property
    def admin(self) -> bool:
        return ADMIN in self.scopes

    @property
    def sees_all(self) -> bool:
        """It may look at everybody's runs, not only at its own."""
        return self.admin or READ in self.scopes

    def serves(self, queue: str) -> bool:
        """Whether it may act as an agent of this queue."""
        return self.queues is None or queue in self.queues

    def submitter(self, said: str) -> str:
        """In whose name it submits: only an admin may say another's."""
        return said if self.admin else self.name


def principal(name: str, token: str, scopes: tuple[str, ...]) -> Principal:
    return Principal(name=name, token=token, scopes=scopes, queues=queues_of(scopes))


LOCAL = principal("local", "", ("submit", "read", ADMIN, f"agent:{EVERY_QUEUE}"))
"""Whoever calls where no token is needed."""
NOBODY = principal("", "", ())
"""Whoever calls what is open to everybody."""


@attrs.define
class _Known:
    """A token as the database had it."""

    info: TokenInfo
    hash: str
    who: Principal
    looked_at: float
    good_until: float
    noted_at: float = -math.inf


class Authenticator:
    """Finds out who calls. Used on the event loop only."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._failures = Buckets(
            rate=core.options.failures_per_second, burst=20 * core.options.failures_per_second
        )
        self._open_until = -math.inf
        self._closed_for_good = core.options.auth is Auth.REQUIRED

    async def who(self, headers: Mapping[str, str], address: str) -> Principal | None:
        """The caller; ``None``: one without a token, where one is needed.

        :raises Refusal: a token that is none; too many of those; a browser's page in a mode without tokens.
        """
        secret = _bearer(headers)
        if secret is None:
            if await self._open():
                _from_here(headers)
                return LOCAL
            return None
        token_id = tokens.id_of(secret)
        known = self._known.get(token_id) if token_id else None
        now = time.monotonic()
        if known is None or not tokens.matches(secret, known.hash):
            self._guesses(address)
        if token_id is not None and (known is None or now - known.looked_at > FRESH_SECONDS):
            known = await self._look(token_id, known)
        if known is None or not tokens.matches(secret, known.hash):
            self._failures.take(address)
            raise Refusal("unauthorized", "this token is not known here", hint=_HINT, headers=_challenge())
        if known.info.revoked_at is not None:
            raise Refusal("unauthorized", "this token has been revoked", hint=_HINT, headers=_challenge())
        if known.good_until <= time.monotonic():
            raise Refusal("unauthorized", "this token has expired", hint=_HINT, headers=_challenge())
        if now - known.noted_at > _NOTED_SECONDS:
            known.noted_at = now
            self._core.write_later(lambda tx: tokens.used(tx, known.info.id))
        return known.who

    def forget(self, token_id: str) -> None:
        """Look at this token again before it is believed the next time; and whether there is one at all."""
        self._known.pop(token_id, None)
        self._open_until = -math.inf

    def _guesses(self, address: str) -> None:
        if self._failures.empty(address):
            raise Refusal(
                "too_many_requests", "too many wrong tokens from this address", headers={"Retry-After": "5"}
            )

    async def _look(self, token_id: str, before: _Known | None) -> _Known | None:
        found, now = await self._core.read(
            lambda connection: (tokens.by_id(connection, token_id), self._core.database.clock())
        )
        if found is None:
            self._known.pop(token_id, None)
            return None
        info, stored = found
        left = math.inf if info.expires_at is None else info.expires_at - now
        known = _Known(
            info=info,
            hash=stored,
            who=principal(info.name, info.id, info.scopes),
            looked_at=time.monotonic(),
            good_until=time.monotonic() + left,
            noted_at=before.noted_at if before else -math.inf,
        )
        self._known[token_id] = known
        self._known.move_to_end(token_id)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return known

    async def _open(self) -> bool:
        """Whether nobody needs a token. Once there is one, everybody does, for as long as this runs."""
        if self._core.options.auth is Auth.OFF:
            return True
        if self._closed_for_good:
            return False
        if time.monotonic() >= self._open_until:
            if await self._core.read(lambda connection: bool(tokens.listed(connection))):
                self._closed_for_good = True
                return False
            self._open_until = time.monotonic() + FRESH_SECONDS
        return True


def unauthorized() -> Refusal:
    """Nobody is let in here without a token."""
    return Refusal("unauthorized", "this needs a token", hint=_HINT, headers=_challenge())


def _challenge() -> dict[str, str]:
    return {"WWW-Authenticate": 'Bearer realm="launchcore"'}


def _bearer(headers: Mapping[str, str]) -> str | None:
    """The secret that a request carries.

    :raises Refusal: it carries something else.
    """
    given = headers.get("authorization")
    if given is None:
        return None
    scheme, _, secret = given.partition(" ")
    if scheme.lower() != "bearer":
        raise Refusal(
            "unauthorized", "the Authorization header is no Bearer token", hint=_HINT, headers=_challenge()
        )
    return secret.strip()


def _from_here(headers: Mapping[str, str]) -> None:
    """Refuse what does not come from a program of this machine: a page in its browser (which may call
    any address that its name server makes up), or somebody behind a proxy.

    :raises Refusal: so it is.
    """
    foreign = [name for name in ("forwarded", "x-forwarded-for", "origin") if name in headers]
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        foreign.append("sec-fetch-site")
    if foreign:
        raise Refusal(
            "forbidden",
            f"without a token this server serves its own machine only, and {foreign[0]} says otherwise",
            hint="make a token with `launch token create`",
        )
    if not _is_loopback(headers.get("host", "")):
        raise Refusal(
            "forbidden",
            "without a token this server is called 127.0.0.1, ::1 or localhost only",
            hint="make a token with `launch token create`",
        )


def _is_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
