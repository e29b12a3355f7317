"""The submitter's own checkout: described, and its changes as a patch that another machine applies."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchcore.builtin.git.worktree import describe_checkout, make_patch
from launchcore.plugin import Fault, Reason
from tests.sources.gitkit import ENV, Fetcher, Repo
from tests.sources.support import everything, refused, tree


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "repo")
    made.commit({"a.py": "1\n", "d/b.py": "2\n"})
    return made


@pytest.fixture
def fetch(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path / "agent")


def apply(fetch: Fetcher, repo: Repo, patch: bytes, **fields: object) -> dict[str, bytes | None]:
    return everything(fetch(repo.path, patch=fetch.stage.store(patch), **fields).path)


def content(repo: Repo) -> dict[str, bytes | None]:
    return {name: data for name, data in everything(repo.path).items() if not f"{name}/".startswith(".git/")}


# ── describe ─────────────────────────────────────────────────────────────────────────────────────


def test_describe(repo: Repo, tmp_path: Path) -> None:
    found = describe_checkout(repo.path / "d")
    assert found.root == repo.path
    assert found.subdir == "d"
    assert found.commit == repo.git("rev-parse", "HEAD")
    assert (found.branch, found.url, found.dirty, found.unpushed) == ("main", None, False, 1)
    repo.git("remote", "add", "origin", "https://ada:hunter2@example.com/a/b.git")
    (repo.path / "new.py").touch()
    found = describe_checkout(repo.path)
    assert found.subdir is None
    assert found.url == "https://example.com/a/b.git", "a token in a remote's URL goes nowhere"
    assert found.dirty
    repo.git("checkout", "-q", "--detach")
    assert describe_checkout(repo.path).branch is None


def test_unpushed(repo: Repo, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "remote"], check=True)
    repo.git("remote", "add", "origin", "../remote")
    repo.git("push", "-q", "origin", "main")
    assert describe_checkout(repo.path).unpushed == 0
    assert describe_checkout(repo.path).url == str(tmp_path / "remote")
    repo.commit({"a.py": "2"})
    repo.commit({"a.py": "3"})
    assert describe_checkout(repo.path).unpushed == 2


def test_which_remote(repo: Repo) -> None:
    repo.git("remote", "add", "one", "git@h:one")
    assert describe_checkout(repo.path).url == "git@h:one"
    repo.git("remote", "add", "two", "git@h:two")
    assert describe_checkout(repo.path).url is None, "two, and no reason to take either"
    repo.git("config", "branch.main.remote", "two")
    assert describe_checkout(repo.path).url == "git@h:two"
    repo.git("config", "branch.main.remote", "gone")
    repo.git("remote", "add", "origin", "git@h:origin")
    assert describe_checkout(repo.path).url == "git@h:origin"


def test_no_checkout(tmp_path: Path) -> None:
    user = {"reason": Reason.USER_ERROR, "fault": Fault.USER}
    with refused("is not in a git checkout", "git init", **user):  # type: ignore[arg-type]
        describe_checkout(tmp_path)
    with refused("is not a directory", **user):  # type: ignore[arg-type]
        describe_checkout(tmp_path / "nowhere")
    repo = Repo(tmp_path / "empty")
    for call in (describe_checkout, make_patch):
        with refused("has no commit yet", **user):  # type: ignore[arg-type]
            call(repo.path)


def test_variables_of_git_do_not_mislead(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a hook of another repository."""
    other = Repo(tmp_path / "other")
    other.commit({"x": "x"})
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git/index"))
    assert describe_checkout(repo.path).commit == repo.git("rev-parse", "HEAD")
    assert make_patch(repo.path) == b""


def test_a_monitor_in_a_checkout_from_a_stranger_does_not_run(repo: Repo, tmp_path: Path) -> None:
    """An unpacked directory with a .git of its own: looking at it must run nothing."""
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/canary\n")
    evil.chmod(0o755)
    repo.git("config", "core.fsmonitor", str(evil))
    repo.git("config", "diff.external", str(evil))
    repo.git("config", "core.pager", str(evil))
    (repo.path / ".git/hooks").mkdir(exist_ok=True)
    (repo.path / ".git/hooks/post-index-change").symlink_to(evil)
    tree(repo.path, {"a.py": "changed"})
    describe_checkout(repo.path)
    assert make_patch(repo.path)
    assert not (tmp_path / "canary").exists()


