"""A real server, with real sockets, in a thread of this process, over a database that the test has too."""

from __future__ import annotations

import os
from typing import Any

from launchcore.queues.http_settings import HttpSettings
from launchcore.store.database import Database


def over_http() -> bool:
    """Whether tests are to go through a server: ``LAUNCHCORE_TEST_DOOR``."""
    return os.environ.get("LAUNCHCORE_TEST_DOOR", "embedded") == "http"


class Served:
    """A server over ``database``, on a loopback port; a second one may have the port of one that is gone.

    :param options: of the server; without others, nobody needs a token.
    """

    def __init__(self, database: Database, *, port: int = 0, **options: Any) -> None:
        from launchcore.server.options import Auth, Options
        from launchcore.server.serving import Serving

        self._serving = Serving(database, Options(**{"auth": Auth.OFF, **options}), port=port).start()
        self.url = self._serving.url
        self.port = int(self.url.rpartition(":")[2])
        self.settings = HttpSettings()

    def waits(self, topic: str) -> bool:
        """Whether somebody waits here for a topic of the bell."""
        room = self._serving.core.room
        return topic in room._own or topic in room._shared

    def waiting(self) -> int:
        """How many wait here."""
        return self._serving.core.room.waiting

    def close(self) -> None:
        """Answer those who wait, and leave. The database stays open."""
        self._serving.stop()
