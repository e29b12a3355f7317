"""All I/O with the engine: the SDK's low-level client for transport and TLS; our timeouts and errors.

One client with a pool of connections, safe for all threads. Every call either gives the engine's answer, or
raises :class:`EngineError` (it said no) or :class:`EngineAway` (it could not be asked, nothing is known).
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from launch_docker.endpoint import Endpoint, locate
from launch_docker.errors import EngineAway, EngineError, one_line
from launch_docker.settings import Settings
from launch_docker.streams import cut
from launch_docker.tunnel import Tunnel
from launchcore.plugin import Fault, LaunchError, Reason

if TYPE_CHECKING:
    import requests
    from docker import APIClient

POOL = 64
"""Connections that are kept open at most."""


class Engine:
    """One Docker engine, or Podman's compatible socket. Connects when it is first asked."""

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self.endpoint: Endpoint = locate(settings, os.environ if environ is None else environ)
        self._lock = threading.Lock()
        self._client: APIClient | None = None
        self._tunnel = Tunnel(self.endpoint.url) if self.endpoint.url.startswith("ssh://") else None
        if self._tunnel is not None:
            weakref.finalize(self, self._tunnel.close)
        self._version: str | None = settings.api_version
        self._podman: bool | None = None
        self._info: dict[str, Any] | None = None
        self._streams: weakref.WeakSet[requests.Response] = weakref.WeakSet()
        self._closing: list[weakref.WeakMethod[Callable[[], None]]] = []
        self.calls = 0
        """Requests made so far."""

    # -- about the engine ----------------------------------------------------------------------

    def info(self, *, fresh: bool = False) -> dict[str, Any]:
        """``docker info``; remembered."""
        if self._info is None or fresh:
            self._info = dict(self.get("/info"))
        return self._info

    def version(self) -> dict[str, Any]:
        """``docker version``, the engine's half."""
        return dict(self.get("/version"))

    def is_podman(self) -> bool:
        """Is it Podman's compatible socket? Remembered; mostly known from the first request."""
        if self._podman is None:
            self._podman = _is_podman(self.version())
        return self._podman

    # -- requests ------------------------------------------------------------------------------

    def get(self, path: str, **params: Any) -> Any:
        return self.request("GET", path, params=params).json()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        data: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        seconds: float | None = None,
    ) -> requests.Response:
        """One request to the engine's API, below its version.

        :param body: sent as JSON; ``data``: sent as it is.
        :param seconds: how long the engine may be silent; without it, ``answer_seconds``.
        :param stream: the answer is read as it comes; whoever asked closes it.
        """
        import requests

        client = self._connected()
        sent = dict(headers or {})
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        timeout = (self.settings.connect_seconds, seconds or self.settings.answer_seconds)
        url = f"{client.base_url}/v{self._version}{path}"
        self.calls += 1
        try:
            response: requests.Response = client.request(
                method,
                url,
                params=_query(params),
                data=data,
                headers=sent,
                stream=stream,
                timeout=timeout,
                # Said with each request: otherwise REQUESTS_CA_BUNDLE wins over the engine's own authority.
                verify=client.verify,
            )
        except (requests.RequestException, OSError) as error:
            raise _away(error) from error
        if response.status_code >= 400:
            self._refuse(response)
        if stream:
            with self._lock:
                self._streams.add(response)
        return response

    def lines(self, response: requests.Response) -> Iterator[dict[str, Any]]:
        """The JSON values of a streamed answer, as they come.

        :raises EngineAway: the stream broke off.
        """
        import requests
        import urllib3

        decoder, buffer = json.JSONDecoder(), ""
        try:
            with response:
                # What a read gives, not a block of a fixed size: an event must not wait for the next one.
                for chunk in response.raw.stream(65536, decode_content=True):
                    buffer += chunk.decode("utf-8", "replace")
                    while buffer := buffer.lstrip():
                        try:
                            value, end = decoder.raw_decode(buffer)
                        except ValueError:
                            break
                        buffer = buffer[end:]
                        if isinstance(value, dict):
                            yield value
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,
            AttributeError,
        ) as error:
            raise _away(error) from error

    def at_close(self, close: Callable[[], None]) -> None:
        """Have a reader with a thread of its own closed before the connections are. It is held weakly."""
        with self._lock:
            self._closing.append(weakref.WeakMethod(close))

    def close(self) -> None:
        """Close all connections, those too that somebody still reads from. Idempotent."""
        for reference in self._closing:
            if (close := reference()) is not None:
                close()
        with self._lock:
            streams, self._streams = list(self._streams), weakref.WeakSet()
        for response in streams:
            cut(response)
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None
            if self._tunnel is not None:
                self._tunnel.close()

    # -- inside --------------------------------------------------------------------------------

    def _connected(self) -> APIClient:
        import requests

        try:
            if self._tunnel is not None:
                self._tunnel.ensure()
            with self._lock:
                if self._client is None:
                    self._client = self._make_client()
                    # An engine that is dropped hangs up, whoever forgot to close it.
                    weakref.finalize(self, self._client.close)
                if self._version is None:
                    self._version = self._negotiate(self._client)
                return self._client
        except (requests.RequestException, OSError, ValueError) as error:
            raise _away(error) from error

    def _make_client(self) -> APIClient:
        """The SDK's client; connects to nothing yet."""
        import docker
        from docker.constants import MINIMUM_DOCKER_API_VERSION
        from docker.errors import DockerException
        from docker.tls import TLSConfig

        where = self.endpoint
        tls: TLSConfig | bool = False
        try:
            if where.tls:
                pair = (where.cert, where.key) if where.cert and where.key else None
                tls = TLSConfig(client_cert=pair, ca_cert=where.ca, verify=where.verify)
            client = docker.APIClient(
                base_url=f"unix://{self._tunnel.socket}" if self._tunnel else where.url,
                # Any version, so that the constructor does not ask: we do, with our own errors.
                version=MINIMUM_DOCKER_API_VERSION,
                tls=tls,
                max_pool_size=POOL,
            )
        except DockerException as error:
            raise LaunchError(
                f"the Docker client cannot be set up for {where.url}: {one_line(str(error), 200)}",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.INFRASTRUCTURE,
                hint="look at the engine's URL and TLS files (plugins.docker, DOCKER_*)",
            ) from None
        if client.base_url.startswith("http+docker://"):
            from launch_docker.transport import UnixAdapter

            path = self._tunnel.socket if self._tunnel else self.endpoint.socket
            client.mount("http+docker://", UnixAdapter(str(path), POOL))
            client.trust_env = False  # no look for proxies and netrc at every request: a socket has none
        return client

    def _negotiate(self, client: APIClient) -> str:
        """The newest version of the API that the engine speaks."""
        timeout = (self.settings.connect_seconds, self.settings.answer_seconds)
        url = f"{client.base_url}/version"
        with client.get(url, timeout=timeout, verify=client.verify) as response:
            if response.status_code >= 400:
                raise ConnectionError(f"{response.status_code} from the engine's address")
            said = response.json()
            self._podman = _is_podman(said)
            return str(said["ApiVersion"])

    def _refuse(self, response: requests.Response) -> None:
        try:
            with response:
                text = response.content[:65536].decode("utf-8", "replace")
        except Exception as error:
            raise _away(error) from error
        try:
            message = str(json.loads(text).get("message", text))
        except (ValueError, AttributeError):
            message = text
        # A proxy in between, or an engine that is going down, knows nothing about our containers.
        if response.status_code in (502, 503, 504):
            raise EngineAway(f"{response.status_code}: {one_line(message, 200)}")
        raise EngineError(response.status_code, message)


