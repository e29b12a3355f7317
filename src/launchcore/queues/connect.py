"""From a URL to a queue service. ``sqlite:///ABSOLUTE/PATH.db`` is the embedded queue, ``http(s)://HOST`` a
service that several machines share, and ``postgresql://…`` the database of one, without the service."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from launchcore.plugin import Fault, LaunchError, QueueClient, Reason
from launchcore.queues.base import Service
from launchcore.queues.http_settings import HttpSettings


def default_url() -> str:
    """The embedded queue of this user."""
    import platformdirs

    path = Path(platformdirs.user_data_dir("launchcore")) / "queue.db"
    return f"sqlite://{quote(str(path))}"


def open_service(url: str, settings: HttpSettings | None = None) -> Service:
    """The user's side of the queue service at ``url``.

    :param settings: how a service is reached over HTTP.
    :raises LaunchError: ``config_error``: no such kind of service, or it cannot be opened.
    :raises QueueUnavailable: it cannot be reached, or is locked.
    """
    if is_http(url):
        from launchcore.queues.http_service import HttpService

        return HttpService(url, settings or HttpSettings())
    where = url if is_server(url) else database_path(url)
    from launchcore.queues.embedded import EmbeddedService
    from launchcore.store.database import Database

    return EmbeddedService(Database(where))


def open_client(
    url: str,
    *,
    host_bound_types: frozenset[str] = frozenset(),
    lost_after: float = 600.0,
    busy_seconds: float = 5.0,
    settings: HttpSettings | None = None,
) -> QueueClient:
    """The agent's side of the queue service at ``url``; raises like :func:`open_service`.

    :param settings: how a service is reached over HTTP; the other parameters are the embedded queue's.
    :param host_bound_types: names of runners whose objects only an agent of the same host can see,
        besides those that the agent itself names.
    :param lost_after: how many seconds after its lease's end a run that nobody could adopt is given up.
    """
    if is_http(url):
        from launchcore.queues.http_client import HttpClient

        return HttpClient(url, settings or HttpSettings())
    where = url if is_server(url) else database_path(url)
    from launchcore.queues.embedded_client import EmbeddedClient
    from launchcore.store.database import Database

    return EmbeddedClient(
        Database(where, busy_seconds=busy_seconds), host_bound_types=host_bound_types, lost_after=lost_after
    )


def is_server(url: str) -> bool:
    """Whether a URL is that of a database on a server: an agent or a user may open it themselves."""
    return url.partition("://")[0].lower() in ("postgresql", "postgres")


def is_http(url: str) -> bool:
    """Whether a URL is that of a service."""
    return url.partition("://")[0].lower() in ("http", "https")


def database_path(url: str) -> Path:
    """The file that a ``sqlite`` URL means.

    :raises LaunchError: ``config_error`` (user): it is no such URL.

    >>> database_path("sqlite:///var/lib/launchcore/queue.db")
    PosixPath('/var/lib/launchcore/queue.db')
    """
    hint = "a queue service is sqlite:///ABSOLUTE/PATH.db, or http(s)://HOST"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refused(f"{url[:200]!r} is no URL", hint) from None
    if parts.scheme != "sqlite":
        kind = f"no queue service for {parts.scheme}://" if parts.scheme else f"{url[:200]!r} is no URL"
        raise _refused(kind, hint)
    path = unquote(parts.path)
    if parts.netloc:
        raise _refused(
            f"{url[:200]!r} has {parts.netloc!r} where a host would be",
            f"three slashes, then the path: sqlite:///{parts.netloc}{parts.path}",
        )
    if parts.query or parts.fragment or path in ("", "/") or path.endswith("/") or "\0" in path:
        raise _refused(f"{url[:200]!r} does not name a file", f"{hint}; write ? as %3F and # as %23")
    return Path("/" + path.lstrip("/"))


def _refused(detail: str, hint: str) -> LaunchError:
    return LaunchError(detail, reason=Reason.CONFIG_ERROR, fault=Fault.USER, hint=hint)
