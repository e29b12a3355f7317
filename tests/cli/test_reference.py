"""docs/cli.md is what the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

from launchcore.cli.reference import markdown

PAGE = Path(__file__).parent.parent.parent / "docs" / "cli.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == markdown(), "run: python -m launchcore.cli.reference > docs/cli.md"
