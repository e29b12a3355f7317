"""Contexts in a claim that agent and Job share: a directory here."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_kaniko.store_objects import ContextStore, open_store
from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import parse_store, sight

from launchcore.plugin import Cancelled, Fault, LaunchError, Reason

NAME = hashlib.sha256(b"a context").hexdigest()
FILE = f"launch-{NAME}.tar.gz"
PLACE = parse_store("pvc://build-contexts/team/a")
MIB = 1 << 20


def never() -> None:
    """It is wanted."""


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    mount = tmp_path / "mount"
    mount.mkdir()
    return mount


@pytest.fixture
def store(mount: Path) -> Iterator[ContextStore]:
    with opened(mount) as store:
        yield store


def opened(mount: Path, keep_hours: float = 10.0) -> ContextStore:
    return open_store(PLACE, (), StoreOptions(mount=str(mount), keep_hours=keep_hours))


def files(mount: Path) -> list[str]:
    return sorted(str(path.relative_to(mount)) for path in mount.rglob("*") if path.is_file())


def make_old(path: Path, hours: float) -> None:
    at = path.stat().st_mtime - hours * 3600
    os.utime(path, (at, at))


def test_a_context_is_a_file_that_the_executor_may_read(store: ContextStore, mount: Path) -> None:
    umask = os.umask(0o077)
    try:
        assert not store.has(NAME)
        store.put(NAME, [b"ab", b"c" * 3 * MIB], never)
        assert store.has(NAME)
    finally:
        os.umask(umask)
    seen = sight(PLACE, NAME, StoreOptions(mount=str(mount)))
    assert seen.sub_path is not None
    assert seen.mount is not None
    path = mount / seen.sub_path / Path(seen.context.removeprefix("tar://")).relative_to(seen.mount)
    assert gzip.decompress(path.read_bytes()) == b"ab" + b"c" * 3 * MIB
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.parent.stat().st_mode & 0o755 == 0o755
    assert files(mount) == [f"team/a/{FILE}"]


def test_nobody_sees_it_before_it_is_whole(store: ContextStore, mount: Path) -> None:
    seen: list[bool] = []

    def pieces() -> Iterator[bytes]:
        for _ in range(8):
            yield os.urandom(MIB)
            seen.append(store.has(NAME))

    store.put(NAME, pieces(), never)
    assert seen == [False] * 8
    assert store.has(NAME)


@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_cancel_leaves_nothing(store: ContextStore, mount: Path, at: int) -> None:
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) > at:
            raise Cancelled

    with pytest.raises(Cancelled):
        store.put(NAME, (os.urandom(MIB) for _ in range(16)), check)
    assert not files(mount)


def test_what_reading_the_tree_raises_passes_through(store: ContextStore, mount: Path) -> None:
    for error in (LaunchError("the source changed", reason=Reason.SOURCE_FAILED), OSError(28, "the tree's")):

        def pieces(error: Exception = error) -> Iterator[bytes]:
            yield b"x" * 4 * MIB
            raise error

        with pytest.raises(type(error)) as caught:
            store.put(NAME, pieces(), never)
        assert caught.value is error
    assert not files(mount)


def test_it_may_be_put_again_by_anybody(mount: Path) -> None:
    with opened(mount) as one, opened(mount) as other:
        one.put(NAME, [b"x"], never)

        def pieces() -> Iterator[bytes]:
            yield b"x"
            one.put(NAME, [b"x"], never)

        other.put(NAME, pieces(), never)
        assert one.has(NAME)
    assert files(mount) == [f"team/a/{FILE}"]


def fails(store: ContextStore) -> LaunchError:
    with pytest.raises(LaunchError) as caught:
        store.put(NAME, (os.urandom(MIB) for _ in range(16)), never)
    assert "\n" not in f"{caught.value.detail}{caught.value.hint}"
    assert caught.value.fault is Fault.INFRASTRUCTURE
    return caught.value


def test_a_claim_that_is_not_mounted_is_said(tmp_path: Path) -> None:
    store = opened(tmp_path / "no" / "mount")
    error = fails(store)
    assert error.reason is Reason.CONFIG_ERROR
    assert error.detail.startswith("the claim pvc://build-contexts/team/a is not mounted here")
    for ask in (lambda: store.has(NAME), store.sweep):
        with pytest.raises(LaunchError, match="not mounted here"):
            ask()
    assert not (tmp_path / "no").exists()


def test_something_else_in_its_place(store: ContextStore, mount: Path) -> None:
    (mount / "team").write_text("a file")
    assert "ENOTDIR" in fails(store).detail or "EEXIST" in fails(store).detail


def test_a_link_is_no_context(store: ContextStore, mount: Path) -> None:
    (mount / "team" / "a").mkdir(parents=True)
    (mount / "team" / "a" / FILE).symlink_to("/etc/hostname")
    assert not store.has(NAME)
    store.put(NAME, [b"x"], never)
    assert not (mount / "team" / "a" / FILE).is_symlink()
    assert store.has(NAME)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "small"
    where.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", where], check=False)
    if done.returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def test_a_full_claim_is_said_and_nothing_half_written_stays(full: Path) -> None:
    store = opened(full)
    error = fails(store)
    assert error.detail == "the claim pvc://build-contexts/team/a is full"
    assert error.reason is Reason.INFRASTRUCTURE
    assert not files(full)
    store.put(NAME, [b"x" * MIB], never)
    assert store.has(NAME)


def test_a_claim_mounted_read_only(full: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", full], check=True)
    error = fails(opened(full))
    assert error.reason is Reason.CONFIG_ERROR
    assert "may not write to the claim pvc://build-contexts/team/a (EROFS)" in error.detail


def test_a_sweep_takes_what_is_old_and_ours(store: ContextStore, mount: Path) -> None:
    store.put(NAME, [b"x"], never)
    there = mount / "team" / "a"
    others = ["context.tar.gz", f"{NAME}.tar.gz", f"{FILE}.bak", f".{FILE}", f".{FILE}.0a1b2c3d.part"]
    for name in (*others, f".{FILE}.deadbeef.part", f"deeper-{FILE}"):
        (there / name).write_text("x")
    (there / "deeper").mkdir()
    (there / "deeper" / FILE).write_text("x")
    for path in mount.rglob("*"):
        if path.is_file() and ".0a1b2c3d." not in path.name:
            make_old(path, 11.0)
    assert store.sweep(keep_seconds=12 * 3600) == 0
    assert store.sweep() == 1
    # What somebody was writing hours ago is gone as well; what somebody writes now is not.
    assert files(mount) == sorted(f"team/a/{name}" for name in (*others, f"deeper/{FILE}", f"deeper-{FILE}"))


def test_there_may_be_nothing_to_sweep(store: ContextStore) -> None:
    assert store.sweep() == 0


def test_a_context_that_is_used_again_does_not_vanish(store: ContextStore, mount: Path) -> None:
    store.put(NAME, [b"x"], never)
    path = mount / "team" / "a" / FILE
    make_old(path, 4.0)
    before = path.stat().st_mtime
    assert store.has(NAME)
    assert path.stat().st_mtime == before
    make_old(path, 5.0)
    assert store.has(NAME)
    assert path.stat().st_mtime > before
    assert store.sweep() == 0
