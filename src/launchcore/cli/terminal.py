"""Text of strangers, made safe for a terminal. Pure.

Names, log lines and messages come from whoever submitted a run. Shown as they are, escape sequences
could rewrite what is on the screen, set the window's title, make a link that says one thing and
opens another, or answer as if the user had typed.
"""

from __future__ import annotations

import codecs
import re

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_IN_LOG = re.compile(
    "(\x1b\\[[0-9;:]{0,32}m)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
_UNFINISHED = re.compile("\x1b(\\[[0-9;:]{0,32})?\\Z")
RESET = "\x1b[0m"


def visible(text: str) -> str:
    """One line of text in which every control character is shown as its escape.

    >>> visible("a\\nb\\x1b]0;title\\x07")
    'a\\\\nb\\\\x1b]0;title\\\\x07'
    """
    return _UNSAFE.sub(lambda match: _escaped(match.group()), text)


def _escaped(char: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    if short is not None:
        return short
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class LogFilter:
    """Makes a stream of log bytes safe to show: feed it chunks as they come, cut anywhere.

    Line ends, tabs, carriage returns (progress bars) and colours (SGR) pass. Every other control
    character is shown as its picture (``␛``), which leaves the rest of its sequence as plain text.
    Bytes that are not UTF-8 become ``�``.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._coloured = False

    def feed(self, data: bytes) -> str:
        """The safe text of ``data``, except an end that may belong to an unfinished sequence."""
        text = self._held + self._decoder.decode(data)
        unfinished = _UNFINISHED.search(text)
        self._held = unfinished.group() if unfinished else ""
        return self._safe(text[: len(text) - len(self._held)])

    def flush(self) -> str:
        """What is still held, and the end of any colour that is still on."""
        text = self._safe(self._held + self._decoder.decode(b"", final=True))
        self._held = ""
        if self._coloured:
            self._coloured = False
            text += RESET
        return text

    def _safe(self, text: str) -> str:
        return _UNSAFE_IN_LOG.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        char = match.group()
        if match.group(1):
            self._coloured = char not in (RESET, "\x1b[m")
            return char
        code = ord(char)
        if code < 0x20:
            return chr(0x2400 + code)
        return "\u2421" if code == 0x7F else _escaped(char)
