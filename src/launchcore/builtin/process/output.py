"""Read a run's log by offset, from its file: no keeper is needed."""

from __future__ import annotations

from launchcore.builtin.process.records import Place
from launchcore.plugin import LogBatch


def read_log(place: Place, cursor: str | None, limit: int) -> LogBatch:
    """At most ``limit`` bytes after ``cursor``, an offset in decimal digits."""
    offset = int(cursor) if cursor is not None and cursor.isdecimal() else 0
    ended = place.has_ended()  # looked at first: what is read after it is all that there will ever be
    gap = None
    try:
        with place.log.open("rb") as log:
            size = log.seek(0, 2)
            if size < offset:
                gap = f"the run has cut its own log; {offset} bytes of it were read before"
                offset = 0
            log.seek(offset)
            data = log.read(max(0, min(limit, size - offset)))
    except FileNotFoundError:
        lost = "the log is not there any more" if offset == 0 else None
        gone = not place.record.exists()
        return LogBatch(data=b"", cursor=str(offset), end=gone or ended, gap=lost if gone else None)
    offset += len(data)
    return LogBatch(data=data, cursor=str(offset), end=ended and offset >= size, gap=gap)
