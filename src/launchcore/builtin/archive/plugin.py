"""Registers the source ``archive``."""

from __future__ import annotations

from collections.abc import Iterable

from launchcore.builtin.archive.settings import ArchiveFields, ArchiveSettings
from launchcore.plugin import Site, Source, SourceSpec, hookimpl


def _create(settings: ArchiveSettings, _site: Site) -> Source:
    from launchcore.builtin.archive.source import ArchiveSource

    return ArchiveSource(settings)


@hookimpl
def launch_register_sources() -> Iterable[SourceSpec]:
    yield SourceSpec(
        name="archive",
        summary="A directory that was packed and uploaded when the run was submitted.",
        create=_create,
        settings=ArchiveSettings,
        fields=ArchiveFields,
    )
