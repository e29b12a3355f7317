"""Installed plugins as things to use: found, checked, registered, in one value without globals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs

from launchcore.host.calls import Calls
from launchcore.host.catalog import WITH_SECTIONS, Catalog, Offer, describe
from launchcore.host.discovery import Extra, PluginRecord, PluginState, contained, discover, raised
from launchcore.host.fields import fields_of
from launchcore.host.manager import Manager, Refused
from launchcore.host.settings import Problem, SettingsError, structure
from launchcore.plugin import LaunchError


@attrs.frozen(kw_only=True)
class Host:
    """What the rest of launchcore knows of plugins. Made by :meth:`load`."""

    plugins: tuple[PluginRecord, ...]
    """Every plugin that was found, whatever became of it."""
    catalog: Catalog
    calls: Calls
    problems: tuple[Problem, ...] = ()
    """Mistakes in the settings of plugins that are classes; such a plugin is *failed*."""

    @classmethod
    def load(
        cls,
        *,
        disabled: Collection[str] = (),
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        extra: Iterable[Extra] = (),
        builtin: Sequence[str] | None = None,
        path: Sequence[str] | None = None,
    ) -> Host:
        """Find all plugins and take in those that fit. Never raises for what a plugin does.

        :param disabled: names of plugins or distributions that are not to be imported.
        :param settings: ``plugins`` of the configuration: sections by name, as they were written.
        :param extra: plugins beside the installed ones: a dotted path, or ``(name, plugin)``.
        :param builtin: other built-in plugins than launchcore's, for tests.
        :param path: where to look for distributions instead of ``sys.path``.
        """
        if builtin is None:
            from launchcore.builtin import BUILTIN

            builtin = BUILTIN
        loading = _Loading(settings or {})
        records = discover(builtin=builtin, disabled=disabled, extra=extra, path=path)
        taken = [loading.take(record) for record in records]
        catalog = Catalog(loading.offers, taken)
        return cls(
            plugins=tuple(_with_clashes(record, catalog) for record in taken),
            catalog=catalog,
            calls=Calls(loading.manager),
            problems=tuple(loading.problems),
        )

    def plugin(self, name: str) -> PluginRecord | None:
        """The record of a plugin, by its own name."""
        return next((record for record in self.plugins if record.name == name), None)

    def has_own_section(self, name: str) -> bool:
        """Whether ``plugins.<name>`` is read by a plugin itself: one that is a class with ``Settings``.

        Its mistakes are in :attr:`problems`. A source or runner of the same name has no settings then.
        """
        record = self.plugin(name)
        return record is not None and record.is_class


class _Loading:
    """The state of one :meth:`Host.load`."""

    def __init__(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self.settings = settings
        self.manager = Manager()
        self.problems: list[Problem] = []
        self.offers: list[Offer[Any]] = []

    def take(self, record: PluginRecord) -> PluginRecord:
        """Register one plugin as a whole, or say why not and leave nothing of it behind."""
        if not record.loaded:
            return record
        failures: list[BaseException] = []
        taken = record
        with contained(failures.append):
            plugin = self.instance(record)
            hooks = self.manager.register(record.name, record.label, plugin)
            specs = Calls(self.manager).register(record.name)
            _refuse_two_readers(record, specs)
            self.offers += [Offer(spec=spec, plugin=record.label, entry=record.name) for spec in specs]
            taken = attrs.evolve(record, hooks=hooks, offers=tuple(sorted(map(describe, specs))))
        if not failures:
            return taken
        self.manager.unregister(record.name)
        error = failures[0]
        if isinstance(error, Refused):
            return record.becomes(PluginState.REFUSED, str(error))
        if isinstance(error, SettingsError):
            self.problems += error.problems
        reason = error.detail if isinstance(error, LaunchError) else raised(error)
        return record.becomes(PluginState.FAILED, reason, error)

    def instance(self, record: PluginRecord) -> object:
        """The plugin itself; a class gets its settings, ``plugins.<name>``, checked."""
        plugin = record.plugin
        if not isinstance(plugin, type):
            return plugin
        settings = getattr(plugin, "Settings", None)
        if not isinstance(settings, type) or not attrs.has(settings):
            raise Refused(f"{plugin.__name__} is a class without a class Settings (frozen attrs)")
        required = [field.key for field in fields_of(settings).values() if field.required]
        if required:
            raise Refused(f"its Settings must all have defaults; {', '.join(required)} has none")
        raw = self.settings.get(record.name, {})
        return plugin(structure(settings, raw, path=f"plugins.{record.name}"))


def _refuse_two_readers(record: PluginRecord, specs: Sequence[Any]) -> None:
    """``plugins.<name>`` is the plugin's own or its source's or runner's: not both."""
    if not record.is_class:
        return
    for spec in specs:
        if spec.name == record.name and type(spec) in WITH_SECTIONS and fields_of(spec.settings):
            raise Refused(
                f"plugins.{record.name} would be the settings of the plugin and of its {describe(spec)}"
            )


def _with_clashes(record: PluginRecord, catalog: Catalog) -> PluginRecord:
    """A loaded plugin keeps a warning about names that it shares, and so cannot be used."""
    found = [
        f"{what} is offered by {theirs.plugin} too, and belongs to neither"
        for what, mine, theirs in catalog.clashes()
        if mine.entry == record.name
    ]
    return attrs.evolve(record, reason="; ".join(dict.fromkeys(found))) if found else record
