"""Images on the engine: there or pulled, with which login, and removed when nobody uses them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError, away, pull_failed
from launch_docker.manifest import Image
from launch_docker.settings import Prune, size
from launch_docker.streams import stopping
from launchcore.plugin import (
    CredentialHelper,
    ImageRef,
    LaunchError,
    Login,
    Reason,
    StageContext,
)
from launchcore.recipes.tags import IMAGE_OWNER_LABEL

HUB = "docker.io"
_HUB_NAMES = frozenset({HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
REMEMBER = 5.0
"""Seconds for which an image is believed to be still there, and a tag to name the same one: between the
preparation of a run, which always asks, and its start."""


@attrs.frozen(kw_only=True)
class Reference:
    """An image's name in the parts that the engine's API wants."""

    host: str
    name: str
    tag: str | None
    digest: str | None


def reference(image: ImageRef) -> Reference:
    """Pure. The first part of a name is a registry when it looks like a host."""
    text, _, digest = image.name.partition("@")
    head, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        head, tag = text, ""
    first, slash, _ = head.partition("/")
    is_host = bool(slash) and (first == "localhost" or "." in first or ":" in first)
    return Reference(
        host=first if is_host else HUB, name=head, tag=tag or None, digest=image.digest or digest or None
    )


def same_registry(first: str, second: str) -> bool:
    """Are these two hosts one registry? Docker Hub has several names; a scheme and a path do not matter."""
    one, two = (re.sub(r"^https?://", "", each).split("/")[0] for each in (first, second))
    return one == two or (one in _HUB_NAMES and two in _HUB_NAMES)


def login_for(host: str, logins: Sequence[Login | CredentialHelper]) -> dict[str, str] | None:
    """The credentials for a registry, as the engine takes them: contributed, or of this account's Docker.

    :raises LaunchError: ``config_error``: a credential helper failed.
    """
    for login in logins:
        if not same_registry(login.host, host):
            continue
        if isinstance(login, Login):
            return _credentials(login.username, login.password.reveal(), login.host)
        return _helped(login)
    return _of_this_account(host)


def _credentials(username: str, password: str, host: str) -> dict[str, str]:
    if username == "<token>":  # how credential helpers hand out an identity token
        return {"identitytoken": password, "serveraddress": host}
    return {"username": username, "password": password, "serveraddress": host}


def _helped(login: CredentialHelper) -> dict[str, str]:
    from docker.credentials import Store
    from docker.credentials.errors import StoreError

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", login.helper):
        raise LaunchError(f"{login.helper[:60]!r} is no credential helper", reason=Reason.CONFIG_ERROR)
    try:
        found = Store(login.helper).get(login.host)
    except (StoreError, OSError) as error:
        raise LaunchError(
            f"docker-credential-{login.helper} has no login for {login.host}: {type(error).__name__}",
            reason=Reason.CONFIG_ERROR,
            hint="try it on the agent's machine: it reads the host from its standard input",
        ) from None
    return _credentials(str(found["Username"]), str(found["Secret"]), login.host)


def _of_this_account(host: str) -> dict[str, str] | None:
    """What ``docker login`` has left for the account of the agent."""
    from docker.auth import load_config
    from docker.errors import DockerException

    with contextlib.suppress(DockerException, OSError, ValueError, KeyError):
        found = load_config().resolve_authconfig(None if host == HUB else host)
        if found:
            return {str(key).lower(): str(value) for key, value in found.items() if value}
    return None


def auth_header(login: Mapping[str, str] | None) -> dict[str, str]:
    """``X-Registry-Auth``: URL-safe base64 of JSON."""
    if not login:
        return {}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(login).encode()).decode()}


class Images:
    """The engine's images, as runs need them. Thread-safe."""

    def __init__(self, engine: Engine, owner: str, state: Path, prune: Prune) -> None:
        self._engine = engine
        self._owner = owner
        self._used = state / "images"
        self._prune = prune
        self._prune_due = 0.0
        self._known: dict[str, tuple[float, Image]] = {}
        self._pulling: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def forget(self, ref: ImageRef) -> None:
        """The engine has it not, whatever was known of it."""
        self._known.pop(str(ref), None)

    def find(self, ref: ImageRef) -> Image | None:
        """The image if the engine has it; for a few seconds as it was seen last."""
        key = str(ref)
        known = self._known.get(key)
        if known is not None and time.monotonic() - known[0] < REMEMBER:
            return known[1]
        try:
            image = Image.of(self._engine.get(f"/images/{key}/json"))
        except EngineError as error:
            if error.missing:
                return None
            if error.status < 500:
                raise pull_failed(key, str(error), login=False) from None
            raise LaunchError(
                f"the engine does not say whether it has {key}: {error}",
                reason=Reason.INFRASTRUCTURE,
                hint="the engine's own log on its machine says more",
                retryable=True,
            ) from None
        self._keep(key, image)
        return image

    def get(
        self,
        ref: ImageRef,
        *,
        policy: str,
        platform: str | None,
        logins: Sequence[Login | CredentialHelper],
        context: StageContext,
    ) -> Image:
        """The image, pulled if the policy says so.

        :raises LaunchError: ``image_pull``: with whose fault it is; ``infrastructure``: no engine, disk full.
        """
        key = str(ref)
        with self._lock:
            lock = self._pulling.setdefault(key, threading.Lock())
        while not lock.acquire(timeout=0.2):  # one pull of an image at a time
            context.check()
        try:
            self.forget(ref)
            image = None if policy == "always" and "@" not in key else self.find(ref)
            if image is None and policy == "never":
                raise LaunchError(
                    f"the image {key} is not on the engine, and the queue does not pull",
                    reason=Reason.IMAGE_PULL,
                    hint="load it there, or set the queue's `pull` to missing",
                )
            if image is None:
                self._pull(ref, platform, logins, context)
                image = self.find(ref)
            if image is None:
                raise LaunchError(f"the engine has pulled {key} and has it not", reason=Reason.IMAGE_PULL)
        except EngineAway as error:
            raise away(error) from None
        finally:
            lock.release()
        self._mark_used(image)
        return image

    def prune_is_due(self) -> bool:
        """Is it time to prune? The next time then is when the settings say so."""
        now = time.monotonic()
        if (self._prune.after_days is None and self._prune.keep_size is None) or now < self._prune_due:
            return False
        self._prune_due = now + self._prune.every_hours * 3600
        return True

    def prune(self) -> list[str]:
        """Remove images with our label that no container uses: by age, then the longest unused by size."""
        label = {"label": [f"{IMAGE_OWNER_LABEL}={self._owner}"]}
        images = self._engine.get("/images/json", filters=label)
        busy = {each["ImageID"] for each in self._engine.get("/containers/json", all=True)}
        last = {
            str(each["Id"]): max(float(each["Created"]), self._last_use(str(each["Id"]))) for each in images
        }
        sizes = {str(each["Id"]): int(each["Size"]) for each in images}
        removed = []
        for image in to_prune(last, sizes, busy, self._prune, time.time()):
            with contextlib.suppress(EngineError):
                self._engine.request("DELETE", f"/images/{image}", params={"force": True})
                removed.append(image)
        return removed

    # -- inside --------------------------------------------------------------------------------

    def _keep(self, key: str, image: Image) -> None:
        if len(self._known) > 1000:
            self._known.clear()
        self._known[key] = (time.monotonic(), image)

    def _pull(
        self,
        ref: ImageRef,
        platform: str | None,
        logins: Sequence[Login | CredentialHelper],
        context: StageContext,
    ) -> None:
        parts = reference(ref)
        login = login_for(parts.host, logins)
        context.check()
        context.log(f"pulling {ref}")
        began = time.monotonic()
        try:
            response = self._engine.request(
                "POST",
                "/images/create",
                params={
                    "fromImage": parts.name,
                    "tag": parts.digest or parts.tag or "latest",
                    "platform": platform,
                },
                headers=auth_header(login),
                stream=True,
                seconds=self._engine.settings.pull_stall_seconds,
            )
            with stopping(context, response):
                # The engine answers 200 and says only in the stream that it has failed.
                for line in self._engine.lines(response):
                    if "error" in line or "errorDetail" in line:
                        detail = line.get("errorDetail") or {}
                        said = str(detail.get("message") or line.get("error") or "no reason given")
                        raise pull_failed(str(ref), said, login=login is not None)
                    self._tell(line, context)
        except EngineError as error:
            raise pull_failed(str(ref), str(error), login=login is not None) from None
        except EngineAway:
            context.check()
            raise
        context.check()
        context.log(f"pulled in {time.monotonic() - began:.1f} s")

    def _tell(self, line: Mapping[str, Any], context: StageContext) -> None:
        """The few lines that say something for the whole image."""
        status = str(line.get("status") or "")
        if not line.get("id") and status.startswith(("Digest:", "Status:")):
            context.log(status)

    def _mark_used(self, image: Image) -> None:
        with contextlib.suppress(OSError):
            self._used.mkdir(parents=True, exist_ok=True)
            (self._used / _key(image.id)).touch()

    def _last_use(self, image: str) -> float:
        with contextlib.suppress(OSError):
            return (self._used / _key(image)).stat().st_mtime
        return 0.0


def _key(image: str) -> str:
    return hashlib.sha256(image.encode()).hexdigest()[:32]


def to_prune(
    last: Mapping[str, float], sizes: Mapping[str, int], busy: set[str], prune: Prune, now: float
) -> Iterator[str]:
    """Pure: which images to remove, in order. ``last``: when each was used last, UNIX seconds."""
    idle = [image for image in sorted(last, key=lambda each: last[each]) if image not in busy]
    total = sum(sizes.values())
    for image in idle:
        old = prune.after_days is not None and now - last[image] > prune.after_days * 86400
        large = prune.keep_size is not None and total > size(prune.keep_size)
        if old or large:
            total -= sizes[image]
            yield image
