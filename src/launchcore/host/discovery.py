"""Installed plugins → records. Whether one fits is read from its metadata, before it is imported.

Nothing that a plugin does when it is imported breaks the host: what it raises is kept and shown.
"""

from __future__ import annotations

import contextlib
import enum
import importlib
import logging
import sys
import traceback as tracebacks
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import TypeAlias

import attrs

from launchcore.plugin import PROJECT

log = logging.getLogger("launchcore.host")

Extra: TypeAlias = str | tuple[str, object]
"""A plugin beside the installed ones: a dotted path, or a name and the plugin itself."""


class PluginState(enum.Enum):
    """What became of a plugin."""

    LOADED = "loaded"
    FAILED = "failed"
    """It raised: when it was imported, or when it was asked what it offers."""
    REFUSED = "refused"
    """It does not fit: its requirement on launchcore, its hooks, its name."""
    DISABLED = "disabled"
    """The configuration says so; it was not imported."""


@attrs.frozen(kw_only=True)
class PluginRecord:
    """One plugin, whatever became of it. ``name`` is its entry point's name."""

    name: str
    distribution: str
    version: str
    state: PluginState
    reason: str | None = None
    """One line, unless it is loaded; a loaded one may have a warning here."""
    module: str
    """What the entry point names: ``package.module`` or ``package.module:attribute``."""
    hooks: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    """``runner process``, ``source git`` …"""
    traceback: str | None = attrs.field(default=None, repr=False)
    plugin: object | None = attrs.field(default=None, repr=False, eq=False)
    """The imported module or class of a loaded one."""

    @property
    def label(self) -> str:
        """How errors name it: ``launchcore-docker 1.2.0``."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def is_class(self) -> bool:
        """It is in use, and it is a class: made by the host with its settings, ``plugins.<name>``."""
        return isinstance(self.plugin, type)

    @property
    def loaded(self) -> bool:
        return self.state is PluginState.LOADED

    def becomes(self, state: PluginState, reason: str, error: BaseException | None = None) -> PluginRecord:
        """The same plugin in another state; ``error``'s traceback is kept for ``launch plugins show``."""
        text = "".join(tracebacks.format_exception(error)) if error else None
        return attrs.evolve(self, state=state, reason=one_line(reason), traceback=text, plugin=None)


def discover(
    *,
    builtin: Sequence[str],
    disabled: Collection[str] = (),
    extra: Iterable[Extra] = (),
    path: Sequence[str] | None = None,
) -> tuple[PluginRecord, ...]:
    """Every plugin there is, sorted by name; those that are to be used are imported.

    :param builtin: module paths of launchcore's own plugins.
    :param disabled: names of plugins or of distributions that are not to be imported.
    :param extra: plugins beside the installed ones, for tests and for development.
    :param path: where to look for distributions; ``sys.path`` without it.
    """
    ours = own_version()
    own = [_own(module, ours) for module in builtin]
    others = [*_installed(path, ours), *(_extra(one, ours) for one in extra)]
    records = [_disable(record, disabled) for record in (*own, *_tell_apart(own, others))]
    return tuple(sorted(map(_import, records), key=lambda record: (record.name, record.distribution)))


def own_version() -> str:
    """The version of launchcore that runs here."""
    try:
        return metadata.version(PROJECT)
    except metadata.PackageNotFoundError:  # a source tree on sys.path, never installed
        return "0"


def one_line(text: str, limit: int = 300) -> str:
    """Text of a stranger as one harmless line."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


def raised(error: BaseException) -> str:
    """An exception in one line: ``ModuleNotFoundError: No module named 'kubernetes'``."""
    try:
        text = str(error)
    except Exception:
        text = ""
    return one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__)


@contextlib.contextmanager
def contained(failed: Callable[[BaseException], None]) -> Iterator[None]:
    """Run a plugin's code so that neither what it raises nor what it prints reaches our caller.

    ``SystemExit`` and its like are the plugin's failure too; Ctrl-C is the user's, and passes.
    Standard output belongs to the command (``--json``), so prints go to standard error.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        failed(error)


def _own(module: str, version: str) -> PluginRecord:
    return PluginRecord(
        name=_name_of(module),
        distribution=PROJECT,
        version=version,
        state=PluginState.LOADED,
        module=module,
    )


