"""What an installed plugin distribution has to be. Needs nothing but its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from typing import ClassVar

from packaging.requirements import Requirement

from launchcore.host import Host
from launchcore.host.discovery import PluginRecord
from launchcore.plugin import PROJECT
from launchcore.testing.conformance.suite import Suite, load_plugin, undocumented

_PROBE = """
import importlib, json, sys
from launchcore.testing.conformance.suite import load_plugin
import launchcore.host.host
before = set(sys.modules)
for module in sys.argv[1:]:
    load_plugin(module)
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


class PackagingConformance(Suite):
    """Subclass it and set ``distribution``; the distribution must be installed."""

    distribution: ClassVar[str]
    """Its name, as pip knows it."""
    light: ClassVar[frozenset[str]] = frozenset()
    """Names of distributions that it depends on and may import with its plugin: no SDKs."""

    def records(self) -> list[PluginRecord]:
        """The records of this distribution's plugins on this machine."""
        wanted = self.distribution.lower().replace("_", "-")
        host = Host.load()
        return [one for one in host.plugins if one.distribution.lower().replace("_", "-") == wanted]

    def test_it_has_an_entry_point(self) -> None:
        """The entry point is how it is found.

        If this fails, check ``[project.entry-points.launchcore]`` in its pyproject.toml.
        """
        assert self.records(), f"{self.distribution} has no entry point in the group {PROJECT!r}"

    def test_it_is_loaded(self) -> None:
        """Its requirement fits, it can be imported, its hooks are wired, its offers make sense.

        If this fails, check the reason that it prints; ``launch plugins show`` has the traceback.
        """
        assert [one.reason for one in self.records() if not one.loaded or one.reason] == []

    def test_it_says_which_launchcore_it_needs(self) -> None:
        """With a lower and an upper bound, so that it is refused rather than broken by a new major.

        If this fails, check its dependencies: ``launchcore>=1.2,<2``.
        """
        needs = [Requirement(text) for text in metadata.distribution(self.distribution).requires or ()]
        operators = {
            specifier.operator
            for need in needs
            if need.name.lower() == PROJECT
            for specifier in need.specifier
        }
        assert operators & {">=", ">", "==", "~="}, "no lower bound on launchcore"
        assert operators & {"<", "<=", "==", "~="}, "no upper bound on launchcore"

    def test_it_has_a_summary(self) -> None:
        """People see it in an index.

        If this fails, check ``description`` in its pyproject.toml.
        """
        told = metadata.metadata(self.distribution)
        assert "Summary" in told
        assert told["Summary"].strip()

    def test_registration_imports_no_sdk(self) -> None:
        """``launch plugins list`` loads every plugin: an SDK takes a second, or fails.

        If this fails, check the imports of the plugin's module: move them into the factories.
        """
        modules = [one.module for one in self.records()]
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, *modules],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        imported = set(json.loads(done.stdout))

        assert imported & self._heavy() == set()

    def test_every_setting_is_documented(self) -> None:
        """Help is all that a user reads of a setting.

        If this fails, check that every field is made with ``setting("…")``.
        """
        missing: list[str] = []
        for record in self.records():
            catalog = load_plugin(record.module).catalog
            for offer in catalog.all():
                for part in ("settings", "fields", "config"):
                    cls = getattr(offer.spec, part, None)
                    missing += [f"{offer.spec.name}: {name}" for name in undocumented(cls)] if cls else []
        assert missing == []

    def _heavy(self) -> set[str]:
        """The import names of everything that it depends on, save launchcore and what it calls light."""
        needs = {
            Requirement(text).name.lower() for text in metadata.distribution(self.distribution).requires or ()
        }
        needs -= {PROJECT, "attrs", *self.light}
        return {
            module
            for module, owners in metadata.packages_distributions().items()
            if {owner.lower() for owner in owners} & needs
        }
