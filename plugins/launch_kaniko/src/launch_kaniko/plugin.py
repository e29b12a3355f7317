"""What Kaniko offers to launchcore. Imports no SDK: that happens when something is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from launch_kaniko.settings import BuilderSettings, stores
from launchcore.plugin import Builder, BuilderSpec, Kind, Site, hookimpl


def _builder(settings: Any, site: Site) -> Builder:
    from launch_kaniko.builder import make_builder

    return make_builder(settings, site)


@hookimpl
def launch_register_builders() -> Iterable[BuilderSpec]:
    yield BuilderSpec(
        name="kaniko",
        summary="Builds as Jobs of a Kubernetes cluster, without an engine, and pushes.",
        create=_builder,
        settings=BuilderSettings,
        applies=frozenset({Kind.ENV, Kind.FILE, Kind.LOGIN, Kind.LABEL}),
        pushes=True,
        stores=stores,
    )
