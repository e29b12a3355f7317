"""The log stream in pieces: nothing is lost and nothing comes twice, wherever it is cut."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import accumulate, cycle

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launch_docker.frames import Block, Chunks, Frames, seconds, since_parameter
from launch_docker.logs import Pending, Position, position


def at(nanoseconds: int) -> str:
    whole, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(1795456250 + whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def frame(message: tuple[str, bytes], stream: int = 1) -> bytes:
    body = message[0].encode() + b" " + message[1]
    return bytes([stream, 0, 0, 0]) + len(body).to_bytes(4, "big") + body


def block(messages: list[tuple[str, bytes]]) -> Block:
    return Block([time for time, _ in messages], [data for _, data in messages])


def messages_of(block: Block) -> list[tuple[str, bytes]]:
    return list(zip(block.times, block.parts, strict=True))


# Times of two interleaved outputs: nearly ascending, with equal ones.
MESSAGES = st.lists(st.tuples(st.integers(0, 2 * 10**9), st.binary(min_size=1, max_size=20)), max_size=60)


@settings(deadline=None, max_examples=60)
@given(MESSAGES, st.integers(1, 30), st.integers(0, 2**32))
def test_resumed_at_any_cursor_it_is_the_same_log(
    raw: list[tuple[int, bytes]], limit: int, seed: int
) -> None:
    """The engine: a list in its own order, filtered by ``since``. The reader comes back at every cursor."""
    now, log = 0, []
    for step, data in raw:
        now += step
        log.append((at(max(now - random.Random(seed + now).choice([0, 0, 1000, 10**9]), 0)), data))
    cursor: str | None = None
    found = b""
    for _ in range(10_000):
        start = position(cursor)
        pending = Pending(start)
        pending.add(block([message for message in log if message[0] >= start.since]))
        assert pending.gap is None
        data = pending.take(limit)
        cursor = pending.position.cursor()
        if not data:
            break
        found += data
    assert found == b"".join(data for _, data in log)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.one_of(st.integers(0, 3 * 10**9), st.sampled_from([0, 6 * 10**9])), max_size=80),
    st.lists(st.integers(1, 30), min_size=1, max_size=10),
    st.booleans(),
)
def test_many_messages_at_once_are_counted_like_one_after_the_other(
    steps: list[int], sizes: list[int], orderly: bool
) -> None:
    """The short way over messages whose times ascend leads to the same cursor, whatever the blocks."""
    times = [at(number) for number in accumulate(steps)]
    if not orderly:
        random.Random(len(times)).shuffle(times)
    one, many, begin = Position(), Position(), 0
    for size in cycle(sizes):
        for time in times[begin : begin + size]:
            one._step(time)
        many.advance(times[begin : begin + size])
        assert attrs.astuple(many) == attrs.astuple(one)
        begin += size
        if begin >= len(times):
            break


@settings(deadline=None)
@given(MESSAGES, st.integers(1, 50))
def test_frames_cut_anywhere(raw: list[tuple[int, bytes]], cut: int) -> None:
    messages = [(at(number), data) for number, data in raw]
    stream = b"".join(map(frame, messages))
    frames = Frames(tty=False)
    found = [
        each
        for start in range(0, len(stream), cut)
        for each in messages_of(frames.feed(stream[start : start + cut]))
    ]
    assert found == [(time, data if data.endswith(b"\n") else data + b"\n") for time, data in messages]


def test_the_local_driver_forgets_the_end_of_a_long_line() -> None:
    """Recorded from Docker 20.10: pieces of 16 KiB, and a last one without a line end."""
    parts = [(at(1), b"x" * 16384), (at(1), b"x" * 100), (at(2), b"end\n")]
    found = Frames(tty=False).feed(b"".join(map(frame, parts)))
    assert b"".join(found.parts) == b"x" * 16484 + b"\nend\n"


def test_a_terminals_lines_and_pieces() -> None:
    """Without frames, a long line comes in pieces of 16 KiB, each with its time."""
    time = at(1)
    stream = b"".join(
        time.encode() + b" " + data for data in (b"one\r\n", b"x" * 16384, b"y" * 10 + b"\r\n", b"last")
    )
    frames = Frames(tty=True)
    found = [
        part
        for start in range(0, len(stream), 999)
        for part in frames.feed(stream[start : start + 999]).parts
    ]
    found += frames.rest().parts
    assert b"".join(found) == b"one\r\n" + b"x" * 16384 + b"y" * 10 + b"\r\nlast"


def test_the_engines_own_errors_are_not_the_runs_log() -> None:
    assert Frames(tty=False).feed(frame((at(1), b"Error grabbing logs"), stream=3)) == Block()


def test_no_stream_at_all() -> None:
    with pytest.raises(ValueError, match="not a multiplexed"):
        Frames(tty=False).feed(b"<html>not found</html>")


def test_what_was_rotated_away_is_told() -> None:
    start = Position(since=at(10), known=3, total=9, latest=at(10))
    pending = Pending(start)
    pending.add(block([(at(50), b"later\n")]))

    assert pending.gap is not None
    assert pending.take(100) == b"later\n"
    assert position(pending.position.cursor()).since == at(50)


def test_podmans_times_become_dockers() -> None:
    frames = Frames(tty=False)
    ((time, data),) = messages_of(frames.feed(frame(("2026-11-23T18:50:50.5+01:00", b"x\n"))))
    assert (time, data) == ("2026-11-23T17:50:50.500000000Z", b"x\n")


def test_times_as_the_api_takes_them() -> None:
    assert since_parameter("") is None
    assert since_parameter("2026-11-23T17:50:50.596337603Z") == "1795456250.596337603"
    assert seconds("2026-11-23T17:50:50Z") == 1795456250


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10), st.integers(1, 20))
def test_chunks_cut_anywhere(parts: list[bytes], cut: int) -> None:
    stream = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts) + b"0\r\n\r\n"
    chunks = Chunks()
    found = b"".join(chunks.feed(stream[start : start + cut]) for start in range(0, len(stream), cut))
    assert found == b"".join(parts)
    assert chunks.ended


@pytest.mark.parametrize("cursor", ["", "x", "2||0|0|0|", "1|a|b|c|d|e"])
def test_cursors_of_others(cursor: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (any)
        position(cursor)


def test_podman_marks_pieces_by_their_missing_ends_and_has_whole_seconds() -> None:
    """Docker forgets the end of a line that is shorter than a piece; Podman's pieces have any size."""
    sent = frame(("2026-11-28T00:36:59Z", b"18")) + frame(("2026-11-28T00:36:59Z", b"60\n"))
    time = "2026-11-28T00:36:59.000000000Z"

    assert messages_of(Frames(tty=False, exact=True).feed(sent)) == [(time, b"18"), (time, b"60\n")]
    assert messages_of(Frames(tty=False).feed(sent)) == [(time, b"18\n"), (time, b"60\n")]
