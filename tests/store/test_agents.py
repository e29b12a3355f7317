"""Sessions of agents: one live one for each name, and what becomes of their leases."""

from __future__ import annotations

import pytest

from launchcore.plugin import AgentNameTaken, LeaseLost, RunState
from launchcore.queues.base import NotFound
from tests.store.rig import LEASE, Rig


def test_a_name_belongs_to_one_live_session(rig: Rig) -> None:
    first = rig.agent("one", host="here")
    second = first.restart("one-2")

    with pytest.raises(AgentNameTaken, match="'one' is alive on here"):
        second.register()
    rig.clock.pass_(LEASE)
    second.register()

    with pytest.raises(AgentNameTaken):
        first.claim()


def test_proof_that_the_other_is_dead_is_enough(rig: Rig) -> None:
    second = rig.agent().restart("one-2")
    second.register(previous_is_dead=True)
    assert second.claim() == ()


def test_a_session_may_register_again(rig: Rig) -> None:
    agent = rig.agent()
    agent.register()
    assert [row.name for row in rig.service.agents()] == ["one"]


def test_a_queue_that_does_not_exist_is_the_users_mistake(rig: Rig) -> None:
    with pytest.raises(NotFound) as error:
        rig.agent(queues=("defualt",))
    assert error.value.hint == "did you mean default?"


def test_renewing_keeps_session_and_leases_and_tells_what_is_lost(rig: Rig) -> None:
    for _ in range(3):
        rig.submit()
    one, two = rig.agent("one"), rig.agent("two")
    kept, lost, ended = one.claim(limit=3)
    for claim in (kept, lost, ended):
        one.start(claim)
    one.end(ended)
    rig.clock.pass_(LEASE - 1)
    assert one.renew(kept) == ()
    rig.clock.pass_(2.0)
    two.renew()
    assert [claim.attempt_id for claim in two.claim(limit=9)] == [lost.attempt_id]

    assert one.renew(kept, lost, ended) == (lost.attempt_id, ended.attempt_id)
    assert rig.run(kept).attempts[0].lease_expires_at == rig.clock.now + LEASE


def test_only_the_leases_that_are_named_are_renewed(rig: Rig) -> None:
    """A claim whose answer never came is not acknowledged: it expires."""
    run = rig.submit()
    agent = rig.agent()
    agent.one()
    rig.clock.pass_(LEASE - 1)
    agent.renew()
    rig.clock.pass_(2.0)

    assert agent.one().attempt_id == f"{run.id}-2"


def test_a_session_that_was_replaced_has_lost_all_leases(rig: Rig) -> None:
    rig.submit()
    old = rig.agent()
    claim = old.one()
    old.start(claim)
    old.restart("one-2").register(previous_is_dead=True)

    assert old.renew(claim) == (claim.attempt_id,)


class TestReclaim:
    """A restarted agent takes up what its earlier sessions left."""

    def test_leases_what_was_started_again_at_once(self, rig: Rig) -> None:
        rig.submit()
        old = rig.agent()
        claim = old.one()
        old.start(claim)
        new = old.restart("one-2")
        new.register(previous_is_dead=True)

        (again,) = new.reclaim()

        assert again.adopted
        assert (again.attempt_id, again.state) == (claim.attempt_id, RunState.RUNNING)
        assert new.reclaim() == ()
        with pytest.raises(LeaseLost):
            old.write(claim, image="busybox")

    def test_gives_back_what_had_started_nothing_without_counting_it(self, rig: Rig) -> None:
        run = rig.submit()
        agent = rig.agent()
        for number in range(2, 9):
            claim = agent.one()
            agent.write(claim, state=RunState.PREPARING)
            agent = agent.restart(f"one-{number}")
            agent.register(previous_is_dead=True)
            assert agent.reclaim() == ()

        assert rig.run(run).state is RunState.QUEUED
        assert agent.one().attempt_id == f"{run.id}-8"

    def test_leaves_what_is_bound_to_another_host(self, rig: Rig) -> None:
        rig.queue("bound", type="bound")
        rig.submit("bound")
        old = rig.agent("one", host="left", host_bound=("bound",))
        old.start(old.one("bound"))
        rig.clock.pass_(LEASE + 1)
        moved = rig.agent("other", host="right", host_bound=("bound",))
        moved.info = type(moved.info)(
            name="one", session="one-2", host="right", pid=1, version="0", queues=(), host_bound=("bound",)
        )
        moved.register()

        assert moved.reclaim() == ()
        assert len(rig.agent("heir", host="left", host_bound=("bound",)).claim("bound")) == 1

    def test_is_for_the_registered_session_only(self, rig: Rig) -> None:
        with pytest.raises(AgentNameTaken):
            rig.agent().restart("one-2").reclaim()


def test_goodbye_lets_others_adopt_at_once(rig: Rig) -> None:
    started, prepared = rig.submit(), rig.submit()
    one, two = rig.agent("one"), rig.agent("two")
    claims = one.claim(limit=2)
    one.start(claims[0])

    one.client.unregister(one.info)

    taken = two.claim(limit=2)
    assert [(claim.run_id, claim.adopted) for claim in taken] == [(started.id, True), (prepared.id, False)]
    assert [(row.name, row.alive, row.running) for row in rig.service.agents()] == [
        ("one", False, 0),
        ("two", True, 2),
    ]


def test_agents_are_listed_with_what_they_do(rig: Rig) -> None:
    rig.submit()
    agent = rig.agent("one", host="here", queues=("default",))
    agent.one()
    rig.clock.pass_(5.0)

    (row,) = rig.service.agents()

    assert (row.name, row.host, row.queues, row.alive, row.running) == ("one", "here", ("default",), True, 1)
    assert rig.clock.now - row.seen_at == 5.0
    assert rig.service.queue("default").agents == ("one",)
    rig.clock.pass_(LEASE)
    assert not rig.service.agents()[0].alive
    assert rig.service.queue("default").agents == ()


def test_agents_that_were_not_seen_for_long_are_forgotten(rig: Rig) -> None:
    rig.agent("old")
    rig.clock.pass_(8 * 86400.0)
    rig.agent("new")
    assert [row.name for row in rig.service.agents()] == ["new"]


def test_the_service_has_a_lasting_identity(rig: Rig) -> None:
    from launchcore.queues.connect import open_client

    other = open_client(rig.url)
    assert other.identity() == rig.agent().client.identity()
    other.close()
