"""A request against the service model: what is wrong is said by its path, before AWS says it."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_sagemaker import shapes
from launch_sagemaker.patterns import matches, one_line
from launch_sagemaker.testing.samples import ordered

BODY = ordered(
    {
        "HyperParameters": {"lr": "0.1"},
        "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/data"}},
            }
        ],
    }
).body


def changed(path: str, value: Any) -> list[tuple[str, str]]:
    """What is wrong with :data:`BODY` after one change; a list's first entry is ``0``."""
    body = copy.deepcopy(BODY)
    *before, last = path.split(".")
    at: Any = body
    for part in before:
        at = at[0] if part == "0" else at[part]
    if last == "0":
        at[0] = value
    else:
        at[last] = value
    return list(shapes.problems(body))


def test_a_good_request_has_no_problems() -> None:
    assert list(shapes.problems(BODY)) == []


@pytest.mark.parametrize(
    ("path", "value", "where", "what"),
    [
        ("ResourceConfig.InstanceTyp", "x", "ResourceConfig.InstanceTyp", "did you mean 'InstanceType'?"),
        ("ResourceConfig.instance_type", "x", "ResourceConfig.instance_type", "did you mean 'InstanceType'?"),
        ("Foo", 1, "Foo", "is nothing that the agent's boto3 knows"),
        ("ResourceConfig.InstanceType", "ml.g5.xlrge", "ResourceConfig.InstanceType", "'ml.g5.xlarge'"),
        ("ResourceConfig.InstanceType", "g5.xlarge", "ResourceConfig.InstanceType", "'ml.g5.xlarge'"),
        ("ResourceConfig.InstanceCount", "two", "ResourceConfig.InstanceCount", "expected a whole number"),
        ("ResourceConfig.InstanceCount", True, "ResourceConfig.InstanceCount", "got true"),
        ("ResourceConfig.InstanceCount", -1, "ResourceConfig.InstanceCount", "-1 is not at least 0"),
        ("ResourceConfig.InstanceCount", 2**31, "ResourceConfig.InstanceCount", "is not at most 2147483647"),
        ("ResourceConfig.KeepAlivePeriodInSeconds", 21601, "ResourceConfig.KeepAlive", "at most 21600"),
        ("AlgorithmSpecification.TrainingInputMode", "file", "AlgorithmSpecification.T", "'File'"),
        ("RoleArn", "role/training-of-somebody", "RoleArn", "does not match arn:aws"),
        ("RoleArn", 7, "RoleArn", "expected text, got 7 (put it in quotes)"),
        ("VpcConfig.Subnets", [], "VpcConfig.Subnets", "has 0 entries, and must have 1 or more"),
        ("VpcConfig.Subnets", "subnet-1", "VpcConfig.Subnets", "expected a list, got 'subnet-1'"),
        ("VpcConfig.Subnets", ["a b"], "VpcConfig.Subnets[0]", "does not match"),
        ("VpcConfig.SecurityGroupIds", ["sg"] * 6, "VpcConfig.SecurityGroupIds", "has 6 entries, and 5 fit"),
        ("VpcConfig", [], "VpcConfig", "expected a mapping, got a list"),
        ("VpcConfig", {}, "VpcConfig.Subnets", "is missing"),
        ("HyperParameters.lr", "a\nb", "HyperParameters.lr", "has more than one line"),
        ("HyperParameters.lr", "x" * 2501, "HyperParameters.lr", "has 2501 characters, and 2500 fit"),
        ("HyperParameters.lr", [1], "HyperParameters.lr", "expected text, got a list"),
        ("HyperParameters", {"x" * 257: ""}, "HyperParameters", "has 257 characters, and 256 fit"),
        ("HyperParameters", {7: ""}, "HyperParameters", "the key 7: expected text"),
        ("HyperParameters", {f"k{n}": "" for n in range(101)}, "HyperParameters", "has 101 entries"),
        ("EnableManagedSpotTraining", "yes", "EnableManagedSpotTraining", "expected true or false"),
        ("InputDataConfig.0.ChannelName", "", "InputDataConfig[0].ChannelName", "is empty"),
        ("InputDataConfig.0.ChannelName", "a/b", "InputDataConfig[0].ChannelName", "does not match"),
        ("InputDataConfig.0.DataSource.S3DataSource.S3DataType", "S3", "InputDataConfig[0].D", "S3Prefix"),
        ("OutputDataConfig.S3OutputPath", "/tmp/out", "OutputDataConfig.S3OutputPath", "does not match"),
        ("OutputDataConfig.S3OutputPath", "s3://b/\ud800", "OutputDataConfig.S3O", "half of a character"),
        ("Environment", {"A-B": ""}, "Environment", "the key 'A-B': 'A-B' does not match"),
    ],
)
def test_each_mistake_is_told_by_its_path(path: str, value: Any, where: str, what: str) -> None:
    told = [text for at, text in changed(path, value) if at.startswith(where)]
    assert any(what in text for text in told), changed(path, value)


@pytest.mark.parametrize("member", ["TrainingJobName", "RoleArn", "OutputDataConfig"])
def test_what_is_required_is_missed(member: str) -> None:
    assert (member, "is missing") in list(
        shapes.problems({key: value for key, value in BODY.items() if key != member})
    )


