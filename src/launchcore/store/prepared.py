"""Statements of the hot paths: written with SQLAlchemy, compiled once, executed by the driver.

SQLAlchemy spends some forty microseconds on each execution of a statement that it has compiled before,
several times what SQLite spends on it. A claim, a write and a submit therefore keep the compiled text.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa


class Prepared:
    """A statement with a fixed text: no lists of varying length, and every value a named parameter.

    Rows are named tuples, as the driver gives their values.
    """

    __slots__ = ("_columns", "_construct", "_gives_rows", "_order", "_row", "_text")

    def __init__(self, construct: Any, *columns: str) -> None:
        """``columns``: those that an INSERT without values fills, each from the value of its name."""
        self._construct = construct
        self._columns = columns
        self._text: str | None = None
        self._gives_rows = False
        self._order: Callable[[Mapping[str, Any]], Any] = dict
        self._row: Callable[[Iterable[Any]], Any] = tuple

    def run(self, connection: sa.Connection, values: Mapping[str, Any]) -> list[Any]:
        """Execute it, and return all rows."""
        cursor = self._cursor(connection)
        cursor.execute(self._text, self._order(values))
        return list(map(self._row, cursor.fetchall())) if self._gives_rows else []

    def first(self, connection: sa.Connection, values: Mapping[str, Any]) -> Any:
        """Execute it, and return its first row, or ``None``."""
        rows = self.run(connection, values)
        return rows[0] if rows else None

    def run_many(self, connection: sa.Connection, values: Iterable[Mapping[str, Any]]) -> int:
        """Execute it for each of the values. Returns how many rows have changed, together."""
        cursor = self._cursor(connection)
        cursor.executemany(self._text, [self._order(each) for each in values])
        return int(cursor.rowcount)

    @property
    def construct(self) -> Any:
        """The statement as SQLAlchemy knows it."""
        return self._construct

    def _cursor(self, connection: sa.Connection) -> Any:
        if self._text is None:
            self._compile(connection.dialect)
        driver: Any = connection.connection.dbapi_connection
        return driver.cursor()

    def _compile(self, dialect: sa.Dialect) -> None:
        compiled = self._construct.compile(dialect=dialect, column_keys=list(self._columns) or None)
        fixed = {name: value for name, value in compiled.params.items() if value is not None}
        names = compiled.positiontup
        self._order = _by_position(names, fixed) if names is not None else _by_name(fixed)
        columns = list(self._construct.exported_columns.keys())
        self._gives_rows = bool(columns)
        if columns:
            make: Any = namedtuple  # its fields are known at run time only
            self._row = make("Row", columns)._make
        self._text = str(compiled)


def _by_position(names: list[str], fixed: dict[str, Any]) -> Callable[[Mapping[str, Any]], Any]:
    if not fixed:
        return lambda values: [values[name] for name in names]
    return lambda values: [values[name] if name in values else fixed[name] for name in names]


def _by_name(fixed: dict[str, Any]) -> Callable[[Mapping[str, Any]], Any]:
    return lambda values: {**fixed, **values}
