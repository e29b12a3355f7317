"""Where a run is: a training job in a region, and what waits for it in S3. To and from handles. Pure."""

from __future__ import annotations

import attrs

from launch_sagemaker.names import RUNNER
from launchcore.plugin import RunHandle


@attrs.frozen(kw_only=True)
class Job:
    """One training job. ``bundle``: the URL of what was put into S3 for it (``s3://…/ATTEMPT/``), or None."""

    attempt_id: str
    name: str
    region: str
    bundle: str | None = None


def handle_of(job: Job) -> RunHandle:
    data = {"name": job.name, "region": job.region}
    if job.bundle is not None:
        data["bundle"] = job.bundle
    return RunHandle(runner=RUNNER, attempt_id=job.attempt_id, data=data)


def job_of(handle: RunHandle) -> Job | None:
    """``None``: it is no handle of ours, or names nothing."""
    name, region, bundle = (handle.data.get(key) for key in ("name", "region", "bundle"))
    if not isinstance(name, str) or not isinstance(region, str):
        return None
    return Job(
        attempt_id=handle.attempt_id,
        name=name,
        region=region,
        bundle=bundle if isinstance(bundle, str) else None,
    )
