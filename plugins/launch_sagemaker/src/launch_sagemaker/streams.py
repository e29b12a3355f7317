"""What one instance of a job writes: its log streams, one after the other, event by event. Pure.

An instance has a stream for each start of its container (``algo-1-1700000000``, then ``algo-1-1700009999``
after an interruption). The next one is begun when the one before has nothing more to say.

How GetLogEvents answers (its API reference, and what its users report):

- An answer may have less than there is, and nothing at all, while the token it gives goes on. Only an answer
  with the token that was asked with is the end, for now.
- Events come in the order of their times, and those of one time in the order in which they were written.
- After a pause in the log the token goes on through empty answers. A token that stands at nearly now would
  leave out what CloudWatch has not got yet, so the old one is kept until the new one is well in the past.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import attrs

from launch_sagemaker.cursors import Place, token_time

LATE: Final = 600.0
"""Seconds after which nothing comes to CloudWatch any more, where a job goes on."""
SKEW: Final = 300.0
"""Seconds that clocks may differ: AWS refuses what is signed by a clock that differs more."""
MOST_EMPTY: Final = 30
"""Empty answers in a row after which an ended stream has ended, although the token is always another one and
leads to no later time."""
PER_ANSWER: Final = 10_000
"""Events that can be asked for at a time."""
USUAL: Final = 128
"""Bytes of an event, until it is known better."""
OVERHEAD: Final = 64
"""Bytes that an event costs us beside its text."""

_NAME: Final = re.compile(r"(.+)-([1-9][0-9]{0,14})", re.ASCII | re.DOTALL)
_INSTANCE: Final = re.compile(r"algo-[0-9]{1,6}", re.ASCII)

Event = tuple[int, str]
"""Its time, in UNIX milliseconds, and its text."""


def parse_name(rest: str) -> tuple[str, int]:
    """What follows the job's name in that of a stream → label and number.

    >>> parse_name("algo-2-1700000000")
    ('algo-2', 1700000000)
    >>> parse_name("other")
    ('other', 0)
    """
    found = _NAME.fullmatch(rest)
    return (found[1], int(found[2])) if found else (rest, 0)


def stream_name(job: str, label: str, epoch: int) -> str:
    return f"{job}/{label}-{epoch}" if epoch else f"{job}/{label}"


def prefix_of(label: str) -> bytes:
    """What its lines begin with. A job may name further streams as it likes: what cannot be shown is not.

    >>> prefix_of("algo-2")
    b'[algo-2] '
    """
    shown = "".join(one if one.isprintable() else "?" for one in label[:40])
    return f"[{shown}] ".encode("utf-8", "replace")


def is_instance(label: str) -> bool:
    """Whether it is the name of one of the job's instances."""
    return _INSTANCE.fullmatch(label) is not None


def line_of(text: str, prefix: bytes) -> bytes:
    r"""The lines of an event, mostly one. Carriage returns within (progress bars) are kept.

    >>> line_of("a\r\nb\r\n", b"[algo-1] ")
    b'[algo-1] a\n[algo-1] b\n'
    """
    data = text.removesuffix("\n").rstrip("\r").replace("\r\n", "\n").encode("utf-8", "replace")
    return prefix + (data.replace(b"\n", b"\n" + prefix) if prefix else data) + b"\n"


@attrs.frozen
class Moment:
    """When something is asked, and what is known then."""

    now: float
    """On the clock of whoever asks."""
    wall: float
    """In UNIX seconds."""
    settle: float
    """Seconds in which the rest of a stream that has ended may still come."""
    over: float | None = None
    """The job has ended for so long; what it wrote is of before this time, in UNIX seconds."""


@attrs.frozen
class Get:
    """One request for events, as it was made. ``asked_at``: on the clock of whoever asks."""

    source: Source
    stream: str
    token: str | None
    since: int
    limit: int
    now: float
    wall: float
    over: float | None
    """The stream has ended, and nothing more comes; its events are of before this time, in UNIX seconds."""


@attrs.define
class Page:
    """Events that wait to be given out."""

    events: Sequence[Event]
    then: str | None
    """The token that follows them; ``None``: there is more with the same one."""
    next: int = 0

    @property
    def head(self) -> Event:
        return self.events[self.next]


