"""Every endpoint, every scope: the decision is in one table, and the server keeps to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from launchcore.plugin import LaunchError
from launchcore.server import access
from launchcore.server.endpoints import Endpoint
from launchcore.server.table import ENDPOINTS
from tests.server.world import Caller, World

HOLDERS: dict[str, tuple[str, ...]] = {
    "nobody": (),
    "submit": ("submit",),
    "read": ("read",),
    "admin": ("admin",),
    "agent": ("agent:default",),
    "agent of all": ("agent:*",),
    "agent of another": ("agent:other",),
    "submit and read": ("submit", "read"),
}
DOCS = Path(__file__).parents[2] / "docs" / "server.md"


@pytest.fixture(scope="module")
def callers(shared: World) -> dict[str, Caller]:
    return {name: shared.caller(*scopes) for name, scopes in HOLDERS.items()}


def allowed(endpoint: Endpoint, holder: str) -> bool:
    """What the table says, told in another way than the server does."""
    needed = access.ACCESS[endpoint.where]
    if "nobody" in needed:
        return True
    return any(scope.split(":")[0] in needed for scope in HOLDERS[holder])


def test_every_endpoint_has_a_decision() -> None:
    assert {endpoint.where for endpoint in ENDPOINTS} == set(access.ACCESS)


def test_no_endpoint_is_there_twice() -> None:
    assert len({endpoint.where for endpoint in ENDPOINTS}) == len(ENDPOINTS)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: " ".join(endpoint.where))
def test_matrix(endpoint: Endpoint, callers: dict[str, Caller]) -> None:
    """The decision comes before anything else is looked at: so a request without a body shows it."""
    path = re.sub(r"\{\w+\}", "none", endpoint.path)
    for holder, caller in callers.items():
        answer = caller.ask(endpoint.method, path)
        said = f"{holder}: {answer.status_code} {answer.text[:200]}"
        if endpoint.where == ("GET", "/v1/queues/{name}") and holder in ("agent", "agent of another"):
            assert answer.status_code == 403, said  # of a queue that is not its own it learns nothing
        elif not allowed(endpoint, holder):
            assert answer.status_code == (401 if holder == "nobody" else 403), said
        else:
            assert answer.status_code not in (401, 403), said
        assert answer.status_code < 500, said


@pytest.mark.parametrize(
    "scope", ["", "root", "agent", "agent:", "agent:../x", "submit:default", "admin ", "AGENT:*", "agent:a b"]
)
def test_a_scope_that_there_is_not(scope: str) -> None:
    with pytest.raises(LaunchError):
        access.check_scopes(["read", scope])


def test_scopes_are_kept_once_and_in_order() -> None:
    assert access.check_scopes(["read", "agent:gpu", "read"]) == ("read", "agent:gpu")
    with pytest.raises(LaunchError, match="needs a scope"):
        access.check_scopes([])


def test_what_an_agent_may_serve() -> None:
    assert access.queues_of(["agent:a", "agent:b", "submit"]) == frozenset({"a", "b"})
    assert access.queues_of(["agent:*"]) is None
    assert access.queues_of(["admin"]) is None
    assert access.queues_of(["read"]) == frozenset()


def test_the_docs_have_the_table() -> None:
    text = DOCS.read_text()
    rows = {
        (method, path): scopes
        for method, path, scopes in re.findall(r"^\| `(\w+) (/\S*)` \| ([^|]+?) \|", text, re.MULTILINE)
    }
    assert rows == {
        where: ", ".join(f"`{scope}`" for scope in access.needed(where)) or "none" for where in access.ACCESS
    }
