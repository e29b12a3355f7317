"""An image's layers, as files below a directory and as tars of what has changed there."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import tarfile
from pathlib import Path

WHITEOUT = ".wh."
Seen = dict[str, tuple[int, int, int, int, str]]


def look(root: Path) -> Seen:
    """Every path below ``root``, with its attributes."""
    found: Seen = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            told = path.lstat()
            link = str(path.readlink()) if stat.S_ISLNK(told.st_mode) else ""
            # A directory's time changes with what is in it: that is not a change of its own.
            time = 0 if stat.S_ISDIR(told.st_mode) else told.st_mtime_ns
            size = 0 if stat.S_ISDIR(told.st_mode) else told.st_size
            found[path.relative_to(root).as_posix()] = (told.st_mode, told.st_uid, size, time, link)
    return found


def layer(root: Path, before: Seen, after: Seen) -> bytes | None:
    """What has changed, as a tar; ``None``: nothing."""
    changed = sorted(path for path, what in after.items() if before.get(path) != what)
    removed = sorted(path for path in before if path not in after)
    removed = [path for path in removed if str(Path(path).parent) in (".", *after)]
    if not changed and not removed:
        return None
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path in changed:
            tar.add(root / path, path, recursive=False)
        for path in removed:
            name = f"{Path(path).parent.as_posix()}/{WHITEOUT}{Path(path).name}".removeprefix("./")
            tar.addfile(tarfile.TarInfo(name))
    return raw.getvalue()


def unpack(data: bytes, root: Path) -> None:
    """Apply a layer."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for entry in tar:
            name = Path(entry.name).name
            if name.startswith(WHITEOUT):
                target = root / Path(entry.name).parent / name.removeprefix(WHITEOUT)
                if target.is_dir() and not target.is_symlink():
                    shutil.rmtree(target)
                else:
                    target.unlink(missing_ok=True)
                continue
            # An absolute link is one of the image: it may not be taken for one of this machine.
            tar.extract(entry, root, filter="fully_trusted")


def packed(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
