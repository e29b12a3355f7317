"""The agent's own bare copies of remote repositories, one for each URL, shared by threads and processes.

A commit that was fetched completely has a ref ``refs/launch/<commit>``: git writes it last. So, after a
crash, what has no ref is fetched again, and what git left behind (locks, half packs) is removed by the
next one that holds the repository's lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from launchcore.builtin.git.address import Address
from launchcore.builtin.git.remote import Git, make_bare, pack_bytes, size_guard
from launchcore.builtin.locks import locked, try_lock
from launchcore.builtin.text import shown
from launchcore.plugin import LaunchError, Reason

_MAX_PACKS = 50
_NO_SINGLE_COMMITS = ("unadvertised object", "dumb http", "no such remote ref", "couldn't find remote ref")


class Repositories:
    """Bare repositories under ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextlib.contextmanager
    def holding(self, git: Git, address: Address, commit: str) -> Iterator[Path]:
        """A repository that has ``commit``, and is left alone while in the block.

        :raises LaunchError: ``source_failed``: the commit is not there, the server is away, …
        """
        name = hashlib.sha256(f"{address.url} {len(commit)}".encode()).hexdigest()[:40]
        repository, lock = self._root / f"{name}.git", self._root / f"{name}.lock"
        for _ in range(3):
            with locked(lock, shared=True, check=git.watch.check):
                if _has(repository, commit):
                    os.utime(repository)
                    yield repository
                    return
            with locked(lock, check=git.watch.check) as held:
                if not _has(repository, commit):
                    _recover(repository, commit, git.settings.max_bytes)
                    _fetch(git, address, commit, repository, held)
            self.prune(git.settings.cache_bytes, keep=repository)
        raise LaunchError("the cache of repositories is removed again and again", retryable=True)

    def discard(self, git: Git, repository: Path) -> None:
        """Remove a repository that turned out to be damaged."""
        with locked(repository.with_suffix(".lock"), check=git.watch.check):
            shutil.rmtree(repository, ignore_errors=True)

    def prune(self, max_bytes: int, *, keep: Path) -> None:
        """Remove the least used repositories beyond ``max_bytes`` that nobody holds."""
        found = []
        for repository in self._root.glob("*.git"):
            with contextlib.suppress(FileNotFoundError):
                found.append((repository.stat().st_mtime, pack_bytes(repository), repository))
        total = sum(count for _, count, _ in found)
        for _, count, repository in sorted(found):
            if total <= max_bytes:
                return
            if repository == keep:
                continue
            lock = os.open(repository.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if try_lock(lock):
                    shutil.rmtree(repository, ignore_errors=True)
                    total -= count
            finally:
                os.close(lock)


def _ref(repository: Path, commit: str) -> Path:
    return repository / "refs" / "launch" / commit


def _has(repository: Path, commit: str) -> bool:
    """Whether git has said that this commit is complete. An empty file is a crash's."""
    try:
        return bool(_ref(repository, commit).read_text().strip())
    except FileNotFoundError:
        return False


def _recover(repository: Path, commit: str, max_bytes: int) -> None:
    """Make the repository fit for a fetch, whatever a crash has left. The lock is held."""
    packs = repository / "objects" / "pack"
    full = len(list(packs.glob("*.pack"))) > _MAX_PACKS or pack_bytes(repository) > max_bytes // 2
    if full or not (repository / "HEAD").is_file():
        shutil.rmtree(repository, ignore_errors=True)
        make_bare(repository, sha256=len(commit) == 64)
        return
    for pattern in ("*.lock", "refs/**/*.lock", "objects/**/tmp_*", "objects/**/*.lock", "shallow_*"):
        for path in repository.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    for path in (repository / "refs").rglob("*"):
        if path.is_file() and not path.read_bytes().strip():
            path.unlink()


def _fetch(git: Git, address: Address, commit: str, repository: Path, lock: int) -> None:
    """Fetch exactly this commit; where a server gives no single commits, all history."""
    target = f"refs/launch/{commit}"
    guard = size_guard(repository, git.settings.max_bytes)

    def fetch(*arguments: str) -> tuple[LaunchError | None, str]:
        result = git.talk(
            address,
            *(f"--git-dir={repository}", "fetch", "--progress", "--no-tags", "--no-write-fetch-head"),
            *("--update-shallow", *arguments),
            inspect=guard,
            keep=(lock,),  # an orphan of a killed agent keeps others out as long as it lives
        )
        if result.code == 0:
            return None, ""
        wanted = f"the commit {shown(commit)}"
        return git.failed(address, result, doing="cannot fetch", what=wanted), result.errors

    git.watch.log(f"git: fetching {commit[:12]} from {shown(address.url)}")
    depth = [f"--depth={git.settings.depth}"] if git.settings.depth else []
    error, said = fetch(*depth, "--", address.url, f"+{commit}:{target}")
    if error is None:
        return
    if not any(text in said for text in _NO_SINGLE_COMMITS):
        raise error
    git.watch.log("git: the server does not give single commits: fetching the whole history")
    whole = ["--unshallow"] if (repository / "shallow").exists() else []
    error, _ = fetch(*whole, "--", address.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    if error is not None:
        raise error
    made = git.run(f"--git-dir={repository}", "update-ref", "--no-deref", target, commit)
    if made.code != 0:
        raise LaunchError(
            f"the commit {shown(commit)} is not in {shown(address.url)}",
            reason=Reason.SOURCE_FAILED,
            hint="push it first",
        )
