"""Asking a registry: the dances of login, what each answer means, patience."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from launchcore.builtin.oci.client import LONGEST_PAUSE, Client
from launchcore.builtin.oci.registry import OciRegistry
from launchcore.builtin.oci.settings import OciSettings
from launchcore.plugin import Fault, ImageRef, LaunchError, Reason
from launchcore.testing.conformance import RegistryConformance
from launchcore.testing.conformance.registry import RegistryBench
from tests.oci.service import DIGEST, Service

Serve = Callable[..., Service]


def registry(
    service: Service, monkeypatch: pytest.MonkeyPatch, password: str | None = "s3cret", **more: Any
) -> OciRegistry:
    login: dict[str, Any] = {}
    if password is not None:
        monkeypatch.setenv("REG_PASSWORD", password)
        login = {"username": "ann", "password_env": "REG_PASSWORD"}
    settings = {"repository": f"{service.host}/team/x", "retries": 2, **login, **more}
    return OciRegistry(OciSettings(**settings))


def ref(service: Service, tag: str = "1", path: str = "team/x") -> ImageRef:
    return ImageRef(name=f"{service.host}/{path}:{tag}")


@pytest.mark.parametrize("auth", ["none", "basic", "bearer"])
def test_the_digest_by_every_kind_of_login(serve: Serve, monkeypatch: pytest.MonkeyPatch, auth: str) -> None:
    service = serve(auth)
    made = registry(service, monkeypatch)

    assert made.digest(ref(service)) == DIGEST
    assert made.digest(ref(service, "2")) is None


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_login_is_remembered_so_that_a_question_is_one_request(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, auth: str
) -> None:
    service = serve(auth)
    made = registry(service, monkeypatch)
    made.digest(ref(service))
    before = len(service.seen)
    made.digest(ref(service))

    assert service.seen[before:] == [service.seen[-1]]
    assert service.seen[-1][0] == "HEAD"


def test_an_old_token_is_replaced(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve("bearer")
    service.expires_in = 1
    made = registry(service, monkeypatch)

    assert made.digest(ref(service)) == made.digest(ref(service)) == DIGEST
    assert sum(path.startswith("/token") for path in service.paths()) == 2


def test_a_changed_password_is_read_anew(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve("basic")
    made = registry(service, monkeypatch)
    made.digest(ref(service))
    service.password = "another"
    monkeypatch.setenv("REG_PASSWORD", "another")

    assert made.digest(ref(service)) == DIGEST


@pytest.mark.parametrize("auth", ["basic", "bearer"])
@pytest.mark.parametrize("password", ["wrong", None])
def test_a_refused_login_is_a_clear_error(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, auth: str, password: str | None
) -> None:
    service = serve(auth)
    with pytest.raises(LaunchError) as caught:
        registry(service, monkeypatch, password).digest(ref(service))

    assert (caught.value.reason, caught.value.fault) == (Reason.CONFIG_ERROR, Fault.INFRASTRUCTURE)
    assert "refuses" in caught.value.detail
    assert caught.value.hint
    assert "wrong" not in f"{caught.value.detail} {caught.value.hint}"


def test_busy_and_broken_registries_are_asked_again(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve()
    service.answers = [(503, {"Retry-After": "0"}), (429, {"Retry-After": "0"})]

    assert registry(service, monkeypatch).digest(ref(service)) == DIGEST
    assert len(service.seen) >= 3


def test_one_that_stays_broken_is_infrastructure(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve()
    service.answers = [(502, {"Retry-After": "0"})] * 20
    with pytest.raises(LaunchError) as caught:
        registry(service, monkeypatch).digest(ref(service))

    assert (caught.value.reason, caught.value.retryable) == (Reason.INFRASTRUCTURE, True)
    assert "502" in caught.value.detail


@pytest.mark.parametrize(
    ("header", "pause"),
    [("7", 7.0), ("9999", LONGEST_PAUSE), (formatdate(0, usegmt=True), 0.0), ("soon", None), (None, None)],
)
def test_retry_after_says_how_long_to_wait(serve: Serve, header: str | None, pause: float | None) -> None:
    service = serve()
    service.answers = [(503, {"Retry-After": header} if header else {})]
    waited: list[float] = []
    client = Client(service.host, OciSettings(retries=1), sleep=waited.append)
    answer = client.ask("HEAD", "team/x/manifests/1", headers={}, scope="x", login=lambda: None)

    assert answer.status == 200
    assert len(waited) == 1
    assert waited[0] == pause if pause is not None else 0 < waited[0] < 1


def test_nobody_there_is_infrastructure() -> None:
    settings = OciSettings(repository="127.0.0.1:1/x", retries=0, connect_seconds=1.0)
    with pytest.raises(LaunchError) as caught:
        OciRegistry(settings).digest(ImageRef(name="127.0.0.1:1/x:1"))

    assert caught.value.reason is Reason.INFRASTRUCTURE
    assert "refused" in caught.value.detail.lower()


def test_without_the_header_the_digest_is_that_of_the_manifest(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve()
    service.digest_header = False
    body = json.dumps({"a": 1}).encode()

    found = registry(service, monkeypatch).digest(ref(service))
    assert found == f"sha256:{hashlib.sha256(body).hexdigest()}"


def test_every_kind_of_manifest_is_accepted(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve()
    registry(service, monkeypatch).digest(ref(service))
    accept = service.seen[-1][2]["Accept"]

    for kind in ("oci.image.index.v1", "oci.image.manifest.v1", "manifest.list.v2", "manifest.v2"):
        assert f"{kind}+json" in accept


def test_passwords_go_to_no_token_service_in_clear(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve("bearer")
    service.realm = "http://auth.example.com/token"
    with pytest.raises(LaunchError, match="not by HTTPS"):
        registry(service, monkeypatch).digest(ref(service))


def test_plain_http_is_for_loopback_only(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve()
    port = service.host.rpartition(":")[2]
    # A name that is not known to be loopback, though it leads there.
    monkeypatch.setattr("launchcore.builtin.oci.client.is_loopback", lambda _: False)
    image = ImageRef(name=f"127.0.0.1:{port}/team/x:1")
    with pytest.raises(LaunchError, match="insecure: true"):
        registry(service, monkeypatch, retries=0).digest(image)

    assert registry(service, monkeypatch, retries=0, insecure=True).digest(image) == DIGEST


def test_an_identity_token_is_exchanged(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, docker_config: Path
) -> None:
    service = serve("bearer")
    entry = {"auths": {service.host: {"identitytoken": "s3cret"}}}
    (docker_config / "config.json").write_text(json.dumps(entry))

    assert registry(service, monkeypatch, None).digest(ref(service)) == DIGEST
    assert any(method == "POST" and path == "/token" for method, path, _ in service.seen)


def test_a_name_that_is_none_is_said(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LaunchError) as caught:
        registry(serve(), monkeypatch).digest(ImageRef(name="Not A Name"))
    assert caught.value.reason is Reason.CONFIG_ERROR


class TestOciRegistry(RegistryConformance):
    plugin = "launchcore.builtin.oci.plugin"
    name = "oci"
    secret = "s3cret"

    @pytest.fixture(autouse=True)
    def _service(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        self.service = serve("bearer")
        monkeypatch.setenv("REG_PASSWORD", "s3cret")
        host = self.service.host
        self.settings = {
            "repository": f"{host}/team/x",
            "username": "ann",
            "password_env": "REG_PASSWORD",
            "retries": 0,
        }
        self.away = {"host": host, "repository": "127.0.0.1:1/team/x"}

    def present(self, bench: RegistryBench) -> ImageRef:
        return ImageRef(name=f"{bench.repository}:1", digest=DIGEST)
