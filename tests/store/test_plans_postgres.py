"""The plans of :mod:`tests.store.test_plans` on PostgreSQL: searches in indexes, and nothing is sorted.

The plans are the generic ones, which the store asks for, so they hold for any number of rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from launchcore.plugin import RunState
from launchcore.queues.base import RunFilter
from launchcore.store import claims, guarded, guards, outcomes, runs_read
from launchcore.store.database import Database
from launchcore.store.prepared import Prepared
from tests.postgres import Server
from tests.store.test_plans import HOT, LIVE_ONLY

pytestmark = pytest.mark.live
SORTED = ("orphans", "the claims of a key")
"""These read few rows, of those that are alive."""
SETS = {
    "writes": guarded.attempt_update(RunState.RUNNING, True, True, True),
    "changes of runs": guarded.run_update(True, True, True, True),
    "successes": outcomes._SUCCEED,
    "runs that are taken": claims._TAKE,
    "queues of attempts": guards._QUEUE,
}
FILL = (
    "INSERT INTO queues (name, revision, created_at, updated_at) "
    "SELECT 'q' || g, 1, 0, 0 FROM generate_series(1, 20) g",
    "INSERT INTO runs (id, queue_id, state, priority, submitter, submitted_at, name, job_name) "
    "SELECT lpad(g::text, 12, '0'), 1 + g % 20, CASE WHEN g % 100 = 0 THEN 'running' WHEN g % 50 = 1 THEN "
    "'queued' WHEN g % 10 = 3 THEN 'failed' ELSE 'succeeded' END, 2, 's' || g % 100, g, 'n' || g % 500, "
    "'j' || g % 50 FROM generate_series(1, 20000) g",
    "UPDATE runs SET failure = '{}' WHERE state = 'failed'",
    "INSERT INTO run_specs SELECT seq, '{}' FROM runs",
    "INSERT INTO attempts (id, run_seq, number, queue_id, revision, agent, session, host, bound_to, state, "
    "lease_token, lease_expires_at, due_at, claimed_at, ended_at, claim_key) "
    "SELECT seq * 1048576 + 1, seq, 1, queue_id, 1, 'a' || seq % 3000, 's' || seq % 3000, 'h', '', state, "
    "'t', seq, seq, seq, CASE WHEN state <> 'running' THEN seq END, 'k' || seq FROM runs "
    "WHERE state <> 'queued'",
    "INSERT INTO log_chunks SELECT id, 0, '' FROM attempts",
    "INSERT INTO agents SELECT 'a' || g, 's' || g, 'h', 1, '', '[]', 1, 0, 0, 0 "
    "FROM generate_series(1, 300) g",
    "ANALYZE",
)
"""Many runs, of which some are alive."""


@pytest.fixture(scope="module")
def database(postgres: Server) -> Iterator[Database]:
    name = postgres.database()
    made = Database(postgres.url(name))
    for statement in FILL:
        postgres.execute(statement, name)
    yield made
    made.close()


def nodes(database: Database, statement: Any) -> list[dict[str, Any]]:
    """All steps of a statement's plan."""
    construct = statement.construct if isinstance(statement, Prepared) else statement
    with database.read() as connection:
        text = str(construct.compile(dialect=connection.dialect))
        names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
        for place, name in enumerate(names, 1):
            text = text.replace(f"%({name})s", f"${place}")
        raw: Any = connection.connection.dbapi_connection
        raw.execute(f"PREPARE planned AS {text.replace('%%', '%')}".encode())
        given = f"({', '.join(['NULL'] * len(names))})" if names else ""
        ((plan,),) = raw.execute(f"EXPLAIN (FORMAT JSON) EXECUTE planned{given}".encode()).fetchall()
        raw.execute(b"DEALLOCATE planned")
    return list(_flat(plan[0]["Plan"]))


def _flat(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _flat(inner)


def said(found: list[dict[str, Any]]) -> list[str]:
    keys = ("Node Type", "Index Name", "Index Cond", "Filter")
    return [" ".join(str(node[key]) for key in keys if key in node) for node in found]


def kinds(found: list[dict[str, Any]]) -> set[str]:
    return {str(node["Node Type"]) for node in found}


@pytest.mark.parametrize("name", HOT)
def test_hot_queries_search(database: Database, name: str) -> None:
    found = nodes(database, HOT[name])
    assert not kinds(found) & {"Seq Scan", "Bitmap Heap Scan", "Hash Join", "Merge Join"}, said(found)
    assert not kinds(found) & {"Sort", "Incremental Sort"} or name in SORTED, said(found)
    for node in found:
        if node["Node Type"] in ("Index Scan", "Index Only Scan"):
            assert "Index Cond" in node, said(found)


@pytest.mark.parametrize("name", SETS)
def test_statements_about_many_rows_search_for_each(database: Database, name: str) -> None:
    found = nodes(database, SETS[name].constructs[1])
    assert "Function Scan" in kinds(found), said(found)
    assert not kinds(found) & {"Seq Scan", "Bitmap Heap Scan", "Hash Join", "Merge Join"}, said(found)
    for node in found:
        if node["Node Type"] in ("Index Scan", "Index Only Scan"):
            assert "Index Cond" in node, said(found)


@pytest.mark.parametrize("name", LIVE_ONLY)
def test_rare_queries_read_what_is_live_only(database: Database, name: str) -> None:
    found = nodes(database, LIVE_ONLY[name])
    assert "Seq Scan" not in kinds(found), said(found)
    whole = [node for node in found if "Index Name" in node and "Index Cond" not in node]
    assert all(str(node["Index Name"]).startswith(("attempts_", "queues_")) for node in whole), said(found)


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        (RunFilter(), "runs_pkey"),
        (RunFilter(states=(RunState.FAILED,)), "runs_failed"),
        (RunFilter(states=(RunState.RUNNING,)), "attempts_"),
        (RunFilter(submitter="ann"), "runs_submitter"),
        (RunFilter(name="baseline"), "runs_name"),
        (RunFilter(job="train"), "runs_job"),
        (RunFilter(queue="default"), "runs_queue"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_listings_have_an_index(database: Database, asked: RunFilter, index: str) -> None:
    queries = runs_read.queries(asked, 1 if asked.queue else None, (1,))
    found = [node for query in queries for node in nodes(database, query)]
    assert "Seq Scan" not in kinds(found), said(found)
    assert any(str(node.get("Index Name", "")).startswith(index) for node in found), said(found)
