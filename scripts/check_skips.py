"""Fail when a test was skipped that should have run.

Usage: ``python -m scripts.check_skips REPORT.xml …``, on what pytest's ``--junitxml`` wrote. A skip is
allowed when a line of ``scripts/allowed_skips.txt`` names it: a pattern for ``module::test``, two
spaces, and the reason why no machine that we have could run it. A report without tests is a failure.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def allowed(text: str) -> dict[str, str]:
    """Pattern → reason. A line without a reason is an error."""
    rows = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            pattern, _, reason = line.partition("  ")
            if not reason.strip():
                raise ValueError(f"{ALLOWED.name}: {pattern!r} has no reason")
            rows[pattern.strip()] = reason.strip()
    return rows


def look(report: Path, patterns: Sequence[str]) -> tuple[int, list[str]]:
    """How many tests a report holds, and those that were skipped without leave."""
    count, bad = 0, []
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 (we wrote it a moment ago)
        count += 1
        skipped = case.find("skipped")
        name = f"{case.get('classname')}::{case.get('name')}"
        if skipped is None or skipped.get("type") == "pytest.xfail":
            continue
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            bad.append(f"{name}: {skipped.get('message')}")
    return count, bad


def main(reports: Sequence[str]) -> int:
    patterns = list(allowed(ALLOWED.read_text()))
    failed = not reports
    for report in map(Path, reports):
        count, bad = look(report, patterns) if report.exists() else (0, [])
        for line in bad:
            print(f"{report.name}: skipped, though it should have run: {line}")
        if not count:
            print(f"{report.name}: no test ran")
        failed = failed or bool(bad) or not count
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
