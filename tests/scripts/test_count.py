"""What CI counts: each test once, as it ended last."""

from __future__ import annotations

from pathlib import Path

from scripts.count_tests import count

CASE = '<testcase classname="m" name="{}">{}</testcase>'


def report(path: Path, **outcomes: str) -> Path:
    marks = {"passed": "", "failed": "<failure/>", "error": "<error/>", "skipped": "<skipped/>"}
    cases = "".join(CASE.format(name, marks[outcome]) for name, outcome in outcomes.items())
    path.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    return path


def test_each_outcome(tmp_path: Path) -> None:
    made = report(tmp_path / "live.xml", a="passed", b="failed", c="error", d="skipped")
    assert count([made]) == (1, 2)


def test_what_passes_the_second_time_has_passed(tmp_path: Path) -> None:
    first = report(tmp_path / "live.xml", a="passed", b="failed")
    second = report(tmp_path / "live.again.xml", b="passed")
    assert count([second, first]) == (2, 0)


def test_what_fails_twice_has_failed_once(tmp_path: Path) -> None:
    first = report(tmp_path / "live.xml", a="passed", b="failed")
    assert count([first, report(tmp_path / "live.again.xml", b="failed")]) == (1, 1)


def test_one_test_in_two_steps_counts_twice(tmp_path: Path) -> None:
    """The queue's suites go through several doors."""
    assert count([report(tmp_path / "http.xml", a="passed"), report(tmp_path / "pg.xml", a="failed")]) == (
        1,
        1,
    )


def test_a_report_that_is_not_there_counts_nothing(tmp_path: Path) -> None:
    assert count([tmp_path / "none.xml"]) == (0, 0)
