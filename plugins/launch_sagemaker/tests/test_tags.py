"""Tags of a training job: by ours it is found again, so nobody else sets them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from launch_sagemaker import names, shapes
from launch_sagemaker.testing.samples import (
    body,
    plan,
    refused,
)

from launchcore.plugin import (
    OWNER_LABEL,
    Given,
    Label,
)


def tags_of(made: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in made["Tags"]}


def test_tags_of_all() -> None:
    given = Given(labels=(Label(name="cost", value="a;b"), Label(name="team", value="plugin")))
    made = body({"Tags": [{"Key": "team", "Value": "queue"}, {"Key": "n", "Value": 5}]}, given=given)
    found = tags_of(made)
    assert found["team"] == "plugin"
    assert found["n"] == "5"
    assert found["cost"].startswith("a-b-")
    assert {key: found[key] for key in names.TAGS.values()} == tags_of(body())


@pytest.mark.parametrize(
    "key", [*names.TAGS.values(), "launchcore.owner", "LaunchCore-owner", "aws:x", "AWS:x"]
)
def test_nobody_sets_our_tags(key: str) -> None:
    assert "Tags[0]: " in refused({"Tags": [{"Key": key, "Value": "x"}]}).detail
    label = Label(name=key, value="x")
    assert "Tags: " in refused(given=Given(labels=(label,))).detail
    assert body(given=Given(labels=(attrs.evolve(label, optional=True),))) == body()
    labels = {**plan().labels, key: "x", OWNER_LABEL: "somebody else"}
    assert body(labels=labels) == body()


def test_no_more_than_fifty() -> None:
    many = [{"Key": f"k{n}", "Value": ""} for n in range(47)]
    assert "there are 51 with launchcore's four" in refused({"Tags": many}).detail
    assert len(body({"Tags": many[1:]})["Tags"]) == 50


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ([{"Key": "a;b", "Value": ""}], "does not match"),
        ([{"Key": "a"}], "Tags[0].Value: is missing"),
        ([{"Key": "a", "Value": "", "Other": 1}], "Tags[0].Other: is nothing"),
        ([{"Key": "a", "Value": ""}, {"Key": "a", "Value": ""}], "Tags[1]: 'a' is there twice"),
        ([{"Key": "a", "Value": "x" * 257}], "has 257 characters, and 256 fit"),
    ],
)
def test_tags_of_a_queue_that_cannot_be(said: list[Any], what: str) -> None:
    assert what in refused({"Tags": said}).detail


@pytest.mark.parametrize("name", ["a;b", "a\nb", "x" * 300, "🙂", "é", "", "{{}}", "a\0", "\ud800", "aws:x"])
def test_names_of_strangers_become_tags(name: str) -> None:
    made = body(owner=name)
    text = tags_of(made)["launchcore-owner"]
    assert list(shapes.problems(made)) == []
    assert len(text) <= 256
    assert tags_of(body(owner=f"{name}!"))["launchcore-owner"] != text  # no two owners become one
