"""The executor's output → lines for the run's log, and what they say about where the build is. Pure.

The executor is told to write its own words as JSON (logrus: ``level``, ``msg``, ``time``); between them
stands what the steps print, as it is. A step may print such JSON, too: all that it can do so is to name a
wrong step.
"""

from __future__ import annotations

import collections
import json
import re
from typing import Final

import attrs

TAIL: Final = 60
"""Lines that are kept for the diagnosis."""
LONGEST: Final = 4000
_STEP: Final = re.compile(
    r"(?:ADD|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|VOLUME|"
    r"WORKDIR)"
    r"\s\S.*",
    re.DOTALL,
)
_IMAGE: Final = re.compile(r"Retrieving image(?: manifest)? (\S+?)(?: from registry \S+)?")
_LEVELS: Final = {"warning": "warning: ", "error": "error: ", "fatal": "error: ", "panic": "error: "}
_LAST: Final = re.compile(r"Error: .*|error (?:building|pushing|checking|resolving|getting|changing) .*")
_QUIET: Final = ("Cmd: ", "Args: ", "cmd: ", "args: ")


@attrs.define
class Progress:
    """Where a build is."""

    step: str | None = None
    """The instruction that is being carried out, as the Dockerfile has it."""
    printed: str | None = None
    """The last line of the step's own output."""
    image: str | None = None
    """The image that was asked for last."""
    begun: bool = False
    """The executor has said something."""
    last: str | None = None
    """What it said when it gave up."""
    ended: bool = False
    tail: collections.deque[str] = attrs.field(factory=lambda: collections.deque(maxlen=TAIL))

    def read(self, line: str) -> str | None:
        """The line as the run's log has it; ``None``: it says nothing to anybody."""
        level, text = _said(line)
        if level is None:
            if text == "Usage:" and self.last and self.step is None:
                self.ended = (
                    True  # it shows how it is called to whom it has refused: to nobody who reads this
                )
            if self.ended:
                return None
            if _LAST.fullmatch(text):
                self.last = text
            elif text.strip():
                self.printed = text
            self.tail.append(text)
            return text
        self.begun = True
        if _STEP.fullmatch(text) and level == "info":
            self.step, self.printed = " ".join(text.split()), None
        elif found := _IMAGE.fullmatch(text):
            self.image = found[1]
        if text.startswith(_QUIET):
            return None
        if level in ("error", "fatal", "panic"):
            self.last = text
        text = f"{_LEVELS.get(level, '')}{text}"
        self.tail.append(text)
        return text


def _said(line: str) -> tuple[str | None, str]:
    line = line.rstrip("\r\n")
    if line.startswith("{") and '"msg"' in line and len(line) < 64 * 1024:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if isinstance(found, dict) and {"level", "msg"} <= set(found):
            return str(found["level"]), str(found["msg"]).strip()[:LONGEST]
    return None, line[:LONGEST]
