"""Looks with threads, and who waits for what."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import pytest
from launch_sagemaker import following as module
from launch_sagemaker import observer as threads
from launch_sagemaker.api import Api
from launch_sagemaker.observer import Observer
from launch_sagemaker.places import handle_of
from launch_sagemaker.settings import Settings

from launchcore.plugin import Phase, RunHandle
from plugins.launch_sagemaker.tests.scripted_sagemaker import (
    DONE,
    OTHER,
    REGION,
    SageMaker,
    doing,
    job,
)

Observers = Callable[..., Observer]


@pytest.fixture
def sagemaker() -> SageMaker:
    return SageMaker(time.monotonic, per_second=1000.0)


@pytest.fixture
def observers(sagemaker: SageMaker) -> Iterator[Observers]:
    made: list[Observer] = []

    def make(**settings: Any) -> Observer:
        made.append(Observer(cast("Api", sagemaker), Settings(**settings)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def eventually(what: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def alive(threads: Callable[[], list[threading.Thread]]) -> Callable[[], list[str]]:
    return lambda: [each.name for each in threads()]


def test_the_first_look_at_a_few_is_waited_for(observers: Observers) -> None:
    handles = [handle_of(job("a")), handle_of(job("b", OTHER))]

    found = observers().look(handles)

    assert {key: status.phase for key, status in found.items()} == {"a": Phase.RUNNING, "b": Phase.RUNNING}


def test_the_first_look_at_many_is_not(
    observers: Observers, sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "GLIMPSE", 3600.0)
    let_go = threading.Event()
    sagemaker.otherwise = lambda: doing() if let_go.wait(60) else None
    observer = observers()

    found = observer.look([handle_of(job(f"r-{n}")) for n in range(100)])
    assert {status.phase for status in found.values()} == {Phase.UNKNOWN}
    let_go.set()
    eventually(lambda: all(observer.sight(f"r-{n}") for n in range(100)))


def test_what_is_no_handle_of_ours_is_gone_and_spoils_nothing(observers: Observers) -> None:
    odd = RunHandle(runner="sagemaker", attempt_id="odd", data={"name": 7})

    found = observers().look([odd, handle_of(job("a"))])

    assert (found["odd"].phase, found["a"].phase) == (Phase.GONE, Phase.RUNNING)
    assert observers().look([]) == {}


def test_a_region_whose_answers_are_slow_holds_up_no_other(
    observers: Observers, sagemaker: SageMaker, alive: Callable[[], list[str]]
) -> None:
    let_go, asked = threading.Event(), threading.Event()

    def slow() -> Mapping[str, Any]:
        asked.set()
        let_go.wait(60)
        return doing()

    sagemaker.answers["slow"] = slow
    observer = observers(look_seconds=0.01)
    observer.follow(job("slow"))
    assert asked.wait(20)
    observer.follow(job("a", OTHER))
    eventually(lambda: len(sagemaker.times("a")) > 3)

    assert observer.sight("slow") is None
    assert sorted(alive()) == [f"sagemaker-{OTHER}", f"sagemaker-{REGION}"]
    let_go.set()
    eventually(lambda: observer.sight("slow") is not None)


def test_there_is_one_thread_for_all_jobs_of_a_region_and_none_when_all_have_ended(
    observers: Observers, sagemaker: SageMaker, alive: Callable[[], list[str]]
) -> None:
    let_go = threading.Event()
    sagemaker.otherwise = lambda: DONE if let_go.is_set() else doing()
    observer = observers(look_seconds=0.01)
    for n in range(50):
        observer.follow(job(f"r-{n}"))
    eventually(lambda: all(observer.sight(f"r-{n}") for n in range(50)))
    assert alive() == [f"sagemaker-{REGION}"]

    let_go.set()
    eventually(lambda: not alive())
    observer.follow(job("new"))
    eventually(lambda: observer.sight("new") is not None)


def test_hurrying_wakes_a_thread_that_sleeps(observers: Observers, sagemaker: SageMaker) -> None:
    observer = observers(look_seconds=3600.0)
    observer.look([handle_of(job("a"))])
    for more in range(2, 5):
        eventually(lambda more=more: len(sagemaker.times("a")) >= more - 1)  # type: ignore[misc]
        observer.hurry("a")
        eventually(lambda more=more: len(sagemaker.times("a")) >= more)  # type: ignore[misc]


def test_whoever_watches_is_told_and_nobody_afterwards(observers: Observers, sagemaker: SageMaker) -> None:
    observer = observers(look_seconds=0.01)
    sagemaker.answers["early"] = lambda: DONE
    observer.look([handle_of(job("early"))])
    told: list[tuple[str, Phase]] = []
    with observer.watching(lambda handle, status: told.append((handle.key, status.phase))):
        assert told == [("early", Phase.SUCCEEDED)], "what ended before is told of, too"
        observer.follow(job("a"), made_now=True)
        eventually(lambda: ("a", Phase.RUNNING) in told)
    sagemaker.answers["a"] = lambda: DONE
    eventually(lambda: observer.look([handle_of(job("a"))])["a"].phase is Phase.SUCCEEDED)

    assert told == [("early", Phase.SUCCEEDED), ("a", Phase.RUNNING)]


def test_closing_does_not_wait_for_an_answer_that_is_long_in_coming(
    observers: Observers, sagemaker: SageMaker, alive: Callable[[], list[str]]
) -> None:
    let_go, asked = threading.Event(), threading.Event()

    def slow() -> Mapping[str, Any]:
        asked.set()
        let_go.wait(60)
        return doing()

    sagemaker.otherwise = slow
    told: list[str] = []
    observer = observers()
    with observer.watching(lambda handle, _: told.append(handle.key)):
        observer.follow(job("a"))
        assert asked.wait(20)
        observer.close()
        assert alive() == [f"sagemaker-{REGION}"]
        let_go.set()
        eventually(lambda: not alive())
    observer.follow(job("b"))

    assert told == []
    assert [who for _, who in sagemaker.asked] == ["a"]


def test_a_bug_in_a_look_does_not_end_the_looks(
    observers: Observers, sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = observers(look_seconds=0.01)
    broken = iter([RuntimeError("a bug")])

    def trust() -> bool:
        for each in broken:
            raise each
        return False

    monkeypatch.setattr(module, "AWAY", 0.01)
    observer.trust(trust)
    observer.follow(job("a"))

    eventually(lambda: len(sagemaker.times("a")) > 3)
