"""What a build says while it goes on → lines for the log, the step in hand, how it ended. Pure.

Three languages: the classic builder's JSON messages, and BuildKit's ``rawjson`` and ``plain``.
"""

from __future__ import annotations

import base64
import collections
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

TAIL = 60
"""Lines of output that are kept to find out why a step failed."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_LONGEST = 4000


class Progress(Protocol):
    """How a build is followed. ``error`` is there as soon as the build has failed."""

    step: str | None
    error: str | None
    tail: collections.deque[str]


class ClassicProgress:
    """The stream of ``POST /build``. ``image`` is the id of what was built."""

    def __init__(self) -> None:
        self.step: str | None = None
        self.error: str | None = None
        self.image: str | None = None
        self.tail: collections.deque[str] = collections.deque(maxlen=TAIL)
        self._open = ""
        self._pulled: dict[str, str] = {}

    def feed(self, message: Mapping[str, Any]) -> Iterator[str]:
        """One message; the lines that it completes."""
        if "error" in message or "errorDetail" in message:
            yield from self.close()
            detail = message.get("errorDetail")
            said = detail.get("message") if isinstance(detail, Mapping) else None
            self.error = str(said or message.get("error") or "no reason given")
            return
        aux = message.get("aux")
        if isinstance(aux, Mapping) and "ID" in aux:
            self.image = str(aux["ID"])
        if isinstance(message.get("stream"), str):
            *lines, self._open = (self._open + message["stream"]).split("\n")
            for line in lines:
                yield from self._line(line)
            if len(self._open) > _LONGEST:
                yield from self.close()
        elif isinstance(message.get("status"), str):
            yield from self._status(message["status"], str(message.get("id") or ""))

    def close(self) -> Iterator[str]:
        """The line that is still open."""
        line, self._open = self._open, ""
        if line:
            yield from self._line(line)

    def _line(self, line: str) -> Iterator[str]:
        shown = clean(line)
        if not shown:
            return
        if re.match(r"Step \d+/\d+ : ", shown):
            self.step = shown
            self.tail.clear()
        else:
            self.tail.append(shown)
        yield shown

    def _status(self, status: str, layer: str) -> Iterator[str]:
        """Of a pull, each layer's end and what concerns the whole image."""
        if not layer or status in ("Pull complete", "Already exists") or status.startswith("Pulling from"):
            said = f"{layer}: {status}" if layer else status
            if self._pulled.get(layer) != status:
                self._pulled[layer] = status
                yield clean(said)


