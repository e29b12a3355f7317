"""A log while the queue is away: read on, kept on the disk, and delivered exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from launchcore.agent.attempt import Attempt
from launchcore.agent.failpoints import Failpoints
from launchcore.agent.logpump import BATCH, SPOOL, LogPump
from launchcore.agent.spool import Spool
from launchcore.plugin import (
    Claim,
    Lease,
    LogAppend,
    LogBatch,
    Outcome,
    QueueClient,
    QueueUnavailable,
    RunHandle,
    Runner,
    Secret,
    Update,
    Verdict,
)
from tests.store.fixtures import quick_path, rig
from tests.store.rig import Agent, Rig, handle

__all__ = ["quick_path", "rig"]

MOST = 64 * 1024 * 1024


class Door:
    """The agent's side of a real queue, behind a door that closes, or loses answers."""

    def __init__(self, client: QueueClient) -> None:
        self._client = client
        self.away = False
        self.swallow = False

    def write(self, lease: Lease, update: Update) -> None:
        if self.away:
            raise QueueUnavailable("the door is closed")
        self._client.write(lease, update)
        if self.swallow:
            raise QueueUnavailable("the answer was lost")


class Output:
    """A runner's log: it grows, and what is old is rotated away."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.first = 0
        self.over = False

    def rotate(self) -> None:
        self.first = len(self.data)

    def logs(self, _handle: RunHandle, cursor: str | None, limit: int) -> LogBatch:
        at = int(cursor or 0)
        gap = None
        if at < self.first:
            at, gap = self.first, f"{self.first - at} bytes were rotated away"
        end = min(at + limit, len(self.data))
        return LogBatch(
            data=bytes(self.data[at:end]),
            cursor=str(end),
            end=self.over and end == len(self.data),
            gap=gap,
        )


class Scene:
    """One running attempt on a real queue, and its pump."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig = rig
        rig.submit()
        self.agent: Agent = rig.agent()
        self.claim: Claim = self.agent.one()
        self.agent.start(self.claim)
        self.door = Door(self.agent.client)
        self.output = Output()
        self.scratch = folder / "attempts" / self.claim.attempt_id
        self.secrets: tuple[Secret, ...] = ()
        self.attempt = self.take(self.claim)
        self.now = 0.0

    def take(self, claim: Claim) -> Attempt:
        attempt = Attempt(
            claim,
            cast("QueueClient", self.door),
            Failpoints.parse(""),
            self.scratch,
            lease_ends=0.0,
            damaged=lambda _: None,
        )
        attempt.mask(self.secrets)
        return attempt

    def pump(self, *, spool_bytes: int = MOST, max_bytes: int = MOST) -> LogPump:
        return LogPump(self.attempt, cast("Runner", self.output), handle(self.claim), max_bytes, spool_bytes)

    def restarted(self, *, spool_bytes: int = MOST) -> LogPump:
        """Another process has taken the attempt up: it knows the queue's word and the disk."""
        heir = self.agent.restart(f"{self.agent.info.session}+")
        heir.register(previous_is_dead=True)
        (claim,) = heir.reclaim()
        assert claim.adopted
        self.agent, self.claim = heir, claim
        self.attempt = self.take(claim)
        return self.pump(spool_bytes=spool_bytes)

    def look(self, pump: LogPump, times: int = 4) -> None:
        for _ in range(times):
            self.now += 1.0
            pump.pump(self.now)

    def to_the_end(self, pump: LogPump) -> bytes:
        self.output.over = True
        while not pump.ended:
            self.look(pump)
        assert pump.finish()
        return self.stored()

    def stored(self) -> bytes:
        return self.rig.service.logs(self.claim.run_id, limit=1 << 26).data

    @property
    def spool(self) -> Path:
        return self.scratch / SPOOL


@pytest.fixture
def scene(rig: Rig, tmp_path: Path) -> Iterator[Scene]:
    return Scene(rig, tmp_path)  # type: ignore[return-value]


