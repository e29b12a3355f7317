"""What cannot be, collected: all of it is told at once, with whose it is to mend. Pure."""

from __future__ import annotations

import attrs

from launchcore.plugin import Fault, LaunchError, Reason

OWNER_HINT = "`launch queue show` shows the queue's configuration; its owner can change it"
MOST = 20
"""Problems in one message."""


@attrs.frozen(kw_only=True)
class Problem:
    """``path``: the member of the request, ``ResourceConfig.InstanceType``; empty when it is none."""

    path: str
    text: str
    hint: str | None
    of_run: bool

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class Problems:
    """Grows while a request is made."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def queue(self, path: str, text: str, hint: str = OWNER_HINT) -> None:
        """The queue's owner, or whoever runs the agent, can mend it."""
        self._found.append(Problem(path=path, text=text, hint=hint, of_run=False))

    def run(self, path: str, text: str, hint: str | None = None) -> None:
        """The submitter can mend it."""
        self._found.append(Problem(path=path, text=text, hint=hint, of_run=True))

    def has(self, path: str) -> bool:
        """Whether something was said about this member, one that it is in, or one in it."""
        return any(
            each.path and (_within(path, each.path) or _within(each.path, path)) for each in self._found
        )

    def tell(self) -> None:
        """:raises LaunchError: ``config_error``, with everything; the user's fault when all of it is."""
        if not self._found:
            return
        told = [str(each) for each in self._found[:MOST]]
        if len(self._found) > MOST:
            told.append(f"and {len(self._found) - MOST} more")
        hints = dict.fromkeys(each.hint for each in self._found[:MOST] if each.hint)
        raise LaunchError(
            "this training job cannot be: " + "; ".join(dict.fromkeys(told)),
            reason=Reason.CONFIG_ERROR,
            fault=Fault.USER if all(each.of_run for each in self._found) else Fault.INFRASTRUCTURE,
            hint="; ".join(hints) or None,
        )


def _within(path: str, other: str) -> bool:
    return path == other or path.startswith((f"{other}.", f"{other}["))


def shown(value: object, limit: int = 60) -> str:
    """A value for one line of an error: scalars as they are written, containers by what they are.

    >>> shown("a\\nb"), shown({}), shown(True)
    ("'a\\\\nb'", 'a mapping', 'true')
    """
    match value:
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return ascii(value) if len(value) <= limit else f"{value[:limit]!a}…"
        case _:
            return repr(value)[:limit]
