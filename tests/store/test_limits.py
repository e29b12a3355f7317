"""Limits of submitters and of what waits: exact, and nobody is held up by somebody else's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest

from launchcore.plugin import LaunchError, Priority, QueueConfig, RunState
from launchcore.store import lanes
from tests.store.rig import Agent, Rig, spec
from tests.store.test_bell import until


def limit(rig: Rig, **parts: Any) -> None:
    rig.service.edit_queue("default", QueueConfig(type="process", **parts))


def taken(agent: Agent, most: int = 100) -> list[str]:
    return [claim.submitter for claim in agent.claim(limit=most)]


class TestRunningPerSubmitter:
    def test_a_full_submitter_holds_nobody_up(self, rig: Rig) -> None:
        limit(rig, max_running_per_submitter=2)
        for _ in range(5):
            rig.submit(submitter="ann")
        for name in ("bob", "ann", "bob", "bob"):
            rig.submit(submitter=name)
        agent = rig.agent()
        assert taken(agent) == ["ann", "ann", "bob", "bob"]
        assert taken(agent) == []
        assert rig.service.queue("default").queued == 5

    def test_a_run_that_ends_makes_room_for_the_next_of_its_submitter(self, rig: Rig) -> None:
        limit(rig, max_running_per_submitter=1)
        first, second = rig.submit(submitter="ann"), rig.submit(submitter="ann")
        agent = rig.agent()
        (claim,) = agent.claim(limit=5)
        assert claim.run_id == first.id
        assert agent.claim(limit=5) == ()
        agent.start(claim)
        agent.end(claim)
        assert [each.run_id for each in agent.claim(limit=5)] == [second.id]

    def test_priorities_and_turns_are_as_without_it(self, rig: Rig) -> None:
        limit(rig, max_running_per_submitter=2)
        wanted = [
            rig.submit(submitter="ann", priority=Priority.LOW),
            rig.submit(submitter="bob"),
            rig.submit(submitter="ann"),
            rig.submit(submitter="cy", priority=Priority.HIGH),
            rig.submit(submitter=""),
        ]
        order = [wanted[place].id for place in (3, 1, 2, 4, 0)]
        assert [claim.run_id for claim in rig.agent().claim(limit=10)] == order

    def test_the_queue_s_own_limit_counts_too(self, rig: Rig) -> None:
        limit(rig, max_running_per_submitter=2, max_running=3)
        for name in ("ann", "ann", "ann", "bob", "bob"):
            rig.submit(submitter=name)
        assert taken(rig.agent()) == ["ann", "ann", "bob"]

    def test_it_counts_what_runs_already_when_it_is_set(self, rig: Rig) -> None:
        for _ in range(4):
            rig.submit(submitter="ann")
        rig.submit(submitter="bob")
        agent = rig.agent()
        (claim,) = agent.claim()
        limit(rig, max_running_per_submitter=2)
        assert taken(agent) == ["ann", "bob"]
        agent.end(claim)
        assert taken(agent) == ["ann"]
        limit(rig)
        assert taken(agent) == ["ann"]

    def test_who_waits_hears_of_the_room(self, rig: Rig) -> None:
        limit(rig, max_running_per_submitter=1)
        for _ in range(2):
            rig.submit(submitter="ann")
        agent = rig.agent()
        (claim,) = agent.claim(limit=5)
        agent.start(claim)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(agent.claim, wait=60.0)
            until(lambda: rig.waiting() > 0)
            agent.end(claim)
            assert len(waiting.result(60)) == 1

    def test_a_run_that_comes_back_keeps_its_place_and_its_limit(self, rig: Rig) -> None:
        limit(rig, max_running_per_submitter=1)
        first, _ = rig.submit(submitter="ann"), rig.submit(submitter="ann")
        agent = rig.agent()
        agent.claim()
        rig.clock.pass_(31)
        agent.renew()
        (claim,) = agent.claim(limit=5)
        assert (claim.run_id, claim.attempt) == (first.id, 2)

    def test_an_array_and_a_submitter_limit_together(self, rig: Rig) -> None:
        limit(rig, max_running_per_submitter=3)
        array = rig.service.submit_array(
            "default", spec(), {"x": [1, 2, 3, 4]}, max_parallel=2, submitter="ann"
        )
        rig.submit(submitter="ann")
        rig.submit(submitter="ann")
        claims = rig.agent().claim(limit=10)
        assert [claim.array.id if claim.array else None for claim in claims] == [array.id, array.id, None]

    @pytest.mark.parametrize("name", ["a\x1fb", "a/3", "\x1f", "a\x1f", "\N{SNOWMAN}"])
    def test_names_do_not_mix(self, rig: Rig, name: str) -> None:
        """What stands in a lane cannot be forged by a name."""
        limit(rig, max_running_per_submitter=1, max_queued_per_submitter=2)
        for submitter in (name, name, "a", "a"):
            rig.submit(submitter=submitter)
        with pytest.raises(LaunchError):
            rig.submit(submitter=name)
        assert sorted(taken(rig.agent())) == sorted([name, "a"])

    def test_a_claim_looks_at_the_head_of_each_lane_only(self, rig: Rig) -> None:
        limit(rig, max_running_per_submitter=1)
        for _ in range(50):
            rig.submit(submitter="ann")
        rig.submit(submitter="bob")
        agent = rig.agent()
        agent.claim()
        with rig.database.read() as connection:
            heads = lanes.HEADS.run(connection, {"queue": 1})
        assert len(heads) == 2
        assert taken(agent) == ["bob"]


class TestQueued:
    def test_more_than_may_wait_are_refused(self, rig: Rig) -> None:
        limit(rig, max_queued=2)
        rig.submit(submitter="ann")
        rig.submit(submitter="bob")
        with pytest.raises(LaunchError, match=r"lets 2 run\(s\) wait, and 2 wait already") as error:
            rig.submit(submitter="cy")
        assert error.value.hint is not None
        assert "--state queued" in error.value.hint
        rig.agent().claim()
        rig.submit(submitter="cy")

    def test_of_one_submitter_too(self, rig: Rig) -> None:
        limit(rig, max_queued_per_submitter=1)
        rig.submit(submitter="ann")
        with pytest.raises(LaunchError, match="of ann wait"):
            rig.submit(submitter="ann")
        rig.submit(submitter="bob")
        rig.submit(submitter="")
        with pytest.raises(LaunchError, match="without a name"):
            rig.submit(submitter="")

    def test_a_repeated_submit_is_no_second_run(self, rig: Rig) -> None:
        limit(rig, max_queued=1)
        first = rig.submit(key="k")
        assert rig.submit(key="k").id == first.id

    def test_what_the_limit_found_stays(self, rig: Rig) -> None:
        for _ in range(3):
            rig.submit()
        limit(rig, max_queued=1)
        assert rig.service.queue("default").queued == 3


def test_a_run_is_as_urgent_as_its_queue_allows(rig: Rig) -> None:
    limit(rig, max_priority="medium")
    with pytest.raises(LaunchError, match=r"priority: high is more urgent than the queue allows \(medium\)"):
        rig.submit(priority=Priority.HIGH)
    rig.submit(priority=Priority.MEDIUM)
    rig.submit(priority=Priority.LOW)


class TestChecks:
    """Asked before anything is packed: the same answers as of a submit, and nothing is stored."""

    def test_say_what_a_submit_would_say(self, rig: Rig) -> None:
        limit(rig, max_queued=3, max_priority="high")
        rig.service.check("default", spec())
        rig.service.check("default", spec(), axes={"x": [1, 2, 3]})
        for parts, said in (
            ({"priority": Priority.CRITICAL}, "more urgent"),
            ({"axes": {"x": [1, 2, 3, 4]}}, "no room for 4 more"),
            ({"axes": {"env.PATH": ["a"]}}, "env PATH"),
        ):
            with pytest.raises(LaunchError, match=said):
                rig.service.check("default", spec(), **parts)
        assert rig.service.queue("default").queued == 0

    def test_need_no_fields_of_a_source(self, rig: Rig) -> None:
        run = spec()
        rig.service.check("default", attrs.evolve(run, source=attrs.evolve(run.source, fields={})))


def test_limits_are_numbers_from_one_up(rig: Rig) -> None:
    for name in ("max_running_per_submitter", "max_queued", "max_queued_per_submitter"):
        with pytest.raises(LaunchError, match=f"{name}: 0 is less than 1"):
            limit(rig, **{name: 0})


class TestTogether:
    """Limits are exact, however many claim and submit at the same time."""

    def test_claims(self, rig: Rig) -> None:
        limit(rig, max_running_per_submitter=2)
        for _ in range(10):
            for name in ("ann", "bob"):
                rig.submit(submitter=name)
        array = rig.service.submit_array(
            "default", spec(), {"x": list(range(10))}, max_parallel=1, submitter="cy"
        )
        agents = [rig.agent(f"agent-{number}") for number in range(6)]
        with ThreadPoolExecutor(len(agents)) as pool:
            found = list(pool.map(lambda agent: agent.claim(limit=3), agents))
        claimed = [claim for claims in found for claim in claims]
        assert sorted(claim.submitter for claim in claimed) == ["ann", "ann", "bob", "bob", "cy"]
        assert rig.service.array(array.id).counts == {"queued": 9, "claimed": 1}

    def test_submits(self, rig: Rig) -> None:
        limit(rig, max_queued=5)

        def submit(_number: int) -> int:
            try:
                rig.submit()
            except LaunchError:
                return 0
            return 1

        with ThreadPoolExecutor(6) as pool:
            assert sum(pool.map(submit, range(18))) == 5
        assert rig.service.queue("default").queued == 5


def test_what_is_live_is_counted_by_attempts(rig: Rig) -> None:
    """No counter can leak: an agent that dies takes nobody's place for longer than its lease."""
    limit(rig, max_running_per_submitter=1)
    for _ in range(2):
        rig.submit(submitter="ann")
    one, two = rig.agent("one"), rig.agent("two")
    one.start(one.one())
    rig.clock.pass_(31)
    two.renew()
    (adopted,) = two.claim(limit=5)
    assert adopted.adopted
    assert two.claim(limit=5) == ()
    two.end(adopted)
    assert rig.run(adopted).state is RunState.SUCCEEDED
    assert len(two.claim(limit=5)) == 1
