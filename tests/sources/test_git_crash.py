"""Fetches that are killed, and fetches that meet."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.sources.gitkit import HTTP, Fetcher, Repo, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "served" / "repo")
    made.commit({"a": "1", "big": os.urandom(400_000)})
    return made


@contextlib.contextmanager
def start(url: str, cache: Path, into: Path, commit: str) -> Iterator[subprocess.Popen[bytes]]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.sources.worker", url, str(cache), str(into), commit]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


def at_the_lock(pid: int) -> bool:
    """Whether a process tries to lock a repository at this moment."""
    return any(path.path.endswith(".lock") for path in psutil.Process(pid).open_files())


@pytest.mark.parametrize("orphans", ["are killed too", "live on"])
def test_killed_in_the_middle_of_a_fetch(repo: Repo, tmp_path: Path, orphans: str) -> None:
    commit = repo.git("rev-parse", "HEAD")
    cache = tmp_path / "agent" / "cache"
    cache.mkdir(parents=True)
    with serving(tmp_path / "served") as server:
        server.pause_after = 200_000
        url = f"{server.url}/repo/.git"
        with start(url, cache, tmp_path / "killed", commit) as process:
            assert server.paused.wait(30)
            until(lambda: bool(list(cache.rglob("tmp_pack_*"))), "half a pack")
            children = psutil.Process(process.pid).children(recursive=True)
            assert children
            process.kill()
            process.wait()
        if orphans == "are killed too":
            for child in children:
                child.kill()
            psutil.wait_procs(children, timeout=20)
            assert list(cache.rglob("tmp_pack_*")), "there is something to clean up"
            for name in ("shallow.lock", "HEAD.lock", "packed-refs.lock"):
                (next(cache.glob("repositories/*.git")) / name).touch()
            (next(cache.glob("repositories/*.git")) / "refs" / "launch").mkdir(exist_ok=True)
            (next(cache.glob("repositories/*.git")) / "refs" / "launch" / commit).touch()
        server.pause_after = None
        server.go.set()  # what lives on can end, and lets go of the lock then
        fetch = Fetcher(tmp_path / "agent", HTTP)
        found = fetch(url, commit=commit)
    assert (found.path / "a").read_text() == "1"
    assert not list((cache / "repositories").rglob("tmp_*"))
    assert not list((cache / "repositories").rglob("*.git/*.lock"))


def test_an_orphan_keeps_others_out(repo: Repo, tmp_path: Path) -> None:
    """The lock is git's as much as the agent's: two never work in one repository."""
    commit = repo.git("rev-parse", "HEAD")
    cache = tmp_path / "agent" / "cache"
    cache.mkdir(parents=True)
    with serving(tmp_path / "served") as server:
        server.pause_after = 200_000
        url = f"{server.url}/repo/.git"
        with start(url, cache, tmp_path / "killed", commit) as process:
            assert server.paused.wait(30)
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
        with start(url, cache, tmp_path / "second", commit) as second:
            until(lambda: at_the_lock(second.pid), "the second one wants the repository")
            assert server.packs == 1
            assert second.poll() is None
            server.go.set()
            assert second.wait(30) == 0, second.stderr.read() if second.stderr else ""
        psutil.wait_procs(children, timeout=20)
    assert (tmp_path / "second" / "a").read_text() == "1"


def test_many_processes_fetch_one_repository_once(repo: Repo, tmp_path: Path) -> None:
    commit = repo.git("rev-parse", "HEAD")
    cache = tmp_path / "cache"
    cache.mkdir()
    with serving(tmp_path / "served") as server:
        url = f"{server.url}/repo/.git"
        with contextlib.ExitStack() as stack:
            processes = [
                stack.enter_context(start(url, cache, tmp_path / f"into-{number}", commit))
                for number in range(4)
            ]
            for process in processes:
                output, errors = process.communicate(timeout=60)
                assert process.returncode == 0, errors.decode()
                assert commit[:7].encode() in output
        assert server.packs == 1
    assert all((tmp_path / f"into-{number}" / "a").read_text() == "1" for number in range(4))


def test_different_commits_at_once(repo: Repo, tmp_path: Path) -> None:
    commits = [repo.git("rev-parse", "HEAD"), *(repo.commit({"a": str(number)}) for number in range(2, 4))]
    cache = tmp_path / "cache"
    cache.mkdir()
    with serving(tmp_path / "served") as server:
        url = f"{server.url}/repo/.git"
        with contextlib.ExitStack() as stack:
            processes = [
                stack.enter_context(start(url, cache, tmp_path / f"into-{number}", commit))
                for number, commit in enumerate(commits)
            ]
            for process in processes:
                _, errors = process.communicate(timeout=60)
                assert process.returncode == 0, errors.decode()
    assert [(tmp_path / f"into-{number}" / "a").read_text() for number in range(3)] == ["1", "2", "3"]
