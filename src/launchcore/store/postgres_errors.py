"""PostgreSQL's errors as ours. Pure: an SQLSTATE and a text in, an exception out.

Codes are those of the manual's appendix A. An error while a connection is made has none: libpq gives only a
text then, and the server's part of it ("FATAL: …") is known by its English wording; in another language
the error says the same, with less advice.
"""

from __future__ import annotations

import re
from typing import Final

from launchcore.plugin import Fault, LaunchError, QueueDamaged, QueueUnavailable, Reason
from launchcore.store.engine import Conflict

_CONFLICTS: Final = frozenset({"23505", "23503"})  # unique_violation, foreign_key_violation
_REPEAT: Final = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
_DAMAGED: Final = frozenset({"XX001", "XX002", "58P01", "58P02"})
"""data_corrupted, index_corrupted, undefined_file, duplicate_file."""
_LOCKED: Final = frozenset({"55P03", "25P03"})  # lock_not_available, idle_in_transaction_session_timeout
_FULL: Final = frozenset({"53100"})  # disk_full
_BUSY: Final = frozenset({"53000", "53200", "53300", "53400"})
"""insufficient_resources, out_of_memory, too_many_connections, configuration_limit_exceeded."""
_READ_ONLY: Final = frozenset({"25006"})  # read_only_sql_transaction
_GONE: Final = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05", "57014", "58000", "58030"})
"""admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped, idle_session_timeout, query_canceled,
system_error, io_error; class 08 (connection exceptions) is among them, too."""
_REFUSED: Final = frozenset({"28000", "28P01", "3D000", "42501"})
"""invalid_authorization_specification, invalid_password, invalid_catalog_name, insufficient_privilege."""

_ADVICE: Final = (
    (r"password authentication failed|no password supplied", "check the user and the password (PGPASSWORD)"),
    (r"no pg_hba\.conf entry", "the server's pg_hba.conf does not let this user in from here"),
    (r'database ".*" does not exist', "make it: `createdb NAME`"),
    (r'role ".*" does not exist', "make it: `createuser NAME`"),
    (r"permission denied", "the user must own the database, or be allowed to create tables in its schema"),
    (r"certificate|SSL|sslmode", "check sslmode, sslrootcert, sslcert and sslkey in the URL"),
    (r"could not translate host name|Name or service not known", "check the host in the URL"),
)
_PASSING: Final = re.compile(
    r"starting up|shutting down|recovery mode|not yet accepting|too many clients|remaining connection slots"
    r"|refused|timeout|timed out|closed the connection|reset by peer|unreachable|No such file",
    re.IGNORECASE,
)


def translate(name: str, code: str | None, text: str, *, opening: bool, busy_seconds: float) -> Exception:
    """An error of PostgreSQL as one of ours, in one line.

    :param name: the database, for people.
    :param code: its SQLSTATE, if it has one.
    :param opening: nothing has worked with this database yet: a mistake in its URL is likely.
    """
    cause = one_line(text)
    if code in _CONFLICTS:
        return Conflict(cause)
    if code in _DAMAGED:
        return QueueDamaged(
            f"the queue database {name} is damaged: {cause}",
            hint="look at the server's log; look with pg_amcheck, and restore a backup if need be",
        )
    if code in _LOCKED:
        return QueueUnavailable(f"the queue database {name} was locked for more than {busy_seconds:g} s")
    if code in _REPEAT:
        return QueueUnavailable(f"the queue database {name} is too busy: {cause}")
    if code in _FULL:
        return QueueUnavailable(f"no space left for the queue database {name}")
    if opening and (code in _REFUSED or code in _READ_ONLY or (code is None and not _PASSING.search(cause))):
        return LaunchError(
            f"cannot use the queue database {name}: {cause}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint=_advice(cause) or "a queue database is postgresql://USER@HOST:PORT/DATABASE",
        )
    if code is None or code.startswith("08") or code in _GONE | _BUSY | _READ_ONLY | _REFUSED:
        return QueueUnavailable(f"the queue database {name} cannot be reached now: {cause}")
    data = code.startswith("22")  # a number that is too large, a text with a NUL: whoever gave it can mend it
    return LaunchError(
        f"the queue database {'cannot hold a value' if data else 'refused a statement'}: {cause}",
        reason=Reason.CONFIG_ERROR if data else Reason.INFRASTRUCTURE,
        fault=Fault.USER if data else Fault.CORE,
    )


def fatal(code: str | None) -> bool:
    """Whether an error with this SQLSTATE (``None``: of the connection) is not the statement's own."""
    own = code is not None and code not in _GONE | _BUSY | _FULL | _DAMAGED | _READ_ONLY | _LOCKED | _REPEAT
    return not own or code.startswith("08")  # type: ignore[union-attr]


def repeatable(code: str | None) -> bool:
    """Whether a transaction that failed like that may just be carried out again."""
    return code in _REPEAT


def one_line(text: str) -> str:
    """The first lines of a message, without what libpq adds about encryption and defaults."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("Is the server running", "LINE ", "^"))]
    return " ".join((kept or lines)[:3])[:500]


def _advice(cause: str) -> str | None:
    for pattern, advice in _ADVICE:
        if re.search(pattern, cause):
            return advice
    return None
