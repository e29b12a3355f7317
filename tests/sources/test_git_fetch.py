"""Fetching from real repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from launchcore.builtin.git.doctor import look
from launchcore.builtin.git.remote import Resolved, resolve_ref
from launchcore.builtin.git.settings import GitSettings
from launchcore.plugin import CheckVerdict, Fault, LaunchError, Reason, SourceRef
from tests.sources.gitkit import Fetcher, Repo
from tests.sources.support import everything, refused


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


@pytest.fixture
def fetch(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path / "agent")


def resolve(repo: Repo | str, ref: str | None = None, *, local: bool = True) -> Resolved:
    url = repo if isinstance(repo, str) else str(repo.path)
    return resolve_ref(url, ref, settings=GitSettings(), local=local, timeout=30)


def test_fetch(repo: Repo, fetch: Fetcher) -> None:
    commit = repo.commit({"train.py": "print(1)", "pkg/m.py": "m", "run.sh": "#!/bin/sh"})
    (repo.path / "run.sh").chmod(0o755)
    commit = repo.commit()
    found = fetch(repo.path)
    assert found.identity == f"git:{commit}"
    assert found.pinned == SourceRef(
        type="git", fields={"url": str(repo.path), "ref": "main", "commit": commit}
    )
    assert found.summary == f"{commit[:7]} on main, 3 files"
    assert everything(found.path) == {
        "pkg": None, "pkg/m.py": b"m", "run.sh": b"#!/bin/sh", "train.py": b"print(1)",
    }  # fmt: skip
    assert (found.path / "run.sh").stat().st_mode & 0o777 == 0o755
    assert not (found.path / ".git").exists(), "nothing in a tree can run by itself"


def test_a_pinned_reference_stays_as_it_is(repo: Repo, fetch: Fetcher) -> None:
    """So that the core has nothing to write about a later attempt, and the same code is run."""
    first = repo.commit({"a": "1"})
    repo.commit({"a": "2"})
    found = fetch(repo.path, ref="main", commit=first)
    assert found.pinned.fields == {"url": str(repo.path), "ref": "main", "commit": first}
    assert (found.path / "a").read_text() == "1"
    again = fetch(found.pinned.fields["url"], **{k: v for k, v in found.pinned.fields.items() if k != "url"})
    assert again.identity == found.identity


def test_a_cached_commit_needs_no_git_at_all(
    repo: Repo, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repo.commit({"a": "1"})
    fetch(repo.path, commit=commit)
    shutil.rmtree(repo.path)
    monkeypatch.setenv("PATH", "/nowhere")
    found = fetch(repo.path, commit=commit)
    (found.path / "a").write_text("changed by the run")
    assert (fetch(repo.path, commit=commit).path / "a").read_text() == "1"


def test_without_git(repo: Repo, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with refused("git is not installed", fault=Fault.INFRASTRUCTURE, reason=Reason.CONFIG_ERROR):
        fetch(repo.path)
    assert look().verdict is CheckVerdict.FAILED


def test_doctor() -> None:
    assert look().verdict is CheckVerdict.OK
    assert "git version" in look().detail


# ── refs ─────────────────────────────────────────────────────────────────────────────────────────


def test_refs(repo: Repo, fetch: Fetcher) -> None:
    one = repo.commit({"a": "1"})
    repo.git("tag", "light")
    repo.git("tag", "-a", "-m", "x", "heavy")
    repo.git("update-ref", "refs/pull/3/head", one)
    two = repo.commit({"a": "2"})
    repo.git("branch", "feature/x-1")
    three = repo.commit({"a": "3"})
    assert resolve(repo) == Resolved(commit=three, ref="main")
    assert resolve(repo, "HEAD") == Resolved(commit=three, ref="main")
    assert resolve(repo, "main") == Resolved(commit=three, ref="main")
    assert resolve(repo, "refs/heads/main") == Resolved(commit=three, ref="refs/heads/main")
    assert resolve(repo, "feature/x-1") == Resolved(commit=two, ref="feature/x-1")
    assert resolve(repo, "light") == Resolved(commit=one, ref="light")
    assert resolve(repo, "heavy") == Resolved(commit=one, ref="heavy")
    assert resolve(repo, "refs/pull/3/head") == Resolved(commit=one, ref="refs/pull/3/head")
    assert resolve(repo, one) == Resolved(commit=one, ref=None)
    assert resolve(repo, three[:8]) == Resolved(commit=three, ref=None)
    assert resolve(repo, two[:8]) == Resolved(commit=two, ref=None)
    repo.commit({"a": "4"})
    for ref, content in [
        ("heavy", "1"),
        (one, "1"),
        (three[:9], "3"),
        ("refs/pull/3/head", "1"),
        (None, "4"),
    ]:
        found = fetch(repo.path, **({"ref": ref} if ref else {}))
        assert (found.path / "a").read_text() == content
        assert (fetch(**found.pinned.fields).path / "a").read_text() == content


def test_a_missing_ref_names_near_ones(repo: Repo, fetch: Fetcher) -> None:
    repo.commit({"a": "1"})
    repo.git("branch", "develop")
    repo.git("tag", "v1.0")
    with refused("no branch, tag or commit 'devlop'", "it has 'develop'"):
        fetch(repo.path, ref="devlop")
    with refused("no branch, tag or commit 'zzz'", "it has 'develop', 'main', 'v1.0'"):
        resolve(repo, "zzz")
    with refused("no branch, tag or commit 'deadbeef'"):
        resolve(repo, "deadbeef")


def test_a_branch_and_a_tag_of_one_name(repo: Repo) -> None:
    repo.commit({"a": "1"})
    repo.git("tag", "both")
    assert resolve(repo, "both").ref == "both"
    repo.git("branch", "both")
    assert resolve(repo, "both").ref == "both", "the same commit: no question"
    repo.commit({"a": "2"})
    repo.git("branch", "-f", "both")
    with refused("'both' is a branch and a tag", "refs/heads/both or refs/tags/both"):
        resolve(repo, "both")


@pytest.mark.slow
def test_an_ambiguous_short_commit(repo: Repo) -> None:
    """Two commits with the same first four digits exist, with certainty, among 65,537 at most."""
    repo.commit({"a": "1"})
    tree_id = repo.git("rev-parse", "HEAD^{tree}")
    stream = b"".join(
        b"commit refs/heads/b%d\ncommitter A <a@b> %d +0000\ndata 0\nM 040000 %s \n\n"
        % (number % 1, number, tree_id.encode())
        for number in range(1200)
    )
    repo.git("fast-import", "--quiet", "--force", stdin=stream)
    commits = repo.git("rev-list", "--all").split()
    heads: dict[str, int] = {}
    for commit in commits:
        heads[commit[:4]] = heads.get(commit[:4], 0) + 1
    twice = next(head for head, count in heads.items() if count > 1)
    with refused(f"the short commit '{twice}' stands for several"):
        resolve(repo, twice)


def test_a_commit_that_was_not_pushed(repo: Repo, fetch: Fetcher) -> None:
    repo.commit({"a": "1"})
    with refused(f"the commit '{'4b' * 20}' is not in", "push it first"):
        fetch(repo.path, commit="4b" * 20)


def test_what_is_no_commit(repo: Repo, fetch: Fetcher) -> None:
    repo.commit({"a": "1"})
    with pytest.raises(LaunchError) as caught:
        fetch(repo.path, commit=repo.git("rev-parse", "HEAD:a"))
    assert caught.value.reason is Reason.SOURCE_FAILED


def test_an_empty_repository(repo: Repo, fetch: Fetcher) -> None:
    with refused("has no default branch"):
        fetch(repo.path)


def test_another_default_branch(tmp_path: Path, fetch: Fetcher) -> None:
    repo = Repo(tmp_path / "r", branch="trunk")
    repo.commit({"a": "1"})
    assert fetch(repo.path).pinned.fields["ref"] == "trunk"


@pytest.mark.parametrize("url", ["/nowhere/at/all", "file:///nowhere", "/etc"])
def test_no_repository(fetch: Fetcher, url: str) -> None:
    with refused("there is no repository at", "check the path"):
        fetch(url)


def test_a_strange_object_format(tmp_path: Path, fetch: Fetcher) -> None:
    path = tmp_path / "sha256"
    path.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main", "--object-format=sha256", path], check=True)
    repo = Repo(path)
    commit = repo.commit({"a": "1"})
    assert len(commit) == 64
    assert (fetch(path).path / "a").read_text() == "1"
    assert resolve(repo, commit[:10]).commit == commit


def test_a_shallow_repository_is_a_good_source(repo: Repo, tmp_path: Path, fetch: Fetcher) -> None:
    for number in range(3):
        commit = repo.commit({"a": str(number)})
    subprocess.run(
        ["git", "clone", "-q", "--depth=1", f"file://{repo.path}", tmp_path / "shallow"], check=True
    )
    assert fetch(tmp_path / "shallow").identity == f"git:{commit}"


@pytest.mark.slow
def test_history_can_be_fetched_too(repo: Repo, tmp_path: Path) -> None:
    for number in range(3):
        repo.commit({"a": str(number)})
    for depth, count in ((1, "1"), (2, "2"), (0, "3")):
        fetch = Fetcher(tmp_path / f"agent-{depth}", GitSettings(depth=depth))
        commit = fetch(repo.path).pinned.fields["commit"]
        (cached,) = (fetch.cache / "repositories").glob("*.git")
        listed = subprocess.run(
            ["git", "--git-dir", cached, "rev-list", "--count", commit], capture_output=True, check=True
        )
        assert listed.stdout.decode().strip() == count


# ── subdir and links ─────────────────────────────────────────────────────────────────────────────


def test_subdir(repo: Repo, fetch: Fetcher) -> None:
    repo.commit({"projects/train/main.py": "m", "README": "r"})
    found = fetch(repo.path, subdir="projects/train")
    assert found.path.name == "train"
    assert everything(found.path) == {"main.py": b"m"}
    assert found.identity.startswith("git:")
    assert "+" in found.identity
    with refused("subdir 'projects/tarin' does not exist", "'projects'"):
        fetch(repo.path, subdir="projects/tarin")
    with refused("subdir 'README' is a file"):
        fetch(repo.path, subdir="README")


def test_links_that_lead_out_are_left_out(repo: Repo, tmp_path: Path, fetch: Fetcher) -> None:
    """What works on the tree later, on the agent's machine, would follow them."""
    (repo.path / "deep" / "er").mkdir(parents=True)
    for name, target in {
        "good": "real",
        "deep/good": "../real",
        "dangling": "deep/nothing",
        "absolute": "/etc/passwd",
        "up": "../../..",
        "deep/er/up": "../../../x",
        "trick": "deep/er/home/../..",
        "deep/er/home": "../..",
        "via": "absolute",
        "itself": "itself",
    }.items():
        (repo.path / name).symlink_to(target)
    repo.commit({"real": "r", "deep/er/x": "x"})
    found = fetch(repo.path)
    links = {p.relative_to(found.path).as_posix() for p in found.path.rglob("*") if p.is_symlink()}
    assert {"good", "deep/good", "dangling", "deep/er/home"} <= links
    assert not {"absolute", "up", "deep/er/up", "trick"} & links
    for name in ("absolute", "up", "deep/er/up", "trick"):
        assert f"git: link '{name}' leads out of the source and was left out" in fetch.stage.lines
    root = found.path.resolve()
    for path in found.path.rglob("*"):
        assert Path(os.path.realpath(path)).is_relative_to(root)
    before = len(fetch.stage.lines)
    fetch(repo.path, commit=found.pinned.fields["commit"])
    assert len(fetch.stage.lines) > before, "it is said again to every run that has the tree from the cache"


