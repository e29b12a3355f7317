"""``launch server``: the command up to the server itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from launchcore.cli.errors import CommandError
from launchcore.cli.exits import Exit

FORMATS = ("text", "json")


def server(
    *,
    db: Annotated[
        str | None,
        typer.Option(
            "--db",
            metavar="URL",
            envvar="LAUNCHCORE_DATABASE",
            help="The database: sqlite:///PATH (default: the embedded queue's file), or "
            "postgresql://USER@HOST/NAME.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Listen there; 0.0.0.0 is everywhere.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 is any that is free.")
    ] = 8420,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Nobody needs a token; on a loopback address only.")
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Serve HTTPS with this certificate.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key, if it is not in there.")
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            "--tls-client-ca", metavar="FILE", help="Callers need a certificate of this authority, too."
        ),
    ] = None,
    trust_proxy: Annotated[
        str | None,
        typer.Option(
            "--trust-proxy",
            metavar="ADDRESSES",
            help="Believe these proxies' X-Forwarded-For about who calls.",
        ),
    ] = None,
    lost_after: Annotated[
        str, typer.Option("--lost-after", metavar="TIME", help="Give up a run that nobody adopts after it.")
    ] = "10m",
    max_archive: Annotated[
        str, typer.Option("--max-archive", metavar="SIZE", help="The largest upload.")
    ] = "4GiB",
    rate_limit: Annotated[
        float, typer.Option("--rate-limit", metavar="N", min=0.1, help="Requests a second of one token.")
    ] = 2000.0,
    open_metrics: Annotated[bool, typer.Option("--open-metrics", help="/metrics needs no token.")] = False,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log each request.")] = False,
    log_format: Annotated[
        str, typer.Option("--log-format", metavar="FORMAT", help="text, or json: one object a line.")
    ] = "text",
    stop_delay: Annotated[
        float,
        typer.Option(
            "--stop-delay",
            metavar="SECONDS",
            min=0,
            help="On SIGTERM, how long /readyz says no before the server takes nothing new.",
        ),
    ] = 0.0,
) -> int:
    """Serve queues over HTTP, for several machines.

    On a loopback address it needs no token until the first one is made; on any other, nobody is let in
    without one. SIGTERM and Ctrl-C stop it: what was begun is finished. A second one ends it at once.
    """
    from launchcore.cli.errors import near, usage
    from launchcore.cli.times import parse_duration, parse_size
    from launchcore.queues.connect import default_url

    if log_format not in FORMATS:
        hint = near(log_format, FORMATS) or f"one of {', '.join(FORMATS)}"
        raise CommandError(f"--log-format {log_format!r} is not a format", hint=hint)
    if tls_cert is None and (tls_key is not None or tls_client_ca is not None):
        raise CommandError("--tls-key and --tls-client-ca belong to --tls-cert", hint="give --tls-cert FILE")
    with usage():
        lost, archive = parse_duration(lost_after), parse_size(max_archive)
    need_server()
    from launchcore.server.options import Options
    from launchcore.server.run import ServerConfig, run_server
    from launchcore.server.tls import Tls

    config = ServerConfig(
        database=db or default_url(),
        host=host,
        port=port,
        no_auth=no_auth,
        tls=Tls(certificate=tls_cert, key=tls_key, client_ca=tls_client_ca) if tls_cert else None,
        trust_proxy=trust_proxy,
        stop_delay=stop_delay,
        json_log=log_format == "json",
        access_log=access_log,
        options=Options(
            lost_after=lost,
            max_archive=archive,
            requests_per_second=rate_limit,
            open_metrics=open_metrics,
        ),
    )
    return run_server(config)


def need_server() -> None:
    """What a server stands on is installed.

    :raises CommandError: it is not.
    """
    import importlib.util

    wanted = ("litestar", "uvicorn", "prometheus_client")
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f"a server needs what is not installed here: {', '.join(missing)}",
            hint="pip install 'launchcore[server]'",
            code=Exit.UNAVAILABLE,
        )
