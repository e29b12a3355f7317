"""A server on a socket: uvicorn, told how to begin, to be patient, and to end."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from types import TracebackType

import uvicorn

from launchcore.plugin import Fault, LaunchError, Reason
from launchcore.server.app import make_app, make_core
from launchcore.server.core import Core
from launchcore.server.options import Options
from launchcore.server.slow import patient
from launchcore.store.database import Database

_KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than clients wait between two requests."""
_GRACE = 10
"""Seconds for answers that are on their way when the server stops."""
_BACKLOG = 2048
_START_SECONDS = 30.0


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any that is free.

    :raises LaunchError: ``config_error``: somebody else has it, or there is no such address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError, OverflowError) as error:
        raise _cannot_listen(host, port, getattr(error, "strerror", None) or str(error)) from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        made.close()
        raise _cannot_listen(host, port, getattr(error, "strerror", None) or str(error)) from None
    made.set_inheritable(True)
    return made


def url_of(listening: socket.socket, *, tls: bool) -> str:
    """Where a socket of :func:`bind` is reached from this machine."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104  # it is compared, not listened at
        host = socket.gethostname()
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


class Uvicorn(uvicorn.Server):
    """uvicorn, which leaves signals to us, and ends when it is told to."""

    def __init__(self, core: Core, *, context: ssl.SSLContext | None, trust: str | None) -> None:
        config = uvicorn.Config(
            make_app(core),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="none",
            http=patient(core.options.body_seconds),
            proxy_headers=trust is not None,
            forwarded_allow_ips=trust,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_GRACE,
            backlog=_BACKLOG,
        )
        config.load()
        config.ssl = context
        super().__init__(config)
        self._core = core
        self._leave_at: float | None = None

    def leave(self, after: float = 0.0) -> None:
        """Say no to those who ask whether we are ready; after so many seconds take nothing new, answer
        whoever waits, and end. On any thread; idempotent."""
        self._core.stopping = True
        if self._leave_at is None:
            self._leave_at = time.monotonic() + after

    async def on_tick(self, counter: int) -> bool:
        if self._leave_at is not None and time.monotonic() >= self._leave_at:
            self._core.stop()
            self.should_exit = True
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Serving:
    """A server on a thread of its own, for use as a context. The database stays its caller's.

    :param port: 0 is any that is free; :attr:`url` says which.
    """

    def __init__(
        self, database: Database, options: Options | None = None, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.core = make_core(database, options)
        self._socket = bind(host, port)
        self.url = url_of(self._socket, tls=False)
        self._uvicorn = Uvicorn(self.core, context=None, trust=None)
        self._thread = threading.Thread(target=self._run, name="launchcore-server", daemon=True)
        self._error: BaseException | None = None

    def start(self) -> Serving:
        """Return when it takes requests."""
        self._thread.start()
        until = time.monotonic() + _START_SECONDS
        while not self._uvicorn.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise RuntimeError("the server did not start") from self._error
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Answer whoever waits, and end. Idempotent."""
        self._uvicorn.leave()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        try:
            self._uvicorn.run(sockets=[self._socket])
        except BaseException as error:  # it is the thread's last word; whoever waits for the start tells it
            self._error = error

    def __enter__(self) -> Serving:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _cannot_listen(host: str, port: int, why: str) -> LaunchError:
    return LaunchError(
        f"cannot listen at {host[:80]}:{port}: {why}",
        reason=Reason.CONFIG_ERROR,
        fault=Fault.USER,
        hint="is a server running there? Give another --port, or an address of this machine as --host",
    )


def raise_file_limit() -> None:
    """Each agent that waits holds two connections: as many as the system lets us have."""
    import resource as limits  # the module's name is not ours

    soft, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            limits.setrlimit(limits.RLIMIT_NOFILE, (hard, hard))
