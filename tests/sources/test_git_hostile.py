"""Repositories and addresses that attack."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from launchcore.builtin.git.remote import resolve_ref
from launchcore.builtin.git.settings import GitSettings
from launchcore.plugin import Fault, LaunchError
from tests.sources.gitkit import Fetcher, Repo
from tests.sources.support import everything, refused
from tests.sources.test_git_address import HOSTILE_REFS, HOSTILE_URLS


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "repo")
    made.commit({"a": "1"})
    return made


@pytest.fixture
def fetch(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path / "agent")


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that is only there if something ran, or wrote outside."""
    return tmp_path / "canary"


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_urls(url: str, fetch: Fetcher) -> None:
    with refused("source git: 'url' must"):
        fetch(url)
    with refused("source git: 'url' must"):
        resolve_ref(url, None, settings=GitSettings(), local=True, timeout=10)


@pytest.mark.parametrize("ref", HOSTILE_REFS)
def test_refs(ref: str, repo: Repo, fetch: Fetcher) -> None:
    with refused("source git: 'ref' must"):
        fetch(repo.path, ref=ref)
    with refused("source git: 'ref' must"):
        resolve_ref(str(repo.path), ref, settings=GitSettings(), local=True, timeout=10)


def test_local_paths_are_for_those_who_have_the_machine_anyway(repo: Repo, tmp_path: Path) -> None:
    stranger = Fetcher(tmp_path / "agent", local=False)
    for url in (str(repo.path), f"file://{repo.path}"):
        with refused("is a path on the agent's machine"):
            stranger(url)
        with refused("is a path on the agent's machine"):
            stranger(url, commit=repo.git("rev-parse", "HEAD"))
        with refused("is a path on the agent's machine"):
            resolve_ref(url, None, settings=GitSettings(), local=False, timeout=10)


def test_ext_is_closed_even_if_it_got_that_far(repo: Repo, canary: Path, tmp_path: Path) -> None:
    """git itself refuses: the list of protocols is in its environment."""
    from launchcore.builtin.git.variables import scrubbed

    done = subprocess.run(
        ["git", "ls-remote", f"ext::touch% {canary}"],
        env=scrubbed(GitSettings(), local=True), capture_output=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert b"transport 'ext' not allowed" in done.stderr
    assert not canary.exists()


# ── what a repository can hold ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [b".git", b".GIT", b"..", b".", b"git~1", b".g\xe2\x80\x8cit"])
def test_names_in_trees(repo: Repo, fetch: Fetcher, name: bytes) -> None:
    inner = repo.raw_tree((b"100755", b"post-checkout", repo.blob(b"#!/bin/sh\n")))
    commit = repo.commit_tree(repo.raw_tree((b"40000", name, inner)))
    with refused():
        fetch(repo.path, commit=commit)
    assert not any(path.name == "post-checkout" for path in fetch.root.rglob("*"))


def test_a_name_with_a_slash(repo: Repo, fetch: Fetcher, canary: Path) -> None:
    evil = repo.raw_tree((b"100644", b"../../../canary", repo.blob(b"x")))
    with refused():
        fetch(repo.path, commit=repo.commit_tree(evil))
    assert not canary.exists()


def test_one_name_for_a_link_and_a_directory(repo: Repo, fetch: Fetcher, canary: Path) -> None:
    link = repo.blob(str(canary.parent).encode())
    inner = repo.raw_tree((b"100644", b"canary", repo.blob(b"x")))
    evil = repo.raw_tree((b"120000", b"d", link), (b"40000", b"d", inner))
    with refused():
        fetch(repo.path, commit=repo.commit_tree(evil))
    assert not canary.exists()


def test_odd_modes(repo: Repo, fetch: Fetcher) -> None:
    blob = repo.blob(b"x")
    tree = repo.raw_tree((b"104755", b"setuid", blob), (b"100666", b"wide", blob), (b"100755", b"x", blob))
    try:
        found = fetch(repo.path, commit=repo.commit_tree(tree))
    except LaunchError:  # to refuse it is as good
        return
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in found.path.iterdir()}
    assert set(modes.values()) <= {0o644, 0o755}