class RawJsonProgress:
    """BuildKit's ``--progress=rawjson``: one status in each line (moby/buildkit, client.SolveStatus)."""

    def __init__(self) -> None:
        self.step: str | None = None
        self.error: str | None = None
        self.tail: collections.deque[str] = collections.deque(maxlen=TAIL)
        self._numbers: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._told: set[tuple[str, str]] = set()
        self._open: dict[tuple[str, int], str] = {}
        self._tails: dict[str, collections.deque[str]] = {}
        self._loose: list[str] = []

    def feed(self, line: str) -> Iterator[str]:
        """One line of the program's standard error."""
        try:
            status = json.loads(line)
        except ValueError:
            status = None
        if not isinstance(status, dict):
            if shown := clean(line):
                self._loose.append(shown)
                if self.error is None or not shown.startswith("ERROR: failed to solve"):
                    yield shown  # the failure of a step has been told already
            return
        for vertex in status.get("vertexes") or ():
            yield from self._vertex(vertex)
        for log in status.get("logs") or ():
            yield from self._log(log)
        for warning in status.get("warnings") or ():
            said = _text(warning.get("short"))
            if said and ("warning", said) not in self._told:
                self._told.add(("warning", said))
                yield f"warning: {clean(said)}"

    def close(self) -> Iterator[str]:
        """Lines that are still open; a failure that no step has told of is in the loose lines."""
        for (vertex, _), text in self._open.items():
            if shown := clean(text):
                yield f"#{self._number(vertex)} {shown}"
        self._open.clear()
        if self.error is None:
            said = [line for line in self._loose if line.startswith(("ERROR", "error"))]
            self.error = said[-1].removeprefix("ERROR: ") if said else None

    def _vertex(self, vertex: Mapping[str, Any]) -> Iterator[str]:
        digest, name = str(vertex.get("digest")), str(vertex.get("name") or "")
        self._names[digest] = name
        number = self._number(digest)
        for what, shown in (
            ("started", name),
            ("cached", "CACHED"),
            ("error", f"ERROR: {vertex.get('error')}"),
            ("completed", "DONE"),
        ):
            if not vertex.get(what) or (digest, what) in self._told:
                continue
            if what == "completed" and {(digest, "error"), (digest, "cached")} & self._told:
                continue
            self._told.add((digest, what))
            if not (name.startswith("[internal]") and what != "error"):
                yield clean(f"#{number} {shown}")
        error = vertex.get("error")
        # When one step fails the others are cancelled; that is no failure of theirs.
        if error and (self.error is None or "cancel" in self.error):
            self.error, self.step = str(error), name
            self.tail = self._tails.get(digest, self.tail)

    def _log(self, log: Mapping[str, Any]) -> Iterator[str]:
        digest, stream = str(log.get("vertex")), int(log.get("stream") or 0)
        text = self._open.pop((digest, stream), "") + _text(log.get("data"))
        *lines, rest = text.split("\n")
        if rest:
            self._open[digest, stream] = rest
        tail = self._tails.setdefault(digest, collections.deque(maxlen=TAIL))
        for line in lines:
            if shown := clean(line):
                tail.append(shown)
                yield f"#{self._number(digest)} {shown}"

    def _number(self, digest: str) -> int:
        return self._numbers.setdefault(digest, len(self._numbers) + 1)


class PlainProgress:
    """BuildKit's ``--progress=plain``, for versions of buildx that know no ``rawjson``."""

    def __init__(self) -> None:
        self.step: str | None = None
        self.error: str | None = None
        self.tail: collections.deque[str] = collections.deque(maxlen=TAIL)
        self._names: dict[str, str] = {}
        self._tails: dict[str, collections.deque[str]] = {}
        self._closing = False

    def feed(self, line: str) -> Iterator[str]:
        """One line of the program's standard error."""
        shown = clean(line)
        if not shown or self._closing or re.fullmatch(r"-{3,}|#\d+ \.\.\.", shown):
            # After the last step the failure is repeated, with its lines of the Dockerfile.
            self._closing = self._closing or bool(re.fullmatch(r"-{3,}", shown))
            if shown.startswith("ERROR: ") and self.error is None:
                self.error = shown.removeprefix("ERROR: ")
            return
        match = re.match(r"#(\d+) (.*)", shown)
        if match is None:
            if shown.startswith("ERROR: ") and self.error is None:
                self.error = shown.removeprefix("ERROR: ")
            self.tail.append(shown)
            yield shown
            return
        number, text = match[1], match[2]
        begins = number not in self._names
        self._names.setdefault(number, text)
        if text.startswith("ERROR: "):
            self.error, self.step = text.removeprefix("ERROR: "), self._names[number]
            self.tail = self._tails.get(number, self.tail)
        elif not begins:
            said = re.sub(r"^\d+\.\d+ ", "", text)
            self._tails.setdefault(number, collections.deque(maxlen=TAIL)).append(said)
        if not self._names[number].startswith("[internal]"):
            yield shown

    def close(self) -> Iterator[str]:
        """Nothing is kept back."""
        yield from ()


def clean(line: str) -> str:
    """A line without colours, cursor movements and control characters; of a line redrawn, the last state."""
    last = line.rstrip("\r\n").rpartition("\r")[2]
    plain = _ESCAPES.sub("", last)
    shown = "".join(char if char.isprintable() or char == "\t" else " " for char in plain).rstrip()
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def _text(data: object) -> str:
    try:
        return base64.b64decode(str(data or "")).decode("utf-8", "replace")
    except ValueError:
        return ""
