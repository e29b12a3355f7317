"""The source archive, and the cache of trees behind it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from launchcore.builtin.archive.pack import pack
from launchcore.builtin.archive.settings import ArchiveFields, ArchiveSettings
from launchcore.builtin.archive.source import ArchiveSource
from launchcore.builtin.trees import TreeCache, TreeInfo
from launchcore.plugin import Cancelled, Fault, FetchPlan, Reason, SourceRef, SourceTree
from tests.sources.support import Stage, everything, fresh, member, plan, refused, tgz, tree


def archive_of(root: Path) -> bytes:
    out = io.BytesIO()
    pack(root, out)
    return out.getvalue()


@pytest.fixture
def stage() -> Stage:
    return Stage()


def fetch(
    stage: Stage, root: Path, name: str, digest: str, settings: ArchiveSettings | None = None, **fields: Any
) -> SourceTree:
    source = ArchiveSource(settings or ArchiveSettings())
    return source.fetch(plan("archive", root / "cache", digest=digest, **fields), fresh(root / name), stage)


def test_fetch(stage: Stage, tmp_path: Path) -> None:
    root = tree(fresh(tmp_path / "src"), {"a.py": "1", "pkg/b.py": "2"})
    (root / "a.py").chmod(0o755)
    digest = stage.store(archive_of(root))
    found = fetch(stage, tmp_path, "one", digest)
    assert found.path == tmp_path / "one"
    assert found.identity == digest
    assert found.pinned == SourceRef(type="archive", fields={"digest": digest})
    assert found.summary == f"{digest[:19]}, 2 files, 2 bytes"
    assert everything(found.path) == everything(root)
    assert (found.path / "a.py").stat().st_mode & 0o777 == 0o755
    assert (found.path / "pkg/b.py").stat().st_mode & 0o777 == 0o644


def test_each_attempt_has_its_own_copy(stage: Stage, tmp_path: Path) -> None:
    digest = stage.store(archive_of(tree(fresh(tmp_path / "src"), {"a": "1", "d/b": "2"})))
    one = fetch(stage, tmp_path, "one", digest)
    (one.path / "a").write_text("changed by the run")
    (one.path / "d/b").unlink()
    two = fetch(stage, tmp_path, "two", digest)
    assert everything(two.path) == {"a": b"1", "d": None, "d/b": b"2"}
    assert stage.opened == 1, "the second came from the cache"


def test_subdir(stage: Stage, tmp_path: Path) -> None:
    digest = stage.store(archive_of(tree(fresh(tmp_path / "src"), {"a/b/train.py": "1", "f": ""})))
    found = fetch(stage, tmp_path, "one", digest, subdir="./a//b/")
    assert found.path == tmp_path / "one/a/b"
    assert found.identity.startswith(f"{digest}+")
    assert found.identity == fetch(stage, tmp_path, "two", digest, subdir="a/b").identity
    with refused("subdir 'x' does not exist", "directories at the top: 'a'"):
        fetch(stage, tmp_path, "three", digest, subdir="x")
    with refused("is a file"):
        fetch(stage, tmp_path, "four", digest, subdir="f")


@pytest.mark.parametrize("subdir", ["/etc", "../x", "a/../../x", "a\\b", "-x", "a\nb", ""])
def test_hostile_subdir(stage: Stage, tmp_path: Path, subdir: str) -> None:
    with refused("source archive: 'subdir' must"):
        fetch(stage, tmp_path, "one", "sha256:" + "0" * 64, subdir=subdir)


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:xyz", "md5:" + "0" * 32, "sha256:" + "A" * 64, 7, None]
)
def test_hostile_digest(stage: Stage, tmp_path: Path, digest: object) -> None:
    source = ArchiveSource(ArchiveSettings())
    with refused("source archive: 'digest' must be 'sha256:'"):
        source.fetch(plan("archive", tmp_path / "c", digest=digest), tmp_path, stage)


def test_fields_are_read_strictly(stage: Stage, tmp_path: Path) -> None:
    source = ArchiveSource(ArchiveSettings())
    with refused("'digest' is required"):
        source.fetch(plan("archive", tmp_path / "c"), tmp_path, stage)
    with refused("'sub_dir' is not a known field; known: digest, subdir"):
        source.fetch(plan("archive", tmp_path / "c", digest="x", sub_dir="y"), tmp_path, stage)
    with pytest.raises(ValueError, match="'digest' must be"):
        ArchiveFields(digest="x")


def test_an_archive_that_is_not_there(stage: Stage, tmp_path: Path) -> None:
    with refused("no archive"):
        fetch(stage, tmp_path, "one", "sha256:" + "0" * 64)


@pytest.mark.parametrize("damage", ["other", "cut", "more", "flipped"])
def test_damage_on_the_way_is_not_the_users_fault(stage: Stage, tmp_path: Path, damage: str) -> None:
    data = archive_of(tree(fresh(tmp_path / "src"), {"a": os.urandom(3000)}))
    digest = stage.store(data)
    stage.archives[digest] = {
        "other": tgz(member("evil", b"x")),
        "cut": data[:-20],
        "more": data + b"more",
        "flipped": data[:1500] + bytes([data[1500] ^ 1]) + data[1501:],
    }[damage]
    with refused("is not what was uploaded", fault=Fault.INFRASTRUCTURE):
        fetch(stage, tmp_path, "one", digest)
    assert everything(tmp_path / "one") == {}
    stage.archives[digest] = data
    assert fetch(stage, tmp_path, "two", digest).path.is_dir(), "and nothing bad was cached"


def test_a_hostile_archive_is_the_users_fault(stage: Stage, tmp_path: Path) -> None:
    digest = stage.store(tgz(member("a", b"x"), member("../../evil\x1b[2J", b"x")))
    with refused("the archive is refused"):
        fetch(stage, tmp_path, "one", digest)
    assert everything(tmp_path / "one") == {}
    left = [path for path in everything(tmp_path / "cache") if not path.startswith("trees/locks")]
    assert left == ["trees"]


def test_settings_bound_it(stage: Stage, tmp_path: Path) -> None:
    digest = stage.store(tgz(member("a", b"xy"), member("b", b"xy")))
    with refused("more than 1 files"):
        fetch(stage, tmp_path, "one", digest, ArchiveSettings(max_files=1))
    with refused("more than 3 bytes"):
        fetch(stage, tmp_path, "two", digest, ArchiveSettings(max_bytes=3))


def test_a_full_disk_is_the_machines_fault(stage: Stage, tmp_path: Path) -> None:
    digest = stage.store(tgz(member("a", b"xy")))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "trees").write_text("in the way, as a stand-in for any error of the disk")
    with refused(
        "cannot unpack the archive: Not a directory", fault=Fault.INFRASTRUCTURE, reason=Reason.INFRASTRUCTURE
    ):
        fetch(stage, tmp_path, "one", digest)


def test_cancelled_before_and_while(stage: Stage, tmp_path: Path) -> None:
    digest = stage.store(tgz(*(member(f"f{number}", os.urandom(200)) for number in range(600))))
    stage.cancel()
    with pytest.raises(Cancelled):
        fetch(stage, tmp_path, "one", digest)
    assert everything(tmp_path / "one") == {}


def test_many_at_once_extract_once(stage: Stage, tmp_path: Path) -> None:
    digest = stage.store(tgz(*(member(f"f{number}", b"x" * 100) for number in range(100))))
    source = ArchiveSource(ArchiveSettings())
    (tmp_path / "cache").mkdir()
    results: list[SourceTree] = []

    def work(number: int) -> None:
        where = fresh(tmp_path / f"into-{number}")
        results.append(source.fetch(plan("archive", tmp_path / "cache", digest=digest), where, stage))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert all(len(everything(found.path)) == 100 for found in results)
    assert stage.opened == 1


# ── the cache ────────────────────────────────────────────────────────────────────────────────────


def maker(count: int) -> object:
    def make(directory: Path) -> TreeInfo:
        (directory / "f").write_bytes(bytes(count))
        return TreeInfo(files=1, bytes=count)

    return make


def place(cache: TreeCache, root: Path, key: str, name: str, count: int = 1000) -> TreeInfo:
    return cache.place(key, fresh(root / name), maker(count), lambda: None)  # type: ignore[arg-type]


def keys(root: Path) -> set[str]:
    return {path.name.partition("-")[2] for path in (root / "c").iterdir() if path.name != "locks"}


def test_the_cache_is_bounded_and_keeps_what_is_used(tmp_path: Path) -> None:
    cache = TreeCache(tmp_path / "c", max_bytes=40_000)
    for number in range(5):
        place(cache, tmp_path, f"key{number}", f"made-{number}")
        os.utime(next((tmp_path / "c").glob(f"*-key{number}")), (number, number))
    place(cache, tmp_path, "key0", "used")
    cache.prune()
    assert "key0" in keys(tmp_path)
    assert "key1" not in keys(tmp_path)
    assert 0 < len(keys(tmp_path)) < 5


def test_a_tree_too_large_to_keep_is_moved(tmp_path: Path) -> None:
    cache = TreeCache(tmp_path / "c", max_bytes=10_000)
    place(cache, tmp_path, "large", "into", 9_000)
    assert (tmp_path / "into" / "f").stat().st_size == 9_000
    assert keys(tmp_path) == set()


def test_what_an_earlier_boot_made_is_not_trusted(tmp_path: Path) -> None:
    """After a power failure a file may be empty that was never forced to the disk."""
    cache = TreeCache(tmp_path / "c", max_bytes=1 << 30)
    place(cache, tmp_path, "key", "one")
    entry = next((tmp_path / "c").glob("*-key"))
    entry.rename(entry.with_name("0badb007-key"))
    (tmp_path / "c" / "0badb007-key" / "tree" / "f").write_bytes(b"")
    place(cache, tmp_path, "key", "two")
    assert (tmp_path / "two" / "f").stat().st_size == 1000
    cache.prune()
    assert not (tmp_path / "c" / "0badb007-key").exists()


def test_a_failed_make_leaves_nothing(tmp_path: Path) -> None:
    def make(directory: Path) -> TreeInfo:
        (directory / "half").touch()
        raise RuntimeError("no")

    cache = TreeCache(tmp_path / "c", max_bytes=1 << 30)
    with pytest.raises(RuntimeError):
        cache.place("key", fresh(tmp_path / "into"), make, lambda: None)
    assert keys(tmp_path) == set()
    assert everything(tmp_path / "into") == {}


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    cache = TreeCache(tmp_path / "c", max_bytes=1 << 30)
    place(cache, tmp_path, "key", "one")
    old, new = fresh(tmp_path / "c/tmp-1-aa"), fresh(tmp_path / "c/tmp-2-bb")
    os.utime(old, (1, 1))
    cache.prune()
    assert (old.exists(), new.exists()) == (False, True)


def test_the_cache_may_be_deleted_at_any_time(stage: Stage, tmp_path: Path) -> None:
    digest = stage.store(tgz(member("a", b"x")))
    source = ArchiveSource(ArchiveSettings())
    for name in ("one", "two"):
        found = source.fetch(
            plan("archive", tmp_path / "cache", digest=digest), fresh(tmp_path / name), stage
        )
        assert everything(found.path) == {"a": b"x"}
        subprocess.run(["rm", "-r", tmp_path / "cache"], check=True)


def test_a_cache_that_is_being_deleted_gives_no_half_tree(tmp_path: Path) -> None:
    cache = TreeCache(tmp_path / "c", max_bytes=1 << 30)

    def make(directory: Path) -> TreeInfo:
        tree(directory, {"a": "1", "d/b": "2"})
        return TreeInfo(files=2, bytes=2)

    for number, gone in enumerate(("tree/a", "tree/d/b", "info", None)):
        where = fresh(tmp_path / f"into-{number}")
        assert cache.place("key", where, make, lambda: None).files == 2
        assert everything(where) == {"a": b"1", "d": None, "d/b": b"2"}
        if gone is not None:
            (next((tmp_path / "c").glob("*-key")) / gone).unlink()


KILLED = """
import sys
from pathlib import Path
from launchcore.builtin.trees import TreeCache, TreeInfo