@attrs.define(eq=False)
class Source:
    """The streams of one instance, and how far they were read."""

    label: str
    place: Place
    talked: float
    """When something new came the last time, on the clock."""
    due: float = 0.0
    later: list[tuple[int, float]] = attrs.field(factory=list)
    """The streams that follow this one: their numbers, and when they were seen first."""
    page: Page | None = None
    tip: bool = False
    """When it was asked the last time, there was nothing to see."""
    clean: bool = False
    """…and CloudWatch said that this is the end, for now."""
    gone: bool = False
    """…because it does not know the stream."""
    timed: bool = False
    """The place is named by its time, and that was not confirmed yet."""
    empties: int = 0
    width: int = USUAL
    gap: str | None = None

    def request(self, job: str, share: int, moment: Moment) -> Get:
        """:param share: bytes that may be kept of the answer."""
        limit = min(max(share // self.width, 1) + self.place.skip, PER_ANSWER)
        name = stream_name(job, self.label, self.place.epoch)
        place, now = self.place, moment.now
        over = moment.over
        if over is None and self._left(moment):
            over = self.later[0][0] + moment.settle
        return Get(self, name, place.token, place.since, limit, now, moment.wall, over)

    @property
    def broken_off(self) -> bool:
        """A part of a line was given out, and the rest was not fetched yet."""
        return self.place.offset > 0 and self.page is None and not self.tip

    # -- what came -------------------------------------------------------------------------------

    def answered(self, get: Get, events: Sequence[Event], token: str | None, share: int) -> bool:
        """Take in an answer; ``token`` is the one to go on with. True: the place has moved."""
        place = self.place
        if token is None:
            token = place.token or ""
        same = token == (place.token or "")
        self.tip = self.clean = self.gone = False
        known = min(place.skip, len(events))
        if place.skip and not self._confirmed(events, same):
            if not self.timed:
                self.refused()
                return True
            known = self._lose(events)
        elif known == place.skip:
            self.timed = False
        fresh = events[known:]
        if fresh:
            self._keep(fresh, None if same else token, share)
            self.talked, self.empties = get.now, 0
            return False
        if same:
            self.tip = self.clean = True
            return False
        if not events and get.over is None and not _past(token, get.wall):
            self.tip = True
            return False
        place.token = token
        place.skip -= known
        self.empties = self.empties + 1 if not events and _stands(get, token) else 0
        if get.over is not None and not events and (token_time(token) or 0.0) >= get.over:
            self.tip = self.clean = True
        elif get.over is not None and self.empties >= MOST_EMPTY:
            self.tip = self.clean = True
            self._note("CloudWatch names no end of it; the last lines may be missing")
        return True

    def unknown(self) -> None:
        """CloudWatch knows no such stream: not yet, or not any more."""
        self.tip = self.clean = self.gone = True

    def refused(self) -> None:
        """The token is not taken any more: from now on by time. Exact, where times are in order."""
        self.timed, self.tip, self.clean = True, False, False
        if not self.place.by_time():
            self._note("CloudWatch has forgotten where it was read to; some lines are missing or repeated")

    def move_on(self, get: Get) -> bool:
        """To the stream that follows, or to the end, if this one has nothing more to say. True: moved."""
        if not self.clean or get.over is None:
            return False
        if self.gone:
            self._note("its log stream is not in CloudWatch any more")
        if self.later:
            self.place = Place(epoch=self.later.pop(0)[0])
        else:
            self.place = Place(epoch=self.place.epoch, done=True)
        self.tip = self.clean = self.gone = False
        self.empties = 0
        return True

    def follow(self, epoch: int, now: float) -> bool:
        """There is this stream, too. True: it is news."""
        if epoch <= self.place.epoch or any(epoch == each for each, _ in self.later):
            return False
        if self.place.done:
            self.place = Place(epoch=epoch)
            self.due, self.talked = now, now
        else:
            self.later = sorted([*self.later, (epoch, now)])
        return True

    # -- what is given out -----------------------------------------------------------------------

    def line(self, prefix: bytes) -> bytes:
        """The next line, whole."""
        assert self.page is not None
        return line_of(self.page.head[1], prefix)

    def gave(self) -> bool:
        """It was given out to its end. True: another one waits."""
        page, place = self.page, self.place
        assert page is not None
        place.gave(page.head[0])
        page.next += 1
        if page.next < len(page.events):
            return True
        if page.then is not None:
            place.token, place.skip = page.then, 0
        self.page = None
        return False

    # -- inside ----------------------------------------------------------------------------------

    def _confirmed(self, events: Sequence[Event], same: bool) -> bool:
        """Whether the answer begins with what was given out, as far as can be seen."""
        place = self.place
        if len(events) < place.skip and same:
            return False
        if place.count < 0:
            return True
        known = events[: place.skip]
        return all(at <= place.at for at, _ in known) and (
            len(known) < place.skip or known[-1][0] == place.at
        )

    def _lose(self, events: Sequence[Event]) -> int:
        """Not even the time leads back to the place: go on after it. How many of the events are before."""
        place = self.place
        before = next((index for index, (at, _) in enumerate(events) if at > place.at), len(events))
        self.timed = False
        place.skip = before
        place.count = sum(at == place.at for at, _ in events[:before])
        place.offset = 0
        self._note("CloudWatch has not any more what was read; some lines may be missing")
        return before

    def _keep(self, fresh: Sequence[Event], token: str | None, share: int) -> None:
        size = 0
        for count, (_, text) in enumerate(fresh):
            size += len(text) + OVERHEAD
            if size > share and count:
                fresh, token = fresh[:count], None
                break
        self.width = max(size // len(fresh), 1)
        self.page = Page(fresh, token)

    def _left(self, moment: Moment) -> bool:
        """Whether another stream follows, and this one has had the time to say the rest."""
        if not self.later:
            return False
        epoch, seen = self.later[0]
        return moment.now >= seen + moment.settle or moment.wall - epoch > moment.settle + SKEW

    def _note(self, words: str) -> None:
        self.gap = self.gap or f"{words} ({prefix_of(self.label).decode()[1:-2]})"


def _past(token: str, wall: float) -> bool:
    """Whether a token stands where nothing new comes. One of another form names an event, not a time."""
    at = token_time(token)
    return at is None or at < wall - LATE


def _stands(get: Get, token: str) -> bool:
    """Whether a token, after an empty answer, leads to no later time, as far as can be seen."""
    at, before = token_time(token), token_time(get.token or "")
    return at is None or (before is not None and at <= before)
