"""Masking: secrets, in whatever form they are written, do not reach a log. Pure, streaming.

A log comes in pieces that may be cut anywhere. What might be the beginning of a secret is held back
until more has come, so that the result does not depend on where the cuts were.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from launchcore.config.encodings import MIN_CHARACTERS, base64_forms, pieces, text_forms
from launchcore.plugin import REDACTED, Secret

MASK: Final = REDACTED.encode()

_HEAD: Final = 4
"""No form is shorter than this; what a form begins with is looked up by so many bytes."""
_MAX_HELD: Final = 64 * 1024


class Masker:
    """Masks one stream of bytes.

    Every occurrence of every form of every secret is covered; occurrences that overlap become one
    mask. Linear in the length of the stream.

    >>> masker = Masker([Secret("hunter2")])
    >>> masker.feed(b"password: hunt"), masker.held
    (b'password: ', 4)
    >>> masker.feed(b"er2, aHVudGVyMg==") + masker.flush()
    b'<secret>, <secret>'
    """

    __slots__ = ("_covered", "_groups", "_heads", "_rest", "_short", "too_short")

    def __init__(self, secrets: Iterable[Secret]) -> None:
        texts = {secret.reveal() for secret in secrets}
        wholes = [piece for text in texts for piece in pieces(text)]
        long = [piece for piece in wholes if len(piece) >= MIN_CHARACTERS]
        self.too_short: int = sum(len(text.strip()) < MIN_CHARACTERS for text in texts)
        """How many secrets are not masked, since they are shorter than four characters."""
        self._groups = _groups([*(text_forms(piece) for piece in dict.fromkeys(long)), *_encoded(texts)])
        self._heads, self._short = _beginnings([form for _, forms in self._groups for form, _ in forms])
        self._rest = b""
        self._covered = 0
        """How many bytes at the beginning of ``_rest`` belong to a mask that is already out."""

    @property
    def held(self) -> int:
        """How many bytes of the input are held back.

        What was put out stands for exactly the input before them: a new masker that begins there
        gives what this one would have given (save within 64 KiB and more of one repeated secret).
        """
        return len(self._rest)

    def feed(self, data: bytes) -> bytes:
        """Take some input, and return the output that is certain by now."""
        if not self._groups:
            return data
        data = self._rest + data
        spans = self._spans(data)
        end = len(data) - self._beginning(data)
        for first, last in spans:
            out = first == 0 and self._covered > 0
            if last > end and (out or first < end):
                if not out and last - first <= _MAX_HELD:
                    return self._put(data, spans, first, 0)
                # A secret that repeats within itself, without end: the mask goes out, to stay linear.
                return self._put(data, spans, end, last - end)
        return self._put(data, spans, end, 0)

    def flush(self) -> bytes:
        """The end of the input: return what was held back."""
        data = self._rest
        return self._put(data, self._spans(data), len(data), 0)

    def _put(self, data: bytes, spans: Sequence[tuple[int, int]], end: int, covered: int) -> bytes:
        out, at = [], 0
        for first, last in spans:
            if first >= end:
                break
            if first or not self._covered:
                out += [data[at:first], MASK]
            at = last
        out.append(data[at:end])
        self._rest, self._covered = data[end:], covered
        return b"".join(out)

    def _spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where secrets are, in order; overlapping ones are joined."""
        found = [(0, self._covered)] if self._covered else []
        for anchor, forms in self._groups:
            at = data.find(anchor)
            while at >= 0:
                for form, offset in forms:
                    if at >= offset and data.startswith(form, at - offset):
                        found.append((at - offset, at - offset + len(form)))
                at = data.find(anchor, at + 1)
        found.sort()
        joined: list[tuple[int, int]] = []
        for first, last in found:
            if joined and first < joined[-1][1]:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            else:
                joined.append((first, last))
        return joined

    def _beginning(self, data: bytes) -> int:
        """How many bytes at the end of ``data`` may be the beginning of a form: the most that may."""
        sizes = range(min(_HEAD - 1, len(data)), 0, -1)
        most = next((size for size in sizes if data[-size:] in self._short), 0)
        for head, (longest, forms) in self._heads.items():
            at = data.find(head, max(0, len(data) - longest + 1))
            while at >= 0:
                tail = data[at:]
                if any(len(form) > len(tail) and form.startswith(tail) for form in forms):
                    most = max(most, len(tail))
                    break
                at = data.find(head, at + 1)
        return most


def masker_of(secrets: Sequence[Secret]) -> Masker:
    """A masker for one stream."""
    return Masker(secrets) if secrets else NOTHING_SECRET


def mask_text(text: str, secrets: Iterable[Secret]) -> str:
    """One whole text, an error's say, without the secrets."""
    masker = Masker(secrets)
    data = text.encode("utf-8", "surrogatepass")
    return (masker.feed(data) + masker.flush()).decode("utf-8", "surrogatepass")


def _encoded(texts: Iterable[str]) -> list[set[bytes]]:
    found = []
    for text in texts:
        for whole in dict.fromkeys((text.strip(), text)):
            if len(text.strip()) >= MIN_CHARACTERS:
                found += list(base64_forms(whole))
    return found


def _groups(sets: Iterable[set[bytes]]) -> list[tuple[bytes, list[tuple[bytes, int]]]]:
    """(anchor, [(form, where the anchor is in it)]): one search for an anchor rules out all its forms."""
    by_anchor: dict[bytes, dict[bytes, int]] = {}
    for forms in sets:
        anchor = _anchor(forms)
        for form in forms:
            own = anchor if anchor in form else form
            by_anchor.setdefault(own, {})[form] = form.index(own)
    return [(anchor, list(forms.items())) for anchor, forms in by_anchor.items()]


def _anchor(forms: set[bytes]) -> bytes:
    """What all forms have in common: the shortest of them, or its longest run of plain characters."""
    shortest = min(forms, key=len)
    if all(shortest in form for form in forms if not form.startswith(rb"\u")):
        return shortest
    runs = re.findall(rb"[A-Za-z0-9]{4,}", shortest)
    return max(runs, key=len, default=shortest)


def _beginnings(forms: Iterable[bytes]) -> tuple[dict[bytes, tuple[int, list[bytes]]], frozenset[bytes]]:
    """Forms by their first bytes, with the longest; and all beginnings shorter than that."""
    heads: dict[bytes, list[bytes]] = {}
    for form in dict.fromkeys(forms):
        heads.setdefault(form[:_HEAD], []).append(form)
    short = frozenset(head[:size] for head in heads for size in range(1, _HEAD))
    return {head: (max(map(len, same)), same) for head, same in heads.items()}, short


NOTHING_SECRET: Final = Masker(())
"""For streams that have no secrets: it changes nothing and holds nothing back, so that all may share it."""
