"""Ignore patterns, held against git itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launchcore.builtin.archive.ignore import Fate, Ignore
from launchcore.builtin.archive.patterns import read_rule, read_rules


def git_ignores(root: Path, paths: list[str]) -> set[str]:
    """What ``git check-ignore`` says; a path that ends in a slash is a directory."""
    for path in paths:
        if path.endswith("/"):
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
    result = subprocess.run(
        ["git", "check-ignore", "--no-index", "-z", "--stdin"],
        cwd=root,
        input="\0".join(path.rstrip("/") for path in paths).encode(),
        capture_output=True,
        check=False,
    )
    assert result.returncode in (0, 1), result.stderr
    found = set(filter(None, result.stdout.decode().split("\0")))
    return {path for path in paths if path.rstrip("/") in found}


def we_ignore(root: Path, paths: list[str]) -> set[str]:
    ignore = Ignore(root)
    return {
        path
        for path in paths
        if ignore.whole_fate(path.rstrip("/"), directory=path.endswith("/")) is not Fate.KEPT
    }


PATHS = [
    *("a", "b.pyc", "a.b", "foo", "bar/", "bar/foo", "bar/a/", "bar/a/b.pyc", "bar/a/foo"),
    *(
        "x/",
        "x/y/",
        "x/y/z",
        "x/foo/",
        "x/foo/q",
        "x/y/foo",
        "a b",
        "data/",
        "data/big.csv",
        "data/small.csv",
    ),
    *("[x]", "#hash", "!bang", "trail ", "back-slash", "Foo", "x/y/deep/", "x/y/deep/z"),
]


@pytest.mark.parametrize(
    "rules",
    [
        "foo",
        "/foo",
        "foo/",
        "*.pyc",
        "*",
        "**",
        "bar/*",
        "bar/**",
        "**/foo",
        "x/**/z",
        "x/**",
        "**/y/**",
        "/**/z",
        "x/*/z",
        "a?b",
        "[ab]",
        "[!a]",
        "[^a]",
        "[a-c].pyc",
        "[[:upper:]]oo",
        "[[:nope:]]oo",
        "[a",
        "\\[x\\]",
        "[]x[]*",
        "\\#hash",
        "#hash",
        "\\!bang",
        "trail\\ ",
        "trail ",
        "foo   ",
        "a\\",
        "*.csv\n!small.csv",
        "data/\n!data/small.csv",
        "data/*\n!data/small.csv",
        "!foo\nfoo",
        "foo\n!foo",
        "*\n!*/\n!*.csv",
        "x/y",
        "y/deep",
        "bar//foo",
        "\ufefffoo",
        "foo\r\nbar/\r",
        "/",
        "!",
        "***",
        "x/***/z",
        "**foo",
        "[z-a]",
        "[a\\]]",
        "back[-]slash",
        "back[+--]slash",
        "x[/]y",
        "?",
        "f**o",
    ],
)
def test_rules_are_gits(tmp_path: Path, rules: str) -> None:
    subprocess.run(["git", "init", "-q", "--template=", tmp_path], check=True)
    (tmp_path / ".gitignore").write_bytes(rules.encode())
    assert we_ignore(tmp_path, PATHS) == git_ignores(tmp_path, PATHS)


part = st.sampled_from(["a", "b", "ab", "foo", "*", "**", "?", "a*", "*b", "[ab]", "[!a]*", "\\a", "a**b"])
line = st.builds(
    lambda no, lead, parts, tail: f"{no}{lead}{'/'.join(parts)}{tail}",
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(part, min_size=1, max_size=3),
    st.sampled_from(["", "", "/", " "]),
)
names = st.lists(st.sampled_from(["a", "b", "ab", "foo", "abb"]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(top=st.lists(line, max_size=4), nested=st.lists(line, max_size=3), files=st.lists(names, min_size=6))
def test_random_rules_are_gits(
    tmp_path_factory: pytest.TempPathFactory, top: list[str], nested: list[str], files: list[str]
) -> None:
    root = tmp_path_factory.mktemp("rules")
    subprocess.run(["git", "init", "-q", "--template=", root], check=True)
    directories = {name.rpartition("/")[0] for name in files} - {""}
    directories |= {"/".join(name.split("/")[:depth]) for name in directories for depth in range(1, 5)}
    paths = sorted(
        {*(f"{name}/" for name in directories), *(name for name in files if name not in directories)}
    )
    git_ignores(root, paths)
    (root / ".gitignore").write_text("\n".join(top))
    if (root / "a").is_dir():
        (root / "a" / ".gitignore").write_text("\n".join(nested))
    assert we_ignore(root, paths) == git_ignores(root, paths)


@pytest.mark.parametrize("text", ["", "   ", "#", "# comment", "!", "/", "\\"])
def test_lines_that_match_nothing(text: str) -> None:
    rule = read_rule(text)
    assert rule is None or not any(rule.matches(name, directory=True) for name in ("a", "b/c", "\\"))


def test_the_last_rule_decides() -> None:
    first, second = read_rules("*.csv\n!small.csv\n")
    assert (first.negated, second.negated) == (False, True)


@pytest.mark.parametrize(
    ("rule", "directory", "reaches"),
    [
        ("!data/small.csv", "data", True),
        ("!data/a/b", "data/a", True),
        ("!data/a/b", "data/c", False),
        ("!data/**", "data/any/thing", True),
        ("!**/keep", "anything", True),
        ("!da*/x", "data", True),
        ("!*.csv", "data", False),
        ("!data", "data", False),
    ],
)
def test_how_far_a_rule_reaches(rule: str, directory: str, reaches: bool) -> None:
    found = read_rule(rule)
    assert found is not None
    assert found.reaches_into(directory) is reaches
