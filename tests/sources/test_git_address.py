"""Addresses of repositories, and what settings and fields take."""

from __future__ import annotations

from pathlib import Path

import pytest

from launchcore.builtin.git.address import Address, beside, check_allowed, parse
from launchcore.builtin.git.hosts import is_public, public_addresses
from launchcore.builtin.git.settings import Credential, GitFields, GitSettings
from launchcore.builtin.git.variables import scrubbed, ssh_command, token_for
from launchcore.plugin import Reason, Secret
from tests.sources.support import refused


@pytest.mark.parametrize(
    ("text", "protocol", "url", "site"),
    [
        ("https://github.com/a/b.git", "https", "https://github.com/a/b.git", "github.com"),
        ("HTTPS://GitHub.com/a/b", "https", "https://github.com/a/b", "github.com"),
        ("https://h.example:8443/a", "https", "https://h.example:8443/a", "h.example:8443"),
        ("https://[::1]:8443/a", "https", "https://[::1]:8443/a", "[::1]:8443"),
        ("ssh://git@h.example:22/a", "ssh", "ssh://git@h.example:22/a", "h.example:22"),
        ("git@github.com:a/b.git", "ssh", "git@github.com:a/b.git", "github.com"),
        ("host:path", "ssh", "host:path", "host"),
        ("git@[::1]:a", "ssh", "git@[::1]:a", "[::1]"),
        ("/srv/git/a.git", "file", "/srv/git/a.git", "None"),
        ("file:///srv/git/a", "file", "file:///srv/git/a", "None"),
        ("http://h/a", "http", "http://h/a", "h"),
    ],
)
def test_addresses(text: str, protocol: str, url: str, site: str) -> None:
    found = parse(text)
    assert (found.protocol, found.url, found.site) == (protocol, url, site)
    assert (found.username, found.password) == (None, None)


@pytest.mark.parametrize(
    ("text", "username", "password"),
    [
        ("https://ada:hunter2@h/a", "ada", "hunter2"),
        ("https://:hunter2@h/a", "", "hunter2"),
        ("https://ghp_token@h/a", "ghp_token", None),
        ("https://a%40b:p%2Fw@h/a", "a@b", "p/w"),
        ("https://user:pa@ss@h/a", "user", "pa@ss"),
    ],
)
def test_credentials_are_taken_out(text: str, username: str, password: str | None) -> None:
    found = parse(text)
    assert found.url == "https://h/a"
    assert found.username == username
    assert found.password == (Secret(password) if password is not None else None)
    assert "hunter2" not in repr(found)


HOSTILE_URLS = [
    "ext::sh -c id",
    "ext::sh%20-c%20id",
    "fd::17",
    "foo::https://h/a",
    "--upload-pack=id",
    "-u",
    "ssh://-oProxyCommand=id/a",
    "ssh://git@-oProxyCommand=id/a",
    "-oProxyCommand=id:a",
    "git@-oProxyCommand=id:a",
    "ssh://h/-a",
    "h:-a",
    "ssh://-x@h/a",
    "ssh://user:pw@h/a",
    "https://h",
    "https:///a",
    "https://h:0/a",
    "https://h:99999/a",
    "https://h:abc/a",
    "https://h%00/a",
    "https://h\n/a",
    "https://h/a b",
    "https://h\\@evil/a",
    "https://h/\x1b[2J",
    "https://us\u202eer/a",
    "file://host/share",
    "relative/path",
    "./relative",
    "../x",
    "~/x",
    "~user:x",
    "",
    "a",
    "https://" + "a" * 3000,
    "https://u%0a:x@h/a",
]


@pytest.mark.parametrize("text", HOSTILE_URLS)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        parse(text)
    assert str(caught.value).isprintable()
    with pytest.raises(ValueError, match="'url' must"):
        GitFields(url=text)


@pytest.mark.parametrize(
    ("base", "relative", "url"),
    [
        ("https://h/a/b.git", "../c.git", "https://h/a/c.git"),
        ("https://h/a/b.git/", "../../c", "https://h/c"),
        ("https://h/a/b", "./c", "https://h/a/b/c"),
        ("https://h/a/b", "https://other/c", "https://other/c"),
        ("git@h:a/b", "../c", "git@h:a/c"),
        ("git@h:/srv/b", "../c", "git@h:/srv/c"),
        ("git@[::1]:a/b", "../c", "git@[::1]:a/c"),
        ("ssh://git@h:22/a/b", "../../c/d", "ssh://git@h:22/c/d"),
        ("/srv/a/b", "../c", "/srv/a/c"),
        ("file:///srv/a", "../b", "file:///srv/b"),
    ],
)
def test_addresses_of_submodules(base: str, relative: str, url: str) -> None:
    assert beside(parse(base), relative).url == url


