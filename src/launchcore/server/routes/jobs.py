"""Jobs: what can be run again."""

from __future__ import annotations

from launchcore.queues.base import Job
from launchcore.queues.wire import JobCreate, JobList
from launchcore.server.endpoints import Answer, Call, Endpoint


async def listed(call: Call) -> Answer:
    return Answer(body=JobList(jobs=tuple(await call.core.call(call.core.reading.list_jobs))))


async def create(call: Call) -> Answer:
    asked: JobCreate = call.body
    service = call.core.service(call.who, "create job", lambda job: job.ref)
    return Answer(body=await call.core.call(service.create_job, asked.name, asked.definition), status=201)


async def one(call: Call) -> Answer:
    return Answer(body=await call.core.call(call.core.reading.job, call.path["ref"]))


async def versions(call: Call) -> Answer:
    found = await call.core.call(call.core.reading.job_versions, call.path["ref"])
    return Answer(body=JobList(jobs=tuple(found)))


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/jobs", does=listed, summary="The newest version of each.", answer=JobList
    ),
    Endpoint(
        method="POST",
        path="/v1/jobs",
        does=create,
        summary="A job, or a new version of it; the same definition again is the same version.",
        body=JobCreate,
        answer=Job,
        status=201,
    ),
    Endpoint(
        method="GET",
        path="/v1/jobs/{ref}",
        does=one,
        summary="One job: `name` (its newest version) or `name:version`.",
        answer=Job,
    ),
    Endpoint(
        method="GET",
        path="/v1/jobs/{ref}/versions",
        does=versions,
        summary="All versions of a job.",
        answer=JobList,
    ),
)