def text(size: int, seed: int = 1) -> bytes:
    return b"".join(b"%d line %d\n" % (seed, number) for number in range(size // 12))[:size]


def test_while_the_queue_takes_everything_nothing_is_on_the_disk(scene: Scene) -> None:
    pump = scene.pump()
    scene.output.data += text(2 * BATCH)
    scene.look(pump)

    assert not scene.spool.exists()
    assert scene.to_the_end(pump) == bytes(scene.output.data)


def test_what_was_read_while_the_queue_was_away_arrives_in_order(scene: Scene) -> None:
    pump = scene.pump()
    scene.output.data += b"before\n"
    scene.look(pump)
    scene.door.away = True
    for seed in range(12):
        scene.output.data += text(BATCH, seed)
        scene.look(pump, 1)
        scene.output.rotate()  # the runner does not have it any more
    assert scene.stored() == b"before\n"
    assert scene.spool.stat().st_size > 11 * BATCH

    scene.door.away = False

    assert scene.to_the_end(pump) == bytes(scene.output.data)
    assert not scene.spool.exists()


def test_an_agent_that_is_killed_leaves_it_to_its_successor(scene: Scene) -> None:
    pump = scene.pump()
    scene.output.data += b"before\n"
    scene.look(pump)
    scene.door.away = True
    for seed in range(5):
        scene.output.data += text(BATCH, seed)
        scene.look(pump, 2)
        scene.output.rotate()
    scene.door.away = False

    heir = scene.restarted()
    scene.output.data += b"after\n"

    assert scene.to_the_end(heir) == bytes(scene.output.data)


@pytest.mark.parametrize("answers", [1, 2, 3])
def test_an_append_whose_answer_was_lost_is_not_stored_twice(scene: Scene, answers: int) -> None:
    """Also when the agent dies before it has heard, and the stored cursor is in the middle of its spool."""
    pump = scene.pump()
    scene.output.data += b"before\n"
    scene.look(pump)
    scene.door.swallow = True
    for seed in range(answers):
        scene.output.data += text(5000, seed)
        scene.look(pump, 1)
    scene.door.swallow, scene.door.away = False, True
    scene.output.data += text(5000, 9)
    scene.look(pump, 2)
    scene.output.rotate()
    scene.door.away = False

    heir = scene.restarted()

    assert scene.to_the_end(heir) == bytes(scene.output.data)


def test_a_record_that_was_cut_off_ends_the_spool(scene: Scene) -> None:
    pump = scene.pump()
    scene.door.away = True
    for seed in range(3):
        scene.output.data += text(4000, seed)
        scene.look(pump, 1)
    whole = scene.spool.read_bytes()
    scene.spool.write_bytes(whole[:-100])
    scene.door.away = False

    heir = scene.restarted()

    assert scene.to_the_end(heir) == bytes(scene.output.data)


@pytest.mark.parametrize("damage", [b"", b"LSP1", b"\0" * 100, b"LSP1" + b"\xff" * 100])
def test_a_damaged_spool_is_of_no_use_and_does_no_harm(scene: Scene, damage: bytes) -> None:
    scene.scratch.mkdir(parents=True)
    scene.spool.write_bytes(damage)
    scene.output.data += text(9000)

    assert scene.to_the_end(scene.pump()) == bytes(scene.output.data)


def test_when_another_agent_went_on_meanwhile_the_spool_is_of_no_use(scene: Scene) -> None:
    pump = scene.pump()
    scene.door.away = True
    scene.output.data += text(4000)
    scene.look(pump, 2)
    scene.door.away = False
    elsewhere = LogAppend(offset=0, data=bytes(scene.output.data[:1000]), cursor="1000")
    scene.agent.write(scene.claim, log=elsewhere)

    assert scene.to_the_end(scene.restarted()) == bytes(scene.output.data)


def test_a_full_spool_stops_the_reading_and_loses_nothing(scene: Scene) -> None:
    pump = scene.pump(spool_bytes=2 * BATCH)
    scene.door.away = True
    scene.output.data += text(20 * BATCH)
    scene.look(pump, 40)
    assert scene.spool.stat().st_size < 3 * BATCH
    assert len(pump._pending) <= 5 * BATCH

    scene.door.away = False

    assert scene.to_the_end(pump) == bytes(scene.output.data)
    scene.attempt.last_words()
    notes = [event.detail for _, event in scene.rig.service.timeline(scene.claim.run_id)]
    assert any("its log was not read for" in note for note in notes)


def test_what_the_runner_has_no_more_when_the_spool_was_full_is_marked(scene: Scene) -> None:
    pump = scene.pump(spool_bytes=2 * BATCH)
    scene.door.away = True
    scene.output.data += text(20 * BATCH)
    scene.look(pump, 40)
    scene.output.rotate()
    scene.output.data += b"the last line\n"
    scene.door.away = False

    stored = scene.to_the_end(pump)

    before, mark, after = stored.partition(b"\n[launch] a part of the log is missing here: ")
    assert mark
    assert bytes(scene.output.data).startswith(before)
    assert len(before) >= 2 * BATCH
    assert after.endswith(b"bytes were rotated away\nthe last line\n")


def test_a_disk_that_takes_nothing_is_like_a_full_spool(scene: Scene) -> None:
    scene.scratch.parent.mkdir(parents=True, exist_ok=True)
    scene.scratch.write_text("a file where the directory should be")
    pump = scene.pump()
    scene.door.away = True
    scene.output.data += text(20 * BATCH)
    scene.look(pump, 40)
    assert len(pump._pending) <= 5 * BATCH

    scene.door.away = False

    assert scene.to_the_end(pump) == bytes(scene.output.data)


def test_the_bound_of_the_log_counts_what_waits(scene: Scene) -> None:
    pump = scene.pump(max_bytes=3 * BATCH)
    scene.door.away = True
    scene.output.data += text(9 * BATCH)
    scene.look(pump, 20)
    scene.door.away = False

    stored = scene.to_the_end(pump)

    mark = f"\n[launch] the log is cut here: it is longer than {3 * BATCH} bytes\n".encode()
    assert stored == bytes(scene.output.data[: 3 * BATCH]) + mark


def test_secrets_are_masked_before_they_reach_the_disk(rig: Rig, tmp_path: Path) -> None:
    scene = Scene(rig, tmp_path)
    scene.secrets = (Secret("correct-horse-battery"),)
    scene.attempt = scene.take(scene.claim)
    pump = scene.pump()
    scene.door.away = True
    for _ in range(3):
        scene.output.data += b"token: correct-horse-bat"
        scene.look(pump, 1)
        scene.output.data += b"tery.\n"
        scene.look(pump, 1)

    raw = scene.spool.read_bytes()

    assert raw.count(b"token: ") == 3
    assert b"correct" not in raw


def test_a_link_in_its_place_is_not_followed(scene: Scene, tmp_path: Path) -> None:
    """A run may write beside the spool, and must not make the agent write elsewhere."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    scene.scratch.mkdir(parents=True)
    scene.spool.symlink_to(precious)
    pump = scene.pump()
    scene.door.away = True
    scene.output.data += text(5000)
    scene.look(pump, 2)
    scene.door.away = False

    assert scene.to_the_end(pump) == bytes(scene.output.data)
    assert precious.read_bytes() == b"precious"


def test_only_its_owner_can_read_it(scene: Scene) -> None:
    pump = scene.pump()
    scene.door.away = True
    scene.output.data += b"something private"
    scene.look(pump, 2)

    assert scene.spool.stat().st_mode & 0o777 == 0o600


def test_a_queue_that_was_restored_gets_the_log_again(scene: Scene) -> None:
    """The database is an older copy of itself: less of the log is stored than the agent was told."""
    pump = scene.pump()
    scene.output.data += b"kept\n"
    scene.look(pump)
    kept = scene.rig.run(scene.claim).attempts[0].log_bytes
    scene.output.data += text(3000)
    scene.look(pump)
    assert scene.stored() == bytes(scene.output.data)
    restore(scene, kept)

    scene.output.data += b"more\n"

    assert scene.to_the_end(pump) == bytes(scene.output.data)


def restore(scene: Scene, size: int) -> None:
    def earlier(transaction: Any) -> None:
        run = transaction.connection.exec_driver_sql
        run(f"UPDATE attempts SET log_bytes = {size}, log_cursor = '{size}', log_tail = 0")
        run("DELETE FROM log_chunks")

    scene.rig.database.write(earlier)
    kept = bytes(scene.output.data[:size])

    def chunk(transaction: Any) -> None:
        from launchcore.store import logs
        from launchcore.store.ids import split_attempt_id
        from launchcore.store.lookup import ATTEMPT_OF_RUN

        run, number = split_attempt_id(scene.claim.attempt_id) or ("", 0)
        row = transaction.execute(ATTEMPT_OF_RUN, {"run": run, "number": number}).first()
        logs.store(transaction, row.id, offset=0, data=kept, tail=0)

    scene.rig.database.write(chunk)


def test_the_end_of_a_run_waits_for_the_queue_with_its_whole_log(scene: Scene) -> None:
    """However long the queue is away: the log is not declared unreadable meanwhile."""
    import threading

    pump = scene.pump(spool_bytes=BATCH)
    scene.door.away = True
    scene.output.data += text(12 * BATCH)
    scene.output.over = True

    def finish() -> None:
        while not pump.read:
            pump.pump(0.0, patient=True)
        pump.finish()

    thread = threading.Thread(target=finish)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    scene.door.away = False
    thread.join(60)

    assert not thread.is_alive()
    assert scene.stored() == bytes(scene.output.data)


def test_what_stages_have_said_meanwhile_goes_in_pieces_and_before_the_end(scene: Scene) -> None:
    lines = [f"line {number} {'x' * 1000}" for number in range(3000)]
    for line in lines:
        scene.attempt.log(line)
    sizes: list[int] = []
    write = scene.door.write

    def counted(lease: Lease, update: Update) -> None:
        sizes.append(len(update.log.data) if update.log else 0)
        write(lease, update)

    scene.door.write = counted  # type: ignore[method-assign]
    scene.attempt.write(Update(outcome=Outcome(verdict=Verdict.SUCCEEDED, exit_code=0)))

    assert max(sizes) <= 1 << 20
    assert scene.stored() == "".join(f"{line}\n" for line in lines).encode()


class TestTheFile:
    def test_gives_back_what_was_put(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path, "spool", 1000)
        assert not spool
        assert spool.put(b"one", "1", after=None)
        assert spool.put(b"two", "2", after="1")
        piece = spool.first(1000)
        assert piece is not None
        assert (piece.data, piece.cursor, spool.size, spool.cursor) == (b"onetwo", "2", 6, "2")
        spool.drop(piece)
        assert not spool
        assert spool.first(1000) is None
        assert list(tmp_path.iterdir()) == []

    def test_has_a_bound(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path, "spool", 10)
        assert spool.put(b"12345678", "8", after=None)
        assert not spool.put(b"901", "11", after="8")
        assert spool.size == 8

    @pytest.mark.parametrize(
        ("stored", "left"), [(None, b"abc"), ("a", b"bc"), ("b", b"c"), ("c", b""), ("elsewhere", b"")]
    )
    def test_goes_on_behind_the_stored_cursor(self, tmp_path: Path, stored: str | None, left: bytes) -> None:
        spool = Spool(tmp_path, "spool", 1000)
        for data, cursor, after in ((b"a", "a", None), (b"b", "b", "a"), (b"c", "c", "b")):
            assert spool.put(data, cursor, after=after)
        spool.close()

        heir = Spool(tmp_path, "spool", 1000)
        heir.recover(stored)

        piece = heir.first(1000)
        assert (piece.data if piece else b"") == left
        assert (tmp_path / "spool").exists() == bool(left)
        assert heir.put(b"d", "d", after="c")
        heir.close()