@pytest.mark.parametrize(
    ("base", "relative"),
    [
        ("https://h/a", "../../x"),
        ("https://h/a", "../../../evil.example/x"),
        ("https://h/a", "../.."),
        ("git@h:a", "../../x"),
        ("https://h/a", "../b\nc"),
        ("https://h/a", "../-c:x y"),
        ("https://h/a", "--upload-pack=id"),
        ("https://h/a", "ext::sh -c id"),
        ("https://h/a", "c"),
    ],
)
def test_hostile_addresses_of_submodules(base: str, relative: str) -> None:
    with pytest.raises(ValueError, match="must"):
        beside(parse(base), relative)


def test_a_submodule_keeps_the_credentials_of_its_own_host_only() -> None:
    base = parse("https://u:p@h/a/b")
    assert beside(base, "../c").password == Secret("p")
    assert beside(base, "https://other/c").password is None


@pytest.mark.parametrize(
    ("url", "local", "word"),
    [
        ("/etc", False, "is a path on the agent's machine"),
        ("file:///etc", False, "is a path on the agent's machine"),
        ("http://h/a", True, "'http' is not allowed"),
        ("git://h/a", False, "'git' is not allowed"),
        ("ftp://h/a", True, "'ftp' is not allowed"),
    ],
)
def test_protocols(url: str, local: bool, word: str) -> None:
    with refused(word):
        check_allowed(parse(url), ("https", "ssh"), local=local)


def test_allowed_protocols() -> None:
    for url, local in [("https://h/a", False), ("git@h:a", False), ("/srv/a", True), ("file:///a", True)]:
        check_allowed(parse(url), ("https", "ssh"), local=local)
    check_allowed(parse("/srv/a"), ("file",), local=False)


@pytest.mark.parametrize("url", ["https://u:p@h/a", "https://ghp_secret@h/a", "https://:p@h/a"])
def test_a_run_does_not_carry_a_password(url: str) -> None:
    """It would be in the queue's database, in clear."""
    with pytest.raises(ValueError, match="'url' must not hold a user name or password") as caught:
        GitFields(url=url)
    assert "https://h/a" in str(caught.value)
    assert "ghp_secret" not in str(caught.value)


HOSTILE_REFS = [
    *("-x", "--upload-pack=id", "a..b", "a b", "a~1", "a^{}", "a:b", "a?", "a*", "[a", "a\\b", "@{u}", "@"),
    *("/a", "a/", "a//b", "a.lock", ".a", "a/.b", "a.", "", "a" * 300, "a\n", "a\x1b[2J"),
]


@pytest.mark.parametrize("ref", HOSTILE_REFS)
def test_hostile_refs(ref: str) -> None:
    with pytest.raises(ValueError, match="'ref' must"):
        GitFields(url="https://h/a", ref=ref)


@pytest.mark.parametrize(
    "ref", ["main", "v1.0", "feature/x-y_z", "refs/pull/3/head", "4b1d2c9", "ünï", "a@b", "HEAD"]
)
def test_good_refs(ref: str) -> None:
    assert GitFields(url="https://h/a", ref=ref).ref == ref


