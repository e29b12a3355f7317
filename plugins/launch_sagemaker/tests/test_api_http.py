"""Questions to SageMaker over HTTP: how often each is asked, and what it means that nobody answers."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_aws.session import Account
from launch_aws.settings import AccountSettings
from launch_aws.testing.fixtures import own_aws
from launch_sagemaker.api import Api, Throttled
from launch_sagemaker.names import job_name
from launch_sagemaker.places import Job
from launch_sagemaker.settings import Settings

from launchcore.plugin import LaunchError, Reason

__all__ = ["own_aws"]

REGION = "eu-west-1"
JOB = Job(attempt_id="r-1", name=job_name("r-1"), region=REGION)


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(own_aws: Path) -> None:
    """Its keys and configuration."""


@pytest.fixture
def served() -> Iterator[Callable[[int, str], tuple[Api, list[str]]]]:
    """A service that always answers the same, and what it was asked."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def serve(status: int, code: str) -> tuple[Api, list[str]]:
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                asked.append(str(self.headers["X-Amz-Target"]))
                body = json.dumps({"__type": code, "message": "Rate exceeded"}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        account = Account(AccountSettings(region=REGION, endpoints={"sagemaker": url}, retries=4))
        return Api(account, Settings()), asked

    yield serve
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.mark.parametrize(
    ("status", "code"), [(400, "ThrottlingException"), (500, "InternalFailure"), (429, "")]
)
def test_each_question_is_one_request_whatever_the_answer(
    served: Callable[[int, str], tuple[Api, list[str]]], status: int, code: str
) -> None:
    api, asked = served(status, code)

    with pytest.raises(LaunchError if status == 500 else Throttled):
        api.describe(JOB)
    assert asked == ["SageMaker.DescribeTrainingJob"]


def test_nobody_there_is_infrastructure_and_can_be_tried_again() -> None:
    account = Account(AccountSettings(region=REGION, endpoints={"sagemaker": "http://127.0.0.1:1"}))

    with pytest.raises(LaunchError, match="cannot be reached") as raised:
        Api(account, Settings()).describe(JOB)
    assert (raised.value.reason, raised.value.retryable) == (Reason.INFRASTRUCTURE, True)
