"""Writes of one agent at the same time share requests."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from launchcore.plugin import Lease, LeaseLost, Update
from launchcore.queues.http_writes import Writes
from launchcore.queues.wire import AttemptWrite
from tests.crash.world import wait_until

PATIENT = 120.0
"""Seconds: a test that waits for so long has failed."""


class Service:
    """Notes what each request has, and answers it when it is let."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.open = threading.Event()
        self.open.set()

    def send(self, writes: Sequence[AttemptWrite]) -> list[Exception | None]:
        names = sorted(write.lease.attempt_id for write in writes)
        self.requests.append(names)
        assert self.open.wait(PATIENT)
        return [LeaseLost(name) if name == "lost" else None for name in names]


def write(name: str) -> AttemptWrite:
    return AttemptWrite(lease=Lease(attempt_id=name, token="t", expires_at=0.0), update=Update())


def start(writes: Writes, name: str) -> threading.Thread:
    thread = threading.Thread(target=writes.run, args=(write(name),))
    thread.start()
    return thread


def three_at_once(service: Service, writes: Writes) -> None:
    """One request of one write, and one of the three that came meanwhile."""
    service.open.clear()
    threads = [start(writes, "first")]
    wait_until("it is sent", lambda: service.requests)
    threads += [start(writes, name) for name in "abc"]
    wait_until("the others wait", lambda: len(writes._waiting) == 3)
    service.open.set()
    for thread in threads:
        thread.join(PATIENT)
    assert service.requests == [["first"], ["a", "b", "c"]]


def test_what_comes_while_one_is_sent_goes_together() -> None:
    service = Service()
    three_at_once(service, Writes(service.send, moment=PATIENT))


def test_those_who_were_answered_together_are_waited_for() -> None:
    service = Service()
    writes = Writes(service.send, moment=PATIENT)
    three_at_once(service, writes)

    threads = [start(writes, "a")]
    wait_until("it waits", lambda: len(writes._waiting) == 1)
    threads += [start(writes, name) for name in "bc"]
    for thread in threads:
        thread.join(PATIENT)

    assert service.requests[2:] == [["a", "b", "c"]]


def test_nobody_is_waited_for_for_ever() -> None:
    service = Service()
    writes = Writes(service.send, moment=0.001)
    three_at_once(service, writes)

    writes.run(write("a"))

    assert service.requests[2:] == [["a"]]


def test_who_writes_alone_does_not_wait() -> None:
    service = Service()
    writes = Writes(service.send, moment=float("inf"))

    for name in "abc":
        writes.run(write(name))

    assert service.requests == [["a"], ["b"], ["c"]]
