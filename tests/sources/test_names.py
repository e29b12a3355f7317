"""Names of archive members."""

from __future__ import annotations

import pytest

from launchcore.builtin.archive.names import BadName, Names, fold, split


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a", ("a",)),
        ("a/b.py", ("a", "b.py")),
        ("./a//b/", ("a", "b")),
        (".", ()),
        ("./", ()),
        ("ünï/文.py", ("ünï", "文.py")),
        ("a b/c'd", ("a b", "c'd")),
        (".gitignore", (".gitignore",)),
        (".github/x", (".github", "x")),
        ("...", ("...",)),
    ],
)
def test_taken(name: str, parts: tuple[str, ...]) -> None:
    assert split(name) == parts


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../a", "'..'"),
        ("a/../../b", "'..'"),
        ("a/..", "'..'"),
        ("/etc/passwd", "absolute"),
        ("//a", "absolute"),
        ("C:\\x", "Windows"),
        ("C:x", "Windows"),
        ("a\\..\\b", "Windows"),
        ("\\\\host\\share", "Windows"),
        ("a\nb", "control"),
        ("a\x1b[31mb", "control"),
        ("a\0b", "control"),
        ("a\u2028b", "control"),
        ("\udcff", "UTF-8"),
        ("a/" * 65 + "b", "deeper"),
        ("x" * 256, "part longer"),
        ("é" * 128, "part longer"),
        ("abcdefgh/" * 130, "longer than 1024"),
        (".git", ".git"),
        (".git/hooks/post-checkout", ".git"),
        ("a/.GIT/config", ".git"),
        (".git./x", ".git"),
        (".git /x", ".git"),
        ("git~1/x", ".git"),
        (".g\u200cit/x", ".git"),
    ],
)
def test_refused(name: str, why: str) -> None:
    with pytest.raises(BadName, match=why) as caught:
        split(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("members", "why"),
    [
        (["a", "a"], "twice"),
        (["d/", "d/"], "twice"),
        (["d/", "d"], "twice"),
        (["d", "d/"], "twice"),
        (["d", "d/x"], "file and a directory"),
        (["d/x", "d"], "directory and a file"),
        (["A", "a"], "case"),
        (["A/x", "a/y"], "case"),
        (["ß", "ss"], "case"),
        (["é", "e\u0301"], "case"),
    ],
)
def test_collisions(members: list[str], why: str) -> None:
    names = Names()
    *first, last = members
    for name in first:
        names.add(split(name), directory=name.endswith("/"))
    with pytest.raises(BadName, match=why):
        names.add(split(last), directory=last.endswith("/"))


def test_a_directory_may_come_after_what_is_in_it() -> None:
    names = Names()
    for name in ("d/x", "d/", "d/y", "e/f/g", "e/", "e/f/"):
        names.add(split(name), directory=name.endswith("/"))


def test_fold_knows_composition_and_case() -> None:
    assert fold("É") == fold("e\u0301")
    assert fold("Makefile") == fold("makefile")
    assert fold("a") != fold("b")
