"""Secrets of running containers on this machine: files in memory that only this account can reach.

A directory for each attempt, under one that nobody else may enter. The engine mounts it read-only; inside the
container every user can read it, since nobody knows which one the image has.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from launchcore.plugin import LaunchError, Reason


def in_memory(path: Path, mounts: str | None = None) -> bool:
    """Does this directory lie in memory? By the longest mount point that is above it."""
    try:
        text = Path("/proc/self/mounts").read_text() if mounts is None else mounts
    except OSError:
        return False
    best, kind = "", ""
    for line in text.splitlines():
        _, point, fstype, *_ = line.split(" ")
        if (path == Path(point) or Path(point) in path.parents) and len(point) >= len(best):
            best, kind = point, fstype
    return kind in ("tmpfs", "ramfs")


def places(environ: Mapping[str, str], uid: int) -> list[Path]:
    """Directories in memory that a system usually has, the most private first."""
    found = [environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}", "/run", "/dev/shm"]  # noqa: S108
    return [Path(each) for each in found if each.startswith("/")]


class Vault:
    """The secrets of one owner's attempts. ``root`` is None when there is no directory in memory."""

    def __init__(self, said: str | None, owner: str, environ: Mapping[str, str], uid: int) -> None:
        usable = (p for p in places(environ, uid) if p.is_dir() and in_memory(p) and os.access(p, os.W_OK))
        base = Path(said).expanduser() if said else next(usable, None)
        key = hashlib.sha256(owner.encode()).hexdigest()[:16]
        self._top = base / f"launchcore-{uid}" if base else None
        self.root = self._top / key if self._top else None
        self._uid = uid

    def put(self, attempt_id: str, files: Mapping[str, bytes]) -> str:
        """Write the files of an attempt, if they are not there, and return their directory.

        :raises LaunchError: the directory is somebody else's, or cannot be written.
        """
        assert self.root is not None
        place = self.root / attempt_id
        if place.exists():
            return str(place)
        try:
            self._private()
            new = Path(tempfile.mkdtemp(dir=self.root, prefix=".new-"))
            for name, data in files.items():
                path = new / name
                path.parent.mkdir(exist_ok=True)
                path.parent.chmod(0o755)
                path.write_bytes(data)
                path.chmod(0o444)
            new.chmod(0o755)
            try:
                new.rename(place)
            except OSError:  # another start of this attempt was faster
                shutil.rmtree(new)
                if not place.exists():
                    raise
        except OSError as error:
            raise LaunchError(f"a secret cannot be handed over: {error.strerror}") from None
        return str(place)

    def remove(self, attempt_id: str) -> None:
        """Idempotent."""
        if self.root is not None and attempt_id:
            shutil.rmtree(self.root / attempt_id, ignore_errors=True)

    def attempts(self) -> list[str]:
        """Those that have secrets here."""
        if self.root is None:
            return []
        with contextlib.suppress(OSError):
            return sorted(entry.name for entry in os.scandir(self.root) if not entry.name.startswith("."))
        return []

    def _private(self) -> None:
        """The directories above: ours, and closed to everybody else, whoever made them."""
        assert self._top is not None
        assert self.root is not None
        for folder in (self._top, self.root):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            seen = folder.lstat()
            if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != self._uid or seen.st_mode & 0o077:
                raise LaunchError(
                    f"{folder} must be a directory of this account, closed to others (0700)",
                    reason=Reason.INFRASTRUCTURE,
                    hint="somebody else has made it: remove it",
                )


def archive(files: Mapping[str, bytes], top: str) -> bytes:
    """The files as a tar to be copied into a container at ``/``: the way for engines elsewhere."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        folders = {top, *(f"{top}/{name.rpartition('/')[0]}" for name in files if "/" in name)}
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(f"{top}/{name}".lstrip("/"))
            entry.size, entry.mode = len(data), 0o444
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()
