"""PostgreSQL's errors, one by one. Needs no server."""

from __future__ import annotations

import pytest

from launchcore.plugin import Fault, LaunchError, QueueDamaged, QueueUnavailable, Reason
from launchcore.store import postgres_errors
from launchcore.store.engine import Conflict

NAME = "postgresql://db:5432/launch"


def translated(code: str | None, text: str = "said the server", *, opening: bool = False) -> Exception:
    return postgres_errors.translate(NAME, code, text, opening=opening, busy_seconds=5.0)


@pytest.mark.parametrize("code", ["23505", "23503"])
def test_keys(code: str) -> None:
    assert isinstance(translated(code), Conflict)
    assert not postgres_errors.fatal(code)


@pytest.mark.parametrize("code", ["XX001", "XX002", "58P01"])
def test_damage(code: str) -> None:
    error = translated(code)
    assert isinstance(error, QueueDamaged)
    assert NAME in error.detail
    assert postgres_errors.fatal(code)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("55P03", "locked for more than 5 s"),
        ("25P03", "locked for more than 5 s"),
        ("53100", "no space left"),
        ("40001", "too busy"),
        ("40P01", "too busy"),
        ("53300", "cannot be reached now"),
        ("53200", "cannot be reached now"),
        ("57P01", "cannot be reached now"),
        ("57P02", "cannot be reached now"),
        ("57P03", "cannot be reached now"),
        ("57014", "cannot be reached now"),
        ("58030", "cannot be reached now"),
        ("08006", "cannot be reached now"),
        ("25006", "cannot be reached now"),
        ("28P01", "cannot be reached now"),
        (None, "cannot be reached now"),
    ],
)
def test_what_passes(code: str | None, says: str) -> None:
    error = translated(code)
    assert isinstance(error, QueueUnavailable)
    assert says in str(error)
    assert postgres_errors.fatal(code) or code == "28P01"


@pytest.mark.parametrize(
    ("code", "text", "hint"),
    [
        ("42501", "permission denied for schema public", "own the database"),
        ("25006", "cannot execute CREATE TABLE in a read-only transaction", "postgresql://"),
        (None, 'FATAL:  password authentication failed for user "u"', "PGPASSWORD"),
        (None, 'FATAL:  database "x" does not exist', "createdb"),
        (None, 'FATAL:  role "x" does not exist', "createuser"),
        (None, 'FATAL:  no pg_hba.conf entry for host "h"', "pg_hba.conf"),
        (None, "could not translate host name", "host"),
        (None, 'root certificate file "/x" does not exist', "sslmode"),
    ],
)
def test_mistakes_when_it_is_opened(code: str | None, text: str, hint: str) -> None:
    error = translated(code, text, opening=True)
    assert isinstance(error, LaunchError)
    assert not isinstance(error, QueueUnavailable)
    assert (error.reason, error.fault) == (Reason.CONFIG_ERROR, Fault.INFRASTRUCTURE)
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        "FATAL:  the database system is starting up",
        "FATAL:  the database system is shutting down",
        "FATAL:  the database system is in recovery mode",
        "FATAL:  sorry, too many clients already",
        'connection to server at "h", port 5432 failed: Connection refused\n\tIs the server running there?',
        "server closed the connection unexpectedly",
        "connection timeout expired",
        'connection to server on socket "/x/.s.PGSQL.5432" failed: No such file or directory',
    ],
)
def test_what_passes_when_it_is_opened(text: str) -> None:
    error = translated(None, text, opening=True)
    assert isinstance(error, QueueUnavailable)
    assert "\n" not in str(error)


def test_what_nobody_thought_of_is_our_fault() -> None:
    error = translated("42601", "syntax error")
    assert isinstance(error, LaunchError)
    assert error.fault is Fault.CORE
    assert not postgres_errors.fatal("42601")


def test_a_deadlock_may_be_repeated() -> None:
    assert postgres_errors.repeatable("40P01")
    assert not postgres_errors.repeatable("23505")
