"""Everything that is PostgreSQL's own: connections, transactions, time. No other file but its bell's and
its errors' knows it.

A transaction that writes is READ COMMITTED. What makes several of them as good as one after the other is
said where it is done: rows are locked before what was read of them counts, and always in one order (the
agent's queues by name, then attempts, then their runs). Limits of a queue are kept by locking its row.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from launchcore.plugin import Fault, LaunchError, Reason
from launchcore.store import postgres_errors
from launchcore.store.engine import Archives, Carrier
from launchcore.store.tables import metadata

if TYPE_CHECKING:
    import psycopg

    from launchcore.store.database import Database
    from launchcore.store.ears import Ears
    from launchcore.store.writer import Configs

_DEFAULTS: Final = {
    "application_name": "launchcore",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""Of the connection, where the URL says nothing else: a server that has vanished is noticed."""
_SESSION: Final = "; ".join(
    f"SET {setting}"
    for setting in (
        "lock_timeout = {busy}",
        "idle_in_transaction_session_timeout = 20000",
        "client_encoding = 'UTF8'",
        "standard_conforming_strings = on",
        "timezone = 'UTC'",
        # Every query is made for an index: one plan serves it always, whatever is known of the tables' sizes
        # (nothing, while they are new), and a claim costs the same with ten runs and with a million.
        "plan_cache_mode = force_generic_plan",
        "enable_seqscan = off",
        "enable_bitmapscan = off",
        "enable_hashjoin = off",
        "enable_mergejoin = off",
        "jit = off",
        "random_page_cost = 1.1",
    )
)
"""A process that stops in the middle of a transaction keeps its locks for 20 seconds, not for ever."""
_NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::float8"
_BEGIN: Final = f"BEGIN ISOLATION LEVEL READ COMMITTED; {_NOW}".encode()
_BEGIN_READING: Final = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_NOW}".encode()
_SCHEMA_LOCK: Final = 0x6C636F72
"""The advisory lock of who changes the tables; "lcor"."""
_SCHEMA_SECONDS: Final = 600
_TABLES: Final = (
    "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT EXISTS "
    "(SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"
)
"""All but those of extensions."""
_OURS: Final = frozenset({"schema_versions", "service", "run_specs"})


