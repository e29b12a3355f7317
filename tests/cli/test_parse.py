"""What stands after flags."""

from __future__ import annotations

import pytest

from launchcore.cli.parse import assignments, environment, environment_file, git_location, values


def test_assignments_keep_everything_after_the_first_equals_sign() -> None:
    assert assignments(["a=1", "b=x=y", "c="], "--set") == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize("pair", ["a", "=1", ""])
def test_assignments_without_name_or_sign(pair: str) -> None:
    with pytest.raises(ValueError, match="write --set NAME=VALUE"):
        assignments([pair], "--set")


def test_a_name_given_twice_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="--set a is given twice"):
        assignments(["a=1", "a=2"], "--set")


def test_values_are_json_where_they_can_be() -> None:
    found = values(
        ["a=1", "b=0.5", "c=true", "d=null", "e=[1, 2]", 'f={"x": 1}', 'g="3"', "h=adam", "i=NaN"], "--var"
    )

    assert found == {
        "a": 1,
        "b": 0.5,
        "c": True,
        "d": None,
        "e": [1, 2],
        "f": {"x": 1},
        "g": "3",
        "h": "adam",
        "i": "NaN",
    }


def test_environment_takes_values_from_mine() -> None:
    assert environment(["A=1", "HOME", "B=x=y"], {"HOME": "/h"}) == {"A": "1", "HOME": "/h", "B": "x=y"}


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        ("NOT_THERE", "your environment has no NOT_THERE"),
        ("1A=x", "cannot be the name of a variable"),
        ("A B=x", "cannot be the name of a variable"),
        ("=x", "cannot be the name of a variable"),
    ],
)
def test_bad_environment(pair: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        environment([pair], {})


def test_environment_files() -> None:
    text = "# comment\n\nA=1\nexport B = two words \nC='quo ted'\nD=\"x=y\"\nE=$HOME\n"

    found = environment_file(text, "f.env")

    assert found == {"A": "1", "B": "two words", "C": "quo ted", "D": "x=y", "E": "$HOME"}


def test_a_bad_line_of_an_environment_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"f\.env line 2: expected NAME=VALUE, found 'oops'"):
        environment_file("A=1\noops\n", "f.env")


@pytest.mark.parametrize(
    ("text", "url", "ref"),
    [
        ("https://host/a/b.git", "https://host/a/b.git", None),
        ("https://host/a/b@v1", "https://host/a/b", "v1"),
        ("https://user@host/a/b", "https://user@host/a/b", None),
        ("https://user:pw@host/a/b@feature/x", "https://user:pw@host/a/b", "feature/x"),
        ("ssh://git@host:22/a/b@main", "ssh://git@host:22/a/b", "main"),
        ("git@host:a/b.git", "git@host:a/b.git", None),
        ("git@host:a/b.git@v1.2", "git@host:a/b.git", "v1.2"),
        (".", ".", None),
        ("./work@main", "./work", "main"),
        ("/srv/repo", "/srv/repo", None),
    ],
)
def test_git_locations(text: str, url: str, ref: str | None) -> None:
    assert git_location(text) == (url, ref)


def test_a_git_location_with_nothing_after_the_at() -> None:
    with pytest.raises(ValueError, match="nothing follows the @"):
        git_location("https://host/a@")
