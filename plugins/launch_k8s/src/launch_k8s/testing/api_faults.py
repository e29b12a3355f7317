"""What the scripted API server does wrong when a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import attrs

from launch_k8s.testing.api_store import Refused


@attrs.define(kw_only=True)
class Fault:
    """Hits the requests of a method whose path contains a text; ``watch``: only watches, or none."""

    method: str
    path: str
    watch: bool | None = None
    times: int
    code: int | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    reason: str = ""
    drop: bool = False
    """The connection is closed, and nothing is done."""
    swallow: bool = False
    """It is done, and the connection is closed without an answer."""
    event: int | None = None
    """A watch that begins well, and then has an ERROR event of this code in its stream."""
    hits: int = 0


class Faults:
    """The scripted faults, in the order in which they were added. Thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, method: str, path: str, *, times: int = 1, **what: object) -> Fault:
        """From now on; see :class:`Fault`."""
        fault = Fault(method=method, path=path, times=times, **what)  # type: ignore[arg-type]
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def next(self, method: str, path: str, watch: bool) -> Fault | None:
        """The fault that hits this request, if any does."""
        with self._lock:
            for fault in self._faults:
                fits = fault.method in ("*", method) and fault.path in path
                if fits and fault.watch in (None, watch) and fault.hits < fault.times:
                    fault.hits += 1
                    return fault
        return None


def refusal(fault: Fault) -> Refused:
    """The answer of a fault with a code."""
    assert fault.code is not None
    reasons = {410: "Expired", 429: "TooManyRequests", 403: "Forbidden", 500: "InternalError"}
    reason = fault.reason or reasons.get(fault.code, "ServiceUnavailable")
    return Refused(fault.code, reason, f"scripted: {reason}")