class Postgres:
    """One database of a PostgreSQL server (12 or newer).

    :param url: ``postgresql://…``: all that libpq understands, TLS options among it; also see its
        environment (``PGPASSWORD``, ``PGPASSFILE``, ``PGSSLROOTCERT`` …).
    :param busy_seconds: how long to wait for another transaction's locks before ``QueueUnavailable``.
    :raises LaunchError: ``config_error``: it is no such URL, or the driver is not installed.
    """

    def __init__(self, url: str, *, busy_seconds: float) -> None:
        try:
            import psycopg
            from psycopg import conninfo
        except ImportError as error:
            raise LaunchError(
                f"PostgreSQL cannot be used: {error}",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.USER,
                hint="pip install 'launchcore[server]'",
            ) from None
        try:
            given = conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise _no_url(url, str(error)) from None
        self.most_readers = 16
        self.foreign: tuple[type[Exception], ...] = (psycopg.Error,)
        self.name = _name(given)
        self._password = str(given.get("password") or "")
        self._busy_seconds = busy_seconds
        options: dict[str, Any] = {**_DEFAULTS, **{key: value for key, value in given.items() if value}}
        self._conninfo = conninfo.make_conninfo(**options)
        self._setup = _SESSION.format(busy=max(1, int(busy_seconds * 1000))).encode()
        self._ahead = time.time() - time.monotonic()
        """Of the monotonic clock here, the database's clock."""
        self._engine = sa.create_engine(
            "postgresql+psycopg://",
            creator=self.open,
            poolclass=sa.NullPool,
            isolation_level="AUTOCOMMIT",
            pool_reset_on_return=None,
            use_native_hstore=False,
        )

    def open(self) -> psycopg.Connection[Any]:
        """A connection of the driver's own, in autocommit mode."""
        import psycopg

        raw = psycopg.connect(self._conninfo, autocommit=True)
        try:
            raw.adapters.register_dumper(str, _text_dumper())
            execute(raw, self._setup)
        except BaseException:
            raw.close()
            raise
        return raw

    def prepare(self) -> None:
        try:
            with contextlib.closing(self.open()) as raw:
                tables = {str(row[0]) for row in raw.execute(_TABLES).fetchall()}
        except self.foreign as error:
            raise self.translate(error, opening=True) from None
        if tables and not tables >= _OURS:
            raise LaunchError(
                f"the database {self.name} has tables of something else: {', '.join(sorted(tables)[:3])}",
                reason=Reason.CONFIG_ERROR,
                fault=Fault.USER,
                hint="give it a database of its own (`createdb launchcore`); nothing was changed",
            )

    def connect(self) -> sa.Connection:
        return self._engine.connect()

    def connect_reading(self) -> sa.Connection:
        return self._engine.connect()

    @contextlib.contextmanager
    def alone(self, connection: sa.Connection) -> Iterator[None]:
        raw = _raw(connection)
        execute(
            raw, f"SET lock_timeout = '{_SCHEMA_SECONDS}s'; SELECT pg_advisory_lock({_SCHEMA_LOCK})".encode()
        )
        try:
            yield
        finally:
            if not raw.closed:
                execute(raw, f"SELECT pg_advisory_unlock({_SCHEMA_LOCK})".encode())
                execute(raw, self._setup)

    def begin(self, connection: sa.Connection) -> float:
        return self._note_time(execute(_raw(connection), _BEGIN))

    def begin_reading(self, connection: sa.Connection) -> None:
        self._note_time(execute(_raw(connection), _BEGIN_READING))

    def commit(self, connection: sa.Connection) -> None:
        raw = _raw(connection)
        done = execute(raw, b"COMMIT")
        if done.command_status != b"COMMIT":  # a statement had failed, and was passed over
            raise LaunchError(
                "a transaction with a failed statement was to be committed",
                reason=Reason.INFRASTRUCTURE,
                fault=Fault.CORE,
            )

    def rollback(self, connection: sa.Connection) -> None:
        execute(_raw(connection), b"ROLLBACK")

    def savepoint(self, connection: sa.Connection) -> None:
        execute(_raw(connection), b"SAVEPOINT one")

    def release(self, connection: sa.Connection) -> None:
        execute(_raw(connection), b"RELEASE one")

    def rollback_to_savepoint(self, connection: sa.Connection) -> None:
        execute(_raw(connection), b"ROLLBACK TO one; RELEASE one")

    def continue_numbers(self, connection: sa.Connection) -> None:
        for table in metadata.sorted_tables:
            column = table.autoincrement_column
            if column is not None:
                last = sa.select(sa.func.coalesce(sa.func.max(column), 0) + 1).scalar_subquery()
                sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
                connection.execute(sa.select(sa.func.setval(sequence, last, sa.false())))

    def fatal(self, error: BaseException) -> bool:
        known = _driver_error(error)
        return isinstance(known, self.foreign) and postgres_errors.fatal(_code(known))

    def repeatable(self, error: BaseException) -> bool:
        """Whether the transaction may just be carried out again."""
        return postgres_errors.repeatable(_code(_driver_error(error)))

    def gone(self, connection: sa.Connection) -> bool:
        if connection.closed or connection.invalidated:
            return True
        raw = _raw(connection)
        return bool(raw.closed or raw.broken)

    def translate(self, error: BaseException, *, opening: bool = False) -> Exception:
        known = _driver_error(error)
        text = str(known)
        if self._password:
            text = text.replace(self._password, "***")
        return postgres_errors.translate(
            self.name, _code(known), text, opening=opening, busy_seconds=self._busy_seconds
        )

    def clock(self) -> float:
        """As the database said when it was last asked, and the time since then."""
        return time.monotonic() + self._ahead

    def make_bell(self) -> Ears:
        from launchcore.store.bell_postgres import NotifyBell

        return NotifyBell(self.open)

    def make_archives(self, database: Database) -> Archives:
        from launchcore.store.archives_database import DatabaseArchives

        return DatabaseArchives(database)

    def make_carrier(
        self, *, clock: Callable[[], float] | None, ring: Callable[[list[str]], None], configs: Configs
    ) -> Carrier:
        from launchcore.store.pool import Pool

        return Pool(self, clock=clock, ring=ring, configs=configs)

    def _note_time(self, answer: Any) -> float:
        now = float(answer.get_value(0, 0))
        self._ahead = now - time.monotonic()
        return now


def execute(raw: psycopg.Connection[Any], command: bytes) -> Any:
    """Execute statements without parameters in one round trip, and return the last one's result.

    :raises psycopg.Error: what the server said, or that it is gone.
    """
    from psycopg import OperationalError, errors, pq

    result = raw.pgconn.exec_(command)
    if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
        return result
    if raw.pgconn.status == pq.ConnStatus.BAD and not result.error_field(pq.DiagnosticField.SQLSTATE):
        raise OperationalError(raw.pgconn.get_error_message())
    raise errors.error_from_result(result)


def _text_dumper() -> Any:
    """PostgreSQL's texts hold no NUL: it is stored as the character that stands for what cannot be shown."""
    from psycopg.types.string import StrDumperUnknown

    class Text(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in obj else obj)

    return Text


def _raw(connection: sa.Connection) -> psycopg.Connection[Any]:
    driver: Any = connection.connection.dbapi_connection
    return driver  # type: ignore[no-any-return]


def _driver_error(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _code(error: BaseException) -> str | None:
    code = getattr(error, "sqlstate", None)
    return str(code) if code else None


def _name(given: dict[str, Any]) -> str:
    host = str(given.get("host") or given.get("hostaddr") or "")
    port = f":{given['port']}" if given.get("port") else ""
    return f"postgresql://{host}{port}/{given.get('dbname') or ''}"


def _no_url(url: str, said: str) -> LaunchError:
    """libpq quotes what it does not understand; a password may be in there."""
    cause = said.split('"', maxsplit=1)[0].strip() or "it cannot be read"
    return LaunchError(
        f"{url.partition('://')[0]}://… is no URL of a PostgreSQL database: {cause}",
        reason=Reason.CONFIG_ERROR,
        fault=Fault.USER,
        hint="postgresql://USER@HOST:PORT/DATABASE, special characters as %XX; the password in PGPASSWORD",
    )
