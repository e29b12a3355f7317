"""What the OpenAPI document says, taken at its word and beyond it: nothing makes the server fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from launchcore.server.openapi import document
from launchcore.server.options import Auth
from launchcore.server.table import ENDPOINTS
from tests.server.world import World, agent, world

schemathesis = pytest.importorskip("schemathesis")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server where there is something to find: a queue, runs, an agent, a lease."""
    folder = tmp_path_factory.mktemp("fuzz")
    with world(folder, auth=Auth.OFF, requests_per_second=1e6, max_archive=1 << 16) as made:
        made.queue()
        caller = made.caller()
        for number in range(3):
            caller.submit(name=f"run-{number}")
        caller.register(agent())
        caller.one(agent())
        yield made


def _schema(only: str) -> object:
    whole = document(ENDPOINTS, "0")
    found = schemathesis.openapi.from_dict(whole)
    return found.include(operation_id=only)


OPERATIONS = [
    operation["operationId"]
    for path in document(ENDPOINTS, "0")["paths"].values()
    for operation in path.values()
    if "stream" not in operation["operationId"] and "events" not in operation["operationId"]
]


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_makes_the_server_fail(name: str, target: World) -> None:
    """Requests that the document allows, and such that it does not: never a 5xx, and every answer is what
    the document says."""
    import hypothesis
    from hypothesis import HealthCheck, settings

    schema = _schema(name)
    (result,) = [found.ok() for found in schema.get_all_operations()]  # type: ignore[attr-defined]

    @settings(
        max_examples=15,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=result.as_strategy())
    def check(case: object) -> None:
        answer = case.call(base_url=target.serving.url, timeout=30)  # type: ignore[attr-defined]
        assert answer.status_code < 500, (answer.status_code, answer.text)
        declared = result.definition.raw["responses"]
        assert str(answer.status_code) in declared, (answer.status_code, answer.text)

    check()


def test_the_document_is_one(tmp_path: Path) -> None:
    found = schemathesis.openapi.from_dict(document(ENDPOINTS, "0"))

    assert len(list(found.get_all_operations())) == len(ENDPOINTS)
