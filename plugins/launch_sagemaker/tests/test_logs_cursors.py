"""Logs of training jobs: tokens that come and go, and cursors that anybody may go on from."""

from __future__ import annotations

import pytest
from launch_sagemaker.cursors import read_cursor
from launch_sagemaker.streams import LATE
from launch_sagemaker.testing.scripted_logs import EPOCH, LogBench, seen

from launchcore.plugin import LaunchError, Phase

RUNNING = seen(Phase.RUNNING)
A1, A2 = "job/algo-1-1700000100", "job/algo-2-1700000101"


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
