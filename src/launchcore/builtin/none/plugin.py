"""Registers the builder ``none``."""

from __future__ import annotations

from collections.abc import Iterable

from launchcore.plugin import Builder, BuilderSpec, NoSettings, Site, hookimpl


def _create(_settings: NoSettings, _site: Site) -> Builder:
    from launchcore.builtin.none.builder import NoBuilder

    return NoBuilder()


@hookimpl
def launch_register_builders() -> Iterable[BuilderSpec]:
    yield BuilderSpec(
        name="none",
        aliases=("noop",),
        summary="Builds nothing: for processes, and for runs of a ready image.",
        create=_create,
        builds=False,
    )
