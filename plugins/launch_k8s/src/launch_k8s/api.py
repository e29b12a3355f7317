"""All requests to an API server: plain JSON in and out, retried where that is safe.

The ``kubernetes`` package finds the cluster and keeps us logged in (:mod:`launch_k8s.connect`); its models,
its watch and its way to wait are not used.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import attrs

from launch_k8s.connect import Connection
from launch_k8s.errors import ApiAway, ApiError
from launch_k8s.kinds import KindInfo
from launch_k8s.pace import Pace, Pauses
from launch_k8s.settings import ClusterSettings
from launch_k8s.wire import Refusal, Wire

PAGE: Final = 500
"""Objects of one answer to a list."""
JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
TRIES: Final = 6
CONNECT: Final = 5.0
"""Seconds to reach a server at all."""
MOST_RETRY_AFTER: Final = 30.0


def path_of(kind: KindInfo, namespace: str | None, name: str | None = None, part: str = "") -> str:
    """The path of a collection or an object. No namespace: all of them."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    middle = f"/namespaces/{namespace}" if namespace and kind.namespaced else ""
    end = f"/{name}" if name else ""
    return f"{root}{middle}/{kind.plural}{end}{part}"


@attrs.frozen(kw_only=True)
class Ask:
    """One request. ``seconds``: for its whole answer, or between two pieces of it."""

    method: str
    path: str
    params: Mapping[str, Any] | None = None
    body: Any = None
    content: str = JSON
    accept: str = JSON
    seconds: float


