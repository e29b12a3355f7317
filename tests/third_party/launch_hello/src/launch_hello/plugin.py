"""The only file with hooks. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from launch_hello.settings import HelloFields, HelloSettings
from launchcore.plugin import Kind, Runner, RunnerSpec, Site, Source, SourceSpec, hookimpl


class Hello:
    """A plugin that is a class: the host makes it with its settings, ``plugins.hello``."""

    Settings = HelloSettings

    def __init__(self, settings: HelloSettings) -> None:
        self.settings = settings

    @hookimpl
    def launch_register_sources(self) -> Iterable[SourceSpec]:
        def create(_settings: Any, _site: Site) -> Source:
            from launch_hello.source import HelloSource

            return HelloSource(self.settings.greeting)

        yield SourceSpec(name="hello", summary="A greeting.", create=create, fields=HelloFields)

    @hookimpl
    def launch_register_runners(self) -> Iterable[RunnerSpec]:
        def create(_settings: Any, site: Site) -> Runner:
            from launch_hello.runner import HelloRunner

            return HelloRunner(site)

        yield RunnerSpec(
            name="hello-runner",
            summary="Processes of this machine, each with a minder of its own.",
            create=create,
            needs_image=False,
            applies=frozenset({Kind.ENV}),
            host_bound=True,
        )
