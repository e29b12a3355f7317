"""Attempts whose runner is busy: when they are tried again, and that nobody waits who is not wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from launchcore.agent.attempt import Attempt
from launchcore.agent.failpoints import Failpoints
from launchcore.agent.roster import Roster
from launchcore.agent.waiting import WaitingRoom
from launchcore.plugin import QueueClient, Reason, Stop
from launchcore.stages.work import Postponed
from tests.agent.test_parts import claim


class Place:
    """Three stage workers; ``tried``: who was let go on, in order."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.roster = Roster(max_jobs=-1, stage_workers=3)
        self.tried: list[str] = []
        self.room = WaitingRoom(self.roster, lambda attempt, _: self.tried.append(attempt.id))

    def attempt(self, name: str) -> Attempt:
        made = Attempt(
            claim(attempt=name),
            cast("QueueClient", None),
            Failpoints.parse(""),
            self.root / name,
            lease_ends=0.0,
            damaged=lambda _: None,
        )
        self.roster.add(made, preparing=True)
        return made

    def enter(self, attempt: Attempt, after: float = 10.0, now: float = 0.0) -> None:
        wait = Postponed("busy", after)
        wait.again = cast("Callable[[], Any]", lambda: None)
        self.room.enter(attempt, wait, now)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_who_waits_is_tried_again_when_it_is_time(place: Place) -> None:
    place.enter(place.attempt("late-1"), after=20.0)
    place.enter(place.attempt("soon-1"), after=10.0)
    place.room.tick(9.9)
    assert place.tried == []
    place.room.tick(20.0)
    assert place.tried == ["soon-1", "late-1"]


def test_who_waits_takes_no_stage_worker_and_newcomers_keep_one(place: Place) -> None:
    for number in range(5):
        place.enter(place.attempt(f"r{number}-1"))
    assert place.roster.free() == 3

    place.room.tick(10.0)
    assert place.tried == ["r0-1", "r1-1"]
    assert place.roster.free() == 1


@pytest.mark.parametrize(
    "told",
    [
        lambda attempt: attempt.mark_released(),
        lambda attempt: attempt.mark_lost(),
        lambda attempt: attempt.request_stop(Stop(attempt_id=attempt.id, reason=Reason.CANCELLED)),
    ],
    ids=["drains", "lost", "cancelled"],
)
def test_who_is_not_wanted_any_more_does_not_wait(place: Place, told: Callable[[Attempt], None]) -> None:
    """It may be told so on its way here, when there is nobody yet to hurry."""
    attempt = place.attempt("r-1")
    told(attempt)
    place.enter(attempt, after=3600.0)
    place.room.tick(0.0)

    assert place.tried == ["r-1"]
