"""Logs of training jobs, while CloudWatch answers as it does."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from launch_sagemaker import feeds
from launch_sagemaker.cursors import read_cursor
from launch_sagemaker.logs import Logs
from launch_sagemaker.places import Job
from launch_sagemaker.streams import LATE, line_of
from launch_sagemaker.testing.scripted_logs import EPOCH, LogBench, ScriptedAccount, seen

from launchcore.plugin import LaunchError, Phase

Threads = Callable[[], list[threading.Thread]]
RUNNING = seen(Phase.RUNNING)
A1, A2 = "job/algo-1-1700000100", "job/algo-2-1700000101"


@pytest.fixture
def bench() -> LogBench:
    return LogBench()


# -- what is given -----------------------------------------------------------------------------------


def test_lines_come_while_it_runs_and_the_log_ends_after_the_job(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one", "two\r", "three\n")
    first = bench.look(job)
    assert first.data == b"one\ntwo\nthree\n"
    bench.cloud.write(A1, "four")
    second = bench.look(job, first.cursor)
    assert (second.data, second.end) == (b"four\n", False)
    bench.end()
    assert bench.rest(job, second.cursor)[:2] == (b"", [])


def test_a_job_whose_log_group_is_not_there_yet_says_nothing(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    batch = bench.look(job, seconds=120)
    assert (batch.data, batch.end, batch.gap) == (b"", False, None)
    bench.cloud.write(A1, "one")
    assert bench.look(job, batch.cursor).data == b"one\n"


def test_a_job_that_never_had_a_stream_has_an_end(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.end(phase=Phase.FAILED)
    begin = bench.now
    assert bench.rest(job)[:2] == (b"", [])
    assert bench.now - begin >= bench.settings.log_settle_seconds


def test_several_instances_are_told_apart_and_merged_by_time(bench: LogBench) -> None:
    job = bench.job(sight=seen(Phase.RUNNING, instances=2))
    for number in range(10):
        bench.cloud.write((A1, A2)[number % 2], f"line {number}", at=EPOCH + number)
    bench.end()
    assert bench.rest(job)[0] == b"".join(
        b"[algo-%d] line %d\n" % (1 + number % 2, number) for number in range(10)
    )


@pytest.mark.parametrize("page_events", [1, 3, 100])
def test_a_line_waits_for_those_of_other_instances_that_are_earlier(
    bench: LogBench, page_events: int
) -> None:
    job = bench.job(sight=seen(Phase.RUNNING, instances=3))
    bench.cloud.page_events = page_events
    for number in range(90):
        label = 1 + number % 2 if number < 60 else 3
        bench.cloud.write(f"job/algo-{label}-1700000100", f"{number}", at=EPOCH + number)
    bench.end()
    lines = bench.rest(job, limit=50)[0].decode().splitlines()
    assert [int(line.split()[1]) for line in lines] == [*range(90)]


def test_nothing_is_given_before_it_is_known_whether_there_are_several_instances(bench: LogBench) -> None:
    job = bench.job()
    bench.cloud.write(A1, "one")
    assert bench.look(job, seconds=30).data == b""
    bench.sights["job"] = seen(Phase.RUNNING, instances=2)
    assert bench.look(job).data == b"[algo-1] one\n"


def test_events_with_several_lines_and_odd_text_come_through(bench: LogBench) -> None:
    bench.job(sight=seen(Phase.RUNNING, instances=2))
    bench.cloud.write(A1, "a\r\n[algo-2] b", "10%\r20%\r\n", "\x1b[31mred\x00", "\ud800", "é")
    bench.end()
    assert bench.rest(bench.job())[0].decode().split("\n") == [
        *("[algo-1] a", "[algo-1] [algo-2] b", "[algo-1] 10%\r20%", "[algo-1] \x1b[31mred\x00"),
        *("[algo-1] ?", "[algo-1] é", ""),
    ]


@pytest.mark.parametrize("limit", [1, 7, 1000, 100_000])
def test_an_event_longer_than_the_limit_comes_in_parts_to_readers_that_come_and_go(
    bench: LogBench, limit: int
) -> None:
    size = min(256 * 1024, limit * 20)
    job = bench.job(sight=seen(Phase.RUNNING, instances=2))
    bench.cloud.write(A1, "é" * (size // 2), "end", at=EPOCH)
    bench.cloud.write(A2, "other", at=EPOCH)
    bench.end(ago=3600)
    found, cursor = b"", None
    while True:
        bench.logs = bench.reader()
        batch = bench.look(job, cursor, limit=limit)
        assert len(batch.data) <= limit + 3
        batch.data.decode()
        found, cursor = found + batch.data, batch.cursor
        if batch.end:
            break
    lines = found.decode().splitlines()
    assert sorted(lines) == sorted([f"[algo-1] {'é' * (size // 2)}", "[algo-1] end", "[algo-2] other"])


def test_batches_are_cut_between_events(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, *["x" * 40] * 10)
    bench.end(ago=3600)
    assert bench.look(job, limit=100).data == (b"x" * 40 + b"\n") * 2


# -- streams -----------------------------------------------------------------------------------------


def test_the_streams_of_an_instance_that_was_restarted_come_one_after_the_other(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one")
    first = bench.look(job)
    bench.sights["job"] = seen(Phase.RUNNING, progress="Interrupted")
    bench.cloud.write("job/algo-1-1700001200", "two")
    bench.cloud.write(A1, "last words", after=4.0)
    data, begin = first.data, bench.now
    while b"two" not in data:
        first = bench.look(job, first.cursor)
        data += first.data
    assert data == b"one\nlast words\ntwo\n"
    assert bench.now - begin < bench.settings.log_settle_seconds + 3.0
    bench.end()
    assert bench.rest(job)[0] == data


def test_streams_that_come_late_are_found_before_the_end(bench: LogBench) -> None:
    job = bench.job(sight=seen(Phase.RUNNING, instances=2))
    bench.cloud.write(A1, "one")
    first = bench.look(job)
    bench.end()
    bench.run(5.0)
    bench.cloud.write(A2, "two")
    assert bench.rest(job, first.cursor)[0] == b"[algo-2] two\n"


def test_a_job_with_more_streams_than_one_listing_gives(bench: LogBench) -> None:
    job = bench.job(sight=seen(Phase.RUNNING, instances=120))
    for number in range(1, 121):
        bench.cloud.write(f"job/algo-{number}-1700000000", "hi", at=EPOCH + number)
    bench.end(ago=3600)
    data, gaps, _ = bench.rest(job)
    assert data.decode().splitlines() == [f"[algo-{number}] hi" for number in range(1, 121)]
    assert gaps == []


def test_streams_of_other_jobs_are_not_read(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write("job-2/algo-1-1700000100", "other")
    bench.cloud.write(A1, "mine")
    bench.end(ago=3600)
    assert bench.rest(job)[0] == b"mine\n"


def test_a_stream_of_another_form_is_read_and_its_name_cannot_forge_a_line(bench: LogBench) -> None:
    job = bench.job(sight=seen(Phase.RUNNING, instances=2))
    bench.cloud.write("job/x\ny", "one")
    bench.end(ago=3600)
    assert bench.rest(job)[0] == b"[x?y] one\n"


# -- the end -----------------------------------------------------------------------------------------


def test_the_end_waits_for_what_comes_late(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one")
    first = bench.look(job)
    bench.cloud.write(A1, "late", after=9.0)
    bench.end()
    assert bench.rest(job, first.cursor)[0] == b"late\n"


def test_the_end_waits_although_this_machine_s_clock_is_ahead(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one")
    first = bench.look(job)
    bench.cloud.write(A1, "late", after=9.0)
    bench.skew = 200.0
    bench.end()
    assert bench.rest(job, first.cursor)[0] == b"late\n"


def test_a_job_that_has_ended_long_ago_is_read_at_once(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one")
    bench.end(ago=3600)
    begin = bench.now
    assert bench.rest(job)[0] == b"one\n"
    assert bench.now - begin < 3.0
    assert len(bench.cloud.calls) == 3


def test_who_has_read_the_end_reads_it_again_without_asking(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one")
    bench.end(ago=3600)
    cursor = bench.rest(job)[2]
    bench.logs = bench.reader()
    before = len(bench.cloud.calls)
    batch = bench.logs.read(job, cursor, 100)
    assert (batch.data, batch.end, batch.cursor) == (b"", True, cursor)
    assert len(bench.cloud.calls) == before


def test_a_stream_that_was_removed_is_a_gap(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one")
    bench.cloud.write("else", "")
    first = bench.look(job)
    del bench.cloud.streams[A1]
    bench.end()
    data, gaps, _ = bench.rest(job, first.cursor)
    assert data == b""
    assert [gap.partition(" (")[0] for gap in gaps] == ["its log stream is not in CloudWatch any more"]


# -- tokens ------------------------------------------------------------------------------------------


def test_pauses_in_the_log_are_empty_answers_and_not_the_end(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.chunk = 60.0
    for hours in (0, 11, 11, 30):
        bench.cloud.write(A1, f"after {hours}", at=EPOCH - 200_000 + hours * 3600)
    bench.end(ago=3600)
    assert bench.rest(job)[:2] == (b"after 0\nafter 11\nafter 11\nafter 30\n", [])


def test_a_token_that_goes_on_with_the_time_leaves_out_nothing_that_comes_late(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.drifts = True
    bench.cloud.write(A1, "one")
    first = bench.look(job)
    bench.cloud.write(A1, "late", after=120.0)
    bench.run(60.0)
    second = bench.look(job, first.cursor)
    assert second.data == b"late\n"
    bench.run(LATE * 2)
    assert bench.look(job, second.cursor, seconds=60).data == b""
    bench.cloud.write(A1, "three")
    assert bench.look(job, second.cursor).data == b"three\n"


@pytest.mark.parametrize("odd", [False, True])
def test_a_stream_whose_token_never_stands_still_ends_all_the_same(bench: LogBench, odd: bool) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.drifts = True
    bench.cloud.odd_tokens = odd
    bench.cloud.write(A1, "one")
    bench.end()
    data, gaps, _ = bench.rest(job)
    assert data == b"one\n"
    assert [gap.partition(";")[0] for gap in gaps] == ["CloudWatch names no end of it"] * odd


@pytest.mark.parametrize("restart", [False, True])
def test_a_token_that_is_not_taken_any_more_loses_and_repeats_nothing(bench: LogBench, restart: bool) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, *"abcdef", at=EPOCH)
    first = bench.look(job, limit=6)
    assert first.data == b"a\nb\nc\n"
    bench.cloud.expire()
    bench.cloud.write(A1, *"ghi", at=EPOCH)
    bench.cloud.write(A1, "j", at=EPOCH + 1)
    if restart:
        bench.logs = bench.reader()
    bench.end()
    assert bench.rest(job, first.cursor)[:2] == (b"d\ne\nf\ng\nh\ni\nj\n", [])


def test_what_is_not_in_cloudwatch_any_more_is_a_gap(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, *"abc", at=EPOCH)
    first = bench.look(job, limit=4)
    bench.cloud.expire()
    bench.cloud.streams[A1].clear()
    bench.cloud.write(A1, "d", at=EPOCH + 9)
    bench.logs = bench.reader()
    bench.end()
    data, gaps, _ = bench.rest(job, first.cursor)
    assert data == b"d\n"
    assert [gap.partition(";")[0] for gap in gaps] == ["CloudWatch has not any more what was read"]


def test_the_token_of_a_listing_that_is_not_taken_any_more_begins_it_again(bench: LogBench) -> None:
    job = bench.job(sight=seen(Phase.RUNNING, instances=60))
    for number in range(1, 61):
        bench.cloud.write(f"job/algo-{number}-1700000000", "hi", at=EPOCH)
    bench.end(ago=3600)
    bench.logs.read(job, None, 100)
    bench.step()
    bench.cloud.errors = ["InvalidParameterException"]
    assert len(bench.rest(job)[0].splitlines()) == 60


# -- cursors -----------------------------------------------------------------------------------------


def test_any_cursor_leads_on_from_its_place(bench: LogBench) -> None:
    job = bench.job(sight=seen(Phase.RUNNING, instances=2))
    for number in range(60):
        bench.cloud.write((A1, A2)[number % 3 == 0], f"line {number}", at=EPOCH + number // 4)
    bench.end(ago=3600)
    bench.cloud.page_events = 7
    places: list[tuple[str | None, bytes]] = []
    found, cursor = b"", None
    while True:
        batch = bench.look(job, cursor, limit=61)
        places.append((cursor, batch.data))
        cursor, found = batch.cursor, found + batch.data
        if batch.end:
            break
    for index, (start, _) in enumerate(places):
        bench.logs = bench.reader()
        assert bench.rest(job, start)[0] == b"".join(data for _, data in places[index:])


def test_a_reader_that_goes_back_is_served_from_there(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.write(A1, "one", "two")
    first = bench.look(job, limit=4)
    second = bench.look(job, first.cursor)
    assert bench.look(job, first.cursor).data == second.data == b"two\n"
    assert bench.look(job, None, limit=4).data == b"one\n"


def test_a_reader_that_asks_from_the_start_until_something_comes_gets_it(bench: LogBench) -> None:
    job = bench.job(sight=RUNNING)
    bench.cloud.chunk = 60.0
    bench.cloud.write(A1, "one")
    for _ in range(100):
        if (data := bench.logs.read(job, None, 100).data) or bench.step() > 100:
            break
        bench.now += 0.1
    assert data == b"one\n"


def test_the_cursor_of_a_hundred_instances_stays_small(bench: LogBench) -> None:
    job = bench.job(sight=seen(Phase.RUNNING, instances=100))
    for number in range(1, 101):
        bench.cloud.write(f"job/algo-{number}-17000001{number % 100:02}", "hi", "there")
    cursor, found = None, b""
    while len(found.splitlines()) < 200:
        batch = bench.look(job, cursor)
        cursor, found = batch.cursor, found + batch.data
    assert len(batch.cursor) < 9000
    bench.run(60)
    bench.cloud.streams["job/algo-1-1700009999"] = []
    assert all(place.token for place in read_cursor(batch.cursor).places.values())


BROKEN = [
    "",
    "x",
    "[]",
    "{}",
    "null",
    "1" * 5000,
    "[" * 5000,
    '{"v":2,"p":{}}',
    '{"v":1,"p":[]}',
    '{"v":1,"p":{"algo-1":[]}}',
    '{"v":1,"p":{"algo-1":[-1]}}',
    '{"v":1,"p":{"algo-1":[1.5]}}',
    '{"v":1,"p":{"algo-1":[1,2]}}',
    '{"v":1,"p":{"algo-1":[1,"~!"]}}',
    '{"v":1,"p":{"algo-1":[1,"t\\n"]}}',
    '{"v":1,"p":{"algo-1":[1,"t",1e9]}}',
    '{"v":1,"p":{"algo-1":[1,"t",0,99999999999999999999]}}',
    '{"v":1,"p":{"a:b":[1]}}',
    '{"v":1,"p":{"a\\u0000":[1]}}',
    '{"v":1,"p":{"' + "a" * 2_000_000 + '":[1]}}',
]


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: text[:30])
def test_a_cursor_that_is_none_is_an_error_and_no_request(bench: LogBench, text: str) -> None:
    with pytest.raises(LaunchError, match="not one of this runner's"):
        bench.logs.read(bench.job(sight=RUNNING), text, 100)
    bench.step()
    assert bench.cloud.calls == []


# -- errors ------------------------------------------------------------------------------------------


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


# -- many --------------------------------------------------------------------------------------------


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
