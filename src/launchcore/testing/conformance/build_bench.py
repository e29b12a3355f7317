"""What a test of a builder stands on: a site, trees, plans."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launchcore.host.merging import merge
from launchcore.host.settings import structure
from launchcore.plugin import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
    Builder,
    BuildPlan,
    BuiltImage,
    Contribution,
    CredentialHelper,
    Destination,
    Given,
    ImageRef,
    Login,
    Registry,
    Site,
    SourceRef,
    SourceTree,
)
from launchcore.testing.conformance.suite import load_plugin
from launchcore.testing.context import RecordingContext
from launchcore.testing.sites import make_site

Files = Mapping[str, str]
"""The files of a tree: path to text."""


class BuilderBench:
    """One builder of one test, with its site."""

    def __init__(
        self,
        root: Path,
        *,
        plugin: str,
        name: str,
        settings: Mapping[str, Any],
        repository: str | None,
        logins: Sequence[Login | CredentialHelper],
        registry: Registry | None = None,
    ) -> None:
        """:param registry: what the core asks for digests; without it, it knows of none."""
        self.root = root
        self.spec = load_plugin(plugin).catalog.builder(name).spec
        self.raw = settings
        self.settings: Any = structure(self.spec.settings, settings, path="builder")
        self.repository = repository
        self.logins = tuple(logins)
        self.site = make_site(root / "site")
        self.registry = registry
        self.context = self.new_context()
        self.builder = self.again()
        self._numbers = itertools.count(1)

    def again(self, site: Site | None = None, **settings: Any) -> Builder:
        """Another builder object: at the same site what a restarted agent has, elsewhere another agent's."""
        made: Any = structure(self.spec.settings, {**self.raw, **settings}, path="builder")
        return self.spec.create(made, site or self.site)

    def new_context(self) -> RecordingContext:
        """What the core gives to one build."""
        made = RecordingContext()
        made.registry = self.registry
        return made

    def elsewhere(self) -> Site:
        """Another agent's site."""
        return make_site(self.root / f"site-{next(self._numbers)}")

    def plan(self, files: Files, **changes: Any) -> BuildPlan:
        """A plan for a new attempt on a tree with these files."""
        number = next(self._numbers)
        tree = self.root / "trees" / str(number)
        for name, text in files.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        content = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        run, attempt = f"run{number}", f"run{number}-1"
        repository = changes.pop("repository", self.repository)
        fields: dict[str, Any] = {
            "run_id": run,
            "attempt_id": attempt,
            "queue": "conformance",
            "tree": SourceTree(path=tree, identity=f"sha256:{content}", pinned=SourceRef(type="archive")),
            "destination": Destination(registry="oci", repository=repository) if repository else None,
            "settings": self.settings,
            "labels": {
                OWNER_LABEL: self.site.owner,
                RUN_LABEL: run,
                ATTEMPT_LABEL: attempt,
                QUEUE_LABEL: "conformance",
            },
        }
        return BuildPlan(**{**fields, **changes})

    def given(self, *contributions: Contribution) -> Given:
        """Contributions as the core merges them, the registry's logins among them."""
        pairs = [("the suite", one) for one in (*self.logins, *contributions)]
        return merge(pairs, applies=self.spec.applies, receiver=self.spec.name, fixed={})

    def build(
        self,
        plan: BuildPlan,
        *contributions: Contribution,
        builder: Builder | None = None,
        context: RecordingContext | None = None,
    ) -> BuiltImage:
        return (builder or self.builder).build(plan, self.given(*contributions), context or self.context)

    def push(self, image: BuiltImage, plan: BuildPlan) -> ImageRef:
        return self.builder.push(image, plan, self.given(), self.context)
