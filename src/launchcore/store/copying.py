"""From the embedded queue to a server's database: everything, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa

from launchcore.store import tables
from launchcore.store.codec import user_error
from launchcore.store.database import Database
from launchcore.store.writer import Transaction

_AT_ONCE: Final = 200
"""Rows of one statement: of a log, 13 MB."""
_PIECE: Final = 1 << 20
_OF_THE_DATABASE: Final = frozenset({"schema_versions", "archives", "archive_chunks"})
"""Tables that each database has its own rows of; archives are copied by their bytes."""
_SAID_TO_BE_EMPTY: Final = (
    tables.queues,
    tables.jobs,
    tables.runs,
    tables.arrays,
    tables.agents,
    tables.tokens,
    tables.audit,
)


def copy(source: Database, target: Database) -> Mapping[str, int]:
    """Copy all of ``source`` (a file, whose writers wait meanwhile) into ``target``, which must be empty.

    The target is then the same queue service: agents know it again, and adopt what they have running.

    :return: how many rows each table has, and how many archives there are.
    :raises LaunchError: ``config_error`` (user): an agent of the source is alive, or the target is in use.
    :raises QueueUnavailable: one of them cannot be written or read.
    """
    target.write(_refuse_used)
    with source.read() as connection:
        _refuse_alive(connection, source.clock())
    digests = list(source.archives.digests())
    for digest in digests:
        if not target.archives.has(digest):
            with source.archives.open(digest) as file:
                target.archives.put(iter(lambda file=file: file.read(_PIECE), b""))  # type: ignore[misc]

    def carry(reading: Transaction) -> Mapping[str, int]:
        _refuse_alive(reading.connection, source.clock())
        return target.write(lambda writing: _copy_rows(reading.connection, writing, target))

    counted = source.write(carry)
    target.configs.clear()
    return {**counted, "archives": len(digests)}


def _copy_rows(source: sa.Connection, target: Transaction, database: Database) -> dict[str, int]:
    _refuse_used(target)
    target.execute(tables.service.delete())
    counted = {}
    for table in _copied():
        count = 0
        for rows in _batches(source, table):
            target.execute(table.insert(), rows)
            count += len(rows)
        stored = target.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        if stored != count:
            raise RuntimeError(f"{count} rows of {table.name} were written, and {stored} are there")
        counted[table.name] = count
    database.continue_numbers(target)
    return counted


def _copied() -> list[sa.Table]:
    """In an order in which each row finds what it refers to."""
    return [table for table in tables.metadata.sorted_tables if table.name not in _OF_THE_DATABASE]


def _batches(source: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    found = source.execute(sa.select(table).order_by(*table.primary_key.columns))
    for rows in found.mappings().partitions(_AT_ONCE):
        yield [dict(row) for row in rows]


def _refuse_used(target: Transaction) -> None:
    for table in _SAID_TO_BE_EMPTY:
        if target.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None:
            raise user_error(
                f"the target is in use: its table {table.name} is not empty",
                "copy into a new database; nothing was changed",
            )


def _refuse_alive(source: sa.Connection, now: float) -> None:
    alive = sa.select(tables.agents.c.name).where(tables.agents.c.expires_at > now).order_by("name")
    names = source.execute(alive).scalars().all()
    if names:
        raise user_error(
            f"agents of the source are alive: {', '.join(names[:5])}",
            "stop them first, or wait a minute if they are gone already; nothing was changed",
        )