class Api:
    """One API server. Thread-safe."""

    def __init__(self, settings: ClusterSettings, connection: Connection) -> None:
        self.settings = settings
        self.connection = connection
        self.pace = Pace(settings.requests_per_second, settings.burst)

    @property
    def namespace(self) -> str:
        """The namespace of who names none."""
        return self.connection.namespace

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        content: str = JSON,
        accept: str = JSON,
        seconds: float | None = None,
        tries: int = TRIES,
        until: float | None = None,
    ) -> Any:
        """The decoded answer. Everything that we ask for may be repeated: names are deterministic.

        :param until: monotonic seconds after which it is not tried again.
        :raises ApiError: the server says no.
        :raises ApiAway: there was no answer; ``sent`` if any of the tries may have been carried out.
        """
        ask = Ask(
            method=method,
            path=path,
            params=params,
            body=body,
            content=content,
            accept=accept,
            seconds=self.settings.request_seconds if seconds is None else seconds,
        )
        pauses, sent, renewed = Pauses(0.1, 5.0), False, False
        for left in range(tries - 1, -1, -1):
            try:
                return self._once(ask)
            except ApiAway as error:
                sent = sent or error.sent
                pause = pauses.next()
                if not left or (until is not None and time.monotonic() + pause > until):
                    raise ApiAway(str(error), sent=sent) from None
            except ApiError as error:
                if error.code == 401 and left and not renewed:
                    renewed = True
                    continue
                pause = pauses.next()
                if error.retry_after is not None:
                    pause = max(min(error.retry_after, MOST_RETRY_AFTER), pause)
                late = until is not None and time.monotonic() + pause > until
                if not error.passing or not left or late:
                    raise
                sent = sent or error.code != 429
            time.sleep(pause)
        raise AssertionError("unreachable")

    def get(self, path: str, **params: Any) -> Any:
        return self.request("GET", path, params=params)

    def pages(self, path: str, *, accept: str = JSON, **params: Any) -> Iterator[Mapping[str, Any]]:
        """The pages of a list: all of one moment. A list that took too long is begun anew, unpaged.

        The caller starts over when a page says that it is the ``first``.
        """
        following: str | None = None
        limit: int | None = PAGE
        first = True
        while True:
            asked = {**params, "limit": limit, "continue": following}
            try:
                page = self.request("GET", path, params=asked, accept=accept)
            except ApiError as error:
                if not error.gone or following is None:
                    raise
                following, limit, first = None, None, True
                continue
            yield {**page, "first": first}
            first = False
            following = (page.get("metadata") or {}).get("continue")
            if not following:
                return

    def items(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """A whole list."""
        found: list[dict[str, Any]] = []
        for page in self.pages(path, **params):
            if page["first"]:
                found = []
            found += page.get("items") or []
        return found

    def stream(self, path: str, *, silence: float, **params: Any) -> Wire:
        """An answer that comes bit by bit, of which nothing was read yet; to be closed by the caller.

        :param silence: seconds without a byte after which a read that waits fails.
        :raises ApiAway: the server cannot be reached.
        """
        client, url, headers = self._prepared(Ask(method="GET", path=path, params=params, seconds=silence))
        try:
            pool = client.rest_client.pool_manager.connection_from_url(url)
            connection = pool._new_conn()  # noqa: SLF001
            connection.timeout = CONNECT
            tunnel = pool.proxy is not None and pool.scheme == "https"
            if tunnel:
                pool._prepare_proxy(connection)  # noqa: SLF001
            # A plain proxy wants the whole address.
            plain = pool.proxy is not None and not tunnel
            connection.request("GET", url if plain else url[len(_origin(url)) :], headers=headers)
            connection.sock.settimeout(silence)
        except Exception as error:
            self._look_again(client, error)
            raise ApiAway(_words(error), sent=False) from None
        return Wire(connection)

    def refusal(self, refusal: Refusal) -> ApiError:
        """What a stream's server says instead of its stream."""
        if refusal.code == 401:
            self.connection.renew(self.connection.client())
        return _error(refusal.code, refusal.headers, refusal.body)

    def delete(
        self,
        path: str,
        *,
        propagation: str = "Background",
        grace: int | None = None,
        uid: str | None = None,
        **params: Any,
    ) -> bool:
        """Delete one object, or with a ``labelSelector`` many.

        :param uid: only this very object, not another of its name.
        :returns: False: there is no such object.
        """
        body: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            self.request("DELETE", path, params=params, body=body)
        except ApiError as error:
            if error.missing or (error.conflict and uid is not None):
                return False
            raise
        return True

    # -- one try ---------------------------------------------------------------------------------

    def _once(self, ask: Ask) -> Any:
        response = self._send(ask)
        try:
            data = response.read(decode_content=True)
        except Exception as error:
            raise ApiAway(_words(error), sent=True) from None
        finally:
            response.release_conn()
        try:
            return json.loads(data) if data else {}
        except ValueError:
            raise ApiAway("the answer is not JSON: is this an API server?", sent=True) from None

    def _send(self, ask: Ask) -> Any:
        import urllib3

        client, url, headers = self._prepared(ask)
        data = None
        if ask.body is not None:
            data = json.dumps(ask.body).encode()
            headers["Content-Type"] = ask.content
        try:
            response = client.rest_client.pool_manager.request(
                ask.method,
                url,
                body=data,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(CONNECT, ask.seconds), read=ask.seconds),
                preload_content=False,
                retries=False,
                redirect=False,
            )
        except Exception as error:
            self._look_again(client, error)
            raise ApiAway(_words(error), sent=not _before_sending(error)) from None
        if response.status < 300:
            return response
        if response.status == 401:
            self.connection.renew(client)
        try:
            said = response.read(decode_content=True)
        except Exception:
            said = b""
        finally:
            response.release_conn()
        names = {name.lower(): value for name, value in response.headers.items()}
        raise _error(int(response.status), names, said)

    def _look_again(self, client: Any, error: Exception) -> None:
        """A server that is not trusted may have a certificate of a new authority, which the files know."""
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            self.connection.renew(client)

    def _prepared(self, ask: Ask) -> tuple[Any, str, dict[str, str]]:
        """The client, the whole URL, the headers; when the request may be made."""
        client = self.connection.client()
        asked = {key: _text(value) for key, value in (ask.params or {}).items() if value is not None}
        url = f"{client.configuration.host.rstrip('/')}{ask.path}" + (f"?{urlencode(asked)}" if asked else "")
        headers = {"Accept": ask.accept, "User-Agent": "launchcore", **self.connection.auth(client)}
        self.pace.wait()
        return client, url, headers


def _error(code: int, headers: Mapping[str, str], said: bytes) -> ApiError:
    try:
        status = json.loads(said)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        status = {"message": said[:300].decode("utf-8", "replace") or f"HTTP {code}"}
    wait = str(headers.get("retry-after") or "")
    return ApiError(code, status, retry_after=float(wait) if wait.isdigit() else None)


def _origin(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _before_sending(error: Exception) -> bool:
    """Whether nothing of the request can have reached the server."""
    from urllib3 import exceptions

    return isinstance(error, exceptions.NewConnectionError | exceptions.ConnectTimeoutError)


def _words(error: Exception) -> str:
    """What is wrong with a connection, without the names of classes around it."""
    text = str(error).rpartition("object at 0x")[2] or str(error)
    return text.partition(">: ")[2] or text.rpartition(": ")[2] or type(error).__name__
