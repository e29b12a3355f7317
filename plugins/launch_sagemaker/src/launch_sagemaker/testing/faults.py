"""What goes wrong, as a test scripts it. One :class:`Faults` for each endpoint; it can all be lifted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import attrs

from launch_sagemaker.testing.scripts import ANY, Script, Scripts

CREATE: Final = "CreateTrainingJob"


@attrs.frozen
class Refusal:
    """An error that the service answers."""

    code: str
    message: str
    status: int = 400


class Refused(Exception):
    """This call is answered with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code}: {refusal.message}")
        self.refusal = refusal


class Cut(Exception):
    """The connection ends without an answer."""


@attrs.frozen
class Ending:
    """A job that ends as failed without having run."""

    reason: str
    """Its FailureReason."""
    in_status: str = attrs.field(
        default="Starting", validator=attrs.validators.in_(("Starting", "Downloading"))
    )
    """The secondary status in which it happens."""


RATE: Final = Refusal("ThrottlingException", "Rate exceeded")
INTERNAL: Final = Refusal("InternalFailure", "The request processing has failed.", 500)
EXPIRED: Final = Refusal("ExpiredTokenException", "The security token included in the request is expired")
UNKNOWN_KEY: Final = Refusal(
    "UnrecognizedClientException", "The security token included in the request is invalid."
)
QUOTA: Final = Refusal(
    "ResourceLimitExceeded",
    "The account-level service limit 'ml.m5.large for training job usage' is 0 Instances, with current "
    "utilization of 0 Instances and a request delta of 1 Instances. Please use AWS Service Quotas to request "
    "an increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an "
    "increase for this quota.",
)
BAD_ROLE: Final = Refusal(
    "ValidationException",
    "Could not assume role arn:aws:iam::123456789012:role/training. Please ensure that the role exists and "
    "allows principal 'sagemaker.amazonaws.com' to assume the role.",
)
BAD_IMAGE: Final = Refusal(
    "ValidationException",
    "Cannot find repository: team/train in registry ID: 123456789012 Please check if your ECR repository "
    "exists and role arn:aws:iam::123456789012:role/training has proper pull permissions for SageMaker: "
    "ecr:BatchCheckLayerAvailability, ecr:BatchGetImage, ecr:GetDownloadUrlForLayer",
)
BAD_BUCKET: Final = Refusal(
    "ValidationException",
    "The S3 bucket 'outputs' does not exist. Please ensure that the bucket exists in the selected region.",
)

NO_CAPACITY: Final = Ending(
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML "
    "instance type."
)
BROKEN: Final = Ending("InternalServerError: We encountered an internal error. Please try again.")
NO_IMAGE: Final = Ending(
    "ClientError: Failed to pull image: manifest unknown. Please ensure that the image exists and that the "
    "role arn:aws:iam::123456789012:role/training has permissions to pull it."
)
NO_DATA: Final = Ending(
    'ClientError: Data download failed:No S3 objects found under S3 URL "s3://data/train/" given in input '
    "data source. Please ensure that the bucket exists in the selected region (us-east-1), that objects "
    'exist under that S3 prefix, and that the role "arn:aws:iam::123456789012:role/training" has '
    '"s3:ListBucket" permissions on bucket "data".',
    "Downloading",
)
NO_ACCESS: Final = Ending(
    "ClientError: Data download failed:Failed to download data. AccessDenied (403): Access Denied",
    "Downloading",
)
OVER_QUOTA: Final = Ending("ClientError: ResourceLimitExceeded: the account-level service limit was reached.")


@attrs.frozen(kw_only=True)
class Interruptions:
    """Spot interruptions that happen by themselves, each so many seconds after the training began."""

    times: int = 1
    after: float = 0.0
    notice: float = 0.0
    comes_back: bool = True


