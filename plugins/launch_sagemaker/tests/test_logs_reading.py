"""Logs of training jobs: what goes wrong, who comes first, and what it costs to follow many."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from launch_sagemaker import feeds
from launch_sagemaker.logs import Logs
from launch_sagemaker.places import Job
from launch_sagemaker.streams import line_of
from launch_sagemaker.testing.scripted_logs import EPOCH, LogBench, ScriptedAccount, seen

from launchcore.plugin import LaunchError, Phase

Threads = Callable[[], list[threading.Thread]]
RUNNING = seen(Phase.RUNNING)
A1, A2 = "job/algo-1-1700000100", "job/algo-2-1700000101"


def test_a_refusal_is_told_and_tried_again_and_never_the_end(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one")
    bench.end(ago=3600)
    bench.cloud.errors = ["AccessDeniedException"]
    with pytest.raises(LaunchError, match="AWS denies it"):
        bench.look(job)
    bench.run(6.0)
    assert bench.rest(job)[0] == b"one\n"


def test_what_has_come_is_given_before_an_error(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one", "two")
    first = bench.look(job, limit=4)
    feed = bench.logs._workers[job.region]._feeds["job"]
    feed.failed(LaunchError("away"), bench.logs._workers[job.region]._moment())
    second = bench.logs.read(job, first.cursor, 100)
    assert second.data == b"two\n"
    with pytest.raises(LaunchError, match="away"):
        bench.logs.read(job, second.cursor, 100)


def test_throttling_only_delays(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one")
    bench.end(ago=3600)
    bench.cloud.errors = ["ThrottlingException"] * 5
    begin = bench.now
    assert bench.rest(job)[:2] == (b"one\n", [])
    assert bench.now - begin > 5.0


def test_expired_credentials_are_read_anew(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one")
    forgotten: list[bool] = []
    bench.account._forget = lambda: forgotten.append(True)  # type: ignore[method-assign]
    bench.cloud.errors = ["ExpiredTokenException"]
    with pytest.raises(LaunchError, match="credentials have expired"):
        bench.look(job)
    assert forgotten
    bench.run(6.0)
    assert bench.look(job).data == b"one\n"


def test_reading_never_waits_while_cloudwatch_hangs(threads: Threads) -> None:
    hung, asked = threading.Event(), threading.Event()

    class Hanging:
        def describe_log_streams(self, **params: Any) -> Any:
            asked.set()
            hung.wait(60)
            return {"logStreams": []}

    bench = LogBench()
    logs = Logs(ScriptedAccount(Hanging()), bench.settings, lambda _: RUNNING)
    try:
        assert logs.read(bench.job(), None, 100).data == b""
        assert asked.wait(10)
        for name in ("job", "other", "third"):
            assert logs.read(bench.job(name), None, 100).data == b""
        logs.forget("other")
        (worker,) = threads()
        assert worker.daemon
    finally:
        logs.close()
        hung.set()
    worker.join(10)
    assert not worker.is_alive()


def test_the_thread_ends_when_nothing_is_followed_and_comes_again(threads: Threads) -> None:
    bench = LogBench(log_requests_per_second=1000.0)
    bench.cloud.write(A1, "one")
    logs = Logs(bench.account, bench.settings, lambda _: RUNNING)
    for _ in range(2):
        cursor, arrived = None, threading.Event()
        while not arrived.wait(0.005):
            batch = logs.read(bench.job(), cursor, 100)
            cursor = batch.cursor
            if batch.data:
                break
        assert batch.data == b"one\n"
        workers = threads()
        logs.forget("job")
        for thread in workers:
            thread.join(10)
            assert not thread.is_alive()
    logs.close()


def test_two_hundred_runs_keep_to_the_budget_and_what_has_ended_comes_first() -> None:
    bench = LogBench(log_requests_per_second=5.0)
    jobs = [bench.job(f"job{number}", RUNNING) for number in range(200)]
    cursors: dict[str, str | None] = dict.fromkeys((job.name for job in jobs), None)
    got: dict[str, bytes] = dict.fromkeys(cursors, b"")
    for job in jobs:
        bench.cloud.write(f"{job.name}/algo-1-1700000100", "hello")

    def round_(seconds: float) -> None:
        until = bench.now + seconds
        while bench.now < until:
            for job in jobs:
                if (cursor := cursors[job.name]) != "end":
                    batch = bench.logs.read(job, cursor, 1000)
                    got[job.name] += batch.data
                    cursors[job.name] = "end" if batch.end else batch.cursor
            bench.run(2.0)

    round_(300.0)
    assert set(got.values()) == {b"hello\n"}
    for job in jobs[:3]:
        bench.cloud.write(f"{job.name}/algo-1-1700000100", "bye")
        bench.end(job.name)
    round_(bench.settings.log_settle_seconds + 6.0)
    assert [got[job.name] for job in jobs[:3]] == [b"hello\nbye\n"] * 3
    assert [cursors[job.name] for job in jobs[:3]] == ["end"] * 3
    for start in range(0, int(bench.now - 1000), 10):
        within = [at for at in bench.cloud.times if start <= at - EPOCH - 1000 < start + 10]
        assert len(within) <= 5.0 * 10 + 1
    # Nobody is left out.
    late = {params["logStreamName"] for what, params in bench.cloud.calls[-900:] if what == "GetLogEvents"}
    assert len(late) == 200


def test_a_quiet_log_is_looked_at_less_and_less_often(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one")
    cursor = bench.look(job).cursor

    def asked(seconds: int) -> int:
        before = len(bench.cloud.calls)
        for _ in range(seconds // 2):
            assert bench.logs.read(job, cursor, 100).data == b""
            bench.run(2.0)
        return len(bench.cloud.calls) - before

    assert asked(10) >= 4
    asked(1000)
    assert 20 <= asked(1000) <= 50
    bench.cloud.write(A1, "two")
    assert bench.look(job, cursor, seconds=31).data == b"two\n"


def test_a_thousand_quiet_runs_are_small() -> None:
    bench = LogBench(log_requests_per_second=1000.0)
    jobs = [bench.job(f"launch-{number:04}-1", RUNNING) for number in range(1000)]
    for job in jobs:
        bench.cloud.write(f"{job.name}/algo-1-1700000100", *["a line of some length" * 4] * 20)
    cursors: dict[str, str | None] = {job.name: None for job in jobs}

    def read(some: list[Job]) -> None:
        for job in some:
            cursors[job.name] = bench.logs.read(job, cursors[job.name], 1 << 18).cursor
        bench.run(3.0)

    read(jobs[:10])
    tracemalloc.start()
    try:
        for _ in range(3):
            read(jobs)
        feeds_of = bench.logs._workers[jobs[0].region]._feeds.values()
        assert len(feeds_of) == 1000
        assert all(source.tip for feed in feeds_of for source in feed.sources.values())
        bench.cloud.calls.clear()
        bench.cloud.times.clear()
        bench.cloud.expire()
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used / 1000 < 2000, used


def test_what_is_held_of_a_log_is_bounded(bench: LogBench) -> None:
    jobs = [bench.job("one", RUNNING), bench.job("many", seen(Phase.RUNNING, instances=20))]
    bench.cloud.write("one/algo-1-1700000100", *["x" * 1000] * 5000)
    for number in range(1, 21):
        bench.cloud.write(f"many/algo-{number}-1700000100", *["x" * 1000] * 5000)
    for job in jobs:
        bench.logs.read(job, None, 1)
    bench.run(20.0)
    for feed in bench.logs._workers[jobs[0].region]._feeds.values():
        pages = [source.page for source in feed.sources.values() if source.page]
        held = sum(len(text) for page in pages for _, text in page.events)
        assert 0.3 * feeds.AHEAD < held < 1.1 * feeds.AHEAD


def test_forgetting_frees_and_stops_asking(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, *["x" * 1000] * 100)
    bench.look(job, limit=10)
    bench.logs.forget("job")
    bench.logs.forget("job")
    assert not bench.logs._workers[job.region]._feeds
    before = len(bench.cloud.calls)
    bench.run(60.0)
    assert len(bench.cloud.calls) == before


def test_a_log_that_nobody_reads_any_more_is_forgotten(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one")
    bench.look(job)
    bench.run(400.0)
    assert not bench.logs._workers[job.region]._feeds


@pytest.mark.parametrize(
    ("text", "line"),
    [("", b"\n"), ("a", b"a\n"), ("a\n", b"a\n"), ("a\r\n", b"a\n"), ("a\n\n", b"a\n\n"), ("a\r", b"a\n")],
)
def test_an_event_is_a_line(text: str, line: bytes) -> None:
    assert line_of(text, b"") == line