# ── patches ──────────────────────────────────────────────────────────────────────────────────────


def test_a_patch_carries_every_change(repo: Repo, fetch: Fetcher) -> None:
    repo.commit(
        {"gone.py": "x", "moved.py": "long enough to be seen as moved\n" * 5, "bin": os.urandom(3000)}
    )
    repo.commit({".gitignore": "*.log\n"})
    commit = repo.git("rev-parse", "HEAD")
    (repo.path / "gone.py").unlink()
    (repo.path / "moved.py").rename(repo.path / "d/moved.py")
    tree(
        repo.path,
        {
            "a.py": "no newline at the end",
            "new/ünï côdé.py": "new\r\n",
            "bin": os.urandom(3000),
            "new.bin": os.urandom(100),
            "empty": "",
            "ignored.log": "not this",
            "staged.py": "staged",
        },
    )
    (repo.path / "d/b.py").chmod(0o755)
    repo.git("add", "staged.py")
    (repo.path / "staged.py").write_text("and changed since")
    before = repo.git("status", "--porcelain")
    objects = everything(repo.path / ".git/objects")
    patch = make_patch(repo.path)
    assert repo.git("status", "--porcelain") == before
    assert everything(repo.path / ".git/objects") == objects, "nothing in the checkout is touched"
    wanted = content(repo)
    del wanted["ignored.log"]
    assert apply(fetch, repo, patch, commit=commit) == wanted
    found = fetch(repo.path, commit=commit, patch=fetch.stage.store(patch))
    assert (found.path / "d/b.py").stat().st_mode & 0o111
    assert found.summary.endswith("patched")
    assert found.identity != fetch(repo.path, commit=commit).identity


def test_from_a_directory_inside(repo: Repo, fetch: Fetcher) -> None:
    tree(repo.path, {"a.py": "changed\n", "d/b.py": "changed\n"})
    assert make_patch(repo.path / "d") == make_patch(repo.path)
    found = fetch(repo.path, subdir="d", patch=fetch.stage.store(make_patch(repo.path)))
    assert (found.path / "b.py").read_text() == "changed\n"


def test_no_changes(repo: Repo) -> None:
    assert make_patch(repo.path) == b""


def test_the_users_configuration_does_not_spoil_it(repo: Repo, fetch: Fetcher) -> None:
    for key, value in {
        "diff.noprefix": "true",
        "diff.mnemonicPrefix": "true",
        "color.ui": "always",
        "diff.renames": "copies",
        "diff.context": "0",
        "core.quotePath": "false",
        "diff.external": "false",
        "apply.whitespace": "error",
    }.items():
        repo.git("config", key, value)
    tree(repo.path, {"a.py": "trailing  \n", "new.py": "n"})
    assert apply(fetch, repo, make_patch(repo.path))["a.py"] == b"trailing  \n"


def test_work_in_a_linked_worktree(repo: Repo, tmp_path: Path, fetch: Fetcher) -> None:
    repo.git("worktree", "add", "-q", str(tmp_path / "linked"), "-b", "linked")
    tree(tmp_path / "linked", {"a.py": "in the linked one"})
    assert describe_checkout(tmp_path / "linked").branch == "linked"
    assert apply(fetch, repo, make_patch(tmp_path / "linked"))["a.py"] == b"in the linked one"


def test_an_odd_place(tmp_path: Path, fetch: Fetcher) -> None:
    repo = Repo(tmp_path / 'a:b "c" d')
    repo.commit({"a.py": "1"})
    tree(repo.path, {"a.py": "2"})
    assert apply(fetch, repo, make_patch(repo.path))["a.py"] == b"2"


def test_changes_in_a_submodule_are_not_lost_in_silence(repo: Repo, tmp_path: Path) -> None:
    lib = Repo(tmp_path / "lib")
    lib.commit({"l": "1"})
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(lib.path), "lib")
    repo.commit()
    assert make_patch(repo.path) == b""
    (repo.path / "lib/l").write_text("2")
    with refused("the submodule 'lib' has changes", "commit and push", reason=Reason.USER_ERROR):
        make_patch(repo.path)
    subprocess.run(["git", "commit", "-qam", "x"], cwd=repo.path / "lib", env=ENV, check=True)
    with refused("the submodule 'lib' has changes", reason=Reason.USER_ERROR):
        make_patch(repo.path)


