"""Logs of training jobs: lines, instances, streams, and where a log ends."""

from __future__ import annotations

import pytest
from launch_sagemaker.testing.scripted_logs import EPOCH, LogBench, seen

from launchcore.plugin import Phase

RUNNING = seen(Phase.RUNNING)
A1, A2 = "job/algo-1-1700000100", "job/algo-2-1700000101"


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
