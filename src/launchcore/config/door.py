"""How a queue service is reached: the configuration's own keys, and ``plugins.<service>``."""

from __future__ import annotations

from typing import Any, Final

from launchcore.config.values import AgentConfig
from launchcore.host.fields import fields_of
from launchcore.host.names import fold
from launchcore.host.settings import structure

SHARED: Final = ("token", "token_file", "ca_file", "client_certificate", "client_key", "allow_plain_http")
"""Keys of the configuration that a queue service has as settings, if it has any use for them."""


def queue_settings(settings: type, name: str, config: AgentConfig) -> Any:
    """An instance of a queue service's settings class.

    What stands in ``plugins.<name>`` comes before the configuration's own key.

    :raises SettingsError: with every mistake in ``plugins.<name>``.
    """
    own: dict[str, Any] = dict(config.plugins.get(name, {}))
    known = {field.name for field in fields_of(settings).values()}
    given = {fold(key) for key in own}
    shared: dict[str, Any] = {
        key: getattr(config, key) for key in SHARED if key in known and fold(key) not in given
    }
    return structure(settings, {**shared, **own}, path=f"plugins.{name}")
