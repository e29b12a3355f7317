"""Submodules, honest and hostile."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from launchcore.builtin.git.settings import GitSettings
from launchcore.plugin import LaunchError
from tests.sources.gitkit import HTTP, Fetcher, Repo, serving
from tests.sources.support import everything, refused


@pytest.fixture
def lib(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "lib")
    made.commit({"lib.py": "1"})
    return made


@pytest.fixture
def app(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "app")
    made.commit({"app.py": "1"})
    return made


@pytest.fixture
def fetch(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path / "agent")


def head(repo: Repo) -> str:
    return repo.git("rev-parse", "HEAD")


@pytest.mark.parametrize("url", ["../lib", "{lib}", "file://{lib}"])
def test_submodules(url: str, lib: Repo, app: Repo, fetch: Fetcher) -> None:
    pinned = head(lib)
    lib.commit({"lib.py": "later"})
    app.submodule("vendor/lib", url.format(lib=lib.path), pinned)
    found = fetch(app.path)
    assert (found.path / "vendor/lib/lib.py").read_text() == "1", "the commit that the superproject names"
    assert found.summary.endswith("4 files")
    assert not list(found.path.rglob(".git"))
    assert "git: submodule 'vendor/lib'" in fetch.stage.lines


def test_real_git_made_submodules(lib: Repo, app: Repo, fetch: Fetcher) -> None:
    app.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(lib.path), "libs/the lib")
    app.commit()
    assert (fetch(app.path).path / "libs/the lib/lib.py").read_text() == "1"


def test_nested(tmp_path: Path, lib: Repo, app: Repo, fetch: Fetcher) -> None:
    middle = Repo(tmp_path / "middle")
    middle.commit({"m": "m"})
    middle.submodule("inner", "../lib", head(lib))
    app.submodule("outer", "../middle", head(middle))
    assert (fetch(app.path).path / "outer/inner/lib.py").read_text() == "1"


def test_without(lib: Repo, app: Repo, fetch: Fetcher) -> None:
    app.submodule("lib", "../lib", head(lib))
    full, bare = fetch(app.path), fetch(app.path, submodules=False)
    assert everything(bare.path / "lib") == {}
    assert full.identity != bare.identity
    assert bare.pinned.fields["submodules"] is False


def test_update_none_and_no_url(lib: Repo, app: Repo, fetch: Fetcher) -> None:
    app.submodule("skipped", "../lib", head(lib), update="none")
    app.git("update-index", "--add", "--cacheinfo", f"160000,{head(lib)},stray")
    app.git("commit", "-q", "-m", "x")
    found = fetch(app.path)
    assert everything(found.path / "skipped") == {}
    assert "git: submodule 'stray' has no URL in .gitmodules: left empty" in fetch.stage.lines


def test_a_missing_one(lib: Repo, app: Repo, fetch: Fetcher, tmp_path: Path) -> None:
    app.submodule("lib", "../nowhere", head(lib))
    with refused("there is no repository at", "nowhere"):
        fetch(app.path)
    other = Repo(tmp_path / "other")
    other.commit()
    other.submodule("lib", "../lib", "4b" * 20)
    with refused("is not in", "lib"):
        fetch(other.path)


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c id",
        "--upload-pack=id",
        "-u./x",
        "ssh://-oProxyCommand=id/x",
        "../../../../../x/../../..",
        "x y",
    ],
)
def test_hostile_urls(url: str, lib: Repo, app: Repo, fetch: Fetcher) -> None:
    """Some are stopped by git's own check of .gitmodules, the rest by ours."""
    app.submodule("lib", url, head(lib))
    with refused():
        fetch(app.path)


def test_nothing_else_in_gitmodules_counts(lib: Repo, app: Repo, fetch: Fetcher, tmp_path: Path) -> None:
    app.submodule("lib", "../lib", head(lib), update="checkout", ignore="all", branch="x", shallow="false")
    assert (fetch(app.path).path / "lib/lib.py").exists()
    evil = Repo(tmp_path / "evil")
    evil.commit()
    evil.submodule("lib", "../lib", head(lib), update=f"!touch {tmp_path}/canary")
    with contextlib.suppress(LaunchError):  # git refuses such a file; it is enough that nothing ran
        fetch(evil.path)
    assert not (tmp_path / "canary").exists()


