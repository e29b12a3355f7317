"""What the core relies on in every source."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import attrs
import msgspec
import pytest

from launchcore.host.schema import plain
from launchcore.host.settings import SettingsError, structure
from launchcore.plugin import (
    Cancelled,
    FetchPlan,
    LaunchError,
    Reason,
    Source,
    SourceRef,
    SourceTree,
)
from launchcore.testing.conformance.suite import Suite, load_plugin, undocumented
from launchcore.testing.context import RecordingContext
from launchcore.testing.sites import make_site


@attrs.frozen(kw_only=True)
class Example:
    """Something that can be fetched: its fields, its files, and the fields of what is not there."""

    fields: Mapping[str, Any]
    files: Mapping[str, bytes]
    missing: Mapping[str, Any]


class SourceBench:
    """One source of one test, with places that it may and may not write to."""

    def __init__(
        self, root: Path, *, plugin: str, name: str, settings: Mapping[str, Any], local: bool
    ) -> None:
        self.root = root
        self.spec = load_plugin(plugin).catalog.source(name).spec
        self.settings = settings
        self.local = local
        self.site = make_site(root / "site")
        self.context = RecordingContext()
        self.source = self.again()
        self.cache = root / "cache"
        self.cache.mkdir()
        self.outside = root / "outside"
        self.outside.mkdir()
        self._count = 0

    def again(self) -> Source:
        """Another source object at the same site."""
        return self.spec.create(structure(self.spec.settings, self.settings, path="settings"), self.site)

    def into(self) -> Path:
        """A fresh, empty directory."""
        self._count += 1
        path = self.outside / f"tree-{self._count}"
        path.mkdir()
        return path

    def fetch(
        self,
        fields: Mapping[str, Any],
        into: Path | None = None,
        *,
        cache: Path | None = None,
        context: RecordingContext | None = None,
        source: Source | None = None,
    ) -> SourceTree:
        """Fetch as the core does it: the fields are checked by their class first."""
        structure(self.spec.fields, fields, path="source")
        plan = FetchPlan(
            attempt_id="run-1",
            source=SourceRef(type=self.spec.name, fields=dict(fields)),
            cache=cache or self.cache,
            local=self.local,
        )
        return (source or self.source).fetch(plan, into or self.into(), context or self.context)


class SourceConformance(Suite):
    """Subclass it, set ``plugin`` and ``name``, and override :meth:`example`.

    A source that has nothing to fetch says so in its descriptor (``fetches=False``) and is tested
    for little.
    """

    plugin: ClassVar[str]
    """The plugin's module, as its entry point names it."""
    name: ClassVar[str]
    """The source's name."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """The agent's settings: ``plugins.<name>``."""
    local: ClassVar[bool] = True
    """Whether the submitter has this machine's account."""

    def example(self, root: Path, context: RecordingContext) -> Example:
        """Make something to fetch under ``root``, or as an archive in ``context``."""
        raise NotImplementedError(f"{self.name}: override example")

    def make_bench(self, root: Path) -> SourceBench:
        return SourceBench(root, plugin=self.plugin, name=self.name, settings=self.settings, local=self.local)

    @pytest.fixture
    def bench(self, tmp_path: Path) -> SourceBench:
        return self.make_bench(tmp_path)

    def test_every_setting_is_documented(self, bench: SourceBench) -> None:
        """Help is all that a user reads of a setting.

        If this fails, check that every field is made with ``setting("…")``.
        """
        assert [*undocumented(bench.spec.settings), *undocumented(bench.spec.fields)] == []

    def test_the_tree_has_the_files(self, bench: SourceBench) -> None:
        """The tree is inside ``into``, says what it is, and can be written to.

        If this fails, check ``path``, ``identity`` and ``pinned`` of the tree, and the files' modes.
        """
        example = self._example(bench)
        into = bench.into()
        tree = bench.fetch(example.fields, into)

        assert tree.path.resolve().is_relative_to(into.resolve())
        assert _contents(tree.path, example) == dict(example.files)
        assert tree.identity
        assert tree.pinned.type == bench.spec.name
        assert all(os.access(tree.path / name, os.W_OK) for name in example.files)

    def test_it_writes_only_where_it_may(self, bench: SourceBench, monkeypatch: pytest.MonkeyPatch) -> None:
        """``into`` and ``plan.cache``: a run's code must not be able to reach anything else.

        If this fails, check temporary files, the working directory, and the home directory.
        """
        example = self._example(bench)
        monkeypatch.chdir(bench.outside)
        into = bench.into()
        before = _listing(bench.outside, into)
        bench.fetch(example.fields, into)

        assert _listing(bench.outside, into) == before
        assert Path.cwd() == bench.outside

    def test_the_pinned_reference_gives_the_same_again(self, bench: SourceBench) -> None:
        """Every later attempt has the same code, whatever the branch says by then, and with no cache.

        If this fails, check that ``pinned`` names content (a commit, a digest), not a name for it.
        """
        example = self._example(bench)
        first = bench.fetch(example.fields)
        stored = msgspec.json.decode(msgspec.json.encode(first.pinned), type=SourceRef)
        empty = bench.root / "empty-cache"
        empty.mkdir()
        second = bench.fetch(stored.fields, cache=empty, source=bench.again())

        assert stored == first.pinned
        assert (second.identity, second.pinned) == (first.identity, first.pinned)
        assert _contents(second.path, example) == dict(example.files)

    def test_what_is_missing_is_source_failed(self, bench: SourceBench) -> None:
        """With one line that a person can act on.

        If this fails, check that the source raises LaunchError with Reason.SOURCE_FAILED.
        """
        example = self._example(bench)
        with pytest.raises(LaunchError) as caught:
            bench.fetch(example.missing)

        assert caught.value.reason is Reason.SOURCE_FAILED
        assert caught.value.detail.strip()
        assert "\n" not in caught.value.detail

    def test_a_cancel_is_obeyed(self, bench: SourceBench) -> None:
        """Nobody waits for code that is not wanted any more.

        If this fails, check that fetch calls ``context.check()``, and kills what it waits for.
        """
        example = self._example(bench)
        bench.context.cancel()
        with pytest.raises(Cancelled):
            bench.fetch(example.fields)

    def test_after_a_failure_it_can_be_repeated(self, bench: SourceBench) -> None:
        """A crash or a cancel leaves a cache behind that the next fetch can live with.

        If this fails, check that the cache is filled beside its place, and renamed when it is whole.
        """
        example = self._example(bench)
        stopped = RecordingContext()
        stopped.cancel()
        for fields, context in ((example.missing, bench.context), (example.fields, stopped)):
            with pytest.raises(LaunchError):
                bench.fetch(fields, context=context)
        first, second = bench.fetch(example.fields), bench.fetch(example.fields, source=bench.again())

        assert first.identity == second.identity
        assert _contents(second.path, example) == dict(example.files)

    def test_two_trees_share_nothing(self, bench: SourceBench) -> None:
        """A run may write into its tree; the next one gets the code as it was.

        If this fails, check for hard links and symbolic links into the cache.
        """
        example = self._example(bench)
        first = bench.fetch(example.fields)
        for name in example.files:
            with (first.path / name).open("ab") as file:
                file.write(b"changed by a run")
        second = bench.fetch(example.fields)

        assert _contents(second.path, example) == dict(example.files)

    def test_fetches_at_the_same_time_do_not_meet(self, bench: SourceBench) -> None:
        """All runs of an agent share one cache.

        If this fails, check the locking of the cache.
        """
        example = self._example(bench)
        barrier = threading.Barrier(4)
        places = [bench.into() for _ in range(4)]

        def fetch(into: Path) -> SourceTree:
            source = bench.again()
            barrier.wait()
            return bench.fetch(example.fields, into, source=source)

        with ThreadPoolExecutor(4) as pool:
            trees = list(pool.map(fetch, places))

        assert len({tree.identity for tree in trees}) == 1
        assert all(_contents(tree.path, example) == dict(example.files) for tree in trees)

    def test_unknown_fields_are_refused(self, bench: SourceBench) -> None:
        """A mistyped field is the submitter's mistake, and said at once.

        If this fails, check the descriptor's ``fields`` class.
        """
        with pytest.raises(SettingsError):
            structure(bench.spec.fields, {"no such field": 1}, path="source")

    def _example(self, bench: SourceBench) -> Example:
        if not bench.spec.fetches:
            pytest.skip("there is nothing to fetch")
        place = bench.root / "example"
        place.mkdir()
        example = self.example(place, bench.context)
        return attrs.evolve(example, fields=plain(example.fields), missing=plain(example.missing))


def _contents(path: Path, example: Example) -> dict[str, bytes]:
    """The example's files as they are in the tree, and whatever else there is."""
    found = {
        str(one.relative_to(path)): one.read_bytes()
        for one in path.rglob("*")
        if one.is_file() and ".git" not in one.relative_to(path).parts
    }
    assert set(example.files) <= set(found), f"missing: {set(example.files) - set(found)}"
    return found


def _listing(root: Path, but: Path) -> dict[str, tuple[int, int]]:
    """Every path under ``root`` with what would change if it was written to, save ``but`` itself."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in (root, *root.rglob("*"))
        if path != but and not path.is_relative_to(but)
    }
