"""Which calls a script hits: so many, for so long, or those above a rate. Thread-safe."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from typing import Final

import attrs

ANY: Final = "*"


@attrs.define(kw_only=True, eq=False)
class Script:
    """What happens to calls of an operation. Without ``calls`` and ``until`` it has no end.

    ``act`` raises what is answered, or waits. ``made``: after the request was carried out, not before.
    ``above``: only to calls that exceed so many in a second.
    """

    operation: str
    act: Callable[[], None]
    made: bool = False
    calls: int | None = None
    until: float | None = None
    above: float | None = None
    _recent: collections.deque[float] = attrs.field(factory=collections.deque, init=False)

    def hits(self, now: float) -> bool:
        """Whether it hits this call, which is counted."""
        if self.is_over(now):
            return False
        if self.above is not None:
            while self._recent and self._recent[0] <= now - 1.0:
                self._recent.popleft()
            if len(self._recent) < self.above:
                self._recent.append(now)
                return False
        if self.calls is not None:
            self.calls -= 1
        return True

    def is_over(self, now: float) -> bool:
        return (self.calls is not None and self.calls <= 0) or (self.until is not None and now >= self.until)


class Scripts:
    """Those of one endpoint."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._scripts: list[Script] = []

    def add(self, script: Script, seconds: float | None = None) -> None:
        """``seconds``: from now, until it is over."""
        if seconds is not None:
            script.until = self._clock() + seconds
        with self._lock:
            self._scripts.append(script)

    def act(self, operation: str, *, made: bool) -> None:
        """Let those that hit a call act on it."""
        with self._lock:
            now = self._clock()
            self._scripts = [script for script in self._scripts if not script.is_over(now)]
            mine = [
                each for each in self._scripts if each.made is made and each.operation in (ANY, operation)
            ]
            hit = [script for script in mine if script.hits(now)]
        for script in hit:
            script.act()
