"""Masking: no form of a secret passes, wherever the stream is cut, and nothing else is touched."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Callable, Iterable
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchcore.config import masking
from launchcore.config.encodings import base64_forms, pieces, text_forms
from launchcore.config.masking import MASK, Masker, mask_text
from launchcore.plugin import Secret

TOKEN = "hf_abcDEF0123456789xyz"
PASSWORD = "p4$$ w/ör'd\"+<&>\\%"
LINES = [base64.b64encode(bytes([65 + n] * 48)).decode() for n in range(4)]
KEY = "\n".join(["-----BEGIN KEY-----", *LINES, "-----END KEY-----", ""])


def masked(secrets: Iterable[str], *data: bytes) -> bytes:
    masker = Masker([Secret(text) for text in secrets])
    return b"".join(map(masker.feed, data)) + masker.flush()


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[first:last] for first, last in pairwise(places)]


# --- forms -------------------------------------------------------------------------------------


def in_base64(before: str, after: str = "", *, urlsafe: bool = False) -> Callable[[str], str]:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    return lambda text: encode((before + text + after).encode()).decode()


WRITERS: dict[str, Callable[[str], str]] = {
    "itself": lambda text: text,
    "JSON": lambda text: json.dumps({"token": text}),
    "JSON in UTF-8": lambda text: json.dumps({"token": text}, ensure_ascii=False),
    "JSON with escaped slashes": lambda text: json.dumps(text).replace("/", r"\/"),
    "JSON for HTML": lambda text: json.dumps(text).translate({60: r"\u003c", 62: r"\u003e", 38: r"\u0026"}),
    "JSON in JSON": lambda text: json.dumps({"body": json.dumps({"token": text})}),
    "JSON, every character escaped": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "the same in capitals": lambda text: "".join(f"\\u{ord(char):04X}" for char in text),
    "a URL": lambda text: f"https://u:{quote(text, safe='')}@h/",
    "a URL in small letters": lambda text: re.sub("%..", lambda m: m[0].lower(), quote(text, safe="")),
    "a URL's path": quote,
    "a form": lambda text: "token=" + quote_plus(text) + "&x=1",
    "a shell's word": lambda text: "curl -H " + shlex.quote(text),
    "single quotes": lambda text: "'" + text.replace("'", r"'\''") + "'",
    "double quotes": lambda text: '"' + re.sub(r'(["$`\\])', r"\\\1", text) + '"',
    "printf %q": lambda text: re.sub(r"([^\w@%+=:,./-])", r"\\\1", text),
    "Python": lambda text: repr({"token": text}),
    "Python's bytes": lambda text: repr(text.encode()),
    "HTML": html.escape,
    "base64": in_base64(""),
    "base64 after one": in_base64("x"),
    "base64 after two": in_base64("xy"),
    "base64 of user:secret": in_base64("user:"),
    "base64 in the middle": in_base64("a:", ":b"),
    "base64 from echo": in_base64("", "\n"),
    "urlsafe base64": in_base64("", urlsafe=True),
    "urlsafe base64 after one": in_base64("x", "yz", urlsafe=True),
    "base64 without padding": lambda text: in_base64("")(text).rstrip("="),
}  # fmt: skip


@pytest.mark.parametrize("secret", [TOKEN, PASSWORD, "abcd", "ünïcödé-tökén", KEY.strip()], ids=repr)
@pytest.mark.parametrize("writer", WRITERS)
def test_each_way_to_write_a_secret(writer: str, secret: str) -> None:
    text = WRITERS[writer](secret)
    line = f"before {text} after\n".encode()

    got = masked([secret], line)

    assert got.startswith(b"before ")
    assert got.endswith(b" after\n")
    assert MASK in got
    left = got.replace(MASK, b"")
    for start in range(len(text) - 11):  # no run of twelve characters of it is left
        alone = text[start : start + 12]
        assert alone not in secret or alone.encode() not in left
    if writer.startswith(("base64", "urlsafe")):
        assert len(left) <= len(b"before  after\n") + 24, "only the neighbours' characters are left"


def test_padding_goes_with_its_text() -> None:
    assert masked(["abcd"], in_base64("")("abcd").encode()) == MASK
    assert masked(["abcd"], in_base64("", "\n")("abcd").encode()) == MASK


def test_base64_as_tools_wrap_it() -> None:
    secret = "".join(chr(33 + n % 90) for n in range(300))
    text = base64.encodebytes(secret.encode())

    assert masked([secret], text) == re.sub(rb"[^\n]{16,}", MASK, text)


def test_lines_of_a_secret_are_secrets() -> None:
    assert masked([KEY], f"loaded {LINES[2]} from disk\n".encode()) == b"loaded " + MASK + b" from disk\n"
    assert masked([KEY], json.dumps(KEY).encode()) == b'"' + MASK + rb"\n" + b'"'
    assert masked([KEY.replace("\n", "\r\n")], KEY.encode()).count(MASK) == 6


def test_short_lines_are_only_masked_together() -> None:
    secret = "user\npass\nlonger-line"

    assert masked([secret], b"user pass longer-line") == b"user pass " + MASK
    assert masked([secret], secret.encode()) == MASK


def test_blank_ends_do_not_count() -> None:
    assert masked([TOKEN + "\n"], f"[{TOKEN}]".encode()) == b"[" + MASK + b"]"


def test_overlapping_secrets_are_one_mask() -> None:
    assert masked(["abcdefgh", "efghijkl"], b"<abcdefghijkl>") == b"<" + MASK + b">"
    assert masked(["abcd", "abcdefgh"], b"abcdefg abcdefgh") == MASK + b"efg " + MASK
    assert masked(["abcd"], b"abcdabcd") == MASK + MASK


def test_too_short_secrets_are_counted_and_not_masked() -> None:
    masker = Masker([Secret("abc"), Secret(""), Secret(TOKEN)])

    assert masker.too_short == 2
    assert masker.feed(b"abc def") == b"abc def"


def test_nothing_to_mask() -> None:
    masker = Masker([])

    assert masker.feed(TOKEN.encode()) == TOKEN.encode()
    assert masker.held == 0
    assert masker.flush() == b""


def test_secrets_that_are_not_utf8() -> None:
    secret = b"caf\xe9-secret".decode("utf-8", "surrogateescape")

    assert masked([secret], b"a caf\xe9-secret b") == b"a " + MASK + b" b"


def test_one_text() -> None:
    assert mask_text(f"401 for {TOKEN}", [Secret(TOKEN)]) == "401 for <secret>"
    assert mask_text("fine\ud800", [Secret(TOKEN)]) == "fine\ud800"


# --- streams -----------------------------------------------------------------------------------

STREAM = f"start {TOKEN} {in_base64('x')(TOKEN)} hf_abc hf_abcD\n{KEY}{json.dumps(PASSWORD)} end".encode()
SECRETS = [TOKEN, KEY, PASSWORD]


def test_any_cut_gives_the_same() -> None:
    whole = masked(SECRETS, STREAM)

    assert whole.count(MASK) >= 4
    for cut in range(len(STREAM) + 1):
        assert masked(SECRETS, STREAM[:cut], STREAM[cut:]) == whole
    assert masked(SECRETS, *(bytes([byte]) for byte in STREAM)) == whole


def test_only_a_possible_beginning_is_held() -> None:
    masker = Masker([Secret(TOKEN)])

    assert masker.feed(b"nothing special\n") == b"nothing special\n"
    assert masker.held == 0
    assert masker.feed(b"xx hf_ab") == b"xx "
    assert masker.held == 5
    assert masker.feed(b"d") == b"hf_abd"
    assert masker.held == 0
    assert masker.feed(TOKEN.encode()[:-1]) == b""
    assert masker.flush() == TOKEN.encode()[:-1]


@pytest.mark.parametrize("limit", [0, 5, 64 * 1024])
def test_a_secret_that_repeats_within_itself(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could be held for ever; after a while the mask goes out, and there is still only one."""
    monkeypatch.setattr(masking, "_MAX_HELD", limit)
    data = b"x" + b"a" * 50 + b"y" + b"a" * 30

    assert masked(["aaaa"], data) == b"x" + MASK + b"y" + MASK
    for size in (1, 3, 7, 40):
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
        assert masked(["aaaa"], *chunks) == b"x" + MASK + b"y" + MASK