def test_a_tree_bomb_is_counted_before_it_is_written(repo: Repo, tmp_path: Path) -> None:
    """Ten objects that list 10¹⁰ files."""
    tree = repo.raw_tree(*((b"100644", b"f%d" % n, repo.blob(b"x")) for n in range(10)))
    for _ in range(9):
        tree = repo.raw_tree(*((b"40000", b"d%d" % n, tree) for n in range(10)))
    commit = repo.commit_tree(tree)
    fetch = Fetcher(tmp_path / "agent", GitSettings(max_files=20_000))
    with refused("more than 20000 files"):
        fetch(repo.path, commit=commit)
    assert everything(tmp_path / "agent" / "into-1") == {}


def test_a_bomb_of_one_file_many_times(repo: Repo, tmp_path: Path) -> None:
    blob = repo.blob(bytes(10 << 20))
    commit = repo.commit_tree(repo.raw_tree(*((b"100644", b"f%d" % n, blob) for n in range(10))))
    fetch = Fetcher(tmp_path / "agent", GitSettings(max_bytes=50 << 20))
    with refused("files or 50.0 MiB"):
        fetch(repo.path, commit=commit)
    assert not list((fetch.cache / "trees").rglob("f0"))


def test_too_large_to_fetch(repo: Repo, tmp_path: Path) -> None:
    commit = repo.commit({"big": os.urandom(3 << 20)})
    fetch = Fetcher(tmp_path / "agent", GitSettings(max_bytes=1 << 20))
    with refused("plugins.git.max_bytes"):
        fetch(repo.path, commit=commit)


def test_filters_hooks_and_monitors_do_not_run(
    repo: Repo, fetch: Fetcher, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if the agent's user has configured them."""
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {canary}\ncat\n")
    evil.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f"[core]\n\tfsmonitor = {evil}\n\thooksPath = {tmp_path}\n\tsshCommand = {evil}\n\taskPass = {evil}\n"
        f'[filter "lfs"]\n\tsmudge = {evil}\n\trequired = true\n[credential]\n\thelper = {evil}\n'
        f'[url "{tmp_path}/nowhere"]\n\tinsteadOf = {repo.path}\n'
    )
    (tmp_path / "post-checkout").symlink_to(evil)
    (repo.path / ".git" / "hooks").mkdir(exist_ok=True)
    for hook in ("post-checkout", "pre-receive", "post-index-change"):
        (repo.path / ".git" / "hooks" / hook).symlink_to(evil)
    repo.git("config", "core.fsmonitor", str(evil))
    repo.git("config", "uploadpack.packObjectsHook", str(evil))
    repo.git("config", "filter.lfs.smudge", str(evil))
    tree = repo.raw_tree(
        (b"100644", b".gitattributes", repo.blob(b"* filter=lfs\n")), (b"100644", b"a", repo.blob(b"x"))
    )
    commit = repo.commit_tree(tree)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.fsmonitor={evil}'")
    monkeypatch.setenv("GIT_EXEC_PATH_EVIL", str(evil))
    found = fetch(repo.path, commit=commit)
    assert (found.path / "a").read_text() == "x"
    assert not canary.exists()


def test_attributes_convert_text_and_nothing_else(repo: Repo, fetch: Fetcher) -> None:
    repo.commit(
        {".gitattributes": "*.txt eol=crlf\n*.v ident\nold export-ignore\n", "a.txt": "1\n2\n", "old": "o"}
    )
    found = fetch(repo.path)
    assert (found.path / "a.txt").read_bytes() == b"1\r\n2\r\n"
    assert (found.path / "old").exists()


def test_hostile_names_of_branches_in_errors(repo: Repo) -> None:
    repo.git("branch", "mai\u202en")
    with refused("no branch, tag or commit 'mai'") as _:
        resolve_ref(str(repo.path), "mai", settings=GitSettings(), local=True, timeout=10)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to give files away")
def test_a_repository_of_another_user(repo: Repo, fetch: Fetcher) -> None:
    for path in (repo.path, *repo.path.rglob("*")):
        os.chown(path, 1234, 1234, follow_symlinks=False)
    with refused("belongs to another user", fault=Fault.USER):
        fetch(repo.path)
