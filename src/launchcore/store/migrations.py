"""From any older database to the present one: numbered steps, each in a transaction of its own.

A change of :mod:`launchcore.store.tables` is one more step at the end of :data:`MIGRATIONS`, and a
stored database of the version before it in ``tests/store``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import attrs
import sqlalchemy as sa

from launchcore.plugin import Fault, LaunchError, Reason
from launchcore.store.sqlite import Sqlite
from launchcore.store.tables import metadata, schema_versions, service


@attrs.frozen(kw_only=True)
class Migration:
    """One step: brings a database from version ``number - 1`` to ``number``."""

    number: int
    what: str
    apply: Callable[[sa.Connection], None]


def _first(connection: sa.Connection) -> None:
    metadata.create_all(connection)
    connection.execute(service.insert(), {"identity": secrets.token_hex(8)})


MIGRATIONS = (Migration(number=1, what="the first tables", apply=_first),)
"""In order, without a gap."""

_LATEST = sa.select(sa.func.max(schema_versions.c.version))


def version_of(connection: sa.Connection) -> int:
    """The version that a database has; 0: it has no tables yet."""
    if not sa.inspect(connection).has_table(schema_versions.name):
        return 0
    return connection.execute(_LATEST).scalar() or 0


def migrate(
    database: Sqlite,
    connection: sa.Connection,
    *,
    now: float,
    migrations: Sequence[Migration] = MIGRATIONS,
) -> int:
    """Carry out the steps that are missing, and return the version. Safe when several processes do.

    :raises LaunchError: ``config_error``: a newer launchcore has written this database.
    """
    known = migrations[-1].number
    version = version_of(connection)
    while version < known:
        database.begin(connection)
        try:
            version = version_of(connection)  # another process may have been quicker
            if version < known:
                step = migrations[version]
                step.apply(connection)
                connection.execute(
                    schema_versions.insert(), {"version": step.number, "what": step.what, "applied_at": now}
                )
                version = step.number
            database.commit(connection)
        except BaseException:
            database.rollback(connection)
            raise
    if version > known:
        raise LaunchError(
            f"the queue database {database.path} has version {version}; this launchcore knows {known}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.USER,
            hint="install the newer launchcore that wrote it, or give another path in base_url",
        )
    return version