class Faults:
    """``operation`` is ``DescribeTrainingJob`` …, or ``*`` for all. Without ``calls`` and ``seconds`` a fault
    lasts until :meth:`lift`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paper: int | None = 0
        self.paper_status = "Training"
        self.lift()

    def lift(self) -> None:
        """Everything is well again, for calls and jobs that come. Jobs are on paper as before."""
        with self._lock:
            self._scripts = Scripts()
            self._keys: frozenset[str] | None = None
            self._allowed: frozenset[str] | None = None
            self._expired = False
            self._endings: list[Ending] = []
            self._interruptions: list[Interruptions] = []
            self._deaf_stops = 0
            self._hidden = 0.0
            self._lost_events = 0
            self.log_delay = 0.0

    # Calls

    def throttle(
        self,
        operation: str = ANY,
        *,
        calls: int | None = None,
        seconds: float | None = None,
        above: float | None = None,
    ) -> None:
        """ThrottlingException: for so many calls, for so long, or for what exceeds ``above`` in a second."""
        self.refuse(operation, RATE, calls=calls, seconds=seconds, above=above)

    def refuse(
        self,
        operation: str,
        refusal: Refusal,
        *,
        calls: int | None = None,
        seconds: float | None = None,
        above: float | None = None,
        made: bool = False,
    ) -> None:
        """Answer an error. ``made``: although the request was carried out."""

        def act() -> None:
            raise Refused(refusal)

        self._add(operation, act, calls=calls, seconds=seconds, above=above, made=made)

    def cut(self, operation: str, *, made: bool, calls: int | None = 1, seconds: float | None = None) -> None:
        """End the connection without an answer: after the request was carried out, or before."""

        def act() -> None:
            raise Cut

        self._add(operation, act, calls=calls, seconds=seconds, made=made)

    def slow(
        self, operation: str, by: float, *, calls: int | None = None, seconds: float | None = None
    ) -> None:
        """Answer ``by`` seconds later; what was asked for is done at once."""
        self._add(operation, lambda: time.sleep(by), calls=calls, seconds=seconds, made=True)

    def expire_credentials(self, expired: bool = True) -> None:
        """ExpiredTokenException from now on, until called with False."""
        self._expired = expired

    def know_keys(self, *key_ids: str) -> None:
        """Let in these access keys only."""
        self._keys = frozenset(key_ids)

    def allow_only(self, *actions: str) -> None:
        """AccessDeniedException for other actions than these: ``sagemaker:StopTrainingJob`` …"""
        self._allowed = frozenset(actions)

    # Jobs

    def end_next(self, ending: Ending, jobs: int = 1) -> None:
        """The next jobs that are created end like this."""
        self._endings += [ending] * jobs

    def interrupt_next(self, jobs: int = 1, **how: float) -> None:
        """The next spot jobs are interrupted, as :class:`Interruptions` says."""
        self._interruptions += [Interruptions(**how)] * jobs  # type: ignore[arg-type]

    def paper(self, jobs: int | None = None, *, status: str = "Training") -> None:
        """The next jobs (None: all that follow) have no container, and end when told: ``JobRecord.end``.

        :param status: the secondary status that they are in at once.
        """
        with self._lock:
            self._paper, self.paper_status = jobs, status

    def hide(self, seconds: float) -> None:
        """Jobs that are created from now on are unknown to Describe, Stop and Search for so long."""
        self._hidden = seconds

    def ignore_stops(self, times: int) -> None:
        """StopTrainingJob is accepted, and does nothing."""
        self._deaf_stops = times

    def delay_logs(self, seconds: float) -> None:
        """What is written from now on is in CloudWatch so much later; its timestamps are right."""
        self.log_delay = seconds

    def lose_events(self, events: int) -> None:
        """The next events do not reach SQS."""
        self._lost_events = events

    # Asked by the endpoint

    def check(self, operation: str, key_id: str, region: str, arn: str, actions: tuple[str, ...]) -> None:
        """Before a call is carried out.

        :raises Refused, Cut: it is not.
        """
        if self._keys is not None and key_id not in self._keys:
            raise Refused(UNKNOWN_KEY)
        if self._expired:
            raise Refused(EXPIRED)
        self._scripts.act(operation, made=False)
        for action in actions:
            if self._allowed is not None and action not in self._allowed:
                raise Refused(_denied(action, arn))

    def done(self, operation: str) -> None:
        """After it was carried out.

        :raises Refused, Cut: what is answered instead of the answer.
        """
        self._scripts.act(operation, made=True)

    def next_ending(self) -> Ending | None:
        with self._lock:
            return self._endings.pop(0) if self._endings else None

    def next_interruptions(self) -> Interruptions | None:
        with self._lock:
            return self._interruptions.pop(0) if self._interruptions else None

    def next_is_paper(self) -> bool:
        with self._lock:
            if self._paper is None:
                return True
            self._paper -= 1
            return self._paper >= 0

    def next_hidden(self) -> float:
        return self._hidden

    def next_stop_is_ignored(self) -> bool:
        with self._lock:
            self._deaf_stops -= 1
            return self._deaf_stops >= 0

    def next_event_is_lost(self) -> bool:
        with self._lock:
            self._lost_events -= 1
            return self._lost_events >= 0

    def _add(
        self,
        operation: str,
        act: Callable[[], None],
        *,
        calls: int | None,
        seconds: float | None,
        made: bool,
        above: float | None = None,
    ) -> None:
        script = Script(operation=operation, act=act, made=made, calls=calls, above=above)
        self._scripts.add(script, seconds)


def _denied(action: str, arn: str) -> Refusal:
    return Refusal(
        "AccessDeniedException",
        f"User: arn:aws:iam::123456789012:user/agent is not authorized to perform: {action} on resource: "
        f"{arn} because no identity-based policy allows the {action} action",
    )