@pytest.mark.slow
def test_a_submodule_that_holds_itself(app: Repo, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not possible with honest hashes, so a chain: each level is another repository in the same place."""
    monkeypatch.setattr("launchcore.builtin.git.checkout._MAX_NESTING", 2)
    commit = head(app)
    for _ in range(4):
        app.git("rm", "-q", "--cached", "--ignore-unmatch", "deeper")
        (app.path / ".gitmodules").unlink(missing_ok=True)
        app.submodule("deeper", "../app", commit)
        commit = head(app)
    with refused("too many submodules"):
        fetch(app.path)


def test_too_many(lib: Repo, app: Repo, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launchcore.builtin.git.checkout._MAX_SUBMODULES", 2)
    for number in range(3):
        app.submodule(f"lib-{number}", "../lib", head(lib))
    with refused("too many submodules"):
        fetch(app.path)


def test_files_are_counted_over_all(lib: Repo, app: Repo, tmp_path: Path) -> None:
    lib.commit({f"f{number}": "" for number in range(10)})
    app.submodule("lib", "../lib", head(lib))
    with refused("more than 8 files"):
        Fetcher(tmp_path / "agent", GitSettings(max_files=8))(app.path)


def test_links_of_a_submodule(lib: Repo, app: Repo, fetch: Fetcher) -> None:
    (lib.path / "out").symlink_to("../../..")
    (lib.path / "into").symlink_to("../app.py")
    lib.commit()
    app.submodule("lib", "../lib", head(lib))
    found = fetch(app.path)
    assert not (found.path / "lib/out").is_symlink()
    assert (found.path / "lib/into").read_text() == "1", "inside the whole tree is inside"


def test_a_submodule_behind_a_link(lib: Repo, app: Repo, fetch: Fetcher, tmp_path: Path) -> None:
    """CVE-2019-1353 and its kin: the path of a submodule leads through a link to somewhere else."""
    (tmp_path / "elsewhere").mkdir()
    (app.path / "link").symlink_to("real")
    app.commit({"real/x": "x"})
    link = app.git("rev-parse", "HEAD:link")
    modules = app.blob(b'[submodule "l"]\n\tpath = link/sub\n\turl = ../lib\n')
    inner = app.raw_tree((b"160000", b"sub", head(lib)))
    evil = app.raw_tree(
        (b"100644", b".gitmodules", modules), (b"120000", b"link", link), (b"40000", b"link", inner)
    )
    with refused():
        fetch(app.path, commit=app.commit_tree(evil))


# ── strangers, over http ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def stranger(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path / "agent", HTTP, local=False)


def test_strangers_may_not_send_the_agent_to_its_own_network(
    lib: Repo, app: Repo, stranger: Fetcher, tmp_path: Path
) -> None:
    with serving(tmp_path) as ours, serving(tmp_path) as internal:
        port = internal.server_address[1]
        for host in ("localhost", "127.1"):
            app.commit()
            (app.path / ".gitmodules").unlink(missing_ok=True)
            app.git("rm", "-q", "--cached", "--ignore-unmatch", "lib")
            app.submodule("lib", f"http://{host}:{port}/lib/.git", head(lib))
            with refused("submodule", "is inside the agent's network"):
                stranger(f"{ours.url}/app/.git")
        assert internal.seen == []


def test_the_superprojects_own_host_is_no_stranger(
    lib: Repo, app: Repo, stranger: Fetcher, tmp_path: Path
) -> None:
    app.submodule("lib", "../../lib/.git", head(lib))
    with serving(tmp_path) as server:
        found = stranger(f"{server.url}/app/.git")
    assert (found.path / "lib/lib.py").read_text() == "1"


@pytest.mark.parametrize("url", ["file://{lib}", "{lib}"])
def test_strangers_have_no_local_submodules(
    url: str, lib: Repo, app: Repo, stranger: Fetcher, tmp_path: Path
) -> None:
    app.submodule("lib", url.format(lib=lib.path), head(lib))
    with serving(tmp_path) as server, refused("is a path on the agent's machine"):
        stranger(f"{server.url}/app/.git")


def test_a_local_run_may_go_where_its_user_may(lib: Repo, app: Repo, tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        app.submodule("lib", f"http://localhost:{server.server_address[1]}/lib/.git", head(lib))
        found = Fetcher(tmp_path / "agent", HTTP)(app.path)
    assert (found.path / "lib/lib.py").read_text() == "1"
