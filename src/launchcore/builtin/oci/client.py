"""HTTP with a registry: TLS, login, tokens, retries. https://github.com/opencontainers/distribution-spec"""

from __future__ import annotations

import base64
import email.utils
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from launchcore.builtin.oci.challenge import Challenge, challenges
from launchcore.builtin.oci.credentials import IDENTITY
from launchcore.builtin.oci.names import is_loopback
from launchcore.builtin.oci.settings import OciSettings
from launchcore.builtin.text import plain
from launchcore.plugin import Fault, LaunchError, Login, Reason

if TYPE_CHECKING:
    import requests

LONGEST_PAUSE = 20.0
"""Seconds that we wait at most before a question is asked again, whatever Retry-After says."""
LARGEST = 4 * 1024 * 1024
"""Bytes of the largest manifest that a registry must accept, and so we."""
AGENT = "launchcore"
REMEMBERED = 300.0
"""Seconds that a login is used before it is asked for again: helpers are slow, passwords change."""


@attrs.frozen(kw_only=True)
class Answer:
    """What a registry said. Header names are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen(kw_only=True)
class _Proof:
    """The value of an Authorization header; ``expires_at`` on the monotonic clock."""

    text: str = attrs.field(repr=False)
    expires_at: float


class RegistryAway(Exception):
    """The registry could not be asked, or is not able to answer now."""


class Client:
    """One registry's HTTP. Safe for all threads."""

    def __init__(
        self, api: str, settings: OciSettings, *, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self.api = api
        self.settings = settings
        self.requests = 0
        """How many were sent."""
        self._sleep = sleep
        self._local = threading.local()
        self._scheme: str | None = None
        self._tokens: dict[str, _Proof] = {}

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        scope: str,
        login: Callable[[], Login | None],
    ) -> Answer:
        """One question below ``/v2/``; proves who we are when asked to.

        :raises LaunchError: ``infrastructure``: away or busy; ``config_error``: it refuses us.
        """
        for attempt in range(self.settings.retries + 1):
            try:
                answer = self._ask_once(method, path, headers, scope, login)
                if answer.status not in (408, 429) and answer.status < 500:
                    return answer
                problem = f"it answers {answer.status}{_message(answer)}"
                pause = _retry_after(answer.headers)
            except RegistryAway as error:
                problem, pause = str(error), None
            if attempt < self.settings.retries:
                backoff = 0.25 * 2**attempt * random.uniform(0.75, 1.25)
                self._sleep(min(backoff if pause is None else pause, LONGEST_PAUSE))
        raise LaunchError(
            f"the registry {self.api} cannot be asked: {problem}",
            reason=Reason.INFRASTRUCTURE,
            hint="look at the registry, and at the way to it: name, port, proxy, certificates",
            retryable=True,
        )

    # -- one question ----------------------------------------------------------------------------

    def _ask_once(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        scope: str,
        login: Callable[[], Login | None],
    ) -> Answer:
        token = self._tokens.get(scope)
        fresh = token is not None and token.expires_at > time.monotonic()
        known = {**headers, "Authorization": token.text} if token is not None and fresh else headers
        answer = self._send(method, f"/v2/{path}", known)
        if answer.status != 401:
            return answer
        self._tokens.pop(scope, None)
        who = login()
        for challenge in challenges(answer.headers.get("www-authenticate", "")):
            if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                proof = self._token(challenge, scope, who)
            elif challenge.scheme == "basic" and who is not None:
                proof = _Proof(text=_basic(who), expires_at=time.monotonic() + REMEMBERED)
            else:
                continue
            answer = self._send(method, f"/v2/{path}", {**headers, "Authorization": proof.text})
            if answer.status != 401:
                self._tokens[scope] = proof
            break
        return answer

    def _token(self, challenge: Challenge, scope: str, who: Login | None) -> _Proof:
        """https://distribution.github.io/distribution/spec/auth/token/ and …/oauth/"""
        realm = challenge.parameters["realm"]
        parts = urlsplit(realm)
        if parts.scheme != "https" and not (
            parts.scheme == "http" and (self.settings.insecure or is_loopback(parts.netloc))
        ):
            raise refused(
                f"the registry {self.api} sends us for a token to {plain(realm, 120)!r}, not by HTTPS"
            )
        about = {"scope": scope}
        if service := challenge.parameters.get("service"):
            about["service"] = service
        if who is not None and who.username == IDENTITY:
            form = {**about, "grant_type": "refresh_token", "client_id": AGENT}
            answer = self._send_to("POST", realm, {}, form=form, secret=who)
        else:
            answer = self._send_to("GET", realm, {}, query=about, basic=who)
        if answer.status in (401, 403):
            raise refused(f"the registry {self.api} refuses {_who(who)}{_message(answer)}")
        if answer.status != 200:
            raise RegistryAway(f"its token service answers {answer.status}{_message(answer)}")
        return _read_token(answer)

    def _send(self, method: str, path: str, headers: Mapping[str, str], basic: Login | None = None) -> Answer:
        for scheme in self._schemes():
            try:
                answer = self._send_to(method, f"{scheme}://{self.api}{path}", headers)
            except _NoTls:
                if scheme == "https" and self._may_be_plain():
                    continue
                raise RegistryAway(
                    "it does not speak TLS; plain HTTP is used only with `insecure: true`"
                ) from None
            self._scheme = scheme
            return answer
        raise RegistryAway("it answers neither HTTPS nor HTTP")

    def _may_be_plain(self) -> bool:
        return self.settings.insecure or is_loopback(self.api)

    def _schemes(self) -> tuple[str, ...]:
        if self._scheme is not None:
            return (self._scheme,)
        return ("https", "http") if self._may_be_plain() else ("https",)

    def _send_to(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        basic: Login | None = None,
        secret: Login | None = None,
    ) -> Answer:
        import requests

        timeout = (self.settings.connect_seconds, self.settings.answer_seconds)
        proof = {"Authorization": _basic(basic)} if basic else {}
        data = {**form, "refresh_token": secret.password.reveal()} if form and secret else form
        self.requests += 1
        try:
            with self._session().request(
                method,
                url,
                params=query,
                data=data,
                headers={"User-Agent": AGENT, **proof, **headers},
                auth=_no_netrc,
                timeout=timeout,
                verify=self._verify(),  # said here, or the environment's bundle would win over ours
                stream=True,
            ) as response:
                body = response.raw.read(LARGEST + 1, decode_content=True)
                found = {name.lower(): value for name, value in response.headers.items()}
                return Answer(status=response.status_code, headers=found, body=body)
        except requests.exceptions.SSLError as error:
            if any(sign in str(error).lower() for sign in _NOT_TLS):
                raise _NoTls from None
            raise LaunchError(
                f"the certificate of {urlsplit(url).netloc} is not trusted: {_cause(error)}",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.INFRASTRUCTURE,
                hint="name the CA that signed it: `registry.ca_file`",
            ) from None
        except (requests.RequestException, OSError, _http_error()) as error:
            raise RegistryAway(_cause(error)) from None

    def _session(self) -> requests.Session:
        """One for each thread: requests does not promise that a session may be shared."""
        import requests

        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            self._local.session = session
        return session

    def _verify(self) -> str | bool:
        if self.settings.ca_file is not None:
            file = Path(self.settings.ca_file).expanduser()
            if not file.is_file():
                raise refused(f"`registry.ca_file`: {file} is no file")
            return str(file)
        beside = Path("/etc/docker/certs.d", self.api, "ca.crt")
        return str(beside) if beside.is_file() else True


