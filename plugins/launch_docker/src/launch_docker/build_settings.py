"""What the ``builder:`` block of an agent or queue says. A run can set none of it."""

from __future__ import annotations

from typing import Literal

import attrs

from launch_docker.settings import Settings
from launchcore.plugin import setting
from launchcore.recipes.settings import RecipeSettings


@attrs.frozen(kw_only=True)
class BuilderSettings(RecipeSettings):
    """``builder: {type: docker, …}``."""

    pull: bool = setting("Look for a newer base image at each build.", default=False)
    network: str | None = setting("The network of the build's steps: default, none, host.", default=None)
    buildkit: Literal["auto", "always", "never"] = setting(
        "Build with BuildKit: `always` needs the `docker` program with buildx beside the agent; `auto`: if "
        "that is there; `never`: with the engine's classic builder.",
        default="auto",
    )
    cache_from: tuple[str, ...] = setting(
        "BuildKit: caches to import: type=registry,ref=registry.example.com/cache.", default=()
    )
    cache_to: tuple[str, ...] = setting(
        "BuildKit: caches to export: type=registry,ref=registry.example.com/cache,mode=max.", default=()
    )
    buildx_builder: str | None = setting(
        "BuildKit: the name of a builder of `docker buildx ls`.", default=None
    )
    silent_seconds: float = setting(
        "Seconds without a word after which a build or push counts as failed.",
        default=3600.0,
        validator=attrs.validators.gt(0),
    )
    push_retries: int = setting(
        "How often a push that broke off is taken up again.", default=3, validator=attrs.validators.ge(0)
    )
    host: str | None = setting("The engine that builds; without it, as for the runner.", default=None)
    docker_context: str | None = setting("The name of a Docker context to use.", default=None)
    tls_ca: str | None = setting("File of the CA that signed the engine's certificate (tcp).", default=None)
    tls_cert: str | None = setting("File of this agent's client certificate (tcp).", default=None)
    tls_key: str | None = setting("File of the client certificate's key (tcp).", default=None)

    def engine(self) -> Settings:
        """The engine, in the words of the runner's settings."""
        return Settings(
            host=self.host,
            context=self.docker_context,
            tls_ca=self.tls_ca,
            tls_cert=self.tls_cert,
            tls_key=self.tls_key,
        )
