"""Who is looked at next: due times in a heap. Not thread-safe; knows no clock."""

from __future__ import annotations

import heapq

import attrs


@attrs.frozen
class Turn:
    """When it is somebody's turn. Those who are hurried come before everybody else."""

    key: str
    due: float
    hurried: bool


class Schedule:
    """One turn for each key; the oldest is first."""

    __slots__ = ("_heap", "_tickets", "_turns")

    def __init__(self) -> None:
        self._heap: list[tuple[bool, float, int, str]] = []
        self._turns: dict[str, tuple[int, Turn]] = {}
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._turns)

    def put(self, key: str, due: float, *, hurried: bool = False) -> None:
        """Its turn is then, and not when it was before. Whoever is hurried stays so until looked at."""
        _, known = self._turns.get(key, (0, None))
        if known is not None and known.hurried:
            return
        self._tickets += 1
        self._turns[key] = (self._tickets, Turn(key, due, hurried))
        heapq.heappush(self._heap, (not hurried, due, self._tickets, key))
        if len(self._heap) > 2 * len(self._turns) + 64:
            self._heap = [
                (not turn.hurried, turn.due, ticket, turn.key) for ticket, turn in self._turns.values()
            ]
            heapq.heapify(self._heap)

    def first(self) -> Turn | None:
        """Whose turn is next; ``None``: nobody's."""
        while self._heap:
            _, _, ticket, key = self._heap[0]
            known = self._turns.get(key)
            if known is not None and known[0] == ticket:
                return known[1]
            heapq.heappop(self._heap)  # what was put again, or removed
        return None

    def remove(self, key: str) -> None:
        self._turns.pop(key, None)
