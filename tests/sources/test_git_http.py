"""Servers: with tokens, dumb ones, slow ones, lying ones; and ssh."""

from __future__ import annotations

import os
import shlex
import threading
from pathlib import Path

import pytest

from launchcore.builtin.git.remote import resolve_ref
from launchcore.builtin.git.settings import Credential, GitSettings
from launchcore.plugin import Cancelled, Fault, LaunchError
from tests.sources.gitkit import HTTP, Fetcher, Repo, Server, serving
from tests.sources.support import everything, refused

CANARY = "canary-token-4711"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "served" / "repo")
    made.commit({"a": "1", "big": os.urandom(300_000)})
    return made


def with_token(server: Server, **credential: object) -> GitSettings:
    host = f"127.0.0.1:{server.server_address[1]}"
    return GitSettings(protocols=("http",), credentials={host: Credential(**credential)})  # type: ignore[arg-type]


def test_smart_http(repo: Repo, tmp_path: Path) -> None:
    with serving(tmp_path / "served") as server:
        found = Fetcher(tmp_path / "agent", HTTP, local=False)(f"{server.url}/repo/.git")
    assert (found.path / "a").read_text() == "1"


def test_only_the_commit_is_fetched(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"old": os.urandom(500_000)})
    repo.git("rm", "-q", "old")
    repo.commit()
    with serving(tmp_path / "served") as server:
        fetch = Fetcher(tmp_path / "agent", HTTP, local=False)
        fetch(f"{server.url}/repo/.git")
    assert sum(path.stat().st_size for path in fetch.cache.rglob("*.pack")) < 400_000


