"""What is asked of CloudWatch Logs about training jobs. Each call is one request; nothing is tried again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from launch_aws.diagnosis import BUSY, code_of

from launch_sagemaker.names import LOG_GROUP
from launch_sagemaker.streams import Event

if TYPE_CHECKING:
    from launch_aws.session import Account

PER_LISTING: Final = 50
"""Streams that DescribeLogStreams gives at a time."""


class Throttled(Exception):
    """We ask more than we may."""


class TokenRefused(Exception):
    """The token is not taken any more, or never was."""


class CloudWatch:
    """The log streams of training jobs in one region.

    All calls raise :class:`Throttled`, :class:`TokenRefused` (of a request with a token), and
    :class:`LaunchError` for everything else. A log group or stream that is not there is ``None``.
    """

    def __init__(self, account: Account, region: str) -> None:
        self._account = account
        self._region = region

    def streams(self, job: str, token: str | None) -> tuple[Sequence[str], str | None] | None:
        """Names of streams of a job in their order, and the token of the rest, if there is one."""
        params = {"logStreamNamePrefix": f"{job}/", "orderBy": "LogStreamName", "limit": PER_LISTING}
        found = self._ask(lambda client: client.describe_log_streams, params, token)
        if found is None:
            return None
        names = [str(each.get("logStreamName", "")) for each in found.get("logStreams", ())]
        return names, found.get("nextToken") or None

    def events(
        self, stream: str, token: str | None, since: int, limit: int
    ) -> tuple[Sequence[Event], str | None] | None:
        """Events of a stream after a token, and the token of those that follow.

        :param since: the first time that is wanted, in UNIX milliseconds; 0: any.
        """
        params: dict[str, Any] = {"logStreamName": stream, "startFromHead": True, "limit": limit}
        if since:
            params["startTime"] = since
        found = self._ask(lambda client: client.get_log_events, params, token)
        if found is None:
            return None
        events = [
            (int(each.get("timestamp") or 0), str(each.get("message") or ""))
            for each in found.get("events", ())
        ]
        return events, found.get("nextForwardToken") or None

    def _ask(
        self,
        call: Callable[[Any], Callable[..., Mapping[str, Any]]],
        params: Mapping[str, Any],
        token: str | None,
    ) -> Mapping[str, Any] | None:
        more = {} if token is None else {"nextToken": token}
        with self._account.asking("read the log of a training job", region=self._region):
            client = self._account.client("logs", self._region, attempts=1)
            try:
                return call(client)(logGroupName=LOG_GROUP, **params, **more)
            except Exception as error:
                code = code_of(error)
                if code == "ResourceNotFoundException":
                    return None
                if code in BUSY:
                    raise Throttled from None
                if code == "InvalidParameterException" and token is not None:
                    raise TokenRefused from None
                raise
