"""The log of one job: the streams of its instances become one. Pure; a lock is the caller's.

The order: of one instance, the lines come as CloudWatch gives them, its streams one after the other. Between
instances the earlier time comes first, as far as it can be seen: a line waits while another instance is known
to have more that was not fetched yet, and for nothing else. What CloudWatch shows late comes late.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import attrs

from launch_sagemaker.cursors import Cursor, Place, cursor_text
from launch_sagemaker.streams import (
    SKEW,
    Event,
    Get,
    Moment,
    Source,
    is_instance,
    parse_name,
    prefix_of,
)
from launchcore.plugin import LaunchError, LogBatch, Phase, RunStatus

AHEAD: Final = 512 * 1024
"""Bytes of a log that are held before somebody takes them, about."""
SOONEST, LATEST = 1.0, 30.0
"""Seconds between two looks at a stream in which nothing comes."""
LIST_LATEST: Final = 300.0
"""Seconds between two looks for further streams, where none is missing."""
AGAIN: Final = 5.0
"""Seconds after which what went wrong is tried again."""
LIVELY: Final = 30.0
"""Seconds for which a log that talked comes before the quiet ones."""


class Sight(Protocol):
    """What is known of a job."""

    @property
    def status(self) -> RunStatus: ...
    @property
    def instances(self) -> int: ...
    @property
    def ended_at(self) -> float | None:
        """UNIX seconds."""


@attrs.frozen
class Listing:
    """One request for the names of a job's streams. ``token``: where to go on; ``None``: the beginning."""

    token: str | None
    now: float
    settled: bool


