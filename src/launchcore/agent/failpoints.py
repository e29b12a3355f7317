"""Named places where a test can make the agent die, stall or fail.

``LAUNCHCORE_FAILPOINTS="execute.after_start=kill;report.before=sleep:5"``. Actions: ``kill`` (SIGKILL to
this process), ``stop`` (SIGSTOP), ``sleep:SECONDS``, ``error`` (an exception that no code expects) and
``unavailable`` (as if the queue could not be reached). ``NAME=ACTION*N`` acts the first N times only.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import attrs

from launchcore.plugin import LaunchError, QueueUnavailable

NAMES = frozenset(
    {
        "claim.before",
        "claim.after",
        "source.before",
        "source.after",
        "build.before",
        "build.after",
        "push.before",
        "push.after",
        "execute.prepare",
        "execute.before_start",
        "execute.after_start",
        "execute.after_handle",
        "log.before_append",
        "log.after_append",
        "report.before",
        "report.after",
        "cleanup.after",
        "renew.before",
        "recover.before",
        "recover.after",
        "cancel.before",
        "cancel.after",
        "release.before",
    }
)
"""Every failpoint there is; the crash matrix of the tests runs over them."""


@attrs.define
class _Armed:
    action: str
    left: int


class Failpoints:
    """The armed failpoints of one agent; empty in production, where :meth:`hit` costs a dict look-up."""

    def __init__(self, armed: dict[str, _Armed]) -> None:
        self._armed = armed
        self._lock = threading.Lock()

    @classmethod
    def parse(cls, text: str) -> Failpoints:
        """:raises LaunchError: on a name or action that does not exist."""
        armed: dict[str, _Armed] = {}
        for part in filter(None, (piece.strip() for piece in text.split(";"))):
            name, _, action = part.partition("=")
            action, _, times = action.partition("*")
            if name not in NAMES or action.split(":")[0] not in _ACTIONS:
                raise LaunchError(
                    f"LAUNCHCORE_FAILPOINTS: cannot use {part!r}", hint="see agent/failpoints.py"
                )
            armed[name] = _Armed(action, int(times) if times else -1)
        return cls(armed)

    def hit(self, name: str) -> None:
        """Do what is armed here, if anything is."""
        armed = self._armed.get(name)
        if armed is None:
            return
        with self._lock:
            if armed.left == 0:
                return
            armed.left -= 1
        verb, _, argument = armed.action.partition(":")
        _ACTIONS[verb](name, argument)


def _kill(name: str, argument: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop(name: str, argument: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _sleep(name: str, argument: str) -> None:
    time.sleep(float(argument or 1))


def _error(name: str, argument: str) -> None:
    raise RuntimeError(f"failpoint {name}")


def _unavailable(name: str, argument: str) -> None:
    raise QueueUnavailable(f"failpoint {name}")


_ACTIONS = {"kill": _kill, "stop": _stop, "sleep": _sleep, "error": _error, "unavailable": _unavailable}