_NOT_TLS = (
    "wrong version number",
    "record layer failure",
    "http request",
    "unknown protocol",
    "packet length",
)


class _NoTls(Exception):
    """What answers there does not speak TLS."""


def _basic(login: Login) -> str:
    text = f"{login.username}:{login.password.reveal()}"
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def _http_error() -> type[Exception]:
    import urllib3

    return urllib3.exceptions.HTTPError


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No login of a ~/.netrc, which requests would add on its own."""
    return request


def _read_token(answer: Answer) -> _Proof:
    try:
        found = json.loads(answer.body)
        text = found.get("token") or found["access_token"]
        seconds = float(found.get("expires_in") or 60)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RegistryAway("its token service gave no token") from None
    return _Proof(text=f"Bearer {text}", expires_at=time.monotonic() + max(seconds - 15, 0))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number or a date (RFC 9110, section 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
        return max(at.timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def _message(answer: Answer) -> str:
    """What the registry's own error says (distribution-spec, error codes), after a colon."""
    try:
        errors = json.loads(answer.body)["errors"]
        texts = [str(each.get("message") or each.get("code") or "") for each in errors[:3]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    said = "; ".join(filter(None, texts))
    return f": {plain(said, 160)}" if said else ""


def _who(login: Login | None) -> str:
    return f"the login of {plain(login.username, 60)!r}" if login else "us without a login"


def refused(detail: str) -> LaunchError:
    """The registry wants another login than ours, or we may not use it."""
    return LaunchError(
        detail,
        reason=Reason.CONFIG_ERROR,
        fault=Fault.INFRASTRUCTURE,
        hint="look at the `registry` block of the agent or queue: username, password_env or "
        "password_file, credential_helper, ca_file",
    )


def _cause(error: BaseException) -> str:
    """The innermost reason, in one line."""
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        seen.append(at)
        inner = next((each for each in at.args if isinstance(each, BaseException)), None)
        reason = getattr(inner or at, "reason", None)
        at = reason if isinstance(reason, BaseException) else inner or at.__cause__ or at.__context__
    named = next((each for each in seen if isinstance(each, OSError) and each.strerror), None)
    text = named.strerror if named is not None else str(seen[-1]) or type(seen[-1]).__name__
    return plain(str(text), 200)