def test_an_endless_secret_is_not_kept() -> None:
    masker = Masker([Secret("abab")])
    out = b"".join(masker.feed(b"ab" * 50_000) for _ in range(10))

    assert masker.held < 10
    assert out == MASK
    assert masker.feed(b"!") == b"!"


# A small alphabet makes overlaps, repetitions and false beginnings likely. It has none of the mask.
LETTERS = "ab/+%\"'\\ \né"
TEXTS = st.text(alphabet=LETTERS, max_size=12)
HIDDEN = st.lists(st.text(alphabet=LETTERS, min_size=4, max_size=9), min_size=1, max_size=3)


def forms_of(secrets: Iterable[str]) -> set[bytes]:
    found: set[bytes] = set()
    for secret in secrets:
        whole = secret.strip()
        if len(whole) >= 4:
            found.update(*(text_forms(piece) for piece in pieces(secret)), *base64_forms(whole))
    return found


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[str], bytes, list[int]]:
    secrets = draw(HIDDEN)
    forms = sorted(forms_of(secrets)) or [b""]
    parts = draw(
        st.lists(
            st.one_of(
                TEXTS.map(str.encode),
                st.sampled_from(forms),
                st.tuples(st.sampled_from(forms), st.integers(0, 8)).map(lambda cut: cut[0][: -cut[1]]),
                st.sampled_from(secrets).map(lambda text: base64.b64encode(f"b{text}a".encode())),
            ),
            max_size=6,
        )
    )
    return secrets, b"".join(parts), draw(st.lists(st.integers(0, 500), max_size=6))


@given(streams())
def test_no_form_passes_and_cuts_do_not_matter(stream: tuple[list[str], bytes, list[int]]) -> None:
    secrets, data, cuts = stream
    whole = masked(secrets, data)

    left = whole.replace(MASK, b"\0")
    assert not [form for form in forms_of(secrets) if form in left]
    assert masked(secrets, *pieces_of(data, cuts)) == whole


@given(streams())
def test_text_without_secrets_passes_unchanged(stream: tuple[list[str], bytes, list[int]]) -> None:
    secrets, data, cuts = stream
    forms = forms_of(secrets)
    for form in sorted(forms, key=len):
        data = data.replace(form, b"")
    if any(form in data for form in forms):
        return  # taking one away has made another

    assert masked(secrets, *pieces_of(data, cuts)) == data


@given(streams())
def test_a_new_masker_takes_over_where_this_one_stands(stream: tuple[list[str], bytes, list[int]]) -> None:
    """An agent that dies has stored the output, and its successor reads on after the input before it."""
    secrets, data, cuts = stream
    first = Masker(map(Secret, secrets))
    stored, read = b"", 0
    for piece in pieces_of(data, cuts)[:-1]:
        stored += first.feed(piece)
        read += len(piece)
    safe = read - first.held

    assert stored + masked(secrets, data[safe:]) == masked(secrets, data)
