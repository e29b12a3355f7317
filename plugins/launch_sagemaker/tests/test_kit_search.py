"""The test kit: tags, Search and ListTrainingJobs."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from launch_sagemaker.testing.bodies import training_job
from launch_sagemaker.testing.endpoint import Endpoint


@pytest.fixture(autouse=True)
def jobs(sagemaker: Endpoint) -> Endpoint:
    """Three of one owner, one of another; the second has ended."""
    sagemaker.faults.paper()
    client = sagemaker.client()
    for name, owner in (("a-1", "us"), ("a-2", "us"), ("a-3", "us"), ("b-1", "them")):
        client.create_training_job(
            **training_job(name, Tags=[{"Key": "owner", "Value": owner}, {"Key": "of.dots", "Value": name}])
        )
    sagemaker.job("a-2").end()
    return sagemaker


def search(sagemaker: Endpoint, *filters: tuple[str, str | None, str | None], **more: Any) -> list[str]:
    made = [
        {key: value for key, value in zip(("Name", "Operator", "Value"), each, strict=True) if value}
        for each in filters
    ]
    expression = {"Filters": made, **more} if made else more
    told = sagemaker.client().search(Resource="TrainingJob", SearchExpression=expression)
    return [each["TrainingJob"]["TrainingJobName"] for each in told["Results"]]


def test_tags_are_found_and_told(sagemaker: Endpoint) -> None:
    ours = ("Tags.owner", "Equals", "us")
    assert search(sagemaker, ours) == ["a-3", "a-2", "a-1"]
    assert search(sagemaker, ("Tags.owner", None, "us")) == ["a-3", "a-2", "a-1"]
    assert search(sagemaker, ours, ("TrainingJobStatus", "Equals", "InProgress")) == ["a-3", "a-1"]
    assert search(sagemaker, ours, ("TrainingJobStatus", "In", "Completed,Stopped")) == ["a-2"]
    assert search(sagemaker, ("Tags.owner", "Contains", "he")) == ["b-1"]
    assert search(sagemaker, ("Tags.owner", "NotEquals", "us")) == ["b-1"]
    assert search(sagemaker, ("Tags.of.dots", "Equals", "a-1")) == ["a-1"]
    assert search(sagemaker, ("Tags.none", "Exists", None)) == []
    assert len(search(sagemaker, ("Tags.none", "NotExists", None))) == 4
    assert search(sagemaker, ("ResourceConfig.InstanceCount", "Equals", "2")) == []
    assert len(search(sagemaker, ("ResourceConfig.InstanceCount", "Equals", "1"))) == 4
    either = [("TrainingJobName", "Equals", "a-1"), ("TrainingJobName", "Equals", "b-1")]
    assert search(sagemaker, *either, Operator="Or") == ["b-1", "a-1"]
    nested = {"SubExpressions": [{"Filters": [{"Name": "Tags.owner", "Operator": "Equals", "Value": "us"}]}]}
    assert search(sagemaker, ("TrainingJobStatus", "Equals", "Completed"), **nested) == ["a-2"]


def test_a_record_has_its_tags_and_times(sagemaker: Endpoint) -> None:
    told = sagemaker.client().search(Resource="TrainingJob")["Results"][0]["TrainingJob"]
    assert {"Key": "owner", "Value": "them"} in told["Tags"]
    assert told["TrainingJobStatus"] == "InProgress"
    assert told["CreationTime"] <= told["TrainingStartTime"]


def test_pages(sagemaker: Endpoint) -> None:
    client = sagemaker.client()
    first = client.search(Resource="TrainingJob", MaxResults=3)
    second = client.search(Resource="TrainingJob", MaxResults=3, NextToken=first["NextToken"])
    assert "NextToken" not in second
    assert [len(each["Results"]) for each in (first, second)] == [3, 1]
    pages = client.get_paginator("search").paginate(Resource="TrainingJob", PaginationConfig={"PageSize": 1})
    assert len([one for page in pages for one in page["Results"]]) == 4
    with pytest.raises(ClientError, match="Invalid NextToken"):
        client.search(Resource="TrainingJob", NextToken="x")


@pytest.mark.parametrize(
    "asked",
    [
        {"Resource": "Endpoint"},
        {"Resource": "TrainingJob", "SearchExpression": {"Filters": []}},
        {"Resource": "TrainingJob", "SearchExpression": {"Filters": [{"Name": "a", "Operator": "Equals"}]}},
        {
            "Resource": "TrainingJob",
            "SearchExpression": {
                "Filters": [{"Name": "TrainingJobName", "Operator": "LessThan", "Value": "z"}]
            },
        },
        {"Resource": "TrainingJob", "MaxResults": 101},
    ],
)
def test_a_search_that_is_not_understood_is_refused(sagemaker: Endpoint, asked: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as told:
        sagemaker.client().search(**asked)
    assert told.value.response["Error"]["Code"] == "ValidationException"


def test_tags_of_one_job(sagemaker: Endpoint) -> None:
    client = sagemaker.client()
    arn = sagemaker.job("a-1").arn
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "owner", "Value": "me"}, {"Key": "new", "Value": ""}])
    told = {tag["Key"]: tag["Value"] for tag in client.list_tags(ResourceArn=arn)["Tags"]}
    assert told == {"owner": "me", "of.dots": "a-1", "new": ""}
    assert search(sagemaker, ("Tags.owner", "Equals", "me")) == ["a-1"]
    with pytest.raises(ClientError, match="not found"):
        client.list_tags(ResourceArn=f"{arn}0")


def test_other_regions_have_other_jobs(sagemaker: Endpoint) -> None:
    assert sagemaker.client("eu-west-1").search(Resource="TrainingJob")["Results"] == []


def test_a_list_of_jobs_can_be_had_and_is_counted(sagemaker: Endpoint) -> None:
    told = sagemaker.client().list_training_jobs(NameContains="a-", StatusEquals="InProgress")
    assert [each["TrainingJobName"] for each in told["TrainingJobSummaries"]] == ["a-3", "a-1"]
    assert len(sagemaker.called("ListTrainingJobs")) == 1
