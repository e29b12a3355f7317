"""Distributions of plugins that are broken or do not fit, each in its own way."""

from __future__ import annotations

import textwrap
from pathlib import Path

import attrs


@attrs.frozen
class Broken:
    """A distribution ``name``; ``state`` and ``reason`` are what ``launch plugins list`` says of it."""

    name: str
    source: str
    state: str
    reason: str
    dependencies: tuple[str, ...] = ("launchcore>=0.1,<1",)

    @property
    def entry(self) -> str:
        return self.name.removeprefix("launch-")

    def write(self, root: Path) -> Path:
        """Write the project, and return its directory."""
        module = self.name.replace("-", "_")
        project = root / module
        (project / module).mkdir(parents=True)
        (project / module / "__init__.py").write_text("")
        (project / module / "plugin.py").write_text(textwrap.dedent(self.source))
        listed = ", ".join(f'"{need}"' for need in self.dependencies)
        (project / "pyproject.toml").write_text(
            textwrap.dedent(
                f"""
                [build-system]
                requires = ["hatchling>=1.25"]
                build-backend = "hatchling.build"

                [project]
                name = "{self.name}"
                version = "0.9"
                dependencies = [{listed}]

                [project.entry-points.launchcore]
                {self.entry} = "{module}.plugin"
                """
            )
        )
        return project


GOOD_RUNNER = """
from launchcore.plugin import RunnerSpec, hookimpl

@hookimpl
def launch_register_runners():
    return [RunnerSpec(name="{name}", summary="A runner.", create=lambda settings, site: None)]
"""

BROKEN = (
    Broken(
        "launch-broken-import",
        "import an_sdk_that_nobody_has",
        "failed",
        "ModuleNotFoundError: No module named 'an_sdk_that_nobody_has'",
    ),
    Broken("launch-exits", "import sys\nsys.exit(3)", "failed", "SystemExit: 3"),
    Broken(
        "launch-too-new",
        "raise RuntimeError('imported')",
        "refused",
        "launch-too-new 0.9 was not loaded: it needs launchcore>=99, this is ",
        ("launchcore>=99",),
    ),
    Broken(
        "launch-undeclared",
        "raise RuntimeError('imported')",
        "refused",
        "launch-undeclared 0.9 was not loaded: it does not say which launchcore it needs",
        (),
    ),
    Broken(
        "launch-unknown-hook",
        """
        from launchcore.plugin import hookimpl

        @hookimpl
        def launch_register_runner():
            return []
        """,
        "refused",
        "launch_register_runner is not a hook; launch_register_runners is",
    ),
    Broken(
        "launch-bad-signature",
        """
        from launchcore.plugin import hookimpl

        @hookimpl
        def launch_contribute_to_run(plan, agent):
            return []
        """,
        "refused",
        "launch_contribute_to_run has an argument 'agent' that it is never given",
    ),
    Broken(
        "launch-wrapper",
        """
        from launchcore.plugin import hookimpl

        @hookimpl(wrapper=True)
        def launch_contribute_to_run(plan):
            return (yield)
        """,
        "refused",
        "launch_contribute_to_run is a wrapper",
    ),
    Broken(
        "launch-async",
        """
        from launchcore.plugin import hookimpl

        @hookimpl
        async def launch_observe(event):
            pass
        """,
        "refused",
        "launch_observe is asynchronous; hooks are synchronous",
    ),
    Broken(
        "launch-raises",
        """
        from launchcore.plugin import hookimpl

        @hookimpl
        def launch_register_sources():
            yield from ()
            raise OSError("no network here")
        """,
        "failed",
        "launch_register_sources of launch-raises 0.9 raised OSError: no network here",
    ),
    Broken(
        "launch-loud",
        "print('}] not JSON')\n" + GOOD_RUNNER.format(name="loud"),
        "loaded",
        "",
    ),
    Broken(
        "launch-twin",
        GOOD_RUNNER.format(name="hello-runner"),
        "loaded",
        "runner 'hello-runner' is offered by launch-hello 1.2.0 too, and belongs to neither",
    ),
)
