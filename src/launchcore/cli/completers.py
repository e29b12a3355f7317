"""What the shell offers after TAB: names that the queue knows. Never an error, never slow talk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from launchcore.queues.base import Service


@contextlib.contextmanager
def _quietly(ctx: typer.Context) -> Iterator[Service | None]:
    from launchcore.cli.service import service

    base_url: Any = ctx.params.get("base_url") or ctx.find_root().params.get("base_url")
    with contextlib.ExitStack() as stack:
        found = None
        with contextlib.suppress(Exception):
            found = stack.enter_context(service(base_url))
        yield found


def complete_queue(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of queues."""
    names: list[str] = []
    with _quietly(ctx) as found, contextlib.suppress(Exception):
        names = [queue.name for queue in found.list_queues()] if found else []
    return [name for name in names if name.startswith(incomplete)]


def complete_job(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of jobs."""
    names: list[str] = []
    with _quietly(ctx) as found, contextlib.suppress(Exception):
        names = [job.name for job in found.list_jobs()] if found else []
    return [name for name in names if name.startswith(incomplete)]


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of the newest runs."""
    names: list[str] = []
    with _quietly(ctx) as found, contextlib.suppress(Exception):
        from launchcore.queues.base import RunFilter

        names = [run.id for run in found.list_runs(RunFilter(limit=50)).runs] if found else []
    return [name for name in names if name.startswith(incomplete)]


def complete_state(incomplete: str) -> list[str]:
    """States of a run, and the two groups of them."""
    from launchcore.plugin import RunState

    names = [*(state.value for state in RunState), "live", "ended"]
    return [name for name in names if name.startswith(incomplete)]


def complete_type(incomplete: str) -> list[str]:
    """Names of runners."""
    names: list[str] = []
    with contextlib.suppress(Exception):
        from launchcore.cli.service import host_of, loaded_config
        from launchcore.cli.targets import runner_names

        names = runner_names(host_of(loaded_config(None).config))
    return [name for name in names if name.startswith(incomplete)]
