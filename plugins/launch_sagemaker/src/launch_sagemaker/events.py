"""State changes of training jobs as EventBridge tells them, through an SQS queue of the agent's own.

An event ("SageMaker Training Job State Change") says only that there is something to look at: whoever may
write to the queue can make us look, and nothing else. All messages are deleted, also those about other jobs:
each agent needs a queue of its own, which EventBridge fills. What is lost is seen by the looks, later.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from launch_aws.names import REGION
from launch_aws.session import Account

from launchcore.plugin import LaunchError

log = logging.getLogger("launchcore.sagemaker")

DETAIL_TYPE: Final = "SageMaker Training Job State Change"
"""The ``detail-type`` of the events (Amazon EventBridge events reference, SageMaker)."""
WAIT: Final = 20
"""Seconds of one long poll, the most that SQS allows."""
BATCH: Final = 10
"""Messages at a time, the most that SQS allows."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries while SQS does not answer."""
LATELY: Final = 30.0
"""Seconds beyond a long poll after which silence of SQS itself is a bad sign."""
LONGEST: Final = 256 * 1024
"""Bytes of a message: SQS takes no more."""


class Hurried(Protocol):
    """What is told: the observer."""

    def named(self, name: str) -> str | None: ...
    def hurry(self, attempt_id: str) -> None: ...


class Events:
    """One thread that waits for messages. Begin with :meth:`start`."""

    def __init__(
        self,
        account: Account,
        url: str,
        observer: Hurried,
        *,
        wait: int = WAIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param url: the queue's. :param wait: seconds of one long poll."""
        self._account = account
        self._url = url
        self._observer = observer
        # A poll is an answer that takes its time: the account's patience with answers is its bound.
        self._wait = min(wait, max(int(account.settings.answer_seconds) - 5, 1))
        self._clock = clock
        self._chance = random.Random().random
        self._stop = threading.Event()
        self._heard_at: float | None = None
        self._event_came = False
        self._away = False
        self._thread = threading.Thread(target=self._run, name="sagemaker-events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Wait for nothing any more. A long poll that is going on ends by itself, and what it brings stays in
        the queue."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=0.5)

    def healthy(self) -> bool:
        """Whether changes are told of: SQS has answered lately, and an event has come at all: somebody
        sends them."""
        heard = self._heard_at
        return (
            self._event_came
            and not self._stop.is_set()
            and heard is not None
            and self._clock() - heard < self._wait + LATELY
        )

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            try:
                self._poll()
                pause = FIRST_PAUSE
                if self._away:
                    self._away = False
                    log.info("the queue of SageMaker's events answers again")
            except Exception as error:
                self._failed(error)
                self._stop.wait(pause * (0.5 + self._chance() / 2))
                pause = min(pause * 2, LONGEST_PAUSE)

    def _failed(self, error: Exception) -> None:
        """Said once: looks go on meanwhile, only more often."""
        self._heard_at = None
        if self._away:
            return
        self._away = True
        if isinstance(error, LaunchError):
            log.warning("%s%s", error.detail, f" Try: {error.hint}" if error.hint else "")
        else:
            log.error("reading SageMaker's events failed, going on", exc_info=error)

    def _poll(self) -> None:
        region = region_of(self._url) or self._account.region
        with self._account.asking("read SageMaker's events from their queue", region=region):
            client, began = self._account.client("sqs", region, attempts=1), self._clock()
            found = client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=self._wait
            )
            self._heard_at = self._clock()
            messages = found.get("Messages") or ()
            if not messages and self._clock() - began < 1.0:
                self._stop.wait(1.0)  # it knows no long polls
            if self._stop.is_set() or not messages:
                return
            self._tell(messages)
            entries = [
                {"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)
            ]
            client.delete_message_batch(QueueUrl=self._url, Entries=entries)

    def _tell(self, messages: Sequence[Mapping[str, Any]]) -> None:
        for name in dict.fromkeys(job_in(each.get("Body")) for each in messages):
            if name is None:
                continue
            self._event_came = True
            attempt = self._observer.named(name)
            if attempt is not None:
                self._observer.hurry(attempt)


def job_in(body: object) -> str | None:
    """The name of the training job that a message tells of; ``None``: it tells of none."""
    if not isinstance(body, str) or len(body) > LONGEST:
        return None
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("detail-type") != DETAIL_TYPE:
        return None
    detail = event.get("detail")
    name = detail.get("TrainingJobName") if isinstance(detail, dict) else None
    return name if isinstance(name, str) else None


def region_of(url: str) -> str | None:
    """The region in a queue's URL; ``None``: its host names none.

    >>> region_of("https://sqs.eu-west-1.amazonaws.com/123456789012/events")
    'eu-west-1'
    >>> region_of("https://vpce-0ab1-2cd3.sqs.us-east-1.vpce.amazonaws.com/123456789012/events")
    'us-east-1'
    >>> region_of("http://127.0.0.1:4566/123456789012/events")
    """
    labels = (urlsplit(url).hostname or "").split(".")
    return next((each for each in labels if REGION.fullmatch(each) and not each.startswith("vpce-")), None)