@pytest.mark.parametrize(
    "fields",
    [
        {"commit": "4b1d"},
        {"commit": "G" * 40},
        {"commit": "-" * 40},
        {"commit": 7},
        {"subdir": "../x"},
        {"subdir": "/x"},
        {"patch": "x"},
        {"submodules": "yes"},
        {"submodules": 1},
        {"ref": 7},
        {"url": None},
        {"url": 7},
    ],
)
def test_other_fields(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        GitFields(**{"url": "https://h/a", **fields})  # type: ignore[arg-type]


def test_settings() -> None:
    with pytest.raises(ValueError, match="'protocols' must be of https"):
        GitSettings(protocols=("https", "ext"))
    with pytest.raises(ValueError, match="'timeout_seconds' must be more than 0"):
        GitSettings(timeout_seconds=0)
    with pytest.raises(ValueError, match="'depth' must not be negative"):
        GitSettings(depth=-1)
    for bad in ({}, {"token_env": "A", "token_file": Path("/a")}):
        with pytest.raises(ValueError, match="exactly one"):
            Credential(**bad)  # type: ignore[arg-type]


# ── tokens and ssh ───────────────────────────────────────────────────────────────────────────────


def test_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_TOKEN", "from-env\n")
    (tmp_path / "token").write_text("from-file\n")
    settings = GitSettings(
        credentials={
            "github.com": Credential(token_env="THE_TOKEN"),
            "h:8443": Credential(username="bot", token_file=tmp_path / "token"),
            "gone": Credential(token_env="NO_SUCH_VARIABLE"),
            "lost": Credential(token_file=tmp_path / "nowhere"),
        }
    )
    assert token_for(parse("https://github.com/a"), settings) == ("x-access-token", Secret("from-env"))
    assert token_for(parse("https://h:8443/a"), settings) == ("bot", Secret("from-file"))
    assert token_for(parse("https://h/a"), settings) == (None, None)
    assert token_for(parse("git@github.com:a"), settings) == (None, None)
    assert token_for(parse("https://me:own@github.com/a"), settings) == ("me", Secret("own"))
    with refused("no token for 'gone' in the variable NO_SUCH_VARIABLE", reason=Reason.CONFIG_ERROR):
        token_for(parse("https://gone/a"), settings)
    with refused("no token for 'lost'", "No such file", reason=Reason.CONFIG_ERROR):
        token_for(parse("https://lost/a"), settings)


def test_the_environment_is_git_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "GIT_DIR",
        "GIT_SSH_COMMAND",
        "GIT_EXTERNAL_DIFF",
        "GIT_PROXY_COMMAND",
        "LD_PRELOAD",
        "AWS_SECRET",
    ):
        monkeypatch.setenv(name, "evil")
    env = scrubbed(GitSettings(), local=False)
    assert "evil" not in env.values()
    assert env["GIT_ALLOW_PROTOCOL"] == "https:ssh"
    assert scrubbed(GitSettings(), local=True)["GIT_ALLOW_PROTOCOL"] == "https:ssh:file"
    assert env["GIT_TERMINAL_PROMPT"] == "0"


def test_a_token_is_in_the_environment_only_for_its_origin() -> None:
    env = scrubbed(
        GitSettings(), local=False, address=parse("https://h:8443/a"), username="bot", secret=Secret("canary")
    )
    assert [name for name, value in env.items() if "canary" in value] == ["LAUNCHCORE_GIT_PASSWORD"]
    assert "credential.https://h:8443.helper" in env.values()


def test_ssh() -> None:
    assert "StrictHostKeyChecking=accept-new" in ssh_command(GitSettings())
    command = ssh_command(GitSettings(ssh_key_file=Path("/k y"), known_hosts_file=Path("/hosts")))
    assert "StrictHostKeyChecking=yes" in command
    assert "-i '/k y' -o IdentitiesOnly=yes" in command
    assert "UserKnownHostsFile=" in command
    assert "BatchMode=yes" in command


# ── hosts ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("number", "public"),
    [
        ("140.82.121.3", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("127.8.9.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:140.82.121.3", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_public_addresses(number: str, public: bool) -> None:
    assert is_public(number) is public


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]", "localhost.", "169.254.169.254"],
)
def test_hosts_inside(host: str) -> None:
    with refused("is inside the agent's network"):
        public_addresses(Address(protocol="https", url=f"https://{host}/a", host=host), proxied=False)


def test_a_host_that_nobody_knows() -> None:
    address = parse("https://no-such-host.invalid/a")
    with refused("is not known"):
        public_addresses(address, proxied=False)
    assert public_addresses(address, proxied=True) == ()


def test_a_public_host_is_pinned() -> None:
    """Git connects to the address that was looked at, and asks the name service no second time."""
    address = Address(protocol="https", url="https://h/a", host="h", numbers=("1.2.3.4", "5.6.7.8"))
    assert "h:443:1.2.3.4,5.6.7.8" in scrubbed(GitSettings(), local=False, address=address).values()