def test_a_repository_in_a_repository(repo: Repo) -> None:
    Repo(repo.path / "nested").commit({"n": "1"})
    with refused("'nested' has changes, or is a repository of its own", reason=Reason.USER_ERROR):
        make_patch(repo.path)
    (repo.path / ".gitignore").write_text("nested/")
    assert b"nested/n" not in make_patch(repo.path)


def test_a_patch_for_another_commit(repo: Repo, fetch: Fetcher) -> None:
    tree(repo.path, {"a.py": "2\n"})
    patch = make_patch(repo.path)
    repo.commit({"a.py": "another line\n"})
    with refused("the patch of local changes does not apply", "a.py", "against the commit"):
        apply(fetch, repo, patch)


def test_a_damaged_patch(repo: Repo, fetch: Fetcher) -> None:
    tree(repo.path, {"a.py": "2\n"})
    digest = fetch.stage.store(make_patch(repo.path))
    fetch.stage.archives[digest] += b"more"
    with refused("is not what was uploaded", fault=Fault.INFRASTRUCTURE):
        fetch(repo.path, ref="main", patch=digest)


def new_file(name: str, text: str = "x", mode: str = "100644") -> bytes:
    return (
        f"diff --git a/{name} b/{name}\nnew file mode {mode}\n--- /dev/null\n+++ b/{name}\n"
        f"@@ -0,0 +1 @@\n+{text}\n\\ No newline at end of file\n"
    ).encode()


@pytest.mark.parametrize(
    "patch",
    [
        new_file("../canary"),
        new_file("d/../../canary"),
        new_file("/canary"),
        new_file(".git/hooks/post-checkout", mode="100755"),
        new_file("x/.GIT/config"),
        new_file("link", "..", mode="120000") + new_file("link/canary"),
        new_file("link", "/tmp", mode="120000") + new_file("link/canary"),
        b"rename from a.py\nrename to ../canary\n",
        b"diff --git a/a.py b/../canary\nsimilarity index 100%\nrename from a.py\nrename to ../canary\n",
        b"GIT binary patch\nliteral 99999999999\nzcmV\n",
        b"not a patch at all",
        b"",
        b"\0" * 100,
    ],
)
def test_hostile_patches(repo: Repo, fetch: Fetcher, tmp_path: Path, patch: bytes) -> None:
    with refused("the patch of local changes does not apply"):
        apply(fetch, repo, patch)
    for path in (tmp_path / "canary", fetch.root / "canary", Path("/canary"), Path("/tmp/canary")):
        assert not path.exists()
    assert not list(fetch.root.rglob("post-checkout"))


def test_links_that_a_patch_makes(repo: Repo, fetch: Fetcher) -> None:
    patch = new_file("out", "/etc/passwd", mode="120000") + new_file("in", "a.py", mode="120000")
    found = fetch(repo.path, patch=fetch.stage.store(patch))
    assert not (found.path / "out").is_symlink()
    assert (found.path / "in").read_text() == "1\n"
    assert "git: link 'out' leads out of the source and was left out" in fetch.stage.lines


def test_a_cache_inside_a_repository(repo: Repo, tmp_path: Path) -> None:
    """An agent's state may lie in somebody's checkout; git would take that for what it has to patch."""
    around = Repo(tmp_path / "around")
    around.commit({"a.py": "of the other one"})
    fetch = Fetcher(tmp_path / "around" / "agent")
    tree(repo.path, {"a.py": "2\n"})
    assert apply(fetch, repo, make_patch(repo.path))["a.py"] == b"2\n"


texts = st.one_of(
    st.binary(max_size=300), st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace"))
)
files = st.dictionaries(st.sampled_from(["a", "b", "d/c", "d/e", "ü", "sp ace", 'q"uote']), texts, max_size=5)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(before=files, after=files)
def test_any_change_arrives(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    root = tmp_path_factory.mktemp("any")
    repo, fetch = Repo(root / "repo"), Fetcher(root / "agent")
    commit = repo.commit(dict(before))
    for name in before:
        (repo.path / name).unlink()
    tree(repo.path, dict(after))
    patch = make_patch(repo.path)
    fields = {"patch": fetch.stage.store(patch)} if patch else {}
    found = everything(fetch(repo.path, commit=commit, **fields).path)
    assert {name: data for name, data in found.items() if data is not None} == after