def test_a_subdir_that_is_a_link(repo: Repo, fetch: Fetcher) -> None:
    repo.commit({"real/a": "1"})
    (repo.path / "link").symlink_to("real")
    (repo.path / "out").symlink_to("/etc")
    repo.commit()
    assert (fetch(repo.path, subdir="link").path / "a").read_text() == "1"
    with refused("subdir 'out' does not exist"):
        fetch(repo.path, subdir="out")


def test_lfs_is_said(repo: Repo, fetch: Fetcher) -> None:
    repo.commit(
        {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text", "a.bin": "version https://git-lfs"}
    )
    fetch(repo.path)
    assert "files of Git LFS are not fetched" in fetch.said


# ── the cache ────────────────────────────────────────────────────────────────────────────────────


def test_another_url_has_another_tree(repo: Repo, tmp_path: Path, fetch: Fetcher) -> None:
    """Who can read no private repository must not get its tree by knowing a commit."""
    commit = repo.commit({"secret": "1"})
    fetch(repo.path, commit=commit)
    other = Repo(tmp_path / "other")
    other.commit({"b": "2"})
    with refused("is not in"):
        fetch(other.path, commit=commit)


def test_the_cache_may_be_deleted(repo: Repo, fetch: Fetcher) -> None:
    commit = repo.commit({"a": "1"})
    for _ in range(2):
        assert (fetch(repo.path, commit=commit).path / "a").exists()
        shutil.rmtree(fetch.cache)


def test_a_damaged_cache_is_fetched_again(repo: Repo, fetch: Fetcher) -> None:
    commit = repo.commit({"a": "1" * 5000})
    fetch(repo.path, commit=commit)
    for tree in (fetch.cache / "trees").glob("*-*"):
        shutil.rmtree(tree)
    (pack,) = (fetch.cache / "repositories").glob("*.git/objects/pack/*.pack")
    pack.chmod(0o600)
    pack.write_bytes(pack.read_bytes()[:40] + b"\xff" * 60)
    assert (fetch(repo.path, commit=commit).path / "a").read_text() == "1" * 5000
    assert "the cached repository is damaged: fetching it again" in fetch.said


@pytest.mark.slow
def test_caches_are_bounded(tmp_path: Path) -> None:
    fetch = Fetcher(tmp_path / "agent", GitSettings(cache_bytes=250_000))
    for number in range(5):
        repo = Repo(tmp_path / f"repo-{number}")
        repo.commit({"blob": os.urandom(100_000)})
        fetch(repo.path)
    total = sum(path.stat().st_size for path in (fetch.cache / "repositories").rglob("*.pack"))
    assert total < 350_000
    assert len(list((fetch.cache / "repositories").glob("*.git"))) < 5


@pytest.mark.slow
def test_many_packs_are_folded_into_one(repo: Repo, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launchcore.builtin.git.repositories._MAX_PACKS", 3)
    for number in range(6):
        fetch(repo.path, commit=repo.commit({"a": str(number)}))
    assert len(list((fetch.cache / "repositories").glob("*.git/objects/pack/*.pack"))) <= 4