def test_everything_is_told_at_once() -> None:
    body = {**BODY, "RoleArn": "x", "Foo": 1, "VpcConfig": {"Subnets": []}}
    assert [path for path, _ in shapes.problems(body)] == [
        *("RoleArn", "VpcConfig.Subnets", "VpcConfig.SecurityGroupIds", "Foo")
    ]


def test_scalars_are_as_the_model_wants_them() -> None:
    said = {
        "HyperParameters": {"lr": 1e-3, "epochs": 3, "fast": True, "name": "a"},
        "ResourceConfig": {"InstanceCount": "2", "VolumeSizeInGB": 50.0},
        "Tags": ({"Key": "n", "Value": 1},),
        "AlgorithmSpecification": {"ContainerArguments": ["--n", 3, False]},
        "RoleArn": 7,
        "Unknown": {"a": 1},
    }
    before = copy.deepcopy(said)
    assert shapes.fitted(said) == {
        "HyperParameters": {"lr": "0.001", "epochs": "3", "fast": "true", "name": "a"},
        "ResourceConfig": {"InstanceCount": 2, "VolumeSizeInGB": 50},
        "Tags": [{"Key": "n", "Value": "1"}],
        "AlgorithmSpecification": {"ContainerArguments": ["--n", "3", "false"]},
        "RoleArn": 7,
        "Unknown": {"a": 1},
    }
    assert said == before


@pytest.mark.parametrize("text", ["", "2.5", "0x2", "two", "٢", "9" * 30, "1 "])
def test_a_text_that_is_no_number_stays_one(text: str) -> None:
    assert (
        shapes.fitted({"ResourceConfig": {"InstanceCount": text}})["ResourceConfig"]["InstanceCount"] == text
    )


def test_what_this_botocore_can_send() -> None:
    assert shapes.span("StoppingCondition", "MaxRuntimeInSeconds") == (1, float("inf"))
    assert shapes.span("ResourceConfig", "KeepAlivePeriodInSeconds") == (0, 21600)
    assert shapes.span("StoppingCondition", "MaxRuntime") is None
    assert shapes.span("Nothing") is None


def test_the_model_is_read_once_and_little_of_it_is_kept() -> None:
    assert shapes.loaded() is shapes.loaded()
    assert 50 < len(shapes.loaded()) < 300
    assert "documentation" not in str(shapes.loaded())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
members = st.sampled_from(sorted(shapes.loaded()[shapes.REQUEST]["members"]))


@given(st.dictionaries(members | st.text(max_size=10), json_values, max_size=4))
def test_whatever_it_is_given_it_says_what_is_wrong_in_one_line(body: dict[str, Any]) -> None:
    """Nothing at all can be a request, so there is always something; what botocore refuses, we refuse."""
    told = list(shapes.problems(shapes.fitted(body)))
    assert told
    assert all(one_line(text) and len(text) < 400 and text.isprintable() for pair in told for text in pair)


# -- Java's patterns ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r".*", ["", "a b", "é"], ["a\nb", "a\rb", "a\u2028", "\u0085"]),
        (r"[\S\s]*", ["a\nb"], []),
        (r"\d+K", ["32K"], ["٣K", "K"]),
        (r"[.]x", [".x"], ["ax"]),
        (r"a\.b.", ["a.bc"], ["axbc", "a.b\n"]),
        (
            r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)",
            ["é ü/1", "日本", "٣", "a\u00a0b"],
            ["a;b", "a\nb", "a\u0301", "🙂"],
        ),
        (r"arn:[\p{Alnum}\-]+:x", ["arn:aws-1:x"], ["arn:é:x"]),
        (r"(https|s3)://([^/]+)/?(.*)", ["s3://b", "s3://b/k"], ["s3:///k", "gs://b", "xs3://b"]),
        (r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", ["a--b"], ["-a", "a-", "é"]),
    ],
)
def test_patterns_mean_what_they_mean_in_java(pattern: str, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if not matches(pattern, text)] == []
    assert [text for text in bad if matches(pattern, text)] == []


@pytest.mark.parametrize("pattern", [r"\p{IsGreek}+", r"[a-z&&[^b]]+", r"[a-c[x-z]]", r"(?<name>x", r"\h+("])
def test_a_pattern_that_we_cannot_read_is_left_to_the_service(pattern: str) -> None:
    assert matches(pattern, "anything")


def test_every_pattern_of_the_request_is_read() -> None:
    from launch_sagemaker.patterns import _compiled

    patterns = {shape["pattern"] for shape in shapes.loaded().values() if "pattern" in shape}
    assert len(patterns) > 20
    assert [pattern for pattern in patterns if _compiled(pattern) is None] == []


def test_no_text_takes_long() -> None:
    """Names of strangers come this way: none may keep the agent busy."""
    hostile = ["s3://" + "a" * 1000 + "\n", "a-" * 500 + "!", "arn:aws:" + "-" * 900, "-" * 1000]
    patterns = {shape["pattern"] for shape in shapes.loaded().values() if "pattern" in shape}
    before = time.process_time()
    for pattern in patterns:
        for text in hostile:
            matches(pattern, text)
    assert time.process_time() - before < 5