def test_a_token(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches the server, and nothing else: no file of the cache, no log, no argument of a process."""
    monkeypatch.setenv("THE_TOKEN", CANARY)
    arguments: set[str] = set()
    with serving(tmp_path / "served") as server:
        server.token = CANARY
        server.pause_after = 1000
        fetch = Fetcher(
            tmp_path / "agent", with_token(server, username="bot", token_env="THE_TOKEN"), local=False
        )

        def look() -> None:
            server.paused.wait(30)
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    arguments.add(process.read_text())
                except OSError:
                    continue
            server.go.set()

        thread = threading.Thread(target=look)
        thread.start()
        found = fetch(f"{server.url}/repo/.git")
        thread.join()
        assert f"[bot:{CANARY}]" in server.seen[-1]
    assert any("git" in line and "127.0.0.1" in line for line in arguments), "the processes were seen"
    assert not [line for line in arguments if CANARY in line]
    for path in (tmp_path / "agent").rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes()
    assert CANARY not in f"{fetch.said} {found}"


def test_a_token_in_a_url_is_used_and_never_shown(repo: Repo, tmp_path: Path) -> None:
    """For what the submitter's own machine asks; a run that carries one is refused."""
    with serving(tmp_path / "served") as server:
        server.token = CANARY
        url = f"{server.url}/repo/.git".replace("http://", f"http://ada:{CANARY}@")
        assert resolve_ref(url, None, settings=HTTP, local=True, timeout=30).ref == "main"
        server.token = "another"
        with pytest.raises(LaunchError) as caught:
            resolve_ref(url, None, settings=HTTP, local=True, timeout=30)
        with refused("must not hold a user name or password") as _:
            Fetcher(tmp_path / "agent", HTTP)(url)
    assert "needs a login" in caught.value.detail
    assert CANARY not in f"{caught.value.detail} {caught.value.hint}"


@pytest.mark.parametrize("token", [None, "wrong"])
def test_login_needed(repo: Repo, tmp_path: Path, token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_TOKEN", token or "")
    with serving(tmp_path / "served") as server:
        server.token = CANARY
        settings = with_token(server, token_env="THE_TOKEN") if token else HTTP
        with refused("needs a login that the agent does not have", "plugins.git.credentials"):
            Fetcher(tmp_path / "agent", settings)(f"{server.url}/repo/.git")


def test_no_such_repository(repo: Repo, tmp_path: Path) -> None:
    with serving(tmp_path / "served") as server, refused("there is no repository at", "/nowhere.git"):
        Fetcher(tmp_path / "agent", HTTP)(f"{server.url}/nowhere.git")


def test_a_server_in_trouble(repo: Repo, tmp_path: Path) -> None:
    with serving(tmp_path / "served") as server:
        server.status = 503
        with refused("did not answer", fault=Fault.INFRASTRUCTURE):
            Fetcher(tmp_path / "agent", HTTP)(f"{server.url}/repo/.git")
    with refused("did not answer", fault=Fault.INFRASTRUCTURE):
        Fetcher(tmp_path / "agent2", HTTP)(f"{server.url}/repo/.git")


def test_a_dumb_server(repo: Repo, tmp_path: Path) -> None:
    """Plain files: no shallow fetches, no single commits. An old commit is found in the whole history."""
    old = repo.git("rev-parse", "HEAD")
    repo.commit({"a": "2"})
    repo.git("update-server-info")
    with serving(tmp_path / "served") as server:
        server.dumb = True
        fetch = Fetcher(tmp_path / "agent", HTTP, local=False)
        assert (fetch(f"{server.url}/repo/.git").path / "a").read_text() == "2"
        assert (fetch(f"{server.url}/repo/.git", commit=old).path / "a").read_text() == "1"
        assert "fetching the whole history" in fetch.said
        with refused("is not in"):
            fetch(f"{server.url}/repo/.git", commit="4b" * 20)


def test_a_server_that_gives_no_single_commits(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protocol version 0, as old servers speak it."""
    monkeypatch.setitem(
        __import__("launchcore.builtin.git.variables", fromlist=["_CONFIG"])._CONFIG, "protocol.version", "0"
    )
    old = repo.git("rev-parse", "HEAD")
    repo.commit({"a": "2"})
    with serving(tmp_path / "served") as server:
        fetch = Fetcher(tmp_path / "agent", HTTP, local=False)
        assert (fetch(f"{server.url}/repo/.git", ref="main").path / "a").read_text() == "2"
        assert "whole history" not in fetch.said
        assert (fetch(f"{server.url}/repo/.git", commit=old).path / "a").read_text() == "1"
        assert "whole history" in fetch.said


# ── redirects ────────────────────────────────────────────────────────────────────────────────────


def test_redirects_are_followed_for_ones_own_runs_only(repo: Repo, tmp_path: Path) -> None:
    with serving(tmp_path / "served") as real, serving(tmp_path) as moved:
        moved.redirect = real.url
        found = Fetcher(tmp_path / "mine", HTTP, local=True)(f"{moved.url}/repo/.git")
        assert (found.path / "a").read_text() == "1"
        real.seen.clear()
        with refused("has moved", "give its new URL"):
            Fetcher(tmp_path / "theirs", HTTP, local=False)(f"{moved.url}/repo/.git")
        assert real.seen == [], "a redirect is a way into the agent's network"


def test_a_redirect_gets_no_token(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_TOKEN", CANARY)
    with serving(tmp_path / "served") as thief, serving(tmp_path) as moved:
        moved.redirect, thief.token = thief.url, "something else"
        settings = with_token(moved, token_env="THE_TOKEN")
        with refused("needs a login"):
            Fetcher(tmp_path / "mine", settings, local=True)(f"{moved.url}/repo/.git")
        assert thief.seen
        assert not [line for line in thief.seen if CANARY in line]


def test_a_redirect_to_another_protocol(repo: Repo, tmp_path: Path) -> None:
    with serving(tmp_path) as moved:
        moved.redirect = f"file://{tmp_path}"
        with pytest.raises(LaunchError) as caught:
            Fetcher(tmp_path / "mine", HTTP, local=True)(f"{moved.url}/served/repo/.git")
    assert "not allowed" in caught.value.detail


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


def alive(server: Server) -> bool:
    """Whether any process still has this server's address in its arguments."""
    address = f"127.0.0.1:{server.server_address[1]}"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z" and address in (process / "cmdline").read_text():
                return True
        except OSError:
            continue
    return False


def test_cancelling_stops_git_and_all_that_it_started(repo: Repo, tmp_path: Path) -> None:
    with serving(tmp_path / "served") as server:
        server.pause_after = 1000
        fetch = Fetcher(tmp_path / "agent", HTTP)
        raised: list[BaseException] = []

        def work() -> None:
            try:
                fetch(f"{server.url}/repo/.git")
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert server.paused.wait(30)
        assert alive(server)
        fetch.stage.cancel()
        thread.join(20)
        assert [type(error) for error in raised] == [Cancelled]
        assert not alive(server)
    assert everything(fetch.root / "into-1") == {}
    with serving(tmp_path / "served"):
        pass


@pytest.mark.slow
def test_too_slow(repo: Repo, tmp_path: Path) -> None:
    with serving(tmp_path / "served") as server:
        server.pause_after = 1000
        settings = GitSettings(protocols=("http",), timeout_seconds=1.0)
        with refused("git took too long", "timeout_seconds", fault=Fault.INFRASTRUCTURE):
            Fetcher(tmp_path / "agent", settings)(f"{server.url}/repo/.git")
        assert not alive(server)


# ── ssh ──────────────────────────────────────────────────────────────────────────────────────────


def test_ssh(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program called ssh that writes its arguments down and runs what it is asked to: git's own client
    speaks to git's own server over it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >> {shlex.quote(str(tmp_path / "arguments"))}\n'
        'for last; do :; done\nexec sh -c "$last"\n'
    )
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    settings = GitSettings(ssh_key_file=tmp_path / "the key", known_hosts_file=tmp_path / "hosts")
    found = Fetcher(tmp_path / "agent", settings, local=False)(f"git@git.example.com:{repo.path}")
    assert (found.path / "a").read_text() == "1"
    given = (tmp_path / "arguments").read_text().splitlines()
    assert "git@git.example.com" in given
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes"} <= set(given)
    assert str(tmp_path / "the key") in given


def test_ssh_says_no(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text("#!/bin/sh\necho 'git@h: Permission denied (publickey).' >&2\nexit 255\n")
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with refused("needs a login", "ssh_key_file"):
        Fetcher(tmp_path / "agent", local=False)("git@git.example.com:a/b")
