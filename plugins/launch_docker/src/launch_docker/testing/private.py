"""An image that only a login gets: pushed to a private registry, and gone from the engine."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import attrs

from launch_docker.engine import Engine
from launch_docker.errors import EngineError
from launch_docker.images import auth_header
from launch_docker.testing.machine import large_image
from launch_docker.testing.registry import PASSWORD, USER, RegistryMachine
from launchcore.plugin import Given, ImageRef, Login, Secret


@attrs.frozen
class PrivateImage:
    """``name`` has registry, repository and tag."""

    registry: RegistryMachine
    name: str
    digest: str

    def given(self, password: str = PASSWORD) -> Given:
        """What the core would contribute: the registry's login."""
        return Given(logins=(Login(host=self.registry.host, username=USER, password=Secret(password)),))


@contextlib.contextmanager
def private_image(engine: Engine, registry: RegistryMachine, image: str) -> Iterator[PrivateImage]:
    """Push ``image``, which is on the engine, under a name of its own; nothing of it stays on the engine."""
    repository = f"{registry.host}/team/private-{uuid.uuid4().hex[:8]}"
    name = f"{repository}:1"
    engine.request("POST", f"/images/{image}/tag", params={"repo": repository, "tag": "1"})
    login = auth_header({"username": USER, "password": PASSWORD, "serveraddress": registry.host})
    path = f"/images/{repository}/push"
    response = engine.request("POST", path, params={"tag": "1"}, headers=login, stream=True)
    lines = list(engine.lines(response))
    digest = next((str(line["aux"]["Digest"]) for line in lines if "Digest" in (line.get("aux") or {})), "")
    assert digest, lines
    made = PrivateImage(registry, name, digest)
    _forget(engine, made)
    try:
        yield made
    finally:
        _forget(engine, made)


def _forget(engine: Engine, image: PrivateImage) -> None:
    """By all its names; the layers are those of the image that it was made of."""
    for name in (image.name, f"{image.name.rsplit(':', 1)[0]}@{image.digest}"):
        with contextlib.suppress(EngineError):
            engine.request("DELETE", f"/images/{name}")


def pushed_and_gone(engine: Engine, name: str) -> ImageRef:
    """A large image that is in the registry, and not on the engine."""
    large_image(engine, name, 16)
    repository, _, tag = name.rpartition(":")
    path = f"/images/{repository}/push"
    headers = {"X-Registry-Auth": "e30="}
    with engine.request("POST", path, params={"tag": tag}, headers=headers, stream=True) as response:
        said = list(engine.lines(response))
    assert not any("error" in line for line in said), said
    engine.request("DELETE", f"/images/{name}")
    return ImageRef(name=name)
