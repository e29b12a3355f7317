"""Names in SageMaker: training jobs, tags, log streams. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from launchcore.plugin import ATTEMPT_LABEL, OWNER_LABEL, QUEUE_LABEL, RUN_LABEL

RUNNER: Final = "sagemaker"

OWNER: Final = "launchcore-owner"
RUN: Final = "launchcore-run"
ATTEMPT: Final = "launchcore-attempt"
QUEUE: Final = "launchcore-queue"
TAGS: Final = {OWNER_LABEL: OWNER, RUN_LABEL: RUN, ATTEMPT_LABEL: ATTEMPT, QUEUE_LABEL: QUEUE}
"""The core's labels → the keys of our tags. Without dots, which separate the parts of a name in Search."""

LOG_GROUP: Final = "/aws/sagemaker/TrainingJobs"
"""Where SageMaker writes the logs of all training jobs; the streams of one begin with its name and ``/``."""

CHANNEL: Final = "launch"
"""The input channel in which a run finds what has no place in the request."""
CHANNEL_FOLDER: Final = f"/opt/ml/input/data/{CHANNEL}"

_NAME: Final = re.compile(r"[a-zA-Z0-9](?:-*[a-zA-Z0-9]){0,62}", re.ASCII)


def job_name(attempt_id: str) -> str:
    """The one name that the training job of an attempt can have, whoever starts it.

    Names are kept for good, so nothing can have it a second time. What fits is used as it is:

    >>> job_name("7h2k-1")
    'launch-7h2k-1'
    >>> job_name("a.b_c-1")
    'launch-a-b-c-1-200d51d802'
    """
    plain = f"launch-{attempt_id}"
    if _NAME.fullmatch(plain) and len(plain) <= 63:
        return plain
    digest = hashlib.sha256(attempt_id.encode()).hexdigest()[:10]
    clean = re.sub(r"[^a-zA-Z0-9]+", "-", plain).strip("-")[:52].rstrip("-")
    return f"{clean}-{digest}"
