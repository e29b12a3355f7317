"""``launch up``: a server on a thread, and an agent of its queue in front of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from launchcore.agent.run import run_agent
from launchcore.agent.view import AgentView
from launchcore.config.load import load_config
from launchcore.plugin import QueueConfig
from launchcore.queues.base import NotFound
from launchcore.queues.embedded import EmbeddedService
from launchcore.queues.wire import TokenCreate
from launchcore.server.admin import DatabaseAdmin
from launchcore.server.options import Auth, Options
from launchcore.server.serving import Serving
from launchcore.store.database import Database, open_database

_WHO = "launch-up"


@attrs.frozen(kw_only=True)
class Together:
    """What ``launch up`` is told."""

    database: str
    port: int
    queue: str
    type: str
    max_jobs: int | None
    config: Path | None
    environ: Mapping[str, str]


def run_together(asked: Together, *, view: AgentView) -> int:
    """Until the agent has been told to end; returns its exit code."""
    database = open_database(asked.database)
    try:
        made = _make_queue(database, asked)
        options = Options(auth=Auth.UNTIL_FIRST)
        with Serving(database, options, port=asked.port) as serving, _let_in(database, asked.queue) as token:
            view.event("serving", f"serving {database.name} at {serving.url}")
            if made:
                view.event("queue", f"made queue {asked.queue} of type {asked.type}")
            given = {"base_url": serving.url, "queues": (asked.queue,), "max_jobs": asked.max_jobs}
            flags: dict[str, object] = {key: value for key, value in given.items() if value is not None}
            environ = {**asked.environ, **token}
            return run_agent(load_config(path=asked.config, environ=environ, flags=flags), view=view)
    finally:
        database.close()


def _make_queue(database: Database, asked: Together) -> bool:
    """Whether it had to be made. An existing one stays as it is."""
    service = EmbeddedService(database)
    try:
        service.queue(asked.queue)
    except NotFound:
        service.create_queue(asked.queue, QueueConfig(type=asked.type))
        return True
    return False


@contextlib.contextmanager
def _let_in(database: Database, queue: str) -> Iterator[dict[str, str]]:
    """Where there are tokens, the agent needs one, too: it gets one for as long as this runs."""
    admin = DatabaseAdmin(database, _WHO)
    if not admin.listed():
        yield {}
        return
    made = admin.create(TokenCreate(name=_WHO, scopes=(f"agent:{queue}",)))
    try:
        yield {"LAUNCHCORE_TOKEN": made.secret}
    finally:
        admin.revoke(made.token.id)
