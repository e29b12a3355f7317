"""The builder ``docker``: a source tree → an image, built once for each content.

A Dockerfile of the source is used as it is; without one, one is generated. The image's tag is a hash of all
that determines it, so that what the registry or the engine has is never built again.
"""

from __future__ import annotations

import contextlib
import re
import threading
from urllib.parse import quote

import attrs

from launch_docker import build_classic, build_kit
from launch_docker.build_lock import building
from launch_docker.build_order import Order
from launch_docker.build_registry import look, push
from launch_docker.build_settings import BuilderSettings
from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError, away
from launch_docker.images import login_for, reference
from launchcore.plugin import (
    BuildPlan,
    BuiltImage,
    Fault,
    Given,
    ImageRef,
    LaunchError,
    Reason,
    Secret,
    Site,
    StageContext,
)
from launchcore.recipes.dockerfile import Kit, bases
from launchcore.recipes.recipe import Recipe, read_recipe, with_kit
from launchcore.recipes.requirements import bad
from launchcore.recipes.tags import image_labels


class DockerBuilder:
    """Builds on one engine. Safe for all threads."""

    def __init__(self, settings: BuilderSettings, site: Site, engine: Engine | None = None) -> None:
        self.settings = settings
        self.engine = engine or Engine(settings.engine())
        self._locks = site.state / "docker-builds"
        self._tool: tuple[int, int] | None = None
        self._asked = False
        self._lock = threading.Lock()

    # -- the protocol ----------------------------------------------------------------------------

    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        """The image of this tree: found in the registry or on the engine, or built.

        :raises LaunchError: ``build_failed`` with the step; ``push_failed``: the registry refuses us, so
            that building would be in vain; ``infrastructure``.
        """
        context.check()
        recipe = read_recipe(plan, self.settings, given)
        platform = plan.platform or self.settings.platform
        pinned = self._bases(recipe, given)
        name = recipe.name(plan, self.settings, given, bases=pinned, check=context.check)
        found = self._find(name, plan, given, context)
        if found is not None:
            context.log(f"found {found.ref}: nothing to build")
            return found
        with building(self._locks, name, context):
            found = self._find(name, plan, given, context)  # somebody else may have built it meanwhile
            if found is not None:
                context.log(f"found {found.ref}: nothing to build")
                return found
            return self._build(
                name=name,
                plan=plan,
                given=given,
                context=context,
                recipe=recipe,
                platform=platform,
            )

    def push(self, image: BuiltImage, plan: BuildPlan, given: Given, context: StageContext) -> ImageRef:
        """Push it; what the registry has is not sent again.

        :raises LaunchError: ``push_failed``.
        """
        with building(self._locks, f"push {image.ref.name}", context):
            return push(
                self.engine,
                image.ref.name,
                self._login(image.ref.name, given),
                context,
                retries=self.settings.push_retries,
                silent_seconds=self.settings.silent_seconds,
            )

    def cleanup(self, attempt_id: str) -> None:
        """Remove the logins that a killed build has left. The engine itself ends a build with its client."""
        build_kit.forget(attempt_id)

    # -- what is there already -------------------------------------------------------------------

    def _find(self, name: str, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage | None:
        if plan.destination is not None and plan.destination.registry != "local":
            # The core asks by one HEAD. What it does not find or cannot reach, the engine may: it has its own
            # network, certificates and logins.
            with contextlib.suppress(LaunchError):
                if digest := context.digest(ImageRef(name=name)):
                    return BuiltImage(ref=ImageRef(name=name, digest=digest), pushed=True, cached=True)
            there = look(self.engine, name, self._login(name, given))
            if there.digest is not None:
                return BuiltImage(ref=ImageRef(name=name, digest=there.digest), pushed=True, cached=True)
        return BuiltImage(ref=ImageRef(name=name), cached=True) if self._on_engine(name) else None

    def _on_engine(self, name: str) -> str | None:
        try:
            return str(self.engine.get(f"/images/{quote(name, safe='/:@')}/json").get("Id"))
        except EngineError as error:
            if error.missing:
                return None
            raise LaunchError(
                f"the engine does not take {name} for an image: {error}", reason=Reason.CONFIG_ERROR
            ) from None
        except EngineAway as error:
            raise away(error) from None

    def _login(self, name: str, given: Given) -> dict[str, str] | None:
        return login_for(reference(ImageRef(name=name)).host, given.logins)

    def _bases(self, recipe: Recipe, given: Given) -> dict[str, str]:
        """Digests of the base images: as the registry has them, else as the engine has them."""
        if not self.settings.pin_base:
            return {}
        found = {}
        for name in bases(recipe.text):
            known = None
            with contextlib.suppress(LaunchError):  # an image that is only here has no registry to ask
                known = look(self.engine, name, self._login(name, given)).digest
            known = known or self._on_engine(name)
            if known is not None:
                found[name] = known
        return found

    # -- building --------------------------------------------------------------------------------

    def _build(
        self,
        *,
        name: str,
        plan: BuildPlan,
        given: Given,
        context: StageContext,
        recipe: Recipe,
        platform: str | None,
    ) -> BuiltImage:
        tool = self._buildkit()
        order = Order(
            name=name,
            context=recipe.context,
            dockerfile=recipe.dockerfile,
            build_args=recipe.arguments,
            labels={**image_labels(plan.labels), **{each.name: each.value for each in given.labels}},
            logins=self._logins(name, recipe, given),
            secrets=_secrets(given, optional=tool is not None),
            platform=platform,
            target=self.settings.target,
            network=self.settings.network,
            pull=self.settings.pull,
            cache_from=self.settings.cache_from,
            cache_to=self.settings.cache_to,
            builder=self.settings.buildx_builder,
        )
        context.log(
            f"building {name} from {recipe.origin} with {'BuildKit' if tool else 'the classic builder'}: "
            f"{len(recipe.context.entries)} entries, {recipe.context.size >> 10} KiB"
        )
        if tool is None:
            build_classic.build(self.engine, order, context, silent_seconds=self.settings.silent_seconds)
            return BuiltImage(ref=ImageRef(name=name))
        build_kit.forget(plan.attempt_id)
        pushed = build_kit.build(
            self._for_buildkit(order, plan, recipe),
            context,
            endpoint=self.engine.endpoint,
            tool=tool,
            folder=build_kit.private_folder(plan.attempt_id),
        )
        return BuiltImage(ref=ImageRef(name=name, digest=pushed), pushed=order.many_platforms)

    def _for_buildkit(self, order: Order, plan: BuildPlan, recipe: Recipe) -> Order:
        """A generated Dockerfile uses what BuildKit has; its image, and so its tag, are the same."""
        kit = Kit(secrets=tuple(sorted(order.secrets)))
        return attrs.evolve(order, context=with_kit(recipe, plan, self.settings, kit).context)

    def _logins(self, name: str, recipe: Recipe, given: Given) -> dict[str, dict[str, str]]:
        """For the registries that this build has to do with: those of the base images and of the result."""
        hosts = {reference(ImageRef(name=each)).host for each in (name, *bases(recipe.text))}
        hosts |= {login.host for login in given.logins}
        found = {host: login_for(host, given.logins) for host in sorted(hosts)}
        return {host: login for host, login in found.items() if login}

    def _buildkit(self) -> tuple[int, int] | None:
        """The version of buildx to build with; ``None``: the classic builder.

        :raises LaunchError: ``config_error``: BuildKit is demanded, and not there.
        """
        if self.settings.buildkit == "never":
            return None
        with self._lock:
            if not self._asked:
                self._tool, self._asked = build_kit.version(), True
        if self._tool is None and self.settings.buildkit == "always":
            raise LaunchError(
                "the builder's `buildkit` is `always`, and there is no `docker buildx` beside the agent",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.INFRASTRUCTURE,
                hint="install the `docker` program and its buildx plugin, or set it to `auto`",
            )
        return self._tool if self._tool and not self._is_podman() else None

    def _is_podman(self) -> bool:
        """Podman speaks the engine's API, but not BuildKit's part of it."""
        try:
            parts = self.engine.version().get("Components") or ()
        except EngineAway as error:
            raise away(error) from None
        except EngineError:
            return False
        return any("podman" in str(part.get("Name", "")).lower() for part in parts)


def _secrets(given: Given, *, optional: bool) -> dict[str, Secret]:
    """What a build may read and no layer keeps. ``optional``: those too that may be left out."""
    found: dict[str, Secret] = {}
    for variable in given.env:
        if isinstance(variable.value, Secret) and (optional or not variable.optional):
            found[variable.name] = variable.value
    found |= {each.name: each.content for each in given.files if optional or not each.optional}
    if wrong := [name for name in found if not re.fullmatch(r"[A-Za-z0-9_.-]+", name)]:
        raise bad(f"{wrong[0][:60]!r} cannot be the name of a build secret")
    return found


def make_builder(settings: BuilderSettings, site: Site) -> DockerBuilder:
    """The builder of these settings at this site."""
    return DockerBuilder(settings, site)