def make(directory):
    (directory / "half").write_text("half of it")
    print("working", flush=True)
    sys.stdin.read()
    return TreeInfo(files=1, bytes=1)

TreeCache(Path(sys.argv[1]), max_bytes=1 << 30).place("key", Path(sys.argv[2]), make, lambda: None)
"""


def test_a_maker_that_is_killed_holds_nobody_up(tmp_path: Path) -> None:
    into = fresh(tmp_path / "killed")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "c"), str(into)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"working\n"
        cache, done = TreeCache(tmp_path / "c", max_bytes=1 << 30), threading.Event()

        def wait_for_it() -> None:
            place(cache, tmp_path, "key", "after")
            done.set()

        thread = threading.Thread(target=wait_for_it)
        thread.start()
        assert not done.wait(0.1), "one tree is made by one process at a time"
        process.kill()
        thread.join(20)
    assert done.is_set()
    assert everything(tmp_path / "after") == {"f": bytes(1000)}


def test_a_waiting_fetch_can_be_cancelled(stage: Stage, tmp_path: Path) -> None:
    cache, working, go = TreeCache(tmp_path / "c", max_bytes=1 << 30), threading.Event(), threading.Event()

    def make(directory: Path) -> TreeInfo:
        working.set()
        go.wait(20)
        return TreeInfo(files=0, bytes=0)

    thread = threading.Thread(target=cache.place, args=("key", fresh(tmp_path / "one"), make, lambda: None))
    thread.start()
    assert working.wait(20)
    stage.cancel()
    with pytest.raises(Cancelled):
        cache.place("key", fresh(tmp_path / "two"), make, stage.check)
    go.set()
    thread.join()


def test_a_small_archive_is_fetched_in_no_time(stage: Stage, tmp_path: Path) -> None:
    """No time is asserted; it is printed for whoever runs this with -s."""
    digest = stage.store(tgz(member("a.py", b"print()")))
    source = ArchiveSource(ArchiveSettings())
    source.fetch(plan("archive", tmp_path / "cache", digest=digest), fresh(tmp_path / "first"), stage)
    began = time.perf_counter()
    for number in range(100):
        where = fresh(tmp_path / f"into-{number}")
        source.fetch(
            FetchPlan(
                attempt_id="r-1",
                source=SourceRef(type="archive", fields={"digest": digest}),
                cache=tmp_path / "cache",
                local=True,
            ),
            where,
            stage,
        )
    print(f"{(time.perf_counter() - began) * 10:.2f} ms for each fetch of one file")
