"""Secret: a text that never shows itself by accident."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn

REDACTED = "<secret>"
"""What stands in a log or a message in place of a secret."""


class Secret:
    """A value that redacts itself in ``repr``, ``str``, ``format``, JSON and pickle.

    The only way to the text is :meth:`reveal`, so that every use can be found by its name.

    >>> token = Secret("hunter2")
    >>> f"{token} {token!r} {token:>10}"
    '<secret> <secret> <secret>'
    >>> token.reveal()
    'hunter2'
    """

    __slots__ = ("_text",)
    _text: str

    def __init__(self, value: str) -> None:
        object.__setattr__(self, "_text", value)

    def reveal(self) -> str:
        """Return the text itself. Call it at the last moment, and keep the result in no object."""
        return self._text

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.reveal().encode(), other.reveal().encode())

    def __hash__(self) -> int:
        return hash((Secret, self.reveal()))

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not written anywhere: it cannot be pickled or copied out")

    def __json__(self) -> str:
        return REDACTED
