"""What the pages of the documentation are made of: fenced blocks, headings and links.

Conventions, checked by the tests beside this file:

- ``python`` blocks of a page run from top to bottom in one namespace; ``pycon`` blocks are doctests.
- ``yaml``, ``toml`` and ``json`` blocks parse. A ``yaml`` block that begins with ``# launch-config.yaml``
  is an agent's configuration, and is checked as one.
- ``console`` blocks hold ``$ command`` lines and their output. Every ``launch`` command in them has to
  exist, with those options. After ``<!-- run -->`` they are executed, in order, against one temporary
  queue for the page, and the output shown has to be there (``…`` stands for anything);
  ``<!-- run: exit 1 -->`` says how the last command ends; ``<!-- run: agent -->`` has an agent serve
  the queue ``default`` meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))


@attrs.frozen(kw_only=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    text: str
    directive: str = ""
    """What an HTML comment right above it says: ``run``, ``run: exit 1`` …"""

    @property
    def id(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[tuple[str, str]]:
        """(command, the output shown below it), of a ``console`` block."""
        found: list[tuple[str, str]] = []
        for line in self.text.splitlines(keepends=True):
            if line.startswith("$ "):
                found.append((line[2:], ""))
            elif found and found[-1][0].endswith("\\\n"):
                found[-1] = (found[-1][0] + line, "")
            elif found:
                found[-1] = (found[-1][0], found[-1][1] + line)
        return found


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of one page, in order."""
    lines = page.read_text().splitlines(keepends=True)
    directive, start, language, body, fence = "", 0, "", "", ""
    for number, line in enumerate(lines, 1):
        opening = re.match(r"\s*(`{3,})(\w*)", line)
        if not fence and opening:
            start, fence, language, body = number, opening[1], opening[2], ""
        elif fence and line.strip() == fence:
            yield Block(page=page, line=start, language=language, text=body, directive=directive)
            fence, directive = "", ""
        elif fence:
            body += line
        elif line.strip():
            comment = re.match(r"<!-- (.*) -->\s*$", line)
            directive = comment[1] if comment else ""


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in these languages."""
    return [block for page in PAGES for block in blocks(page) if block.language in languages]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^(`{3,})\w*\n.*?^\1$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """The targets of the links of a page, images included."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]:\s+(\S+)", text, re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What ``page#…`` may say: headings as they are turned into anchors, and explicit ones."""
    text = prose(page)
    found = set(re.findall(r'<a id="([^"]+)"', text))
    for heading in re.findall(r"^#+\s+(.*)$", text, re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(words.strip().replace(" ", "-"))
    return found
