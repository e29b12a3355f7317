"""A service that throttles, breaks and stammers, scripted over HTTP: what is tried again, and how often.

The Stubber stands before the SDK's retries, and moto is never busy.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from launch_aws.environment import make_environment
from launch_aws.registry import EcrRegistry, make_registry
from launch_aws.settings import AccountSettings, RegistrySettings
from launch_aws.testing.cloud import ACCOUNT, REGION

from launchcore.plugin import ImageRef, LaunchError, Reason

DIGEST = f"sha256:{'ab' * 32}"
FOUND = {"images": [{"imageId": {"imageDigest": DIGEST}}], "failures": []}
BUSY = {"__type": "ThrottlingException", "message": "Rate exceeded"}
REF = ImageRef(name=f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/my-repo:1")


class Service:
    """Gives its answers in turn; the last one for ever. ``None``: it hangs up."""

    def __init__(self, *answers: tuple[int, dict[str, Any]] | None) -> None:
        self.asked = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                answer = answers[min(service.asked, len(answers) - 1)]
                service.asked += 1
                if answer is None:
                    self.close_connection = True
                    return
                status, body = answer
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/x-amz-json-1.1")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def registry(self, retries: int = 3) -> EcrRegistry:
        url = f"http://127.0.0.1:{self.server.server_port}"
        account = AccountSettings(region=REGION, endpoint_url=url, retries=retries)
        return make_registry(RegistrySettings(repository="my-repo"), make_environment(account))


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Services; the SDK's pauses between two tries are left out."""
    made: list[Service] = []

    def start(*answers: tuple[int, dict[str, Any]] | None) -> Service:
        made.append(Service(*answers))
        return made[-1]

    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    yield start
    for each in made:
        each.close()


@pytest.mark.parametrize("trouble", [(400, BUSY), (503, {"message": "busy"}), (500, {}), None])
def test_what_is_worth_it_is_tried_again(serve: Any, trouble: Any) -> None:
    service = serve(trouble, trouble, (200, FOUND))
    assert service.registry().digest(REF) == DIGEST
    assert service.asked == 3


def test_a_service_that_stays_busy_is_told_as_such(serve: Any) -> None:
    service = serve((400, BUSY))
    with pytest.raises(LaunchError, match="AWS throttles us") as caught:
        service.registry(retries=2).digest(REF)
    assert service.asked == 3
    assert (caught.value.reason, caught.value.retryable) == (Reason.INFRASTRUCTURE, True)


@pytest.mark.parametrize(
    "refusal",
    [
        {"__type": "AccessDeniedException", "message": "no"},
        {"__type": "ExpiredTokenException", "message": "old"},
        {"__type": "InvalidParameterException", "message": "bad"},
    ],
)
def test_a_refusal_is_not_tried_again(serve: Any, refusal: dict[str, str]) -> None:
    service = serve((400, refusal))
    with pytest.raises(LaunchError) as caught:
        service.registry().digest(REF)
    assert service.asked == 1
    assert not caught.value.retryable


def test_a_service_that_is_no_aws(serve: Any) -> None:
    """A proxy's page, say: an error, and not an image that is missing."""
    service = serve((404, {"hello": "world"}))
    with pytest.raises(LaunchError, match="what answers 404 there is no service of AWS") as caught:
        service.registry().digest(REF)
    assert "proxies" in (caught.value.hint or "")
