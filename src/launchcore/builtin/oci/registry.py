"""Any registry that speaks the OCI distribution protocol."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence

from launchcore.builtin.oci.challenge import pull_scope
from launchcore.builtin.oci.client import LARGEST, Client, refused
from launchcore.builtin.oci.credentials import ask_helper, login_for
from launchcore.builtin.oci.names import Place, host_of, place
from launchcore.builtin.oci.settings import OciSettings
from launchcore.builtin.text import shown
from launchcore.plugin import CredentialHelper, ImageRef, LaunchError, Login, Reason

ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
"""All that an image may be; without it a registry answers with a manifest of another digest."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class OciRegistry:
    """Asks by HEAD, so that a question costs one round trip and no rate limit of pulls."""

    def __init__(self, settings: OciSettings) -> None:
        self.settings = settings
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()

    def resolve(self, repository: str) -> str:
        """As it is: the name says all."""
        return repository

    def ensure(self, ref: ImageRef) -> None:
        """Nothing to do: the protocol makes repositories when something is pushed to them."""

    def digest(self, ref: ImageRef) -> str | None:
        """The digest of ``ref``, or ``None``: the registry answers, and has no such image."""
        where = self._place(ref)
        client = self._client(where)
        path = f"{where.path}/manifests/{where.what}"

        def login() -> Login | None:
            return self._login(where.host)

        answer = client.ask(
            "HEAD", path, headers={"Accept": ACCEPT}, scope=pull_scope(where.path), login=login
        )
        if answer.status == 404:
            return None
        if answer.status in (401, 403):
            who = "the login that the agent has" if login() else "us without a login"
            raise refused(f"the registry {where.host} refuses {who}: may it read {where.path}?")
        digest = answer.headers.get("docker-content-digest", "")
        if answer.status == 200 and not _DIGEST.fullmatch(digest):
            answer = client.ask(
                "GET", path, headers={"Accept": ACCEPT}, scope=pull_scope(where.path), login=login
            )
            digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
            if len(answer.body) > LARGEST:
                raise LaunchError(f"the registry {where.host} answers with a manifest of more than 4 MiB")
        if answer.status != 200:
            raise LaunchError(
                f"the registry {where.host} answers {answer.status} for {where.path}: no answer to build on",
                hint="is it an image registry? look at `registry.repository`",
            )
        return digest

    def logins(self, repository: str) -> Sequence[Login | CredentialHelper]:
        """The login for the registry of ``repository``, if the agent has one."""
        try:
            host = host_of(repository)
        except ValueError:
            return ()
        found = login_for(host, self.settings)
        return (found,) if found else ()

    def _login(self, host: str) -> Login | None:
        found = login_for(host, self.settings)
        return ask_helper(found) if isinstance(found, CredentialHelper) else found

    def _place(self, ref: ImageRef) -> Place:
        try:
            return place(ref.name, ref.digest)
        except ValueError as error:
            raise LaunchError(
                f"{shown(ref.name)} is no image that can be asked for: {error}", reason=Reason.CONFIG_ERROR
            ) from None

    def _client(self, where: Place) -> Client:
        with self._lock:
            if where.api not in self._clients:
                self._clients[where.api] = Client(where.api, self.settings)
            return self._clients[where.api]
