"""Passwords of registries, kept as long as they are good."""

from __future__ import annotations

import base64
import binascii
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import attrs

from launch_aws.names import PUBLIC_REGION
from launch_aws.session import Account
from launchcore.plugin import LaunchError, Secret

log = logging.getLogger("launchcore.aws")

LAST_MOMENT: Final = 300.0
"""Seconds that a token must still be good for to be given to anybody, when there is no newer one."""


@attrs.frozen(kw_only=True)
class Token:
    """A login that AWS made. Times are UNIX seconds."""

    username: str
    password: Secret
    made_at: float
    expires_at: float

    def fresh(self, now: float) -> bool:
        """Half of its time is not over: a pod that waits for a node for hours can still pull with it."""
        return now < self.made_at + (self.expires_at - self.made_at) / 2

    def usable(self, now: float) -> bool:
        return now + LAST_MOMENT < self.expires_at


class Tokens:
    """One token for each region, and one for public registries: it is good for all registries there that
    our role may use (https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html).

    Threads that want the same one wait for one question. When that fails, the old token is used up.
    """

    def __init__(self, account: Account, *, clock: Callable[[], float] = time.time) -> None:
        self._account = account
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: dict[str | None, threading.Lock] = {}
        self._tokens: dict[str | None, Token] = {}

    def private(self, region: str) -> Token:
        """For the private registries of a region. :raises LaunchError: there is none to be had."""
        return self._token(region)

    def public(self) -> Token:
        """For ``public.ecr.aws``."""
        return self._token(None)

    def _token(self, region: str | None) -> Token:
        with self._lock:
            lock = self._locks.setdefault(region, threading.Lock())
        with lock:
            now = self._clock()
            known = self._tokens.get(region)
            if known is not None and known.fresh(now):
                return known
            try:
                self._tokens[region] = self._ask(region, now)
            except LaunchError as error:
                if known is None or not known.usable(now):
                    raise
                log.warning("the token of ECR is not renewed yet, and still good: %s", error.detail)
            return self._tokens[region]

    def _ask(self, region: str | None, now: float) -> Token:
        public = region is None
        where = PUBLIC_REGION if region is None else region
        client = self._account.client("ecr-public" if public else "ecr", where)
        with self._account.asking("get a token of ECR", region=where):
            found = client.get_authorization_token()["authorizationData"]
        data = found if public else (found or [{}])[0]
        try:
            user, _, password = (
                base64.b64decode(data["authorizationToken"], validate=True).decode().partition(":")
            )
            expires = data["expiresAt"].timestamp()
        except (KeyError, ValueError, AttributeError, binascii.Error):
            raise LaunchError("ECR gave no token that can be read", retryable=True) from None
        if not password:
            raise LaunchError("ECR gave a token without a password", retryable=True)
        return Token(username=user, password=Secret(password), made_at=now, expires_at=expires)
