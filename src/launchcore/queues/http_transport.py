"""One way to talk to the queue service: pooled, with timeouts everywhere, repeated where that is safe."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Final
from urllib.parse import urljoin

import attrs
import requests
from requests.utils import get_environ_proxies
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
)

from launchcore.plugin import LaunchError, QueueUnavailable, Secret
from launchcore.queues.http_problems import Refused, Trouble, not_ours, one_line, raise_for
from launchcore.queues.http_settings import (
    Address,
    HttpSettings,
    check_door,
    parse_address,
    read_token,
)
from launchcore.queues.http_sockets import HungUp, Wait, Waiting, WaitingAdapter

MAX_ANSWER: Final = 256 * 1024 * 1024
"""Bytes of one answer that is read into memory: more is no answer of ours."""
_PIECE: Final = 1 << 16
_REDIRECTS: Final = 4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_SHORTLY, _AWAY_FOR = 1.0, 30.0
"""Seconds after a call that found nobody, during which a call that is not ``eager`` is not tried: in any
case, and while an eager one is being tried."""


@attrs.frozen(kw_only=True)
class Ask:
    """One request. ``again``: it may be repeated when it is unclear whether it was carried out."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | IO[bytes] | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    again: bool = True
    seconds: float = 0.0
    """How long the service is asked to wait before it answers."""
    also: tuple[int, ...] = ()
    """Statuses besides those of success that are an answer."""


