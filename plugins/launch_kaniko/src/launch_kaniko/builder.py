"""The builder ``kaniko``: a source tree → an image in the registry, by a Job of a cluster.

The image's tag is a hash of all that determines it, as every builder makes it; what the registry has is never
built again. The Job's name follows from the image's: two agents that need one image build it once.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from launch_k8s.connect import load_sdk
from launch_k8s.helpers import resolved
from launch_k8s.settings import RunConfig

from launch_kaniko.attempt import Building, Built, Gone
from launch_kaniko.cluster import BuildCluster
from launch_kaniko.credentials import DOCKER_CONFIG_FILES
from launch_kaniko.order import Order, cache_repository
from launch_kaniko.places import CONTEXT_FOLDER
from launch_kaniko.settings import BuilderSettings
from launch_kaniko.store_objects import ContextStore, open_store
from launch_kaniko.store_places import check_store, parse_store, sight
from launchcore.plugin import (
    BuildPlan,
    BuiltImage,
    CredentialHelper,
    Fault,
    Given,
    ImageRef,
    LaunchError,
    Login,
    Reason,
    Secret,
    Site,
    StageContext,
)
from launchcore.recipes.context import digest, pack
from launchcore.recipes.dockerfile import Kit, bases
from launchcore.recipes.recipe import Recipe, read_recipe, with_kit
from launchcore.recipes.requirements import bad
from launchcore.recipes.tags import image_labels

log = logging.getLogger("launchcore.kaniko")

TRIES: Final = 5
"""How often a build is begun whose Job is removed by somebody else each time."""
TIDY_EVERY: Final = 3600.0
"""Seconds between two looks for what is to be thrown away."""
REMEMBERED: Final = 4096


class KanikoBuilder:
    """Builds in one namespace of one cluster. Safe for all threads."""

    def __init__(self, settings: BuilderSettings, site: Site) -> None:
        self.settings = settings
        self.place = parse_store(settings.build_context_store)
        self.cluster = BuildCluster(settings, site.owner)
        self._clean: dict[str, None] = {}
        self._tidied = -TIDY_EVERY
        self._lock = threading.Lock()

    # -- the protocol ----------------------------------------------------------------------------

    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        """The image of this tree: found in the registry, or built and pushed.

        :raises LaunchError: ``build_failed`` with the step; ``push_failed``; ``config_error``;
            ``infrastructure``, ``unschedulable``, ``evicted`` …: as the cluster says.
        """
        context.check()
        self._has_left_nothing(plan.attempt_id)
        repository = _repository(plan)
        self._check()
        recipe = read_recipe(plan, self.settings, given)
        content = digest(recipe.context, context.check)
        pinned = self._bases(recipe, repository, context)
        name = recipe.name(plan, self.settings, given, bases=pinned, check=context.check, content=content)
        image = ImageRef(name=name)
        for _ in range(TRIES):
            if found := context.digest(image):
                context.log(f"found {image}: nothing to build")
                return BuiltImage(ref=ImageRef(name=name, digest=found), pushed=True, cached=True)
            try:
                built = self._build(plan, given, context, recipe=recipe, content=content, name=name)
            except Gone:
                context.check()
                continue
            self._has_left_nothing(plan.attempt_id)
            there = built.digest or context.digest(image)
            if there is None:
                raise LaunchError(
                    f"the build of {name} has ended well, and the registry has no such image",
                    hint="does the agent see the registry that the cluster's pods push to?",
                )
            return BuiltImage(ref=ImageRef(name=name, digest=there), pushed=True, cached=not built.ours)
        raise LaunchError(
            f"the build of {name} was removed {TRIES} times by somebody else",
            hint=f"who deletes Jobs in {self.cluster.namespace}?",
            retryable=True,
        )

    def push(self, image: BuiltImage, plan: BuildPlan, given: Given, context: StageContext) -> ImageRef:
        """The executor has pushed it."""
        return image.ref

    def cleanup(self, attempt_id: str) -> None:
        """Remove the Job that this attempt has begun, with its pod and its Secret.

        :raises LaunchError: the cluster does not answer.
        """
        with self._lock:
            if attempt_id in self._clean:
                del self._clean[attempt_id]
                return
        for job in self.cluster.of_attempt(attempt_id):
            self.cluster.remove(job, verify=True)

    # -- building --------------------------------------------------------------------------------

    def _build(
        self, plan: BuildPlan, given: Given, context: StageContext, *, recipe: Recipe, content: str, name: str
    ) -> Built:
        """One Job, from the context's upload to the end.

        :raises Gone: somebody has removed it.
        """
        image = ImageRef(name=name)
        context.ensure(image)
        cache = cache_repository(name, self.settings)
        if cache is not None and cache.startswith(f"{name.partition('/')[0]}/"):
            context.ensure(ImageRef(name=f"{cache}:cache"))
        with self._lock:
            self._clean.pop(plan.attempt_id, None)
        secrets = _secrets(given)
        if secrets and recipe.needs is not None:
            recipe = with_kit(recipe, plan, self.settings, Kit(secrets=tuple(sorted(secrets))))
            content = digest(recipe.context, context.check)
        order = self._order(plan, given, recipe, name=name, content=content, secrets=secrets)
        if self.cluster.find(order.job) is None:
            with open_store(self.place, given.access, self.settings.store) as store:
                self._upload(store, recipe, content, context)
            self._tidy(given)
        building = Building(
            self.cluster, order, context, store=self.place.url, there=lambda: context.digest(image)
        )
        return building.run()

    def _order(
        self,
        plan: BuildPlan,
        given: Given,
        recipe: Recipe,
        *,
        name: str,
        content: str,
        secrets: Mapping[str, Secret],
    ) -> Order:
        return Order(
            name=name,
            run_id=plan.run_id,
            attempt_id=plan.attempt_id,
            labels=plan.labels,
            settings=self.settings,
            sight=sight(self.place, content, self.settings.store),
            dockerfile=recipe.dockerfile,
            build_args=recipe.arguments,
            image_labels={**image_labels(plan.labels), **{each.name: each.value for each in given.labels}},
            platform=plan.platform or self.settings.platform,
            logins=_logins(given, self.settings.executor_helpers),
            docker_configs=tuple(each.content for each in given.files if each.name in DOCKER_CONFIG_FILES),
            access=given.access,
            secrets=secrets,
            certificates=_certificates(self.settings),
        )

    def _upload(self, store: ContextStore, recipe: Recipe, content: str, context: StageContext) -> None:
        size = f"{len(recipe.context.entries)} entries, {recipe.context.size >> 10} KiB"
        if store.has(content):
            context.log(f"building from {recipe.origin}: its context is in {self.place.url} already ({size})")
            return
        context.log(f"building from {recipe.origin}: its context goes to {self.place.url} ({size})")
        packed = pack(recipe.context, context.check, under=CONTEXT_FOLDER)
        store.put(content, packed, context.check)

    def _bases(self, recipe: Recipe, repository: str, context: StageContext) -> dict[str, str]:
        """Digests of the base images, when they are to be part of the tag: of the run's registry only."""
        if not self.settings.pin_base:
            return {}
        host = f"{repository.partition('/')[0]}/"
        found = {}
        for name in bases(recipe.text):
            if not name.startswith(host):
                raise LaunchError(
                    f"`pin_base` needs the digest of {name[:120]}, and only the images' registry is asked",
                    reason=Reason.CONFIG_ERROR,
                    hint="mirror the base image there, name it by its digest, or leave `pin_base` out",
                )
            if known := context.digest(ImageRef(name=name)):
                found[name] = known
        return found

    def _check(self) -> None:
        """:raises LaunchError: ``config_error``: settings that do not suit each other."""
        try:
            check_store(self.place, self.settings.store)
        except ValueError as error:
            raise _config(
                f"the builder's build-context-store: {error}", "mend the builder's `store`"
            ) from None
        if "," in (self.settings.platform or ""):
            raise _config(
                "the builder's `platform` names several, and the executor builds for one",
                "one builder for each platform, or `docker` with BuildKit",
            )

    # -- what is thrown away ---------------------------------------------------------------------

    def _has_left_nothing(self, attempt_id: str) -> None:
        """There is nothing of this attempt in the cluster: cleanup need not ask."""
        with self._lock:
            self._clean[attempt_id] = None
            while len(self._clean) > REMEMBERED:
                self._clean.pop(next(iter(self._clean)))

    def _tidy(self, given: Given) -> None:
        """Now and then, in no run's way: contexts whose time is over, builds that nobody will begin."""
        with self._lock:
            if time.monotonic() - self._tidied < TIDY_EVERY:
                return
            self._tidied = time.monotonic()
        threading.Thread(target=self.tidy, args=(given,), name="kaniko-tidy", daemon=True).start()

    def tidy(self, given: Given) -> None:
        """Do so at once. Never raises."""
        try:
            for job in self.cluster.forsaken():
                self.cluster.remove(job)
            with open_store(self.place, given.access, self.settings.store) as store:
                store.sweep()
        except LaunchError as error:
            log.info("old build contexts and builds are not removed now: %s", error)
        except Exception:
            log.exception("old build contexts and builds could not be removed")


