"""Uploaded archives: by the digest of their bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from launchcore.plugin import LaunchError, Reason
from launchcore.store.archives import FileArchives


@pytest.fixture
def archives(quick_path: Path) -> FileArchives:
    return FileArchives(quick_path / "archives")


def test_what_is_put_is_opened_by_its_digest(archives: FileArchives, quick_path: Path) -> None:
    digest = archives.put([b"one", b"", b"two"])

    assert digest == f"sha256:{hashlib.sha256(b'onetwo').hexdigest()}"
    assert archives.has(digest)
    with archives.open(digest) as file:
        assert file.read() == b"onetwo"
    assert archives.put(iter([b"onetwo"])) == digest
    assert [path.name for path in (quick_path / "archives").iterdir()] == [digest[7:]]
    assert (quick_path / "archives").stat().st_mode & 0o777 == 0o700
    assert (quick_path / "archives" / digest[7:]).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "digest",
    ["", "sha256:", "sha256:../../etc/passwd", f"sha256:{'A' * 64}", f"sha256:{'0' * 64}", "x" * 9999],
)
def test_what_is_not_there_is_the_users_mistake(archives: FileArchives, digest: str) -> None:
    assert not archives.has(digest)
    with pytest.raises(LaunchError) as error:
        archives.open(digest)
    assert error.value.reason is Reason.SOURCE_FAILED
    assert len(error.value.detail) < 200


def test_one_that_is_too_large_leaves_nothing(archives: FileArchives, quick_path: Path) -> None:
    taken = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield b"x" * 1000

    with pytest.raises(LaunchError, match="larger than 5000 bytes"):
        archives.put(endless(), limit=5000)
    assert len(taken) == 6
    assert list((quick_path / "archives").iterdir()) == []


def test_an_upload_that_breaks_off_leaves_nothing(archives: FileArchives, quick_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise PermissionError("a file of the submitter's")

    with pytest.raises(PermissionError):
        archives.put(broken())
    assert list((quick_path / "archives").iterdir()) == []


def test_what_a_killed_upload_left_is_removed_a_day_later(archives: FileArchives, quick_path: Path) -> None:
    archives.put([b"one"])
    old, new = (quick_path / "archives" / name for name in (".upload-old", ".upload-new"))
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (1.0, 1.0))

    archives.put([b"two"])

    assert not old.exists()
    assert new.exists()
