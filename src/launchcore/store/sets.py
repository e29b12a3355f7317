"""Statements about several rows of values. On a server each statement costs a round trip and a good deal of
both sides' time, whatever it does: there all rows go as one value, a JSON array, of one statement. In a file
a statement costs next to nothing, and is executed for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import sqlalchemy as sa
from sqlalchemy import bindparam

from launchcore.store.prepared import Prepared

_PLACE: Final = "place"


class Given(Protocol):
    """Gives the value of a name, of a type (a text unless it is said), in the row that is written of."""

    def __call__(self, name: str, kind: Any = ..., /) -> sa.ColumnElement[Any]: ...


def parameter(name: str, kind: Any = sa.Text, /) -> sa.ColumnElement[Any]:
    """The :class:`Given` of a statement that is about one row only."""
    return bindparam(name, type_=kind)


class Many:
    """A statement that is written for one row of values, and executed for many."""

    __slots__ = ("_of_set", "_one")

    def __init__(self, write: Callable[[Given], Any]) -> None:
        """``write``: makes an UPDATE or a SELECT of the values of one row."""
        types: dict[str, Any] = {}

        def noted(name: str, kind: Any = sa.Text, /) -> sa.ColumnElement[Any]:
            types[name] = kind
            return parameter(name, kind)

        one = write(noted)
        rows = _rows(types)
        of_set = write(lambda name, _=None, /: rows.c[name])
        if one.exported_columns:  # what it tells, it tells with the place of the row that it is about
            place = rows.c[_PLACE]
            of_set = of_set.add_columns(place) if one.is_select else of_set.returning(place)
        self._one, self._of_set = Prepared(one), Prepared(of_set)

    @property
    def constructs(self) -> tuple[Any, Any]:
        """As SQLAlchemy knows it: for one row, and for a set of them."""
        return self._one.construct, self._of_set.construct

    def rows(self, connection: sa.Connection, values: Sequence[Mapping[str, Any]]) -> list[tuple[int, Any]]:
        """Execute it for each of the values. Gives what it found or changed, with the place of the values
        that it is about; no two of them may be about the same row."""
        if not values:
            return []
        if len(values) == 1 or not _is_server(connection):
            one = self._one
            return [(place, row) for place, each in enumerate(values) for row in one.run(connection, each)]
        found = self._of_set.run(connection, {"rows": _json(values)})
        return [(row.place, row) for row in found]

    def execute(self, connection: sa.Connection, values: Sequence[Mapping[str, Any]]) -> None:
        """Execute one that tells nothing for each of the values."""
        if len(values) > 1 and _is_server(connection):
            self._of_set.run(connection, {"rows": _json(values)})
        elif values:
            self._one.run_many(connection, values)


class ManyNew:
    """Rows to be inserted, which nothing is to be told of."""

    __slots__ = ("_of_set", "_one")

    def __init__(self, insert: sa.Insert, *columns: str) -> None:
        rows = _rows({name: insert.table.c[name].type for name in columns})
        self._one = Prepared(insert, *columns)
        self._of_set = Prepared(insert.from_select(columns, sa.select(*(rows.c[name] for name in columns))))

    def insert(self, connection: sa.Connection, values: Sequence[Mapping[str, Any]]) -> None:
        """Insert them."""
        if len(values) > 1 and _is_server(connection):
            self._of_set.run(connection, {"rows": _json(values)})
        elif values:
            self._one.run_many(connection, values)


def _rows(types: Mapping[str, Any]) -> Any:
    """The JSON array in the parameter ``rows``, as a table."""
    columns = [sa.column(name, kind) for name, kind in types.items()]
    given = sa.func.json_to_recordset(bindparam("rows", type_=sa.JSON))
    return given.table_valued(*columns, sa.column(_PLACE, sa.Integer), name="given_rows").render_derived(
        with_types=True
    )


def _is_server(connection: sa.Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _json(values: Sequence[Mapping[str, Any]]) -> str:
    """PostgreSQL's texts hold no NUL: it is stored as the character that stands for what cannot be shown."""
    numbered = [{**each, _PLACE: place} for place, each in enumerate(values)]
    text = msgspec.json.encode(numbered).decode()
    if "\\u0000" in text:
        clean = [{name: _clean(value) for name, value in each.items()} for each in numbered]
        text = msgspec.json.encode(clean).decode()
    return text


def _clean(value: Any) -> Any:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
