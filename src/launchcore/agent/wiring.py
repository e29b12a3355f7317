"""From a configuration to the parts of an agent: host, queue client, components."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from launchcore.config.check import check_config
from launchcore.config.load import LoadedConfig
from launchcore.config.secrets import SecretStore
from launchcore.host.host import Host
from launchcore.host.settings import SettingsError, structure
from launchcore.plugin import LaunchError, QueueClient, Reason, Site
from launchcore.stages.workshop import Workshop


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


def wire(loaded: LoadedConfig, hostname: str) -> Wiring:
    """:raises LaunchError: anything in the configuration that cannot work, all of it in one error."""
    config = loaded.config
    if not config.queues:
        raise LaunchError(
            "no queue to serve",
            reason=Reason.CONFIG_ERROR,
            hint="launch agent --queue NAME, or `queues:` in the file",
        )
    host = Host.load(disabled=config.disabled_plugins, settings=config.plugins)
    problems = check_config(config, host)
    if problems:
        raise SettingsError(tuple(problems))
    offer = host.catalog.queue_for(config.base_url)
    client = offer.spec.connect(config.base_url, structure(offer.spec.settings, {}, path="queue service"))
    state, cache = Path(config.state_dir), Path(config.cache_dir)
    for folder in (state, cache):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    site = Site(state=state, cache=cache, owner=client.identity(), host=hostname)
    shop = Workshop(host, config, site)
    account = shop.environment(config.environment).object.verify()
    return Wiring(
        loaded=loaded,
        host=host,
        client=client,
        shop=shop,
        secrets=SecretStore(config.secrets, dict(os.environ)),
        local=offer.spec.local,
        account=account,
    )
