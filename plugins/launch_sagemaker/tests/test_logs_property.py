"""Whatever is written, read and refused: each line comes once, and in order."""

from __future__ import annotations

from collections import defaultdict
from unittest import mock

import hypothesis.strategies as st
from hypothesis import given, settings
from launch_sagemaker import feeds
from launch_sagemaker.cursors import Place, cursor_text, read_cursor
from launch_sagemaker.testing.scripted_logs import LogBench, seen

from launchcore.plugin import LaunchError, Phase

TEXTS = st.sampled_from(["", "x", "é\r", "line\n", "y" * 90, "z" * 2000, "10%\r20%", "\U0001f600" * 30])
STEPS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 2), st.lists(TEXTS, min_size=1, max_size=8)),
    st.tuples(st.just("restart"), st.integers(0, 2), st.lists(TEXTS, max_size=3)),
    st.tuples(st.just("write"), st.integers(0, 2), st.lists(TEXTS, min_size=1, max_size=8)),
    st.tuples(st.just("read"), st.sampled_from([1, 5, 40, 100, 500, 5000]), st.integers(1, 12)),
    st.tuples(st.just("read"), st.sampled_from([40, 100, 500, 5000]), st.integers(4, 20)),
    st.tuples(st.just("pass"), st.sampled_from([0.0, 0.4, 3.0, 40.0, 4000.0]), st.none()),
    st.tuples(
        st.just("refuse"),
        st.sampled_from(["ThrottlingException", "ServiceUnavailableException", "AccessDeniedException"]),
        st.integers(1, 3),
    ),
    st.tuples(st.just("pages"), st.sampled_from([1, 2, 5, 10_000]), st.sampled_from([100, 3000, 1 << 20])),
    st.tuples(st.just("expire"), st.none(), st.none()),
    st.tuples(st.just("another"), st.none(), st.none()),
    st.tuples(st.just("back"), st.integers(0, 100), st.none()),
)


class Story:
    """A job, whose log is written and read by turns."""

    def __init__(self, instances: int, chunk: float | None, delay: float, skew: float) -> None:
        self.bench = LogBench()
        self.bench.cloud.drifts = delay > 0
        self.bench.skew = skew
        self.delay = delay
        self.bench.cloud.chunk = chunk
        self.instances = instances
        self.job = self.bench.job(sight=seen(Phase.RUNNING, instances=instances))
        self.written: dict[str, list[str]] = defaultdict(list)
        self.streams: dict[str, str] = {}
        self.cursors: list[str | None] = [None]
        self.data: list[bytes] = []
        self.number = 0

    def write(self, which: int, texts: list[str]) -> None:
        label = f"algo-{which % self.instances + 1}"
        stream = self.streams.setdefault(label, f"job/{label}-{int(self.bench.wall())}")
        for text in texts:
            self.number += 1
            numbered = f"<{self.number}>{text}"
            self.bench.cloud.write(stream, numbered, after=self.delay)
            self.written[label].append(numbered.removesuffix("\n").removesuffix("\r"))

    def restart(self, which: int, texts: list[str]) -> None:
        """An interruption: minutes later there is another container, with another stream."""
        self.bench.run(200.0)
        label = f"algo-{which % self.instances + 1}"
        self.streams[label] = f"job/{label}-{int(self.bench.wall())}"
        known = self.bench.sights["job"]
        progress = f"Restarting {self.number}"
        self.bench.sights["job"] = seen(known.status.phase, instances=self.instances, progress=progress)
        self.write(which, texts)

    def read(self, limit: int, times: int) -> None:
        for _ in range(times):
            try:
                batch = self.bench.logs.read(self.job, self.cursors[-1], limit)
            except LaunchError:
                self.bench.run(1.0)
                continue
            assert batch.gap is None
            assert not batch.end
            assert len(batch.data) <= limit + 3
            self.cursors.append(batch.cursor)
            self.data.append(batch.data)
            self.bench.now += min(self.bench.step(), 2.0)

    def back(self, where: int) -> None:
        """What was read after some cursor was lost."""
        index = where % len(self.cursors)
        del self.cursors[index + 1 :]
        del self.data[index:]

    def tell(self, what: str, one: object, two: object) -> None:
        bench = self.bench
        match what, one, two:
            case "write", int(), list():
                self.write(one, two)
            case "restart", int(), list():
                self.restart(one, two)
            case "read", int(), int():
                self.read(one, two)
            case "pass", float(), None:
                bench.run(one)
            case "refuse", str(), int():
                bench.cloud.errors += [one] * two
            case "pages", int(), int():
                bench.cloud.page_events, bench.cloud.page_bytes = one, two
            case "expire", None, None:
                bench.cloud.expire()
            case "another", None, None:
                bench.logs = bench.reader()
            case "back", int(), None:
                self.back(one)
            case _:
                raise AssertionError(what)

    def end(self) -> bytes:
        self.bench.end()
        rest, gaps, _ = self.bench.rest(self.job, self.cursors[-1], limit=333)
        assert gaps == []
        return b"".join(self.data) + rest


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(STEPS, max_size=30),
    instances=st.integers(1, 3),
    ahead=st.sampled_from([100, 3000, feeds.AHEAD]),
    chunk=st.sampled_from([None, 10.0, 3600.0]),
    delay=st.sampled_from([0.0, 5.0]),
    skew=st.sampled_from([0.0, -200.0, 200.0]),
)
def test_every_line_comes_once_and_in_order(
    *,
    steps: list[tuple[str, object, object]],
    instances: int,
    ahead: int,
    chunk: float | None,
    delay: float,
    skew: float,
) -> None:
    story = Story(instances, chunk, delay, skew)
    with mock.patch.object(feeds, "AHEAD", ahead):
        for step in steps:
            story.tell(*step)
        data = story.end().decode()
    found: dict[str, list[str]] = defaultdict(list)
    for line in data.split("\n")[:-1]:
        label, text = line[1:].split("] ", 1) if instances > 1 else ("algo-1", line)
        found[label].append(text)
    assert found == story.written
    assert data == "" or data.endswith("\n")


PLACES = st.builds(
    Place,
    epoch=st.integers(0, 1 << 40),
    token=st.one_of(
        st.none(),
        st.integers(0, 10**56 - 1).map(lambda number: f"f/{number:056d}"),
        st.integers(0, 10**56 - 1).map(lambda number: f"f/{number:056d}/s"),
        st.integers(-1, 99).map(lambda number: f"f/{number:056d}"),
    ),
    since=st.integers(0, 1 << 45),
    skip=st.integers(0, 10_000),
    at=st.integers(0, 1 << 45),
    count=st.integers(-1, 10_000),
    offset=st.integers(0, 1 << 20),
)


@settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"algo-[0-9]{1,3}", fullmatch=True), PLACES, max_size=5))
def test_a_cursor_is_read_as_it_was_written(places: dict[str, Place]) -> None:
    assert read_cursor(cursor_text(places)).places == places


@settings(deadline=None)
@given(st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr)))
def test_a_cursor_of_anything_is_read_or_refused(text: str) -> None:
    for each in (text, f'{{"v":1,"p":{{"algo-1":{text}}}}}', f'{{"v":1,"p":{text}}}'):
        try:
            read_cursor(each)
        except ValueError:
            continue
