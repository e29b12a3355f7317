"""What the suites share: the plugin is found through the real hooks, and tests stay what they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import attrs
import pytest

from launchcore.host import Host
from launchcore.host.fields import fields_of
from launchcore.host.settings import structure
from launchcore.plugin import Environment, Site

T = TypeVar("T")


def load_plugin(plugin: str) -> Host:
    """A host that has this plugin only: a module path, as an entry point names it."""
    host = Host.load(builtin=(), path=[], extra=(plugin,))
    record = host.plugins[0]
    assert record.loaded, f"{plugin} is {record.state.value}: {record.reason}\n{record.traceback or ''}"
    return host


def make_environment(asked: tuple[str, Mapping[str, Any]] | None, site: Site) -> Environment | None:
    """The environment that a suite names: its plugin's module, and the block of a configuration."""
    if asked is None:
        return None
    plugin, block = asked
    offer = load_plugin(plugin).catalog.environment(str(block["type"])).spec
    settings = {key: value for key, value in block.items() if key != "type"}
    return offer.create(structure(offer.settings, settings, path="environment"), site)


def eventually(what: str, look: Callable[[], T | None], *, patience: float) -> T:
    """Look again and again until there is something to see, at most ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        seen = look()
        if seen is not None:
            return seen
        if time.monotonic() > deadline:
            pytest.fail(f"waited {patience} s in vain for {what}")
        time.sleep(0.01)


def undocumented(cls: type, path: str = "") -> Iterator[str]:
    """The settings of a class, and of those inside it, that have no help."""
    for field in fields_of(cls).values():
        if not field.help.strip():
            yield f"{path}{field.key}"
        if isinstance(field.type, type) and attrs.has(field.type):
            yield from undocumented(field.type, f"{path}{field.key}.")


class Suite:
    """The base of all suites."""

    def test_no_standard_test_is_overridden_without_a_reason(self) -> None:
        """A suite is worth what it tests: overriding one of its tests costs an xfail with a reason.

        If this fails, check the test that it names: remove it, or mark it ``xfail(reason=…)``.
        """
        cls = type(self)
        assert not _marks(cls) & {"skip", "xfail"}, f"{cls.__name__} skips the whole suite"
        for name in {name for base in cls.__mro__ for name in vars(base) if name.startswith("test_")}:
            standard = _standard(cls, name)
            mine = getattr(cls, name, None)
            if standard is None or mine is standard:
                continue
            reasons = [
                mark.kwargs.get("reason") for mark in getattr(mine, "pytestmark", []) if mark.name == "xfail"
            ]
            assert any(reasons), f"{cls.__name__}.{name} replaces a standard test without xfail(reason=…)"


def _standard(cls: type, name: str) -> Any:
    """The test of that name as the kit has it."""
    for base in reversed(cls.__mro__):
        if base.__module__.startswith(__package__ or "") and name in vars(base):
            return vars(base)[name]
    return None


def _marks(cls: type) -> set[str]:
    marks = vars(cls).get("pytestmark", [])
    return {mark.name for mark in (marks if isinstance(marks, list) else [marks])}
