"""Tokens and the audit trail."""

from __future__ import annotations

import functools
import re

import pytest
import sqlalchemy as sa

from launchcore.plugin import LaunchError
from launchcore.queues.base import NotFound
from launchcore.queues.wire import AuditPage, TokenInfo
from launchcore.store import audit, tables, tokens
from launchcore.store.writer import Transaction
from tests.store.rig import START, Rig


def create(rig: Rig, name: str = "laptop", expires_at: float | None = None) -> tuple[TokenInfo, str]:
    scopes = ("submit", "agent:default")
    return rig.database.write(lambda tx: tokens.create(tx, name, scopes, "ann", expires_at))


def stored(rig: Rig, token_id: str) -> tuple[TokenInfo, str]:
    with rig.database.read() as connection:
        found = tokens.by_id(connection, token_id)
    assert found is not None
    return found


def test_a_token_is_found_by_the_id_in_its_secret(rig: Rig) -> None:
    made, secret = create(rig, expires_at=START + 60)

    assert re.fullmatch(r"lc_[0-9a-f]+_[A-Za-z0-9_-]{43}", secret)
    assert tokens.id_of(secret) == made.id
    info, kept = stored(rig, made.id)
    assert info == made
    assert (info.scopes, info.created_by, info.expires_at) == (("submit", "agent:default"), "ann", START + 60)
    assert tokens.matches(secret, kept)
    assert not tokens.matches(secret[:-1] + ("A" if secret[-1] != "A" else "B"), kept)


@pytest.mark.parametrize("text", ["", "lc_", "lc_0_0", "Bearer x", "lc_\N{ARABIC-INDIC DIGIT ONE}" * 9, "\0"])
def test_what_is_no_secret_has_no_id(text: str) -> None:
    assert tokens.id_of(text) is None
    assert not tokens.matches(text + "\ud800", "0" * 64)


@pytest.mark.parametrize("names", [("a", "b")])
def test_secrets_differ_and_are_stored_nowhere(rig: Rig, names: tuple[str, str]) -> None:
    secrets = [create(rig, name)[1] for name in names]
    assert len(set(secrets)) == 2
    with rig.database.read() as connection:
        assert tokens.by_id(connection, "nobody") is None
        assert {each.name for each in tokens.listed(connection)} == set(names)
        content = repr(connection.execute(sa.select(tables.tokens)).all()).encode()
    content += b"".join(path.read_bytes() for path in rig.path.parent.glob("queue.db*") if path.is_file())
    for secret in secrets:
        assert secret.encode() not in content
        assert secret.split("_", 2)[2][:20].encode() not in content


def test_a_revoked_token_stays_to_be_seen(rig: Rig) -> None:
    made, _ = create(rig)
    rig.clock.pass_(5)
    gone = rig.database.write(lambda tx: tokens.revoke(tx, made.id, "root"))
    assert gone.revoked_at == START + 5
    rig.clock.pass_(5)
    assert rig.database.write(lambda tx: tokens.revoke(tx, made.id, "root")) == gone
    assert stored(rig, made.id)[0] == gone
    with pytest.raises(NotFound, match="no token 'other'"):
        rig.database.write(lambda tx: tokens.revoke(tx, "other", "root"))


def test_its_use_is_written_once_a_minute(rig: Rig) -> None:
    made, _ = create(rig)
    for seconds, expected in ((0, START), (59, START), (2, START + 61)):
        rig.clock.pass_(seconds)
        rig.database.write(lambda tx: tokens.used(tx, made.id))
        assert stored(rig, made.id)[0].used_at == expected


def test_the_trail_is_read_page_by_page_newest_first(rig: Rig) -> None:
    for number in range(5):
        rig.database.write(functools.partial(note, number=number))
    first = page(rig, None)
    second = page(rig, first.next)
    third = page(rig, second.next)

    subjects = [entry.subject for found in (first, second, third) for entry in found.entries]
    assert subjects == [f"run-{number}" for number in reversed(range(5))]
    assert third.next is None
    entry = first.entries[0]
    assert (entry.at, entry.who, entry.token, entry.action, entry.detail) == (
        START,
        "ann",
        "0a",
        "cancel run",
        "",
    )
    for cursor in ("x", "", "-1", "9" * 30, "\N{SUPERSCRIPT TWO}"):
        with pytest.raises(LaunchError, match="no page of a listing"):
            page(rig, cursor)


def test_an_entry_goes_with_what_it_tells_of(rig: Rig) -> None:
    def fails(tx: object) -> None:
        audit.record(tx, "ann", "", "delete queue", "default\0", "x" * 5000)  # type: ignore[arg-type]
        raise LaunchErrorHere

    with pytest.raises(LaunchErrorHere):
        rig.database.write(fails)
    assert page(rig, None) == AuditPage(entries=())


class LaunchErrorHere(Exception):
    pass


def note(transaction: Transaction, number: int) -> None:
    audit.record(transaction, "ann", "0a", "cancel run", f"run-{number}")


def page(rig: Rig, before: str | None) -> AuditPage:
    with rig.database.read() as connection:
        return audit.page(connection, before, 2)
