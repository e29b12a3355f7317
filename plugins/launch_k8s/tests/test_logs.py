"""Lines of the log API → positions and cursors that lose and repeat nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_k8s.logs import Cursor, Lines, Position, Skip, read_cursor, unix_second
from launch_k8s.wire import Chunks

START = 1_800_000_000


def stamp(at: float) -> str:
    return f"{datetime.fromtimestamp(int(at), UTC):%Y-%m-%dT%H:%M:%S}.{int(at % 1 * 1e9):09d}Z"


def answer(log: list[tuple[str, bytes]], position: Position) -> bytes:
    """What the API server says to ``sinceTime`` of a position: whole seconds, in the file's order."""
    since = position.since_time or ""
    return b"".join(f"{at} ".encode() + text for at, text in log if at[:19] >= since[:19])


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """Lines whose times go on, with some that are written a little late."""
    at, found = float(START), []
    for number in range(draw(st.integers(0, 60))):
        at += draw(st.sampled_from([0.0, 0.0, 0.001, 0.4, 1.0, 2.5, 9.0]))
        late = draw(st.sampled_from([0.0, 0.0, 0.0, 0.3, 1.2]))
        found.append((stamp(at - late), b"line %d\n" % number))
    return found


@given(log=logs(), steps=st.lists(st.tuples(st.integers(1, 15), st.integers(0, 20)), max_size=12))
def test_reading_in_pieces_gives_the_log(log: list[tuple[str, bytes]], steps: list[tuple[int, int]]) -> None:
    text, read, size = Cursor(positions={"p": Position()}).text(), b"", 0
    for grown, taken in [*steps, (len(log), len(log))]:
        # The log has grown; some of what is new is read, by another process each time.
        size = min(size + grown, len(log))
        cursor = read_cursor(text)
        position = cursor.positions["p"]
        skip, lines = Skip(position), Lines()
        new = [line for line in lines.feed(answer(log[:size], position)) if skip.wanted(line[0])]
        for at, second, line in new[:taken]:
            read += line
            position.advance(at, second)
        assert skip.gap is None
        text = cursor.text()
    assert read == b"".join(line for _, line in log)


def test_lines_are_put_together_from_pieces() -> None:
    lines = Lines()
    text = f"{stamp(START)} hello\n{stamp(START + 1)} \n".encode()
    found = [line for byte in text for line in lines.feed(bytes([byte]))]
    assert found == [(stamp(START), START, b"hello\n"), (stamp(START + 1), START + 1, b"\n")]
    assert lines.feed(f"{stamp(START)} no end".encode()) == []
    assert lines.rest() == [(stamp(START), START, b"no end")]


def test_words_of_the_node_are_passed_on() -> None:
    assert Lines().feed(b"unable to retrieve container logs\n") == [
        ("", 0, b"unable to retrieve container logs\n")
    ]


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2027-01-15T08:00:00Z", START),
        ("2027-01-15T08:00:00.123456789Z", START),
        ("2027-01-15T10:00:00.1+02:00", START),
    ],
)
def test_seconds(text: str, second: int) -> None:
    assert unix_second(text) == second


def test_a_rotated_log_goes_on_by_time() -> None:
    position = Position()
    for number in range(3):
        position.advance(stamp(START + number), START + number)
    skip = Skip(position)
    kept = [stamp(START + number) for number in (1, 2, 3)]
    assert [skip.wanted(at) for at in kept] == [False, False, True]
    assert skip.gap is None


def test_a_hole_after_a_rotation_is_told() -> None:
    position = Position()
    position.advance(stamp(START), START)
    skip = Skip(position)
    assert skip.wanted(stamp(START + 100))
    assert skip.gap is not None


@pytest.mark.parametrize(
    "text", ["", "x", "{}", '{"v":2,"p":{}}', '{"v":1,"p":{"a":[1]}}', '{"v":1,"p":3}', "[]"]
)
def test_a_foreign_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_cursor(text)


@given(parts=st.lists(st.binary(min_size=1, max_size=40), max_size=8), cut=st.integers(1, 7))
def test_chunks_are_undone(parts: list[bytes], cut: int) -> None:
    coded = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    chunks, found = Chunks(), b""
    for begin in range(0, len(coded), cut):
        found += chunks.feed(coded[begin : begin + cut])
    assert found == b"".join(parts)
    assert chunks.ended
