"""All endpoints of the server."""

from __future__ import annotations

from launchcore.server.endpoints import Endpoint
from launchcore.server.routes import (
    agents,
    archives,
    arrays,
    attempts,
    jobs,
    logs,
    operations,
    queues,
    runs,
    tokens,
)

ENDPOINTS: tuple[Endpoint, ...] = (
    *operations.ENDPOINTS,
    *queues.ENDPOINTS,
    *jobs.ENDPOINTS,
    *runs.ENDPOINTS,
    *arrays.ENDPOINTS,
    *logs.ENDPOINTS,
    *archives.ENDPOINTS,
    *agents.ENDPOINTS,
    *attempts.ENDPOINTS,
    *tokens.ENDPOINTS,
)
