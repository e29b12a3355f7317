"""What git says, and what we make of it. Texts as git 2.39 to 2.45 and common servers print them."""

from __future__ import annotations

import pytest

from launchcore.builtin.git.diagnosis import explain
from launchcore.plugin import Fault, Reason, Secret

USER, MACHINE = Fault.USER, Fault.INFRASTRUCTURE


@pytest.mark.parametrize(
    ("said", "detail", "fault", "retryable"),
    [
        ("fatal: unable to access 'x': Could not resolve host: h", "the host 'h' is not known", USER, False),
        (
            "ssh: Could not resolve hostname h: Name or service not known",
            "the host 'h' is not known",
            USER,
            False,
        ),
        (
            "ssh: Could not resolve hostname h: Temporary failure in name resolution",
            "cannot be looked up",
            MACHINE,
            True,
        ),
        ("fatal: unable to access 'x': Failed to connect to h port 443", "'h' did not answer", MACHINE, True),
        ("ssh: connect to host h port 22: Connection refused", "'h' did not answer", MACHINE, True),
        (
            "fatal: unable to access 'x': The requested URL returned error: 503",
            "'h' did not answer",
            MACHINE,
            True,
        ),
        ("error: RPC failed; curl 18 transfer closed\nfatal: early EOF", "'h' did not answer", MACHINE, True),
        ("fatal: the remote end hung up unexpectedly", "'h' did not answer", MACHINE, True),
        (
            "remote: Repository not found.\nfatal: repository 'x' not found",
            "there is no repository at",
            USER,
            False,
        ),
        ("fatal: '/x' does not appear to be a git repository", "there is no repository at", USER, False),
        (
            "ERROR: Repository not found.\nfatal: Could not read from remote repository.",
            "there is no repo",
            USER,
            False,
        ),
        (
            "fatal: could not read Username for 'https://h': terminal prompts disabled",
            "needs a login",
            USER,
            False,
        ),
        (
            "remote: HTTP Basic: Access denied\nfatal: Authentication failed for 'https://h/'",
            "needs a login",
            USER,
            False,
        ),
        ("git@h: Permission denied (publickey).\nfatal: Could not read from", "needs a login", USER, False),
        ("fatal: unable to access 'x': The requested URL returned error: 403", "needs a login", USER, False),
        (
            "Host key verification failed.\nfatal: Could not read from remote",
            "the host key of 'h'",
            MACHINE,
            False,
        ),
        ("fatal: unable to access 'x': SSL certificate problem: self-signed", "is not safe", MACHINE, False),
        (
            "fatal: unable to access 'x': server certificate verification failed.",
            "is not safe",
            MACHINE,
            False,
        ),
        ("fatal: transport 'ext' not allowed", "not allowed", USER, False),
        ("fatal: unable to update url base from redirection:", "has moved", USER, False),
        ("fatal: remote error: upload-pack: not our ref 123", "the commit '123' is not in", USER, False),
        ("fatal: couldn't find remote ref x", "the commit '123' is not in", USER, False),
        ("fatal: detected dubious ownership in repository at '/x'", "belongs to another user", USER, False),
        (
            "error: object 12: hasDotgit: contains '.git'\nfatal: fsck error in packed object",
            "not safe to use",
            USER,
            False,
        ),
        ("fatal: write error: No space left on device", "the disk is full", MACHINE, True),
        (
            "fatal: something never heard of",
            "cannot fetch 'https://h/a': something never heard of",
            MACHINE,
            True,
        ),
        ("", "cannot fetch 'https://h/a': git said nothing", MACHINE, True),
    ],
)
def test_reasons(said: str, detail: str, fault: Fault, retryable: bool) -> None:
    error = explain(said, doing="cannot fetch", url="https://h/a", host="h", what="the commit '123'")
    assert detail in error.detail
    assert error.reason is Reason.SOURCE_FAILED
    assert (error.fault, error.retryable) == (fault, retryable)
    assert error.hint or "disk" in detail


@pytest.mark.parametrize(
    "said",
    [
        "fatal: unable to access 'https://ada:hunter2@h/a/': rubbish",
        "fatal: hunter2 is not welcome",
        "remote: https://hunter2@h/ is odd\n",
    ],
)
def test_secrets_are_masked(said: str) -> None:
    error = explain(said, doing="cannot fetch", url="https://h/a", host="h", secrets=[Secret("hunter2")])
    assert "hunter2" not in f"{error.detail} {error.hint}"


def test_output_of_a_server_is_hostile() -> None:
    said = "fatal: \x1b]8;;http://evil\x07click\x1b]8;;\x07\u202e" + "x" * 5000
    error = explain(said, doing="cannot fetch", url="https://h/a", host="h")
    assert error.detail.isprintable()
    assert len(error.detail) < 400


def test_braces_in_names_are_only_text() -> None:
    error = explain("Repository not found", doing="x", url="https://h/{host.__class__}", host="h")
    assert "{host.__class__}" in error.detail
