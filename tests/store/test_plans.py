"""No query of a hot path reads more rows when there are more: its plan has indexes only."""

from __future__ import annotations

from typing import Any

import pytest

from launchcore.plugin import RunState
from launchcore.queues.base import RunFilter
from launchcore.store import (
    adoption,
    agents,
    claims,
    expiry,
    guarded,
    lanes,
    logs,
    runs_change,
    runs_read,
    stops,
)
from launchcore.store.prepared import Prepared
from tests.store.rig import Rig

pytestmark = pytest.mark.sqlite

HOT = {
    "the head of a claim": claims.HEAD,
    "the next runs": lanes.WAITING,
    "the lanes of a queue": lanes.HEADS,
    "what runs in each lane": lanes.LIVE,
    "what a submitter has queued": lanes.OF_SUBMITTER,
    "what is queued": lanes.OF_QUEUE,
    "what waited for too long": expiry.OVERDUE,
    "orphans": adoption.ORPHANS,
    "expired leases of a queue": expiry.DUE_IN_QUEUE,
    "retries that are due": expiry.RETRY_DUE,
    "stops": stops.STOPS,
    "the next stop": stops.NEXT_STOP,
    "a write": guarded.attempt_update(RunState.RUNNING, True, True, True).constructs[0],
    "a renewal": agents._RENEW,
    "what a session left": agents.LEFT,
    "what a session has not started": agents._UNSTARTED,
    "the claims of a key": adoption.AGAIN,
    "a submit's key": runs_change._KEY,
    "the beginning of a log": logs._START,
    "a part of a log": logs._READ,
    "the place in the queue": runs_read._AHEAD,
}
"""By name; a value is a statement."""

LIVE_ONLY = {
    "expired leases of all queues": expiry.DUE,
    "what earlier sessions left": adoption.EARLIER,
}
"""These may read all attempts that are live, but none that has ended."""


def plan(rig: Rig, statement: Any) -> list[str]:
    construct = statement.construct if isinstance(statement, Prepared) else statement
    with rig.database.read() as connection:
        compiled = construct.compile(dialect=connection.dialect)
        text = str(compiled)
        raw = connection.connection.dbapi_connection
        assert raw is not None
        rows = raw.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?")).fetchall()
    return [row[3] for row in rows]


@pytest.mark.parametrize("name", HOT)
def test_hot_queries_search(rig: Rig, name: str) -> None:
    steps = plan(rig, HOT[name])
    made = {step.split()[-1] for step in steps if step.startswith("CO-ROUTINE")}  # by the query itself
    scans = [step.split() for step in steps if step.startswith("SCAN")]
    assert not [words for words in scans if words[1] not in {"CONSTANT", *made}], steps
    sorts = [step for step in steps if "TEMP B-TREE" in step]
    assert not sorts or name == "orphans", steps


@pytest.mark.parametrize("name", LIVE_ONLY)
def test_rare_queries_read_what_is_live_only(rig: Rig, name: str) -> None:
    steps = plan(rig, LIVE_ONLY[name])
    assert any("attempts_live" in step for step in steps), steps
    assert not [step for step in steps if step.startswith("SCAN attempts") and "INDEX" not in step], steps


def test_a_listing_of_what_is_queued_reads_only_that(rig: Rig) -> None:
    """Newest first, queue by queue, and nothing is sorted: the first page costs the same, however long
    the queue is."""
    for query in runs_read.queries(RunFilter(states=(RunState.QUEUED,)), None, (1, 2)):
        steps = plan(rig, query)
        assert any("runs_queued" in step for step in steps), steps
        assert not any("TEMP B-TREE" in step for step in steps), steps


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        (RunFilter(), None),
        (RunFilter(states=(RunState.FAILED,)), "runs_failed"),
        (RunFilter(states=(RunState.RUNNING,)), "attempts_live"),
        (RunFilter(submitter="ann"), "runs_submitter"),
        (RunFilter(name="baseline"), "runs_name"),
        (RunFilter(job="train"), "runs_job"),
        (RunFilter(queue="default"), "runs_queue"),
    ],
)
def test_listings_have_an_index(rig: Rig, asked: RunFilter, index: str | None) -> None:
    queries = runs_read.queries(asked, 1 if asked.queue else None, (1,))
    steps = [step for query in queries for step in plan(rig, query)]
    assert index is None or any(index in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps), steps
