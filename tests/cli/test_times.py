"""Durations, ages and sizes, both ways."""

from __future__ import annotations

import datetime

import pytest

from launchcore.cli.times import age, duration, parse_duration, parse_since, parse_size, size

DAY = 86400.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("2d", 2 * DAY),
        ("500ms", 0.5),
        (" 2H ", 7200),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "1x", "-5s", "0", "1h30", "5 minutes", "\uff11h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512M", 512_000_000),
        ("2GiB", 2 << 30),
        ("2gib", 2 << 30),
        ("1.5k", 1500),
        ("100", 100),
        ("3GB", 3 * 10**9),
    ],
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "big", "-1G", "0", "1X", "1 2"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"size"):
        parse_size(text)


def test_since_is_a_duration_or_a_date() -> None:
    assert parse_since("2h", 10_000.0) == 2800.0
    day = datetime.datetime(2026, 1, 31).astimezone()
    assert parse_since("2026-01-31", 0.0) == day.timestamp()
    with pytest.raises(ValueError, match="neither a duration"):
        parse_since("yesterday", 0.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.012, "12 ms"),
        (0.9999, "1.0 s"),
        (3.44, "3.4 s"),
        (59.99, "1m 00s"),
        (125, "2m 05s"),
        (3720, "1h 02m"),
        (3 * DAY + 4 * 3600, "3d 04h"),
        (-1, "0 ms"),
    ],
)
def test_durations_are_written(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("then", "text"),
    [(None, "-"), (999.5, "now"), (988, "12s ago"), (820, "3m ago"), (-17_000, "5h ago"), (1005, "in 5s")],
)
def test_ages(then: float | None, text: str) -> None:
    assert age(then, 1000.0) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (812, "812 B"), (14_200, "14.2 kB"), (3_100_000_000, "3.1 GB"), (999_999, "1.0 MB")],
)
def test_sizes_are_written(count: int, text: str) -> None:
    assert size(count) == text