def _extra(extra: Extra, version: str) -> PluginRecord:
    if isinstance(extra, str):
        ours = extra.split(".")[0] == PROJECT
        return attrs.evolve(_own(extra, version if ours else ""), distribution=PROJECT if ours else "(extra)")
    name, plugin = extra
    return attrs.evolve(_own(name, ""), name=name, distribution=f"({name})", plugin=plugin)


def _name_of(module: str) -> str:
    """``launchcore.builtin.git.plugin`` is called ``git``."""
    parts = module.split(":", maxsplit=1)[0].split(".")
    return parts[-2] if parts[-1] == "plugin" and len(parts) > 1 else parts[-1]


def _installed(path: Sequence[str] | None, ours: str) -> Iterator[PluginRecord]:
    """A record for each entry point of our group. Of two copies of a distribution the first counts."""
    seen: set[str] = set()
    for distribution in metadata.distributions() if path is None else metadata.distributions(path=list(path)):
        try:
            text = distribution.read_text("entry_points.txt") or ""
            if f"[{PROJECT}]" not in text:
                continue
            # Text of strangers, to be shown on terminals; KeyError or AttributeError: it is not there.
            name, version = (one_line(distribution.metadata[key].strip(), 80) for key in ("Name", "Version"))
            found = [point for point in distribution.entry_points if point.group == PROJECT]
            needs = list(distribution.requires or ())
        except Exception as error:  # damaged metadata of somebody's package
            log.warning("cannot read the metadata of an installed package: %s", raised(error))
            continue
        if _folded(name) in seen or _folded(name) == PROJECT:
            continue
        seen.add(_folded(name))
        misfit = _misfit(f"{name} {version}", needs, ours)
        for point in found:
            record = PluginRecord(
                name=one_line(point.name, 80),
                distribution=name,
                version=version,
                state=PluginState.LOADED,
                module=point.value,
            )
            yield record.becomes(PluginState.REFUSED, misfit) if misfit else record


def _misfit(label: str, needs: Sequence[str], ours: str) -> str | None:
    """Why a distribution does not fit this launchcore, by its own words; pure."""
    from packaging.requirements import InvalidRequirement, Requirement

    declared = False
    for text in needs:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            if PROJECT in text:
                return f"{label} was not loaded: its requirement {text!r} cannot be read"
            continue
        if _folded(requirement.name) != PROJECT:
            continue
        # One that holds only for an extra ("testing") is not a requirement of the plugin itself.
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        declared = True
        if not requirement.specifier.contains(ours, prereleases=True):
            needed = f"{PROJECT}{requirement.specifier}"
            return f"{label} was not loaded: it needs {needed}, this is {ours}"
    if declared:
        return None
    return f"{label} was not loaded: it does not say which {PROJECT} it needs (no dependency on {PROJECT})"


def _tell_apart(own: Iterable[PluginRecord], others: Sequence[PluginRecord]) -> Iterator[PluginRecord]:
    """Refuse plugins whose name is another's, since ``plugins.<name>`` would mean both; ours stay."""
    taken: Mapping[str, str] = {record.name: record.label for record in own}
    for record in others:
        rivals = [other.label for other in others if other.name == record.name and other is not record]
        rivals += [taken[record.name]] if record.name in taken else []
        if rivals and record.loaded:
            reason = f"{record.label} was not loaded: {' and '.join(rivals)} has a plugin {record.name!r} too"
            yield record.becomes(PluginState.REFUSED, reason)
        else:
            yield record


def _disable(record: PluginRecord, disabled: Collection[str]) -> PluginRecord:
    names = {_folded(name) for name in disabled}
    if names & {_folded(record.name), _folded(record.distribution)}:
        return record.becomes(PluginState.DISABLED, "disabled by the configuration")
    return record


def _import(record: PluginRecord) -> PluginRecord:
    if not record.loaded or record.plugin is not None:
        return record
    imported: list[object] = []
    failures: list[BaseException] = []
    with contained(failures.append):
        module, _, attribute = record.module.partition(":")
        found: object = importlib.import_module(module.strip())
        for part in filter(None, attribute.split("[")[0].strip().split(".")):
            found = getattr(found, part)
        imported.append(found)
    if failures:
        return record.becomes(PluginState.FAILED, raised(failures[0]), failures[0])
    return attrs.evolve(record, plugin=imported[0])


def _folded(name: str) -> str:
    return name.replace("_", "-").replace(".", "-").casefold()
