"""YAML, strictly: what it means, where it stands, and one clear line for what it cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchcore.config.document import MAX_BYTES, Document, parse_document
from launchcore.host.settings import SettingsError


def parse(text: str | bytes) -> Document:
    return parse_document(text if isinstance(text, bytes) else text.encode(), "f.yaml")


def refusal(text: str | bytes) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    assert "\n" not in caught.value.detail
    return caught.value.detail


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("text", "text"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("5", 5),
        ("-1", -1),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("0x", "0x"),
        (".", "."),
        ("9" * 5000, "9" * 5000),
        ("[1, [a]]", [1, ["a"]]),
        ("{b: {c: 1}}", {"b": {"c": 1}}),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_values(text: str, value: object) -> None:
    got = parse(f"a: {text}").value["a"]

    assert got == value
    assert type(got) is type(value)


def test_every_path_has_its_line() -> None:
    text = "# a comment\na: 1\n\nb:\n  c-d: 2\n  'e.f':\n    - 1\n    - g: 3\n"

    assert parse(text).lines == {
        "a": 2,
        "b": 4,
        "b.c-d": 5,
        "b['e.f']": 6,
        "b['e.f'][0]": 7,
        "b['e.f'][1]": 8,
        "b['e.f'][1].g": 8,
    }


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "~", "\ufeff"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    assert parse(text).value == {}


def test_a_byte_order_mark_is_no_text() -> None:
    assert parse(b"\xef\xbb\xbfa: 1").value == {"a": 1}


def test_aliases_work() -> None:
    assert parse("a: &x {k: [1]}\nb: *x").value == {"a": {"k": [1]}, "b": {"k": [1]}}


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1, 2]", "f.yaml line 1: not a mapping"),
        ("just text", "f.yaml line 1: not a mapping"),
        ("5", "f.yaml line 1: not a mapping"),
        ("a: 1\n\tb: 2", "f.yaml line 2: a tab"),
        ("a:\n\t- b", "f.yaml line 2: a tab"),
        (b"a: 1\nb: \xff\n", "f.yaml line 2: not UTF-8"),
        ("a: 1\nb: \x01", "f.yaml line 2: the character '\\x01' is not allowed"),
        ("a: [1, 2", "f.yaml line 1: not YAML: while parsing a flow sequence, expected"),
        ("a: b: c", "f.yaml line 1: not YAML: mapping values are not allowed here"),
        ("a: 1\n b: 2", "f.yaml line 2: not YAML"),
        ("a: 'x", "not YAML: while scanning a quoted scalar, found unexpected end of stream"),
        ("a: 1\n---\nb: 2", "f.yaml line 2: not YAML: expected a single document"),
        ("a: 1\nb: 2\na: 3", "f.yaml line 3: a: is given twice; the first is in line 1"),
        ("a: {b: 1, b: 2}", "f.yaml line 1: a.b: is given twice"),
        ("a: !!python/object/apply:os.system [id]", "a: the tag 'tag:yaml.org,2002:python/object/"),
        ("a: !!int '5'", "a: the tag"),
        ("a: !secret x", "a: the tag '!secret' is not allowed"),
        ("a: &x {<<: {b: 1}}", "a: merge keys (<<) are not supported"),
        ("? [a]\n: 1", "a key must be a text"),
        ("a: *x", "found undefined alias 'x'"),
        ("a: &x [*x]", "too much, or nested too deeply"),
        (BOMB, "too much, or nested too deeply"),
        ("a: " + "[" * 200 + "]" * 200, "too much, or nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ("a: " + "x" * MAX_BYTES, "f.yaml: larger than 262144 bytes"),
    ],
)  # fmt: skip
def test_what_it_cannot_be(text: str | bytes, problem: str) -> None:
    assert problem in refusal(text)


def test_all_duplicates_are_named() -> None:
    detail = refusal("a: 1\na: 2\nb: {c: 1, c: 2}\n")

    assert "line 2: a:" in detail
    assert "line 3: b.c:" in detail


@given(
    st.one_of(st.binary(max_size=60), st.text("ab:-[]{}&*!|>'\"#? \t\n~1.,%@`", max_size=40).map(str.encode))
)
def test_any_bytes_are_read_or_refused_in_words(data: bytes) -> None:
    try:
        parse_document(data, "f.yaml")
    except SettingsError as error:
        detail = error.detail
    else:
        detail = "f.yaml: good"

    assert detail.startswith("f.yaml")
    assert detail.isprintable()
