"""The ways in which a secret's text turns up in a log: as it is, escaped, quoted, encoded. Pure.

Each form is a byte string without a choice in it, so that looking for it is one search.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MIN_CHARACTERS: Final = 4
"""A shorter secret would hide ordinary text all over the log; it is not masked."""
MIN_LINE: Final = 8
"""One line of a secret that has several is a secret of its own from this length."""
MIN_WRAPPED: Final = 16
"""The last line of a wrapped base64 text may be a mere ``==``."""

_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")


def pieces(secret: str) -> list[str]:
    """The texts to look for: the whole secret without blank ends, and its longer lines."""
    whole = secret.strip()
    lines = [line.strip() for line in whole.splitlines()]
    return [whole, *(line for line in lines if len(line) >= MIN_LINE and line != whole)]


def text_forms(piece: str) -> set[bytes]:
    """As it is, in a URL, in JSON, in a shell's or Python's quotes, in HTML."""
    found = {piece, piece.replace("\n", "\r\n"), *_url(piece), *_json(piece), *_shell(piece)}
    found |= {repr(piece)[1:-1], ascii(piece)[1:-1], repr(_bytes(piece))[2:-1]}
    found |= {html.escape(piece), html.escape(piece, quote=False)}
    return {_bytes(form) for form in found}


def base64_forms(secret: str) -> Iterator[set[bytes]]:
    """In base64, at each of the three places where a secret can begin within a group of three bytes.

    One set for each place: the characters that the secret alone decides, and these with what follows
    when the secret (or the secret and a line end, as from ``echo``) is the end of the text, with and
    without padding. RFC 4648 in both alphabets; long ones also as they are wrapped at 64 and 76.
    """
    data = _bytes(secret)
    for shift in range(3):
        first, last = (shift * 8 + 5) // 6, (shift + len(data)) * 8 // 6
        forms = {_encoded(data, shift)[first:last]}
        for end in (b"", b"\n"):
            padded = _encoded(data + end, shift)[first:]
            forms |= {padded, padded.rstrip(b"=")}
        yield from _both_alphabets(forms)
    for width in (64, 76):
        text = _encoded(data, 0)
        if len(text) > width:
            lines = [text[at : at + width] for at in range(0, len(text), width)]
            for line in lines:
                if len(line) >= MIN_WRAPPED:
                    yield from _both_alphabets({line})


def _both_alphabets(forms: set[bytes]) -> Iterator[set[bytes]]:
    yield forms
    urlsafe = {form.translate(_URLSAFE) for form in forms}
    if urlsafe != forms:
        yield urlsafe


def _url(piece: str) -> Iterator[str]:
    data = _bytes(piece)
    # The last is JavaScript's encodeURIComponent.
    for form in (quote(data, safe=""), quote(data), quote_plus(data), quote(data, safe="!'()*")):
        yield form
        yield re.sub("%..", lambda match: match[0].lower(), form)


def _json(piece: str) -> Iterator[str]:
    for form in (json.dumps(piece)[1:-1], json.dumps(piece, ensure_ascii=False)[1:-1]):
        for same in (form, form.replace("/", r"\/"), _angles(form)):
            yield same
            yield json.dumps(same, ensure_ascii=False)[1:-1]
            yield _upper(same)
    units = piece.encode("utf-16-be", "surrogatepass").hex()
    every = "".join(rf"\u{units[at : at + 4]}" for at in range(0, len(units), 4))
    yield from (every, _upper(every))


def _angles(form: str) -> str:
    """As encoders write it whose JSON may stand in HTML."""
    return form.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _upper(form: str) -> str:
    return re.sub(r"(?<=\\u)[0-9a-f]{4}", lambda match: match[0].upper(), form)


def _shell(piece: str) -> Iterator[str]:
    yield shlex.quote(piece).removeprefix("'").removesuffix("'")
    yield piece.replace("'", r"'\''")
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", piece)
    yield re.sub(r'(["$`\\])', r"\\\1", piece)
    ansi = piece.replace("\\", r"\\").replace("\n", r"\n").replace("\r", r"\r").replace("\t", r"\t")
    yield from (ansi, ansi.replace("'", r"\'"))


def _encoded(data: bytes, shift: int) -> bytes:
    return base64.b64encode(b"\0" * shift + data)


def _bytes(text: str) -> bytes:
    # A variable of the environment that is not UTF-8 comes with surrogate escapes.
    return text.encode("utf-8", "surrogateescape" if _escaped(text) else "surrogatepass")


def _escaped(text: str) -> bool:
    surrogates = re.findall("[\ud800-\udfff]", text)
    return all("\udc80" <= char <= "\udcff" for char in surrogates)
