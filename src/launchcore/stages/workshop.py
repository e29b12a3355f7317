"""The components of one agent, made when they are first needed and kept."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from launchcore.config.values import AgentConfig
from launchcore.host.catalog import Offer
from launchcore.host.host import Host
from launchcore.host.images import registry_block, requirement
from launchcore.host.settings import structure
from launchcore.plugin import (
    Builder,
    BuilderSpec,
    Environment,
    EnvironmentSpec,
    Json,
    LaunchError,
    Reason,
    Registry,
    RegistrySpec,
    Runner,
    RunnerSpec,
    Site,
    Source,
    SourceSpec,
)

log = logging.getLogger("launchcore.stages")
S = TypeVar("S")
C = TypeVar("C")


@attrs.frozen(kw_only=True)
class Component(Generic[S, C]):
    """A component ready for use: what it declares, who offers it, and the object itself."""

    spec: S
    plugin: str
    settings: Any
    object: C


class Workshop:
    """Makes and keeps components. Safe to use from any thread."""

    def __init__(self, host: Host, config: AgentConfig, site: Site) -> None:
        self.host = host
        self.config = config
        self.site = site
        self._made: dict[tuple[str, str, str], Component[Any, Any]] = {}
        self._lock = threading.RLock()
        """Re-entrant: what requires the environment has it made while it is made itself."""

    def source(self, name: str) -> Component[SourceSpec, Source]:
        offer = self.host.catalog.source(name)
        return self._make("source", offer, self._of_plugin(offer.spec.name), f"plugins.{name}")

    def runner(self, name: str) -> Component[RunnerSpec, Runner]:
        offer = self.host.catalog.runner(name)
        return self._make("runner", offer, self._of_plugin(offer.spec.name), f"plugins.{name}")

    def runner_settings(self, name: str) -> tuple[Offer[RunnerSpec], Any]:
        """Who offers a runner, and the agent's settings for it. The runner itself is not made."""
        offer = self.host.catalog.runner(name)
        raw = self._of_plugin(offer.spec.name)
        return offer, structure(offer.spec.settings, raw, path=f"plugins.{offer.spec.name}")

    def builder(self, block: Mapping[str, Json]) -> Component[BuilderSpec, Builder]:
        """``block`` is the ``builder:`` mapping of a queue or of the agent: ``type`` and its settings.

        ``destination`` is the core's own key: it names the image repository.
        """
        return self._block("builder", self.host.catalog.builder, block, own=("destination",))

    def registry_block(
        self, queue: Mapping[str, Json] | None, builder: Mapping[str, Json]
    ) -> Mapping[str, Json]:
        """The registry of a queue that says ``queue``, with the builder's block that holds for it."""
        return registry_block(self.host.catalog, queue or self.config.registry, builder)

    def registry(self, block: Mapping[str, Json]) -> Component[RegistrySpec, Registry]:
        return self._block("registry", self.host.catalog.registry, block)

    def environment(self, block: Mapping[str, Json]) -> Component[EnvironmentSpec, Environment]:
        return self._block("environment", self.host.catalog.environment, block)

    def made_runners(self) -> list[Component[RunnerSpec, Runner]]:
        """The runners that are in use."""
        with self._lock:
            return [made for (kind, _, _), made in self._made.items() if kind == "runner"]

    def made_builders(self) -> list[Component[BuilderSpec, Builder]]:
        """The builders that are in use."""
        with self._lock:
            return [made for (kind, _, _), made in self._made.items() if kind == "builder"]

    def known_builders(self) -> list[Component[BuilderSpec, Builder]]:
        """Those in use, and the agent's own, which may have left something before the agent was restarted."""
        if self.config.builder:
            with contextlib.suppress(LaunchError):  # what cannot be made has made nothing
                self.builder(self.config.builder)
        return self.made_builders()

    def _of_plugin(self, name: str) -> Mapping[str, Json]:
        return {} if self.host.has_own_section(name) else self.config.plugins.get(name, {})

    def _block(
        self,
        kind: str,
        find: Callable[[str], Offer[Any]],
        block: Mapping[str, Json],
        own: tuple[str, ...] = (),
    ) -> Component[Any, Any]:
        offer = find(str(block.get("type", "")))
        raw = {key: value for key, value in block.items() if key not in ("type", *own)}
        return self._make(kind, offer, raw, kind)

    def _make(self, kind: str, offer: Offer[Any], raw: Mapping[str, Json], path: str) -> Component[Any, Any]:
        key = (kind, offer.spec.name, json.dumps(raw, sort_keys=True, default=str))
        with self._lock:
            made = self._made.get(key)
            if made is None:
                settings = structure(offer.spec.settings, raw, path=path)
                made = Component(
                    spec=offer.spec,
                    plugin=offer.plugin,
                    settings=settings,
                    object=self._create(kind, offer, settings, self._site_of(kind, offer)),
                )
                self._made[key] = made
            return made

    def _site_of(self, kind: str, offer: Offer[Any]) -> Site:
        """With the environment for what requires it.

        :raises LaunchError: the agent works in another one.
        """
        if getattr(offer.spec, "requires_environment", None) is None:
            return self.site
        environment = self.host.catalog.environment(str(self.config.environment.get("type", "")))
        if problem := requirement(offer, kind, environment):
            raise LaunchError(problem.message, reason=Reason.CONFIG_ERROR, hint=problem.hint)
        return attrs.evolve(self.site, environment=self.environment(self.config.environment).object)

    def _create(self, kind: str, offer: Offer[Any], settings: Any, site: Site) -> Any:
        """A plugin that cannot make what it offers (its SDK is missing, say) is named."""
        try:
            return offer.spec.create(settings, site)
        except LaunchError as error:
            error.plugin = error.plugin or offer.plugin
            raise
        except Exception as error:
            log.exception("%s could not make the %s %s", offer.plugin, kind, offer.spec.name)
            what = f": {error}" if isinstance(error, ImportError) else ""
            failed = LaunchError(
                f"{offer.plugin} could not make the {kind} {offer.spec.name!r}: {type(error).__name__}{what}",
                reason=Reason.PLUGIN_ERROR,
                hint=f"launch plugins show {offer.entry}",
            )
            failed.plugin = offer.plugin
            raise failed from error
