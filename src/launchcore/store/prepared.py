"""Statements of the hot paths: written with SQLAlchemy, compiled once, executed by the driver.

SQLAlchemy spends some forty microseconds on each execution of a statement that it has compiled before,
several times what SQLite spends on it. A claim, a write and a submit therefore keep the compiled text.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

import attrs
import sqlalchemy as sa


class Prepared:
    """A statement with a fixed text: no lists of varying length, and every value a named parameter.

    Rows are named tuples, as the driver gives their values.
    """

    __slots__ = ("_columns", "_compiled", "_construct")

    def __init__(self, construct: Any, *columns: str) -> None:
        """``columns``: those that an INSERT without values fills, each from the value of its name."""
        self._construct = construct
        self._columns = columns
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: sa.Connection, values: Mapping[str, Any]) -> list[Any]:
        """Execute it, and return all rows."""
        compiled, cursor = self._prepare(connection)
        cursor.execute(compiled.text, compiled.order(values))
        return list(map(compiled.row, cursor.fetchall())) if compiled.row is not None else []

    def first(self, connection: sa.Connection, values: Mapping[str, Any]) -> Any:
        """Execute it, and return its first row, or ``None``."""
        rows = self.run(connection, values)
        return rows[0] if rows else None

    def run_many(self, connection: sa.Connection, values: Iterable[Mapping[str, Any]]) -> int:
        """Execute it for each of the values. Returns how many rows have changed, together."""
        compiled, cursor = self._prepare(connection)
        ordered = [compiled.order(each) for each in values]
        if len(ordered) == 1:
            cursor.execute(compiled.text, ordered[0])
        else:
            cursor.executemany(compiled.text, ordered)
        return int(cursor.rowcount)

    @property
    def construct(self) -> Any:
        """The statement as SQLAlchemy knows it."""
        return self._construct

    def _prepare(self, connection: sa.Connection) -> tuple[_Compiled, Any]:
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:  # two threads may both do it: the same comes of it
            compiled = self._compiled[dialect.name] = _compile(self._construct, self._columns, dialect)
        driver: Any = connection.connection.dbapi_connection
        return compiled, driver.cursor()


@attrs.frozen
class _Compiled:
    """``row``: makes a named tuple of a row; ``None``: the statement gives none."""

    text: str
    order: Callable[[Mapping[str, Any]], Any]
    row: Callable[[Iterable[Any]], Any] | None


def _compile(construct: Any, columns: tuple[str, ...], dialect: sa.Dialect) -> _Compiled:
    compiled = construct.compile(dialect=dialect, column_keys=list(columns) or None)
    fixed = {name: value for name, value in compiled.params.items() if value is not None}
    names = compiled.positiontup
    order = _by_position(names, fixed) if names is not None else _by_name(fixed)
    given = list(construct.exported_columns.keys())
    make: Any = namedtuple  # its fields are known at run time only
    return _Compiled(str(compiled), order, make("Row", given)._make if given else None)


def _by_position(names: list[str], fixed: dict[str, Any]) -> Callable[[Mapping[str, Any]], Any]:
    if not names:
        return lambda _: ()
    pick = itemgetter(*names) if len(names) > 1 else _only(names[0])
    return (lambda values: pick({**fixed, **values})) if fixed else pick


def _only(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda values: (values[name],)


def _by_name(fixed: dict[str, Any]) -> Callable[[Mapping[str, Any]], Any]:
    return lambda values: {**fixed, **values}
