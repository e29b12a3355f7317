"""Stored logs: appended by offset, read from any offset."""

from __future__ import annotations

import random

import pytest

from launchcore.plugin import Claim, Fault, LaunchError, LogAppend, Verdict
from launchcore.queues.base import NotFound
from launchcore.store.logs import LARGE, SMALL
from tests.store.rig import Agent, Rig


def append(agent: Agent, claim: Claim, offset: int, data: bytes, cursor: str | None = None) -> None:
    agent.write(claim, log=LogAppend(offset=offset, data=data, cursor=cursor))


def chunks(rig: Rig) -> list[tuple[int, int]]:
    """(offset, length) of what is stored."""
    with rig.database.read() as connection:
        query = 'SELECT "offset", length(data) FROM log_chunks ORDER BY 1'
        return [tuple(row) for row in connection.exec_driver_sql(query)]


@pytest.fixture
def agent(rig: Rig) -> Agent:
    rig.submit()
    return rig.agent()


@pytest.fixture
def claim(agent: Agent) -> Claim:
    return agent.one()


def test_any_sizes_at_any_offsets_come_back_exactly(rig: Rig, agent: Agent, claim: Claim) -> None:
    rolled = random.Random(7)
    whole = b""
    for size in [1, 80, 0, SMALL, SMALL + 1, 3, LARGE, 3 * LARGE + 5, 1, 100, 2000, 7000]:
        data = rolled.randbytes(size)
        append(agent, claim, len(whole), data)
        whole += data

    assert rig.run(claim).attempts[0].log_bytes == len(whole)
    for offset in [0, 1, SMALL, SMALL + 82, LARGE, len(whole) - 1, len(whole)]:
        for limit in [0, 1, 1000, LARGE + 1, len(whole)]:
            chunk = rig.service.logs(claim.run_id, offset=offset, limit=limit)
            assert chunk.data == whole[offset : offset + limit]
            assert (chunk.offset, chunk.next) == (offset, offset + len(chunk.data))
    assert max(length for _, length in chunks(rig)) <= LARGE


def test_small_appends_are_gathered(rig: Rig, agent: Agent, claim: Claim) -> None:
    for line in range(1000):
        append(agent, claim, line * 50, b"x" * 49 + b"\n")

    assert rig.service.logs(claim.run_id).data == (b"x" * 49 + b"\n") * 1000
    assert len(chunks(rig)) <= 50_000 // SMALL + 1


def test_an_append_again_changes_nothing(rig: Rig, agent: Agent, claim: Claim) -> None:
    append(agent, claim, 0, b"one\n", "4")
    append(agent, claim, 4, b"two\n", "8")

    append(agent, claim, 0, b"one\n", "4")

    assert rig.service.logs(claim.run_id).data == b"one\ntwo\n"


def test_an_append_again_with_more_adds_what_is_new(rig: Rig, agent: Agent, claim: Claim) -> None:
    """The answer to the first was lost, and more has been said meanwhile."""
    append(agent, claim, 0, b"one\n", "4")

    append(agent, claim, 0, b"one\ntwo\n", "8")

    assert rig.service.logs(claim.run_id).data == b"one\ntwo\n"
    assert rig.run(claim).attempts[0].log_bytes == 8


def test_a_gap_is_refused(rig: Rig, agent: Agent, claim: Claim) -> None:
    append(agent, claim, 0, b"one\n")

    with pytest.raises(LaunchError) as error:
        append(agent, claim, 5, b"two\n")

    assert error.value.fault is Fault.CORE
    assert rig.service.logs(claim.run_id).data == b"one\n"


def test_a_log_ends_with_its_attempt(rig: Rig, agent: Agent, claim: Claim) -> None:
    append(agent, claim, 0, b"one\n")
    assert not rig.service.logs(claim.run_id).end

    agent.end(claim)

    assert rig.service.logs(claim.run_id).end
    assert not rig.service.logs(claim.run_id, limit=2).end
    assert rig.service.logs(claim.run_id, offset=4).end
    assert rig.service.logs(claim.run_id, offset=99).data == b""


def test_the_newest_attempt_that_has_a_log_is_shown(rig: Rig, agent: Agent, claim: Claim) -> None:
    append(agent, claim, 0, b"first\n")
    agent.end(claim, Verdict.LOST)
    second = agent.one()

    assert rig.service.logs(claim.run_id).attempt_id == claim.attempt_id
    append(agent, second, 0, b"second\n")
    assert rig.service.logs(claim.run_id).data == b"second\n"
    assert rig.service.logs(claim.run_id, attempt=1).data == b"first\n"
    with pytest.raises(NotFound, match="has no attempt 3"):
        rig.service.logs(claim.run_id, attempt=3)


def test_a_run_without_attempts_has_no_log_yet(rig: Rig) -> None:
    run = rig.submit()
    assert (rig.service.logs(run.id).data, rig.service.logs(run.id).end) == (b"", False)
    rig.service.cancel(run.id)
    assert rig.service.logs(run.id).end
    with pytest.raises(NotFound):
        rig.service.logs("nobody")


def test_every_append_is_a_change_of_the_run(rig: Rig, agent: Agent, claim: Claim) -> None:
    before = rig.run(claim).changes
    append(agent, claim, 0, b"one\n")
    assert rig.run(claim).changes > before
