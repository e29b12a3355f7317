"""Operations that cost less together than each by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from launchcore.store.writer import Transaction

A = TypeVar("A")
Many: TypeAlias = Callable[[Transaction, Sequence[A]], Sequence[bool]]


class Joint(Generic[A]):
    """An operation that may be carried out in common with others of its kind.

    :param one: carries it out.
    :param many: carries out as many of several as it can in common, and says which those are; it touches
        nothing of the others, which are then carried out one by one. So it changes what they cost, and
        nothing else: to what comes of an operation no other one matters.
    :param asked: what ``one`` and ``many`` are given.
    """

    __slots__ = ("_one", "asked", "many")

    def __init__(self, one: Callable[[Transaction, A], None], many: Many[A], asked: A) -> None:
        self._one = one
        self.many = many
        self.asked = asked

    def __call__(self, transaction: Transaction) -> None:
        self._one(transaction, self.asked)


def kind(operation: Callable[[Transaction], Any]) -> Many[Any] | None:
    """What carries out operations like this one in common; ``None``: each is carried out by itself."""
    return operation.many if isinstance(operation, Joint) else None


def together(many: Many[A], operations: Sequence[Joint[A]]) -> Callable[[Transaction], Sequence[bool]]:
    """Operations of one kind, as one."""
    asked = [operation.asked for operation in operations]
    return lambda transaction: many(transaction, asked)