def _is_podman(version: Mapping[str, Any]) -> bool:
    parts = version.get("Components") or []
    return any("podman" in str(each.get("Name", "")).lower() for each in parts)


def _query(params: Mapping[str, Any] | None) -> dict[str, str | list[str]]:
    """Booleans as the API has them; mappings and lists as JSON; tuples one by one; None is left out."""
    found: dict[str, str | list[str]] = {}
    for key, value in (params or {}).items():
        if value is None:
            continue
        if isinstance(value, bool):
            found[key] = "1" if value else "0"
        elif isinstance(value, tuple):
            found[key] = [str(each) for each in value]
        else:
            found[key] = json.dumps(value) if isinstance(value, dict | list) else str(value)
    return found


def _away(error: BaseException) -> EngineAway:
    """Why the engine cannot be asked, as its innermost cause says it."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        inner = next((each for each in cause.args if isinstance(each, BaseException)), None)
        reason = getattr(inner or cause, "reason", None)
        cause = reason if isinstance(reason, BaseException) else inner or cause.__cause__ or cause.__context__
    refused = any(isinstance(each, ConnectionRefusedError | FileNotFoundError) for each in causes)
    kept_out = refused or any(isinstance(each, PermissionError) for each in causes)
    plain = next((each for each in causes if isinstance(each, OSError) and each.strerror), causes[-1])
    text = getattr(plain, "strerror", None) or str(plain) or type(plain).__name__
    if not kept_out and any(
        type(each).__name__ in ("ProtocolError", "ChunkedEncodingError") for each in causes
    ):
        text = "the connection broke off"
    return EngineAway(one_line(str(text), 200), refused=refused)
