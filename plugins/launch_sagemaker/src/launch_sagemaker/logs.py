"""Logs of training jobs: live, complete, resumable by any process, with one thread for each region.

Nothing here waits for CloudWatch but that thread: it asks for what readers will want next, at the pace of the
region, and :meth:`Logs.read` gives what has come. What has ended is asked for first, then what talks; every
fourth request is for whoever waits longest, so that a quiet log is looked at less often, but is.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from launch_sagemaker.cloudwatch import CloudWatch, Throttled, TokenRefused
from launch_sagemaker.cursors import read_cursor
from launch_sagemaker.feeds import Feed, Listing, Sight, feed_of
from launch_sagemaker.pace import Pace
from launch_sagemaker.places import Job
from launch_sagemaker.settings import Settings
from launch_sagemaker.streams import Get, Moment
from launchcore.plugin import LaunchError, LogBatch, Reason

if TYPE_CHECKING:
    from launch_aws.session import Account

log = logging.getLogger("launchcore.sagemaker")

IDLE: Final = 120.0
"""Seconds after which a log that nobody reads is forgotten."""
FAIR: Final = 4
"""Of so many requests, one is for whoever waits longest."""


def _start(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="sagemaker-logs", daemon=True).start()


class Logs:
    """The logs of all jobs of an agent. Thread-safe; one reader for each attempt at a time."""

    def __init__(
        self,
        account: Account,
        settings: Settings,
        sight: Callable[[str], Sight | None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        start: Callable[[Callable[[], None]], None] = _start,
    ) -> None:
        """:param sight: what is known of the job of an attempt; answers at once."""
        self._account = account
        self._settings = settings
        self._sight = sight
        self._clock = clock
        self._wall = wall
        self._start = start
        self._workers: dict[str, Worker] = {}
        self._lock = threading.Lock()

    def read(self, job: Job, cursor: str | None, limit: int) -> LogBatch:
        """At most about ``limit`` bytes after ``cursor``: what has been fetched. Returns at once.

        Each event is a line, once, in the order that :mod:`launch_sagemaker.feeds` says. CloudWatch keeps
        events of a stream by their times: one that it shows after a later one was given out is not read.

        The log has ended when the job has, and CloudWatch had nothing more to say ``log_settle_seconds``
        later. Lines have a prefix (``[algo-2] ``) when the job has several instances; they wait until it is
        known whether it has.

        :raises LaunchError: it cannot be read now; or the cursor is none of ours.
        """
        return self._worker(job.region).read(job, cursor, limit, self._sight(job.attempt_id))

    def forget(self, attempt_id: str) -> None:
        with self._lock:
            workers = [*self._workers.values()]
        for worker in workers:
            worker.forget(attempt_id)

    def close(self) -> None:
        """Forget all of them; the threads end by themselves."""
        with self._lock:
            workers, self._workers = [*self._workers.values()], {}
        for worker in workers:
            worker.close()

    def _worker(self, region: str) -> Worker:
        with self._lock:
            worker = self._workers.get(region)
            if worker is None:
                pace = Pace(self._settings.log_requests_per_second, clock=self._clock)
                settle = self._settings.log_settle_seconds
                cloud = CloudWatch(self._account, region)
                worker = Worker(cloud, pace, settle, clock=self._clock, wall=self._wall, start=self._start)
                self._workers[region] = worker
            return worker


class Worker:
    """Fetches the logs of one region, one request after the other."""

    def __init__(
        self,
        cloud: CloudWatch,
        pace: Pace,
        settle: float,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        start: Callable[[Callable[[], None]], None],
    ) -> None:
        self._cloud = cloud
        self._pace = pace
        self._settle = settle
        self._clock = clock
        self._wall = wall
        self._start = start
        self._feeds: dict[str, Feed] = {}
        self._changed = threading.Condition()
        self._sleeps = -math.inf
        """Until when the thread sleeps, unless somebody is to be served sooner."""
        self._news = False
        self._running = False
        self._turn = 0

    def read(self, job: Job, cursor: str | None, limit: int, sight: Sight | None) -> LogBatch:
        with self._changed:
            moment = self._moment()
            feed = self._feeds.get(job.attempt_id)
            if feed is None or not feed.goes_on(cursor):
                try:
                    known = read_cursor(cursor)
                except ValueError:
                    raise LaunchError("the position in the log is not one of this runner's") from None
                if known.ended and cursor is not None:
                    return LogBatch(data=b"", cursor=cursor, end=True)
                feed = self._feeds[job.attempt_id] = feed_of(job.name, cursor, known, moment.now)
            feed.used = moment.now
            feed.see(sight, moment)
            try:
                batch = feed.take(max(limit, 1), moment)
            finally:
                self._wake(feed.due)
            if batch.end:
                del self._feeds[job.attempt_id]
            return batch

    def forget(self, attempt_id: str) -> None:
        with self._changed:
            if self._feeds.pop(attempt_id, None) is not None and not self._feeds:
                self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._feeds.clear()
            self._changed.notify()

    def step(self) -> float | None:
        """Make the most urgent request, if one may be made. The seconds to wait before the next step;
        ``None``: there is nothing to do."""
        with self._changed:
            now, self._sleeps = self._clock(), -math.inf
            for attempt in [each for each, feed in self._feeds.items() if feed.used < now - IDLE]:
                del self._feeds[attempt]
            if not self._feeds:
                return None
            soonest = min(feed.due for feed in self._feeds.values())
            if soonest > now:
                self._sleeps = soonest
                return min(soonest - now, IDLE)
        if (pause := self._pace.take()) > 0:
            return pause
        with self._changed:
            moment = self._moment()
            feed = self._first(moment.now)
            if feed is None:
                return 0.0
            request = feed.request(moment)
        self._make(feed, request)
        return 0.0

    def _first(self, now: float) -> Feed | None:
        due = [feed for feed in self._feeds.values() if feed.due <= now]
        self._turn += 1
        if self._turn % FAIR == 0:
            return min(due, key=lambda feed: feed.due, default=None)
        return min(due, key=lambda feed: (feed.rank(now), feed.due), default=None)

    def _make(self, feed: Feed, request: Listing | Get) -> None:
        """Feeds that were forgotten meanwhile take the answer in, too: nobody reads them."""
        try:
            answer = self._list(feed, request) if isinstance(request, Listing) else self._get(feed, request)
            self._pace.fine()
            with self._changed:
                answer(self._moment())
        except Throttled:
            self._pace.throttled()
        except LaunchError as error:
            self._failed(feed, error)
        except Exception as error:
            log.exception("a log cannot be read")
            told = f"the log cannot be read: {type(error).__name__}"
            self._failed(feed, LaunchError(told, reason=Reason.PLUGIN_ERROR))

    def _failed(self, feed: Feed, error: LaunchError) -> None:
        with self._changed:
            feed.failed(error, self._moment())

    def _list(self, feed: Feed, request: Listing) -> Callable[[Moment], None]:
        try:
            names, token = self._cloud.streams(feed.job, request.token) or ((), None)
        except TokenRefused:
            return feed.list_again
        return lambda moment: feed.names(request, names, token, moment)

    def _get(self, feed: Feed, get: Get) -> Callable[[Moment], None]:
        try:
            found = self._cloud.events(get.stream, get.token, get.since, get.limit)
        except TokenRefused:
            return lambda moment: feed.refused(get, moment)
        if found is None:
            return lambda moment: feed.unknown(get, moment)
        events, token = found
        return lambda moment: feed.events(get, events, token, moment)

    # -- the thread ------------------------------------------------------------------------------

    def _wake(self, due: float) -> None:
        """With the lock held: somebody is to be served at ``due``."""
        if not self._running:
            self._start(self._run)
            self._running = True
        elif due < self._sleeps:
            self._sleeps, self._news = -math.inf, True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            try:
                pause = self.step()
            except Exception:
                log.exception("logs cannot be read")
                pause = IDLE / FAIR
            with self._changed:
                if not self._feeds:
                    self._running = False
                    return
                if pause and not self._news:
                    self._changed.wait(pause)
                self._news = False

    def _moment(self) -> Moment:
        return Moment(self._clock(), self._wall(), self._settle)
