"""Logs of all attempts: live, complete, resumable, with a handful of threads for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import attrs

from launch_k8s.api import path_of
from launch_k8s.clusters import POD_KIND, Clusters
from launch_k8s.errors import ApiAway, ApiError, one_line
from launch_k8s.feed import Feed
from launch_k8s.logs import Position, read_cursor
from launch_k8s.places import Target
from launch_k8s.sight import LogSource, Sight
from launch_k8s.streams import Openers, Receiver, Stream
from launch_k8s.wire import Refusal
from launchcore.plugin import LaunchError, LogBatch, RunHandle

SILENCE: Final = 3600.0
"""Seconds: a container may well print nothing for an hour. A dead connection is found by the kernel, which
asks the other side now and then, and by the container's end."""
QUIET: Final = 30.0
"""Seconds of silence after which a followed log makes room for another."""
TURN: Final = 10.0
"""Seconds between two looks at a log that is not followed, at least."""
TURNS: Final = 2.0
"""Such looks a second, all together."""
IDLE: Final = 60.0
"""Seconds after which streams that nobody asks for are closed."""


@attrs.frozen
class Reading:
    """Whose log is read."""

    attempt: str
    target: Target
    several: bool
    """It is the log of several pods."""


class Tails:
    """All logs that are being read. Thread-safe; one reader for each attempt at a time."""

    def __init__(self, clusters: Clusters, sight: Callable[[RunHandle, Target], Sight], most: int) -> None:
        """:param most: streams that are followed at a time."""
        self._clusters = clusters
        self._sight = sight
        self._most = most
        self._feeds: dict[str, Feed] = {}
        self._turns: dict[str, float] = {}
        self._lock = threading.Lock()
        self._openers = Openers()
        self._receiver = Receiver(self._refused)
        self._pruned = time.monotonic()

    def read(self, handle: RunHandle, target: Target, cursor: str | None, limit: int) -> LogBatch:
        """At most about ``limit`` bytes after ``cursor``. Returns at once.

        :raises LaunchError: it cannot be read now, or never.
        """
        feed = self._feed(handle.attempt_id, cursor)
        try:
            sight = self._sight(handle, target)
        except (ApiAway, ApiError) as error:
            words = one_line(str(error), 160)
            raise LaunchError(f"the log cannot be read now: {words}", retryable=True) from None
        # Twice: what has ended is taken note of before and after it was taken.
        open_ = partial(self._open, Reading(handle.attempt_id, target, sight.several))
        feed.step(sight, open_)
        data = feed.take(max(limit, 1), self._receiver.look)
        if not data:
            feed.step(sight, open_)
        text, gap = feed.mark()
        end = not data and feed.ended(sight)
        if end:
            self.forget(handle.attempt_id)
        self._prune()
        return LogBatch(data=data, cursor=text, end=end, gap=gap)

    def forget(self, attempt: str) -> None:
        """Close what is open of it."""
        with self._lock:
            feed = self._feeds.pop(attempt, None)
            self._turns.pop(attempt, None)
        for stream in feed.streams() if feed else ():
            self._drop(stream)

    def _feed(self, attempt: str, cursor: str | None) -> Feed:
        with self._lock:
            feed = self._feeds.get(attempt)
        if feed is not None and feed.goes_on(cursor):
            feed.used = time.monotonic()
            return feed
        self.forget(attempt)
        try:
            made = Feed(read_cursor(cursor), cursor)
        except ValueError:
            raise LaunchError("the position in the log is not one of this runner's") from None
        with self._lock:
            self._feeds[attempt] = made
        return made

    # -- streams ---------------------------------------------------------------------------------

    def _open(
        self, reading: Reading, source: LogSource, position: Position, previous: bool, lively: bool
    ) -> Stream | None:
        live = not (source.ended or previous or source.over)
        follow = live and self._may_follow(lively)
        if live and not follow:
            now = time.monotonic()
            if now < self._turns.get(reading.attempt, 0.0):
                return None
            with self._lock:
                self._turns[reading.attempt] = now + max(TURN, len(self._turns) / TURNS)
        prefix = f"[{source.short}] ".encode() if reading.several else b""
        stream = Stream(position, follow=follow, whole=not live, prefix=prefix)
        stream.cluster = reading.target.place.cluster
        params: dict[str, Any] = {
            "container": source.container,
            "timestamps": True,
            "follow": True if follow else None,
            "previous": True if previous else None,
            "sinceTime": position.since_time,
        }
        path = path_of(POD_KIND, reading.target.place.namespace, source.pod, "/log")
        self._openers.submit(partial(self._connect, reading.target.place.cluster, path, params, stream))
        return stream

    def _connect(self, cluster: str | None, path: str, params: dict[str, Any], stream: Stream) -> None:
        """On a thread of its own: it may take as long as an API server takes to be reached."""
        try:
            wire = self._clusters.api(cluster).stream(path, silence=SILENCE, **params)
        except (ApiAway, ApiError) as error:
            stream.fail(error)
            return
        except Exception as error:
            stream.fail(ApiAway(f"{type(error).__name__}: {error}", sent=False))
            return
        if stream.closed:
            wire.close()
            return
        stream.wire = wire
        self._receiver.look(stream)

    def _refused(self, stream: Stream, refusal: Refusal) -> ApiError:
        return self._clusters.api(stream.cluster).refusal(refusal)

    def _drop(self, stream: Stream) -> None:
        stream.closed = True
        if stream.wire is not None:
            self._receiver.look(stream)

    def _may_follow(self, lively: bool) -> bool:
        """Whether one more log may be followed: there is room, or a quiet one makes it."""
        with self._lock:
            followed = [
                stream
                for feed in self._feeds.values()
                for stream in feed.streams()
                if stream.follow and stream.ended_at is None
            ]
        if len(followed) < self._most:
            return True
        if not lively:
            return False
        quietest = min(followed, key=lambda stream: stream.heard_at)
        if time.monotonic() - quietest.heard_at < QUIET:
            return False
        quietest.stop()
        return True

    def _prune(self) -> None:
        now = time.monotonic()
        if now - self._pruned < IDLE / 4:
            return
        self._pruned = now
        with self._lock:
            idle = [attempt for attempt, feed in self._feeds.items() if feed.used < now - IDLE]
        for attempt in idle:
            self.forget(attempt)