def _repository(plan: BuildPlan) -> str:
    if plan.destination is None or plan.destination.registry == "local":
        raise _config(
            "an image that is built in a cluster has to be pushed, and there is nowhere to push it to",
            "name a `registry`, or a `destination` in the `builder` block",
        )
    return plan.destination.repository


def _logins(given: Given, helpers: tuple[str, ...]) -> tuple[Login | CredentialHelper, ...]:
    """Helpers that the executor has stay helpers; those of the agent's machine are asked here."""
    own = [each for each in given.logins if isinstance(each, CredentialHelper) and each.helper in helpers]
    rest = tuple(each for each in given.logins if each not in own)
    asked = resolved(Given(logins=rest), RunConfig())
    return (*own, *asked.logins)


def _secrets(given: Given) -> dict[str, Secret]:
    """What steps may mount, and no layer keeps."""
    found = {each.name: each.value for each in given.env if isinstance(each.value, Secret)}
    found |= {each.name: each.content for each in given.files if each.name not in DOCKER_CONFIG_FILES}
    if wrong := [name for name in found if not re.fullmatch(r"[A-Za-z0-9_.-]+", name)]:
        raise bad(f"{wrong[0][:60]!r} cannot be the name of a build secret")
    return found


def _certificates(settings: BuilderSettings) -> dict[str, str]:
    found = {}
    for host, path in settings.registry_certificates.items():
        try:
            found[host] = Path(path).expanduser().read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise _config(
                f"the certificate of {host} cannot be read: {error}",
                "mend the builder's `registry_certificates`",
            ) from None
    return found


def _config(detail: str, hint: str) -> LaunchError:
    return LaunchError(detail, reason=Reason.CONFIG_ERROR, fault=Fault.INFRASTRUCTURE, hint=hint)


def make_builder(settings: BuilderSettings, site: Site) -> KanikoBuilder:
    """The builder of these settings at this site."""
    load_sdk()
    return KanikoBuilder(settings, site)
