"""How fast SageMaker is asked, by a clock of the test's own."""

from __future__ import annotations

import itertools
import threading

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_sagemaker.pace import LONGEST_PAUSE, SLOWEST, Pace


@attrs.define
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Sleeper(threading.Event):
    """An event that is waited for on the test's clock; set by whoever wants to stop."""

    def __init__(self, clock: Clock, stops_at: float = float("inf")) -> None:
        super().__init__()
        self.clock, self.stops_at = clock, stops_at

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.now += timeout or 0.0
        if self.clock.now >= self.stops_at:
            self.set()
        return self.is_set()


def pace(clock: Clock, per_second: float = 2.0, burst: int = 1, luck: float = 1.0) -> Pace:
    return Pace(per_second, burst=burst, clock=clock, chance=lambda: luck)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("sleep"), st.floats(0, 30)),
        st.tuples(st.just("take"), st.just(0.0)),
        st.tuples(st.just("obey"), st.just(0.0)),
        st.tuples(st.just("throttled"), st.just(0.0)),
        st.tuples(st.just("fine"), st.just(0.0)),
    ),
    max_size=120,
)


@given(steps=steps, per_second=st.floats(0.05, 50), burst=st.integers(1, 8), luck=st.floats(0, 1))
def test_no_window_of_time_has_more_than_the_burst_and_the_rate(
    steps: list[tuple[str, float]], per_second: float, burst: int, luck: float
) -> None:
    clock = Clock()
    asked = pace(clock, per_second, burst, luck)
    taken: list[float] = []
    for what, seconds in steps:
        if what == "sleep":
            clock.now += seconds
        elif what == "throttled":
            asked.throttled()
        elif what == "fine":
            asked.fine()
        else:
            pause = asked.take()
            if pause and what == "obey":
                clock.now += pause
                pause = asked.take()
            if not pause:
                taken.append(clock.now)

    for first, last in itertools.combinations(range(len(taken)), 2):
        assert last - first + 1 <= burst + per_second * (taken[last] - taken[first]) + 1e-6


@given(waits=st.integers(1, 40), per_second=st.floats(0.05, 50), burst=st.integers(1, 8))
def test_whoever_waits_as_told_gets_the_whole_rate(waits: int, per_second: float, burst: int) -> None:
    clock = Clock()
    asked = pace(clock, per_second, burst)
    for _ in range(burst + waits):
        assert asked.wait(Sleeper(clock))

    assert clock.now - 1000.0 == pytest.approx(waits / per_second)


def test_nothing_is_tried_for_a_while_after_a_throttle() -> None:
    clock = Clock()
    asked = pace(clock)
    asked.throttled()

    assert asked.busy_for() == asked.take() == 1.0
    clock.now += 1.0
    assert asked.busy_for() == 0.0
    assert asked.take() == 1.0, "it begins slowly: half of two a second, and nothing saved up"


@pytest.mark.parametrize(("luck", "pauses"), [(1.0, [1, 2, 4, 8]), (0.0, [0.5, 1, 2, 4])])
def test_pauses_grow_with_each_throttle_and_vary_by_chance(luck: float, pauses: list[float]) -> None:
    clock = Clock()
    asked = pace(clock, luck=luck)
    seen = []
    for _ in pauses:
        asked.throttled()
        seen.append(asked.busy_for())
        clock.now += seen[-1]

    assert seen == pauses


def test_neither_pause_nor_slowness_is_without_bounds() -> None:
    clock = Clock()
    asked = pace(clock)
    for _ in range(50):
        asked.throttled()
        pause = asked.busy_for()
        clock.now += pause

    assert pause == LONGEST_PAUSE
    assert asked.per_second == 2.0 * SLOWEST


def test_many_answers_to_one_throttle_count_once() -> None:
    asked = pace(Clock())
    for _ in range(5):
        asked.throttled()

    assert asked.per_second == 1.0
    assert asked.busy_for() == 1.0


def test_an_answer_from_before_the_throttle_ends_no_pause() -> None:
    asked = pace(Clock())
    asked.throttled()
    asked.fine()

    assert asked.per_second == 1.0
    assert asked.busy_for() == 1.0


def test_good_answers_bring_the_rate_back_bit_by_bit_and_not_beyond() -> None:
    clock = Clock()
    asked = pace(clock)
    asked.throttled()
    clock.now += asked.busy_for()
    rates = []
    for _ in range(30):
        asked.fine()
        rates.append(asked.per_second)

    assert rates[0] == pytest.approx(1.1)
    assert rates == sorted(rates)
    assert rates[8] < 2.0 == rates[-1]


def test_waiting_ends_when_it_is_stopped() -> None:
    clock = Clock()
    asked = pace(clock, per_second=0.1)
    assert asked.take() == 0.0

    assert not asked.wait(Sleeper(clock, stops_at=clock.now + 1.0))


def test_threads_that_share_it_take_no_more_than_there_is() -> None:
    asked = pace(Clock(), burst=8)
    taken: list[float] = []
    threads = [
        threading.Thread(target=lambda: taken.extend(asked.take() for _ in range(50))) for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert taken.count(0.0) == 8
