"""The operations of the API, over the jobs of an endpoint. Bodies in, answers out; no HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from launch_sagemaker.testing import rules
from launch_sagemaker.testing.faults import Faults, Refusal, Refused
from launch_sagemaker.testing.jobs import JobRecord
from launch_sagemaker.testing.model import ServiceModel
from launch_sagemaker.testing.search import fits

ACCOUNT: Final = "123456789012"
_SUMMARY: Final = frozenset(
    {
        *("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime"),
        *("TrainingJobStatus", "SecondaryStatus", "WarmPoolStatus"),
    }
)
_NOT_FOUND: Final = Refusal("ValidationException", "Requested resource not found.")


class Operations:
    """``begin`` starts the life of a job that was created."""

    def __init__(
        self,
        model: ServiceModel,
        faults: Faults,
        begin: Callable[[JobRecord], None],
        on_change: Callable[[JobRecord], None],
    ) -> None:
        self._model = model
        self._faults = faults
        self._begin = begin
        self._on_change = on_change
        self._known = model.members("DescribeTrainingJobResponse")
        self._searched = model.members("TrainingJob")
        self.changed = threading.Condition(threading.RLock())
        self.jobs: dict[tuple[str, str], JobRecord] = {}
        """By region and name, in the order of their creation."""

    def arn(self, region: str, body: Mapping[str, Any]) -> str:
        """What a request is about."""
        given = body.get("ResourceArn")
        return str(
            given or f"arn:aws:sagemaker:{region}:{ACCOUNT}:training-job/{body.get('TrainingJobName', '*')}"
        )

    def actions(self, operation: str, body: Mapping[str, Any]) -> tuple[str, ...]:
        """The permissions that a request takes."""
        if operation != "CreateTrainingJob":
            return (f"sagemaker:{operation}",)
        tagging = ("sagemaker:AddTags",) if body.get("Tags") else ()
        return ("sagemaker:CreateTrainingJob", *tagging, "iam:PassRole")

    def answer(self, operation: str, region: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Carry it out. None: an answer without a body.

        :raises Refused:
        """
        done: Mapping[str, Callable[[str, Mapping[str, Any]], dict[str, Any] | None]] = {
            "CreateTrainingJob": self._create,
            "DescribeTrainingJob": self._describe,
            "StopTrainingJob": self._stop,
            "ListTags": self._list_tags,
            "AddTags": self._add_tags,
            "Search": self._search,
            "ListTrainingJobs": self._list,
        }
        if operation not in done:
            raise Refused(Refusal("UnknownOperationException", f"{operation} is not offered here."))
        return done[operation](region, body)

    def _create(self, region: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if (problem := rules.refusal(body)) is not None:
            raise Refused(Refusal("ValidationException", problem))
        name, arn = body["TrainingJobName"], self.arn(region, body)
        with self.changed:
            if (region, name) in self.jobs:
                raise Refused(
                    Refusal(
                        "ResourceInUse",
                        "Training job names must be unique within an AWS account and region, and a training "
                        f"job with this name already exists ({arn})",
                    )
                )
            job = JobRecord(
                name=name,
                region=region,
                arn=arn,
                body=body,
                tags={tag["Key"]: tag["Value"] for tag in body.get("Tags") or ()},
                created=time.time(),
                changed=self.changed,
                on_change=self._on_change,
                paper=self._faults.next_is_paper(),
                hidden_until=time.time() + self._faults.next_hidden(),
                ending=self._faults.next_ending(),
            )
            self._take_pool(job)
            self.jobs[region, name] = job
            job.move("Starting")
        self._begin(job)
        return {"TrainingJobArn": arn}

    def _take_pool(self, job: JobRecord) -> None:
        """The kept instances of an earlier job that are like this one's."""
        if not (job.body.get("ResourceConfig") or {}).get("KeepAlivePeriodInSeconds"):
            return
        for other in self.jobs.values():
            pool = other.warm_pool()
            if pool and pool["Status"] == "Available" and other.region == job.region and _alike(other, job):
                other.reused_by, job.reuses_pool = job.name, True
                return

    def _find(self, region: str, name: str) -> JobRecord:
        job = self.jobs.get((region, name))
        if job is None or not job.visible:
            raise Refused(_NOT_FOUND)
        return job

    def _describe(self, region: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._find(region, body["TrainingJobName"]).described(self._known)

    def _stop(self, region: str, body: Mapping[str, Any]) -> None:
        job = self._find(region, body["TrainingJobName"])
        with self.changed:
            if job.has_ended:
                raise Refused(
                    Refusal(
                        "ValidationException",
                        f"The request was rejected because the training job is in status {job.status}.",
                    )
                )
            if not self._faults.next_stop_is_ignored():
                job.stop()

    def _list_tags(self, region: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"Tags": _tags(self._of_arn(region, body))}

    def _add_tags(self, region: str, body: Mapping[str, Any]) -> dict[str, Any]:
        job = self._of_arn(region, body)
        with self.changed:
            job.tags.update({tag["Key"]: tag["Value"] for tag in body["Tags"]})
            return {"Tags": _tags(job)}

    def _of_arn(self, region: str, body: Mapping[str, Any]) -> JobRecord:
        return self._find(region, body["ResourceArn"].rpartition("/")[2])

    def _search(self, region: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if body["Resource"] != "TrainingJob":
            raise Refused(Refusal("ValidationException", f"There is no {body['Resource']} here."))
        records = [
            {**job.described(self._searched), "Tags": _tags(job)} for job in self._newest_first(region)
        ]
        found = [each for each in records if fits(each, body.get("SearchExpression") or {})]
        page, more = _page(found, body)
        return {"Results": [{"TrainingJob": each} for each in page], **more}

    def _list(self, region: str, body: Mapping[str, Any]) -> dict[str, Any]:
        wanted, contains = body.get("StatusEquals"), body.get("NameContains", "")
        found = [
            {key: value for key, value in job.described(self._known).items() if key in _SUMMARY}
            for job in self._newest_first(region)
            if contains in job.name and wanted in (None, job.status)
        ]
        page, more = _page(found, body)
        return {"TrainingJobSummaries": page, **more}

    def _newest_first(self, region: str) -> list[JobRecord]:
        with self.changed:
            mine = [job for job in self.jobs.values() if job.region == region and job.visible]
        return mine[::-1]


def _tags(job: JobRecord) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in job.tags.items()]


def _alike(one: JobRecord, other: JobRecord) -> bool:
    keys = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "InstanceGroups")
    if one.body["RoleArn"] != other.body["RoleArn"]:
        return False
    ones, others = (job.body.get("ResourceConfig") or {} for job in (one, other))
    return all(ones.get(key) == others.get(key) for key in keys)


def _page(
    found: list[dict[str, Any]], body: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The part that is asked for, and the token of the next."""
    token = body.get("NextToken") or "0"
    if not token.isdecimal():
        raise Refused(Refusal("ValidationException", "Invalid NextToken."))
    start = int(token)
    end = start + (body.get("MaxResults") or 10)
    return found[start:end], {"NextToken": str(end)} if end < len(found) else {}
