"""``launch server``: from options to a server that runs until it is told to stop."""

from __future__ import annotations

import logging
import signal
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import attrs

from launchcore.plugin import Fault, LaunchError, QueueUnavailable, Reason
from launchcore.server.app import make_core
from launchcore.server.options import Auth, Options
from launchcore.server.serving import Uvicorn, bind, is_loopback, raise_file_limit, url_of
from launchcore.server.tls import Tls, load, make_context
from launchcore.store import tokens
from launchcore.store.database import Database, open_database

log = logging.getLogger("launchcore.server")


@attrs.frozen(kw_only=True)
class ServerConfig:
    """What ``launch server`` is told."""

    database: str
    host: str = "127.0.0.1"
    port: int = 8420
    no_auth: bool = False
    tls: Tls | None = None
    trust_proxy: str | None = None
    """Addresses of proxies whose word about the caller's address is believed, with commas."""
    stop_delay: float = 0.0
    """Seconds between "not ready" and the end."""
    json_log: bool = False
    access_log: bool = False
    options: Options = attrs.field(factory=Options)


def run_server(config: ServerConfig) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code.

    The first one stops: ``/readyz`` says no, whoever waits is answered, what was begun is finished. The
    second one ends at once. SIGHUP reads the certificate again.

    :raises LaunchError: it cannot be served so, with what to do.
    """
    options = attrs.evolve(config.options, auth=auth_of(config), access_log=config.access_log)
    context = make_context(config.tls) if config.tls is not None else None
    _log_to_stderr(as_json=config.json_log)
    raise_file_limit()
    database = _patiently(config.database)
    try:
        listening = bind(config.host, config.port)
        try:
            core = make_core(database, options)
            server = Uvicorn(core, context=context, trust=config.trust_proxy)
            with _signals(server, config, context):
                _introduce(config, options, database, url_of(listening, tls=context is not None))
                server.run(sockets=[listening])
        finally:
            listening.close()
    finally:
        database.close()
    log.info("stopped")
    return 0 if server.started else 1


def _patiently(url: str) -> Database:
    """Open the database, and wait for it while it cannot be reached: it may start after us."""
    pause = 0.2
    while True:
        try:
            return open_database(url)
        except QueueUnavailable as error:
            if pause == 0.2:
                log.warning("the database cannot be reached, waiting for it: %s", error)
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def auth_of(config: ServerConfig) -> Auth:
    """Whether a token is needed.

    :raises LaunchError: ``config_error`` (user): none, where others can reach the server.
    """
    if not is_loopback(config.host):
        if config.no_auth:
            raise LaunchError(
                f"--no-auth at {config.host}: everybody who reaches this machine could run programs on it",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.USER,
                hint="listen at 127.0.0.1, or make tokens with `launch token create`",
            )
        return Auth.REQUIRED
    return Auth.OFF if config.no_auth else Auth.UNTIL_FIRST


def _introduce(config: ServerConfig, options: Options, database: Database, url: str) -> None:
    log.info("serving %s at %s", database.name, url)
    try:
        with database.read() as connection:
            known = bool(tokens.listed(connection))
    except QueueUnavailable:
        return  # it was there a moment ago, and will be again
    if options.auth is Auth.OFF or (options.auth is Auth.UNTIL_FIRST and not known):
        log.warning("no token is needed: every account of this machine may do everything here")
    elif not known:
        log.warning(
            "there is no token yet, so nobody is let in: on this machine,"
            " `launch token create NAME --scope admin --db URL` makes the first"
        )
    if config.tls is None and not is_loopback(config.host) and config.trust_proxy is None:
        log.warning("tokens travel unencrypted: give --tls-cert, or put a proxy with TLS in front")


@contextmanager
def _signals(server: Uvicorn, config: ServerConfig, context: ssl.SSLContext | None) -> Iterator[None]:
    asked = 0

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            log.info("%s: stopping", signal.Signals(number).name)
            server.leave(config.stop_delay)
        else:
            server.leave()
            server.force_exit = True

    def renew(_number: int, _: FrameType | None) -> None:
        if context is None or config.tls is None:
            return
        try:
            load(context, config.tls)
            log.info("read the certificate again")
        except LaunchError as error:
            log.error("kept the certificate as it was: %s", error.detail)  # noqa: TRY400  # one line says it

    before = {
        number: signal.signal(number, does)
        for number, does in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, renew))
    }
    try:
        yield
    finally:
        for number, does in before.items():
            signal.signal(number, does)


def _log_to_stderr(*, as_json: bool) -> None:
    """One line for each record; texts of strangers in them are made visible."""
    from launchcore.server.lines import JsonLines, PlainLines

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else PlainLines())
    for name, level in (("launchcore", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
