"""docs/architecture.md is a map of what is there."""

from __future__ import annotations

import re

from launchcore.agent.failpoints import NAMES
from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
SOURCE = ROOT / "src" / "launchcore"


def test_every_folder_is_on_the_map() -> None:
    mapped = set(re.findall(r"^\| `(\w+)/` \|", PAGE, re.MULTILINE))
    there = {path.parent.name for path in SOURCE.glob("*/__init__.py")}

    assert mapped == there


def test_every_failpoint_is_listed() -> None:
    (listed,) = re.findall(
        r"The failpoints, in the order of the journey:\n\n```text\n(.*?)```", PAGE, re.DOTALL
    )

    assert set(listed.split()) == NAMES


def test_files_that_are_named_are_there() -> None:
    """``agent/leases.py`` and the like, relative to the package or to the repository."""
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", PAGE))

    assert [name for name in named if not (SOURCE / name).exists() and not (ROOT / name).exists()] == []
