"""What a server is told when it starts. All sizes are bytes, all times seconds."""

from __future__ import annotations

import enum

import attrs

from launchcore.store.archives import DEFAULT_LIMIT


class Auth(enum.Enum):
    """Whether requests need a token."""

    REQUIRED = "required"
    OFF = "off"
    """Nobody needs one: for tests and for one machine, on loopback addresses only."""
    UNTIL_FIRST = "until_first"
    """Off for as long as there is no token: what a server on a loopback address begins with."""


@attrs.frozen(kw_only=True)
class Options:
    """How a server serves."""

    auth: Auth = Auth.REQUIRED
    lost_after: float = 600.0
    """After its lease's end, when an attempt that nobody adopted is given up."""
    sweep_seconds: float = 5.0
    threads: int = 16
    """For what asks the store; waiting takes none."""
    max_body: int = 4 << 20
    max_writes: int = 32 << 20
    """Of ``/v1/attempts/writes``, whose log bytes are in base64."""
    max_append: int = 8 << 20
    """Log bytes in one write."""
    max_archive: int = DEFAULT_LIMIT
    body_seconds: float = 30.0
    """For a whole body; of an archive, for the next piece of it."""
    requests_per_second: float = 2000.0
    """Of one token, on average; twice as many at once."""
    failures_per_second: float = 2.0
    """Of one address: requests with a wrong token; 20 times as many at once."""
    access_log: bool = False
    """A line in the log for each request."""
    open_metrics: bool = False
    """``/metrics`` needs no token."""
