"""Registers the source ``image``."""

from __future__ import annotations

from collections.abc import Iterable

from launchcore.builtin.image.fields import ImageFields
from launchcore.plugin import NoSettings, Site, Source, SourceSpec, hookimpl


def _create(_settings: NoSettings, _site: Site) -> Source:
    from launchcore.builtin.image.source import ImageSource

    return ImageSource()


@hookimpl
def launch_register_sources() -> Iterable[SourceSpec]:
    yield SourceSpec(
        name="image",
        summary="A ready image: nothing is fetched, nothing is built.",
        create=_create,
        fields=ImageFields,
        fetches=False,
    )
