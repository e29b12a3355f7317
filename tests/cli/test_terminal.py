"""Hostile text on a terminal: escape sequences are shown, not obeyed."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchcore.cli.terminal import RESET, LogFilter, visible

SGR = re.compile("\x1b\\[[0-9;:]*m")
ALLOWED = {"\n", "\t", "\r"}


def filtered(*chunks: bytes) -> str:
    stream = LogFilter()
    return "".join(map(stream.feed, chunks)) + stream.flush()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines", "two\\nlines"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("[bold]no markup[/bold]", "[bold]no markup[/bold]"),
        ("Zürich 東京 🚀", "Zürich 東京 🚀"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"epoch 1\nepoch 2\n", "epoch 1\nepoch 2\n"),
        (b"50%\r100%\n", "50%\r100%\n"),
        (b"\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n"),
        (b"\x1b[31mred", "\x1b[31mred" + RESET),
        (b"\x1b[2J\x1b[H", "␛[2J␛[H"),
        (b"\x1b]0;title\x07", "␛]0;title␇"),
        (b"\x1b]8;;http://x\x1b\\link", "␛]8;;http://x␛\\link"),
        (b"\x1b[6n", "␛[6n"),
        (b"\x1b[?1049h", "␛[?1049h"),
        (b"back\x08space", "back␈space"),
        ("c1 \x9b31m".encode(), "c1 \\x9b31m"),
        (b"not utf-8 \xff\n", "not utf-8 �\n"),
        (b"ends with \x1b[", "ends with ␛["),
    ],
)
def test_log_lines(data: bytes, shown: str) -> None:
    assert filtered(data) == shown


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=5))
def test_what_passes_is_text_and_colours(data: bytes, cuts: list[int]) -> None:
    """Wherever the stream is cut, the result is the same, and holds no control but these."""
    points = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[begin:end] for begin, end in itertools.pairwise(points)]

    text = filtered(*chunks)

    assert text == filtered(data)
    rest = SGR.sub("", text)
    assert not [
        char for char in rest if (ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0) and char not in ALLOWED
    ]


@given(
    st.lists(
        st.sampled_from([b"\x1b", b"[", b"3", b"1", b";", b"m", b"]", b"\x07", b"x", b"\n"]), max_size=40
    )
)
def test_cutting_sequences_anywhere_changes_nothing(parts: list[bytes]) -> None:
    assert filtered(*parts) == filtered(b"".join(parts))