@attrs.define(eq=False)
class Feed:
    """What is known of a job's log, from a cursor on. Times are on the clock of whoever asks."""

    job: str
    began: str | None
    """The cursor that was asked for, or the one that was given with the last data."""
    text: str
    """The cursor of now: since ``began``, nothing was given out."""
    sources: dict[str, Source]
    used: float
    """When it was read the last time."""
    changed: float
    """Since when streams may have come."""
    instances: int = 0
    several: bool | None = None
    """Whether lines have prefixes; ``None``: not known yet."""
    progress: str | None = None
    waiting: bool = False
    """No container runs yet."""
    settles: float | None = None
    """The job has ended, and from then on nothing more comes."""
    ended: float = 0.0
    """When it has ended, in UNIX seconds."""
    listed: float | None = None
    """When the streams were listed."""
    listed_settled: bool = False
    list_token: str | None = None
    found: list[str] | None = None
    """Names of a listing that is not complete."""
    due: float = 0.0
    """When something is to be asked."""
    error: LaunchError | None = None
    retry: float = 0.0
    dirty: bool = False

    def goes_on(self, cursor: str | None) -> bool:
        return cursor in (self.text, self.began)

    def see(self, sight: Sight | None, moment: Moment) -> None:
        """What is known of the job now."""
        if sight is None:
            return
        if sight.instances > 0:
            self.instances, self.several = sight.instances, sight.instances > 1
        status, now = sight.status, moment.now
        waiting = status.phase is Phase.PENDING
        if (waiting, status.progress) != (self.waiting, self.progress):
            self.waiting, self.progress, self.changed = waiting, status.progress, now
            self.plan(moment)
        if status.phase.final and self.settles is None:
            ended = sight.ended_at or None
            long_ago = ended is not None and moment.wall - ended > moment.settle + SKEW
            self.settles = now if long_ago else now + moment.settle
            self.ended = moment.wall if ended is None else ended
            for source in self.sources.values():
                if source.page is None and not source.place.done:
                    source.due = min(source.due, now)
            self.plan(moment)

    # -- what is asked ---------------------------------------------------------------------------

    def rank(self, now: float) -> int:
        """Who comes first: what has ended, what is new or talks, what is quiet."""
        if self.settles is not None:
            return 0
        talks = self.listed is None or any(now - each.talked < LIVELY for each in self.sources.values())
        return 1 if talks else 2

    def request(self, moment: Moment) -> Listing | Get:
        """The one that is due first."""
        first = min(self.sources.values(), key=lambda source: source.due, default=None)
        if first is None or self._list_due(moment) <= first.due:
            return Listing(self.list_token, moment.now, self._settled(moment.now))
        if self._settled(moment.now):
            moment = attrs.evolve(moment, over=self.ended + moment.settle)
        return first.request(self.job, self._share(), moment)

    def names(self, asked: Listing, names: Iterable[str], token: str | None, moment: Moment) -> None:
        """An answer to a :class:`Listing`."""
        self.error = None
        found = [*((self.found or ()) if asked.token else ()), *names]
        if token is not None and token != asked.token:
            self.found, self.list_token = found, token
        else:
            self.found = self.list_token = None
            self.listed, self.listed_settled = asked.now, asked.settled
            self._know(found, moment)
        self.plan(moment)

    def list_again(self, moment: Moment) -> None:
        """The token of a listing is not taken any more."""
        self.found = self.list_token = None
        self.plan(moment)

    def events(self, get: Get, events: Sequence[Event], token: str | None, moment: Moment) -> None:
        """An answer to a :class:`Get`."""
        self.error = None
        moved = get.source.answered(get, events, token, self._share())
        self._after(get, moved, moment)

    def unknown(self, get: Get, moment: Moment) -> None:
        """There is no such stream."""
        self.error = None
        get.source.unknown()
        self._after(get, False, moment)

    def refused(self, get: Get, moment: Moment) -> None:
        """The token is not taken any more."""
        get.source.refused()
        self._after(get, True, moment)

    def failed(self, error: LaunchError, moment: Moment) -> None:
        """It could not be asked."""
        self.error, self.retry = _again(error), moment.now + AGAIN
        self.plan(moment)

    def plan(self, moment: Moment) -> None:
        """Say when something is to be asked."""
        first = min((source.due for source in self.sources.values()), default=math.inf)
        self.due = max(min(first, self._list_due(moment)), self.retry)

    # -- what is given out -----------------------------------------------------------------------

    def take(self, limit: int, moment: Moment) -> LogBatch:
        """:raises LaunchError: nothing is there, and it cannot be read now."""
        over = self._over()
        if self.several is None and over:
            self.several = len(self.sources) > 1  # nobody knows the job any more
        data = b"" if self.several is None else self._merged(limit, moment)
        gap = "; ".join(source.gap for source in self.sources.values() if source.gap) or None
        if not data and gap is None and self.error is not None:
            raise _again(self.error)
        for source in self.sources.values():
            source.gap = None
        if data or self.dirty:
            self.text = cursor_text({label: source.place for label, source in self.sources.items()})
            self.dirty = False
        if data:
            self.began = self.text
            self.plan(moment)
        if over:
            self.text = self.began = cursor_text({}, ended=True)
        return LogBatch(data=data, cursor=self.text, end=over, gap=gap)

    def _merged(self, limit: int, moment: Moment) -> bytes:
        several = bool(self.several)
        if any(source.broken_off for source in self.sources.values()):
            return b""
        heads = [
            (s.place.offset == 0, s.page.head[0], label, s) for label, s in self.sources.items() if s.page
        ]
        heapq.heapify(heads)
        behind = [s.place.at for s in self.sources.values() if not (s.page or s.tip or s.place.done)]
        barrier: float = min(behind, default=math.inf)
        found: list[bytes] = []
        room = limit
        while heads and room > 0:
            whole, at, label, source = heads[0]
            if whole and at > barrier:
                break
            line = source.line(prefix_of(label) if several else b"")
            begin = source.place.offset
            if len(line) - begin > room:
                if not found:
                    end = _cut(line, begin + room)
                    found.append(line[begin:end])
                    source.place.offset = end
                    if end == len(line):
                        self._gave(heads, moment)
                break
            found.append(line[begin:])
            room -= len(line) - begin
            if not self._gave(heads, moment):
                barrier = min(barrier, at)
        return b"".join(found)

    def _gave(self, heads: list[tuple[bool, int, str, Source]], moment: Moment) -> bool:
        """The first of them has given out its line. False: it has none more here."""
        _, at, label, source = heads[0]
        if source.gave():
            assert source.page is not None
            heapq.heapreplace(heads, (True, source.page.head[0], label, source))
            return True
        heapq.heappop(heads)
        live = self.settles is None and len(self.sources) == 1 and moment.wall - at / 1000 < LIVELY
        source.due = moment.now + (SOONEST if live else 0.0)
        return False

    # -- inside ----------------------------------------------------------------------------------

    def _settled(self, now: float) -> bool:
        return self.settles is not None and now >= self.settles

    def _over(self) -> bool:
        return self.listed_settled and all(source.place.done for source in self.sources.values())

    def _share(self) -> int:
        return AHEAD // max(sum(not source.place.done for source in self.sources.values()), 1)

    def _know(self, names: Iterable[str], moment: Moment) -> None:
        begin = len(self.job) + 1
        for label, epoch in sorted({parse_name(name[begin:]) for name in names if len(name) > begin}):
            known = self.sources.get(label)
            if known is None:
                place = Place(epoch=epoch)
                self.sources[label] = Source(label, place, talked=moment.now, due=moment.now)
            elif not known.follow(epoch, moment.now):
                continue
            elif known.page is None:
                known.due = min(known.due, moment.now + moment.settle)
            self.changed = moment.now
            self.dirty = True

    def _after(self, get: Get, moved: bool, moment: Moment) -> None:
        source = get.source
        moved = source.move_on(get) or moved
        self.dirty = self.dirty or moved
        source.due = self._source_due(source, moment)
        self.plan(moment)

    def _source_due(self, source: Source, moment: Moment) -> float:
        now = moment.now
        if source.page is not None or source.place.done:
            return math.inf
        if not source.tip:
            return now
        if self.settles is not None:
            # Little is left to come: now and then until then, and a last time.
            return max(min(now + SOONEST * 3, self.settles), now + 0.1)
        quiet = now + min(max((now - source.talked) / 4, SOONEST), LATEST)
        if source.later:
            return min(quiet, max(source.later[0][1] + moment.settle, now + SOONEST))
        return quiet

    def _list_due(self, moment: Moment) -> float:
        if self.listed is None or self.list_token is not None:
            return moment.now
        if self.settles is not None:
            return math.inf if self.listed_settled else self.settles
        age = self.listed - self.changed
        if self.changed > self.listed:
            return moment.now
        known = sum(map(is_instance, self.sources))
        if known >= max(self.instances, 1):
            return self.listed + min(max(age / 2, 2 * AGAIN), LIST_LATEST)
        if self.waiting:
            return self.listed + LATEST
        return self.listed + min(max(age / 4, 2 * SOONEST), LATEST)


def feed_of(job: str, text: str | None, cursor: Cursor, now: float) -> Feed:
    """Read from a cursor on."""
    sources = {
        label: Source(label, place, talked=now, due=math.inf if place.done else now)
        for label, place in cursor.places.items()
    }
    again = cursor_text(cursor.places, ended=cursor.ended)
    return Feed(job, began=text, text=again, sources=sources, used=now, changed=now)


def _again(error: LaunchError) -> LaunchError:
    """The same, without the frames that an exception holds."""
    return LaunchError(
        error.detail, reason=error.reason, fault=error.fault, hint=error.hint, retryable=error.retryable
    )


def _cut(line: bytes, at: int) -> int:
    """Where to cut a line: at the end of a character."""
    while at < len(line) and line[at] & 0xC0 == 0x80:
        at += 1
    return at