@attrs.frozen(kw_only=True)
class Answer:
    """A success."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Thread-safe. Connects when it is used for the first time.

    :param patience: seconds for which a call is repeated before it is given up.
    :raises LaunchError: ``config_error``: the address or the settings cannot be used.
    """

    def __init__(self, url: str, settings: HttpSettings, *, patience: float) -> None:
        self.address: Address = parse_address(url)
        self._settings = settings
        self._patience = patience
        self._token = read_token(settings)
        check_door(self.address, settings, self._token)
        self._waiting = Waiting()
        self._session = self._make_session()
        self._lock = threading.Lock()
        self._tries = 0
        self._away_since: float | None = None
        self._away_why = ""
        self._closed = False

    def call(
        self,
        ask: Ask,
        *,
        wait: Wait | None = None,
        eager: bool = True,
        done: type[LaunchError] | None = None,
    ) -> Answer:
        """Send, and repeat with growing, jittered pauses (or those that the service asks for).

        :param wait: by which the call can be ended early.
        :param eager: False: give up at once while others have found nobody there, and are still looking.
        :param done: an error that means success when an earlier try may have been carried out.
        :raises QueueUnavailable: no answer within our patience.
        :raises HungUp: ``wait`` was ended.
        :raises Refused: we are not let in.
        """
        if not eager:
            self._refuse_while_away()
            return self._repeat(ask, lambda: self._exchange(ask, wait), wait, done)
        with self._trying():
            return self._repeat(ask, lambda: self._exchange(ask, wait), wait, done)

    def download(self, ask: Ask, into: IO[bytes], *, most: int) -> Mapping[str, str]:
        """Like :meth:`call`; the body goes to ``into``, which is emptied before each try."""

        def fetch() -> Answer:
            into.seek(0)
            into.truncate()
            with self._open(ask, None) as response:
                size = 0
                for piece in self._pieces(response):
                    size += len(piece)
                    if size > most:
                        raise not_ours(f"it sends more than {most} bytes")
                    into.write(piece)
                return Answer(status=response.status_code, headers=response.headers, body=b"")

        return self._repeat(ask, fetch, None, None).headers

    def close(self) -> None:
        """Close all connections. Calls that wait are to be ended before."""
        self._closed = True
        self._session.close()

    # -- inside --------------------------------------------------------------------------------

    def _repeat(
        self, ask: Ask, once: Callable[[], Answer], wait: Wait | None, done: type[LaunchError] | None
    ) -> Answer:
        pause, give_up, unclear, fresh = _FIRST_PAUSE, None, False, False
        while True:
            if self._closed:
                raise QueueUnavailable("the connection to the queue service has been closed")
            try:
                answer = once()
            except Refused:
                if fresh or not self._new_token():
                    raise
                fresh = True
                continue
            except LaunchError as error:
                if unclear and done is not None and isinstance(error, done):
                    return Answer(status=200, headers={}, body=b"")
                raise
            except Trouble as trouble:
                now = time.monotonic()
                unclear = unclear or trouble.unclear
                give_up = now + self._patience if give_up is None else give_up
                pause = min(random.uniform(_FIRST_PAUSE, pause * 3), _LONGEST_PAUSE)
                rest = max(pause, trouble.retry_after or 0.0)
                if now + rest > give_up or (trouble.unclear and not ask.again):
                    raise self._gave_up(ask, trouble) from None
            else:
                self._away_since = None
                return answer
            if wait is None:
                time.sleep(rest)
            else:
                wait.sleep(rest)

    def _gave_up(self, ask: Ask, trouble: Trouble) -> QueueUnavailable:
        text = f"{self.address.url}: {trouble}"
        if trouble.unclear and not ask.again:
            text += "; it may have been done all the same"
        self._away_why, self._away_since = text, time.monotonic()
        error = QueueUnavailable(text)
        error.retry_after = trouble.retry_after
        return error

    def _refuse_while_away(self) -> None:
        """A thread that looks after many runs must not wait for a service that is away, once for each."""
        since = self._away_since
        if since is not None:
            seconds = time.monotonic() - since
            if seconds < _SHORTLY or (self._tries and seconds < _AWAY_FOR):
                raise QueueUnavailable(self._away_why)

    @contextlib.contextmanager
    def _trying(self) -> Iterator[None]:
        with self._lock:
            self._tries += 1
        try:
            yield
        finally:
            with self._lock:
                self._tries -= 1

    def _exchange(self, ask: Ask, wait: Wait | None) -> Answer:
        try:
            with self._open(ask, wait) as response:
                body = self._read(response)
        except Trouble:
            if wait is not None and wait.rung:
                raise HungUp from None
            raise
        return Answer(status=response.status_code, headers=response.headers, body=body)

    @contextlib.contextmanager
    def _open(self, ask: Ask, wait: Wait | None) -> Iterator[requests.Response]:
        """A response that is a success; its body has not been read."""
        url = self.address.url + ask.path
        for _ in range(_REDIRECTS):
            response = self._send(ask, url, wait)
            try:
                if response.status_code not in (301, 302, 303, 307, 308):
                    if not 200 <= response.status_code < 300 and response.status_code not in ask.also:
                        body = b"" if ask.method == "HEAD" else self._read(response)
                        raise_for(response.status_code, response.headers, body, now=time.time())
                    yield response
                    return
                url = self._redirected(ask, url, response)
            finally:
                response.close()
        raise not_ours("it redirects without end")

    def _send(self, ask: Ask, url: str, wait: Wait | None) -> requests.Response:
        settings = self._settings
        if ask.body is not None and not isinstance(ask.body, bytes):
            ask.body.seek(0)
        self._waiting.wait = wait
        try:
            return self._session.request(
                ask.method,
                url,
                params=list(ask.query),
                data=ask.body,
                headers={**ask.headers, "Accept": "application/json, */*;q=0.1"},
                timeout=(settings.connect_seconds, settings.read_seconds + ask.seconds),
                allow_redirects=False,
                stream=True,
                verify=self._verify,
                proxies=self._proxies,
            )
        except HungUp:
            raise
        except requests.exceptions.SSLError as error:
            raise self._tls(error) from None
        except requests.exceptions.ConnectionError as error:
            raise Trouble(_why(error), unclear=not _never_sent(error)) from None
        except requests.exceptions.Timeout as error:
            unclear = not isinstance(error, requests.exceptions.ConnectTimeout)
            raise Trouble("no answer in time", unclear=unclear) from None
        except (requests.exceptions.RequestException, HTTPError, OSError) as error:
            raise Trouble(_why(error), unclear=True) from None
        finally:
            self._waiting.wait = None

    def _read(self, response: requests.Response) -> bytes:
        pieces, size, end = [], 0, time.monotonic() + 10 * self._settings.read_seconds
        for piece in self._pieces(response):
            size += len(piece)
            if size > MAX_ANSWER:
                raise not_ours(f"it answers with more than {MAX_ANSWER} bytes")
            if time.monotonic() > end:
                raise Trouble("the answer drips without end", unclear=True)
            pieces.append(piece)
        return b"".join(pieces)

    def _pieces(self, response: requests.Response) -> Iterator[bytes]:
        """The body. Each piece has to come in time; a body that is cut off is no answer."""
        empty = response.request.method != "HEAD"
        try:
            for piece in response.iter_content(_PIECE):
                empty = False
                yield piece
        except (requests.exceptions.RequestException, HTTPError, OSError) as error:
            raise Trouble(f"the answer was cut off: {_why(error)}", unclear=True) from None
        if empty and not _has_end(response):
            raise Trouble("the answer was cut off in its head", unclear=True)

    def _redirected(self, ask: Ask, url: str, response: requests.Response) -> str:
        """Within the same origin only: neither token nor run goes anywhere else."""
        target = urljoin(url, response.headers.get("Location", ""))
        if not self.address.same_origin(target):
            shown = one_line(target.partition("?")[0])
            raise Refused(
                f"{self.address.url} redirects to {shown}, and is not followed",
                hint="if that is the queue service, write its address as base_url",
            )
        if response.status_code in (301, 302, 303) and ask.method not in ("GET", "HEAD"):
            raise not_ours(f"it answers a {ask.method} with a redirect")
        return target.partition("?")[0] if ask.query else target

    def _tls(self, error: Exception) -> Exception:
        text = _why(error)
        if "CERTIFICATE" in text.upper() or "hostname" in text:
            return Refused(
                f"the certificate of {self.address.host} is not trusted: {text}",
                hint="name the authority's certificate: ca_file in the configuration",
            )
        return Trouble(text, unclear=True)

    def _new_token(self) -> bool:
        """The file may have a newer token than the one that was refused."""
        if self._settings.token is not None or self._settings.token_file is None:
            return False
        before = self._token
        with contextlib.suppress(LaunchError):  # it is being written just now, or gone
            self._token = read_token(self._settings)
        return self._token != before

    def _make_session(self) -> requests.Session:
        settings = self._settings
        session = requests.Session()
        session.trust_env = False  # .netrc would replace our token; the rest is read here, once
        session.auth = self._authorize
        session.headers["User-Agent"] = "launchcore"
        session.cookies.set_policy(_no_cookies())
        adapter = WaitingAdapter(self._waiting, settings.connections)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        if settings.client_certificate is not None:
            certificate = str(settings.client_certificate.expanduser())
            key = settings.client_key
            session.cert = (certificate, str(key.expanduser())) if key else certificate
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        own = str(settings.ca_file.expanduser()) if settings.ca_file else None
        self._verify: str | bool = own or bundle or True
        loopback = self.address.loopback
        self._proxies: dict[str, str] = {} if loopback else dict(get_environ_proxies(self.address.url))
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        token: Secret | None = self._token
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token.reveal()}"
        return request


def _has_end(response: requests.Response) -> bool:
    """Whether its head says where the body ends: the libraries take one that was cut off for a whole one."""
    length = response.headers.get("Content-Length", "")
    return response.status_code == 204 or length.isdecimal() or "Transfer-Encoding" in response.headers


def _no_cookies() -> Any:
    from http.cookiejar import DefaultCookiePolicy

    return DefaultCookiePolicy(allowed_domains=[])


def _never_sent(error: BaseException) -> bool:
    """No connection was made, so that nothing can have been done."""
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


def _why(error: BaseException) -> str:
    """The innermost of what the libraries have wrapped around one another, in one line."""
    seen: list[BaseException] = []
    inner: Any = error
    while isinstance(inner, BaseException) and inner not in seen:
        seen.append(inner)
        reason = getattr(inner, "reason", None)
        causes = [reason, *reversed(inner.args), inner.__cause__]
        inner = next((each for each in causes if isinstance(each, BaseException)), None)
    last = seen[-1]
    text = getattr(last, "strerror", None) or str(last) or type(last).__name__
    return one_line(text)
