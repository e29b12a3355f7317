"""Secret files of a run: in memory (tmpfs) where there is one, readable by this account only.

Standard library only.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from launchcore.builtin.process.records import safe_name
from launchcore.builtin.process.wire import FileOrder

DIRECTORY_ENV = "LAUNCH_SECRETS_DIR"
"""Set for a run that has secret files: the directory that they are in."""


def memory_folders() -> list[Path]:
    """Directories in memory: nothing in them reaches a disk."""
    found = [Path("/dev/shm")]  # noqa: S108  # the directories made in it are private
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(runtime))
    return [each for each in found if each.is_dir() and os.access(each, os.W_OK | os.X_OK)]


def prefix(root: Path) -> str:
    """How the names of all directories of one keeper begin: others' are never touched."""
    digest = hashlib.blake2b(os.fsencode(root), digest_size=8).hexdigest()
    return f"launchcore-{os.getuid()}-{digest}-"


def write(root: Path, attempt: str, files: Sequence[FileOrder], scratch: Path) -> tuple[Path, dict[str, str]]:
    """Write the files; the directory, and the variables that lead to them.

    :raises OSError: they cannot be written anywhere.
    """
    name = prefix(root) + safe_name(attempt)
    problem: OSError | None = None
    for folder in [*memory_folders(), scratch]:
        path = folder / name
        try:
            _make_private(path)
        except OSError as error:
            problem = error
            continue
        try:
            return path, _fill(path, files)
        except OSError as error:
            problem = error
            remove(path)
    raise problem or FileNotFoundError(f"no directory for secret files, not even {scratch}")


def _make_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        # Where everybody may write, somebody may have made it first, to read what comes.
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise


def _fill(path: Path, files: Sequence[FileOrder]) -> dict[str, str]:
    variables = {DIRECTORY_ENV: str(path)}
    taken: set[str] = set()
    for file in files:
        name = re.sub(r"[^A-Za-z0-9._-]", "_", file["name"]).lstrip(".") or "secret"
        while name in taken:
            name += "_"
        taken.add(name)
        target = path / name
        target.unlink(missing_ok=True)
        fd = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as out:
            out.write(file["content"].encode("utf-8", "surrogateescape"))
        if file["path_env"]:
            variables[file["path_env"]] = str(target)
    return variables


def remove(path: Path) -> None:
    """Remove a directory of secrets. Idempotent."""
    shutil.rmtree(path, ignore_errors=True)


def sweep(root: Path, keep: set[str]) -> None:
    """Remove what attempts other than ``keep`` have left in memory."""
    for folder in memory_folders():
        for path in folder.glob(prefix(root) + "*"):
            if path.name.removeprefix(prefix(root)) not in {safe_name(each) for each in keep}:
                remove(path)
