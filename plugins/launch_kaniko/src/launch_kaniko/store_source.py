"""A context's bytes on their way into a store: whose error it is when they end early."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator


class GivenUp(Exception):
    """Raised to whoever reads on when :meth:`Source.give_up` was called."""


class Source:
    """``pieces``, until somebody gives up. ``error`` is what they themselves raised: not the store's."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._given_up = threading.Event()
        self.error: BaseException | None = None

    def give_up(self) -> None:
        """Nobody wants the rest; from any thread."""
        self._given_up.set()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._given_up.is_set():
            raise GivenUp
        try:
            return next(self._pieces)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise
