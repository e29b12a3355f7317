"""From a configuration to the parts of an agent: host, queue client, components."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import attrs

from launchcore.config.check import check_config
from launchcore.config.door import queue_settings
from launchcore.config.load import LoadedConfig
from launchcore.config.secrets import SecretStore
from launchcore.host.host import Host
from launchcore.host.settings import SettingsError
from launchcore.plugin import LaunchError, QueueClient, Reason, Runner, RunnerSpec, Site
from launchcore.stages.workshop import Component, Workshop
from launchcore.telemetry.witness import Witnesses


@attrs.frozen(kw_only=True)
class Wiring:
    """The parts, ready for use. ``local``: submitters have this machine's account."""

    loaded: LoadedConfig
    host: Host
    client: QueueClient
    shop: Workshop
    secrets: SecretStore
    local: bool
    account: str
    """Who we are in the environment, in one line."""
    witnesses: Witnesses
    host_bound: tuple[str, ...]
    """Runners in use whose objects only an agent of this machine can see."""


def wire(loaded: LoadedConfig) -> Wiring:
    """Everything that can be known to be wrong is found here, before the first run is claimed.

    :raises LaunchError: the configuration cannot work (all its mistakes in one error), a queue does not
        exist, or its runner is not installed.
    :raises QueueUnavailable: the queue service cannot be reached.
    """
    config = loaded.config
    if not config.queues:
        raise LaunchError(
            "no queue to serve",
            reason=Reason.CONFIG_ERROR,
            hint="launch agent --queue NAME, or `queues:` in the file",
        )
    witnesses = Witnesses()
    host = Host.load(
        disabled=config.disabled_plugins,
        settings=config.plugins,
        extra=(*config.plugin_modules, ("telemetry", witnesses)),
    )
    problems = check_config(config, host)
    if problems:
        raise SettingsError(loaded.located(problems))
    offer = host.catalog.queue_for(config.base_url)
    settings = queue_settings(offer.spec.settings, offer.spec.name, config)
    client = offer.spec.connect(config.base_url, settings)
    state, cache = Path(config.state_dir), Path(config.cache_dir)
    for folder in (state, cache):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    site = Site(state=state, cache=cache, owner=client.identity(), host=socket.gethostname() or "localhost")
    shop = Workshop(host, config, site)
    runners = [_runner_of(name, client, shop) for name in config.queues]
    account = shop.environment(config.environment).object.verify()
    return Wiring(
        loaded=loaded,
        host=host,
        client=client,
        shop=shop,
        secrets=SecretStore(config.secrets, dict(os.environ)),
        local=offer.spec.local,
        account=account,
        witnesses=witnesses,
        host_bound=tuple(sorted({each.spec.name for each in runners if each.spec.host_bound})),
    )


def _runner_of(name: str, client: QueueClient, shop: Workshop) -> Component[RunnerSpec, Runner]:
    """The runner of a queue. A registry of the queue's own is made, too: it may not fit this agent.

    :raises LaunchError: naming the queue.
    """
    queue = client.queue_config(name)
    runner = shop.runner(queue.type)
    if runner.spec.needs_image and (queue.registry or queue.builder):
        try:
            shop.registry(shop.registry_block(queue.registry, queue.builder or shop.config.builder))
        except LaunchError as error:
            raise LaunchError(
                f"queue {name!r}: {error.detail}", reason=error.reason, fault=error.fault, hint=error.hint
            ) from None
    return runner
