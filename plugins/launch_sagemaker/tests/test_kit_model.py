"""The test kit: requests and answers against SageMaker's service model."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from launch_sagemaker.testing import rules
from launch_sagemaker.testing.bodies import machines, spot, training_job
from launch_sagemaker.testing.model import ServiceModel, WrongType
from launch_sagemaker.testing.patterns import compiled, translated

CREATE = "CreateTrainingJob"


def refusal(model: ServiceModel, **members: Any) -> str:
    return model.refusal(CREATE, {**training_job("job", "echo"), **members}) or ""


def test_the_requests_to_begin_with_are_right(sagemaker_model: ServiceModel) -> None:
    for body in (training_job("a"), training_job("a", "echo", **spot(checkpoints="s3://b/c"))):
        assert sagemaker_model.refusal(CREATE, body) is None
        assert rules.refusal(body) is None


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"RoleArn": None}, "Value null at 'roleArn' failed to satisfy constraint: Member must not be null"),
        ({"RoleArn": "arn"}, "'roleArn' failed to satisfy constraint: Member must have length greater than"),
        ({"TrainingJobName": "-"}, "'trainingJobName' failed to satisfy constraint: Member must satisfy reg"),
        ({"TrainingJobName": "a" * 64}, "Member must have length less than or equal to 63"),
        ({"TrainingJobName": "a\n"}, "Member must satisfy regular expression pattern: [a-zA-Z0-9]"),
        ({"ResourceConfig": machines(InstanceType="ml.none")}, "satisfy enum value set: [ml.m4.xlarge, "),
        ({"ResourceConfig": machines(-1)}, "'resourceConfig.instanceCount' failed to satisfy constraint: Me"),
        (
            {"ResourceConfig": machines(KeepAlivePeriodInSeconds=21601)},
            "value less than or equal to 21600",
        ),
        ({"Environment": {"A-B": "1"}}, "Map keys must satisfy constraint: [Member must satisfy regular exp"),
        ({"Environment": {"A": "x" * 513}}, "Map value must satisfy constraint: [Member must have length le"),
        ({"Environment": {f"A{n}": "" for n in range(101)}}, "'environment' failed to satisfy constraint: M"),
        ({"Tags": [{"Key": "a", "Value": "<"}]}, "Value '<' at 'tags.1.member.value' failed to satisfy con"),
        ({"Tags": [{"Key": "a"}]}, "Value null at 'tags.1.member.value' failed to satisfy constraint: Memb"),
        ({"Tagz": []}, "Value '[]' at 'Tagz' failed to satisfy constraint: Unknown member"),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "File", "ContainerArguments": ["a\nb"]}},
            "'algorithmSpecification.containerArguments.1.member' failed to satisfy constraint: Member must",
        ),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "File", "ContainerArguments": []}},
            "Value '[]' at 'algorithmSpecification.containerArguments' failed to satisfy constraint: Member",
        ),
    ],
)
def test_a_wrong_request_is_refused_in_aws_words(
    sagemaker_model: ServiceModel, members: dict[str, Any], told: str
) -> None:
    said = refusal(sagemaker_model, **members)
    assert re.match("(1 validation error|2 validation errors) detected: Value ", said)
    assert told in said


def test_all_that_is_wrong_is_told_at_once(sagemaker_model: ServiceModel) -> None:
    said = refusal(sagemaker_model, RoleArn=None, TrainingJobName="-")
    assert said.startswith("2 validation errors detected: ")
    assert "'roleArn'" in said.split("; ")[0]
    assert "'trainingJobName'" in said.split("; ")[1]


@pytest.mark.parametrize(
    "members",
    [
        {"TrainingJobName": 7},
        {"ResourceConfig": machines(InstanceCount=True)},
        {"Environment": {"A": 1}},
        {"Environment": []},
        {"EnableManagedSpotTraining": "yes"},
    ],
)
def test_a_wrong_type_cannot_be_read(sagemaker_model: ServiceModel, members: dict[str, Any]) -> None:
    with pytest.raises(WrongType):
        refusal(sagemaker_model, **members)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"AlgorithmSpecification": None}, "AlgorithmSpecification is required"),
        ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "TrainingImage and AlgorithmName"),
        ({"ResourceConfig": None}, "ResourceConfig is required"),
        ({"ResourceConfig": machines(0)}, "InstanceCount must be"),
        ({"ResourceConfig": machines(VolumeSizeInGB=0)}, "VolumeSizeInGB must be"),
        ({"ResourceConfig": {"InstanceCount": 1}}, "InstanceType is required"),
        ({"ResourceConfig": machines(InstanceGroups=[machines(InstanceGroupName="a")])}, "can't specify"),
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds. It must be present"),
        (spot(wait=10, run=20), "greater than or equal to MaxRuntimeInSeconds"),
        ({"StoppingCondition": {"MaxWaitTimeInSeconds": 7}}, "managed spot training only"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 3_000_000}}, "MaxRuntimeInSeconds must be less"),
        ({**spot(), "ResourceConfig": machines(KeepAlivePeriodInSeconds=60)}, "KeepAlivePeriodInSeconds"),
        ({"Tags": [{"Key": "a", "Value": "1"}] * 2}, "Duplicate tag keys"),
        ({"Tags": [{"Key": "aws:a", "Value": "1"}]}, "reserved"),
        ({"InputDataConfig": [{"ChannelName": "a", "DataSource": {"S3DataSource": {}}}] * 2}, "unique"),
        ({"InputDataConfig": [{"ChannelName": "a", "DataSource": {}}]}, "Exactly one data source"),
    ],
)
def test_what_the_model_does_not_say_is_refused_too(members: dict[str, Any], told: str) -> None:
    assert told in (rules.refusal(training_job("job", "echo", **members)) or "")


def test_a_wrong_answer_is_noticed(sagemaker_model: ServiceModel) -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:training-job/a"
    assert sagemaker_model.faults_of_answer(CREATE, {"TrainingJobArn": arn}) == []
    assert sagemaker_model.faults_of_answer("StopTrainingJob", {}) == []
    for wrong in ({}, {"TrainingJobArn": "a"}, {"TrainingJobArn": 1}, {"TrainingJobArn": arn, "More": 1}):
        assert len(sagemaker_model.faults_of_answer(CREATE, wrong)) == 1, wrong
    assert sagemaker_model.faults_of_answer("StopTrainingJob", {"A": 1}) != []
    told = sagemaker_model.faults_of_answer("DescribeTrainingJob", {"CreationTime": time.time()})
    assert {"CreationTime" in each for each in told} == {False}
    assert len(told) == 6


def test_patterns_of_java_are_those_of_python() -> None:
    assert compiled(r"arn:[\p{Alnum}\-]+:x").fullmatch("arn:aws-cn:x")
    assert not compiled(r"arn:[\p{Alnum}\-]+:x").fullmatch("arn:äws:x")
    letters = compiled(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)")
    for fits in ("", "a b", "名前", "é²", "a@b=c/d"):
        assert letters.fullmatch(fits), fits
    for not_so in ("a\n", "a\tb", "☃", "a|b", "e\u0301"):
        assert not letters.fullmatch(not_so), not_so
    assert compiled(r"\p{L}+").fullmatch("ab")
    for line_end in "\n\r\x85\u2028\u2029":
        assert not compiled(".*").fullmatch(f"a{line_end}b")
        assert compiled(r"[\S\s]*").fullmatch(f"a{line_end}b")
    assert not compiled(r"\d").fullmatch("٣"), "digits are ASCII's in Java"
    assert translated(r"[.\].]\.") == r"[.\].]\."
    assert not compiled(r"(a)(?<!-)").fullmatch("-")


def test_every_pattern_of_the_model_can_be_used(sagemaker_model: ServiceModel) -> None:
    document = sagemaker_model.loader.load_service_model("sagemaker", "service-2")
    patterns = {shape["pattern"] for shape in document["shapes"].values() if "pattern" in shape}
    assert len(patterns) > 200
    for pattern in patterns:
        compiled(pattern)
