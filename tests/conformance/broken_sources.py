"""Echo sources with one fault each: what every test of the source suite is there to find."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from launchcore.plugin import FetchPlan, SourceSpec, SourceTree, StageContext, hookimpl
from launchcore.testing.context import RecordingContext
from launchcore.testing.echo import EchoSourceFields
from launchcore.testing.echo.parts import EchoSource


class WritesElsewhere(EchoSource):
    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        Path("temporary").write_text("x")
        return super().fetch(plan, into, context)


class LosesAFile(EchoSource):
    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        tree = super().fetch(plan, into, context)
        (into / "a.txt").unlink()
        return tree


class PointsOutside(EchoSource):
    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        tree = super().fetch(plan, into, context)
        return attrs.evolve(tree, path=into.parent)


class AnotherEachTime(EchoSource):
    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        return attrs.evolve(super().fetch(plan, into, context), identity=uuid.uuid4().hex)


class PinsNothing(EchoSource):
    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        tree = super().fetch(plan, into, context)
        return attrs.evolve(tree, pinned=attrs.evolve(tree.pinned, fields={}))


class NeedsItsCache(EchoSource):
    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        known = plan.cache / "known"
        if plan.source.fields.get("files") and "fetch_for" not in plan.source.fields and not known.exists():
            if plan.cache.name == "empty-cache":
                raise KeyError("not in the cache")
            known.touch()
        return super().fetch(plan, into, context)


class RaisesWhatItLikes(EchoSource):
    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        if plan.source.fields.get("error"):
            raise FileNotFoundError("no such repository")
        return super().fetch(plan, into, context)


class IgnoresCancel(EchoSource):
    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        return super().fetch(plan, into, RecordingContext())


class LeavesItsLock(EchoSource):
    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        (plan.cache / "lock").mkdir()
        tree = super().fetch(plan, into, context)
        (plan.cache / "lock").rmdir()
        return tree


class LinksIntoItsCache(EchoSource):
    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        tree = super().fetch(plan, into, context)
        for path in [path for path in into.rglob("*") if path.is_file()]:
            kept = plan.cache / path.name
            if not kept.exists():
                os.link(path, kept)
            path.unlink()
            os.link(kept, path)
        return tree


class MeetsItself(EchoSource):
    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        half = plan.cache / "half"
        half.mkdir()
        time.sleep(0.2)
        half.rmdir()
        return super().fetch(plan, into, context)


@attrs.frozen(kw_only=True)
class Undocumented:
    url: str = ""


@attrs.frozen(kw_only=True)
class AnyFields:
    no_such_field: int = attrs.field(default=0, metadata={"help": "Anything.", "key": "no such field"})


class FieldsWithoutHelp(EchoSource):
    pass


class AcceptsUnknownFields(EchoSource):
    pass


CHANGES: Mapping[str, Mapping[str, Any]] = {
    "FieldsWithoutHelp": {"fields": Undocumented},
    "AcceptsUnknownFields": {"fields": AnyFields},
}


def _of(cls: type[EchoSource]) -> SourceSpec:
    spec = SourceSpec(
        name=cls.__name__.lower(),
        summary="Broken.",
        create=lambda _settings, _site: cls(),
        fields=EchoSourceFields,
    )
    return attrs.evolve(spec, **CHANGES.get(cls.__name__, {}))


@hookimpl
def launch_register_sources() -> Iterable[SourceSpec]:
    broken = [value for value in globals().values() if isinstance(value, type)]
    return [_of(cls) for cls in broken if issubclass(cls, EchoSource) and cls.__module__ == __name__]
