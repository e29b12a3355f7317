"""Count the tests of pytest's reports: ``python -m scripts.count_tests REPORT.xml …`` prints "PASSED FAILED".

A test that was run again (``live.again.xml`` beside ``live.xml``) counts once, as it ended the second time.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path


def outcomes(report: Path) -> Iterator[tuple[str, str]]:
    """Test → ``passed``, ``failed`` or ``skipped``."""
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 (we wrote it a moment ago)
        kinds = {child.tag for child in case}
        name = f"{case.get('classname')}::{case.get('name')}"
        wrong, skipped = kinds & {"failure", "error"}, "skipped" in kinds
        yield name, "failed" if wrong else "skipped" if skipped else "passed"


def count(reports: Sequence[Path]) -> tuple[int, int]:
    """How many passed, and how many failed."""
    found: dict[tuple[str, str], str] = {}
    for report in sorted(reports, key=lambda path: path.name.endswith(".again.xml")):
        if report.exists():
            step = report.name.removesuffix(".xml").removesuffix(".again")
            found |= {(step, name): outcome for name, outcome in outcomes(report)}
    values = list(found.values())
    return values.count("passed"), values.count("failed")


if __name__ == "__main__":
    print(*count([Path(name) for name in sys.argv[1:]]))
