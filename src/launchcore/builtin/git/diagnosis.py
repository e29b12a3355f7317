"""What git printed, as a reason and advice. Pure: text in, :class:`LaunchError` out."""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

from launchcore.builtin.text import plain, shown
from launchcore.plugin import Fault, LaunchError, Reason, Secret


@attrs.frozen
class _Case:
    """One thing that goes wrong. ``pattern`` is searched in git's output (always English: LC_ALL=C)."""

    pattern: str
    detail: str
    hint: str | None = None
    fault: Fault = Fault.USER
    retryable: bool = False


_AWAY = "the network or the server is away; the run can be tried again"
_LOGIN = (
    "check the URL; if the repository is private, give the agent a token for {host} "
    "(plugins.git.credentials) or an ssh key (plugins.git.ssh_key_file)"
)

_CASES = (
    _Case(
        r"No space left on device|Disk quota exceeded", "the disk is full", None, Fault.INFRASTRUCTURE, True
    ),
    _Case(
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the host key of {host} is not the one that is known",
        "have the agent's owner check plugins.git.known_hosts_file",
        Fault.INFRASTRUCTURE,
    ),
    _Case(
        r"could not read (Username|Password)|Authentication failed|error: 40[13]|HTTP 40[13]"
        r"|Permission denied|Invalid username or|terminal prompts disabled|Access denied|access denied",
        "{url} needs a login that the agent does not have",
        _LOGIN,
    ),
    _Case(
        r"Temporary failure in name resolution",
        "the name {host} cannot be looked up now",
        _AWAY,
        Fault.INFRASTRUCTURE,
        True,
    ),
    _Case(
        r"Could not resolve host|Name or service not known|No address associated|nodename nor servname",
        "the host {host} is not known",
        "check the spelling of the URL",
    ),
    _Case(
        r"certificate|SSL|TLS|GnuTLS|gnutls",
        "the connection to {host} is not safe: {said}",
        "have the agent's owner look at its certificates (SSL_CERT_FILE)",
        Fault.INFRASTRUCTURE,
    ),
    _Case(
        r"transport '[^']*' not allowed|protocol '[^']*' is not supported|Unsupported protocol"
        r"|Protocol .* (disabled|not supported)|remote helper .* aborted",
        "{url} leads to a protocol that is not allowed",
        "use https or ssh; the agent's owner sets plugins.git.protocols",
    ),
    _Case(
        r"(unable to update url base from redirection|returned error: 30\d|redirect)",
        "{url} leads elsewhere: the repository has moved",
        "give its new URL",
    ),
    _Case(
        r"not our ref|unadvertised object|no such remote ref|couldn't find remote ref",
        "{what} is not in {url}",
        "push it first, or correct the ref",
    ),
    _Case(
        r"dubious ownership",
        "{url} belongs to another user of this machine",
        "take a repository of the agent's own user",
    ),
    _Case(
        r"error: 404|HTTP 404|[Rr]epository .*not found|does not appear to be a git repository|does not exist"
        r"|repository .* not valid|not found: did you run git update-server-info|No such file or directory"
        r"|could not be found|[Pp]roject not found",
        "there is no repository at {url} that the agent can see",
        _LOGIN,
    ),
    _Case(
        r"fsck error|hasDotgit|hasDotdot|fullPathname|gitmodules(Url|Path|Name|Symlink)|invalid path"
        r"|disallowed (submodule|path)|over limit",
        "the repository is not safe to use: {said}",
        "its owner has to mend it (git fsck shows more)",
    ),
    _Case(
        r"error: 5\d\d|HTTP 5\d\d|Connection (refused|timed out|reset)|Failed to connect|Couldn't connect"
        r"|unexpected disconnect|early EOF|hung up unexpectedly|Operation (too slow|timed out)|timed out"
        r"|Network is unreachable|No route to host|Empty reply|kex_exchange_identification|error: 429",
        "{host} did not answer: {said}",
        _AWAY,
        Fault.INFRASTRUCTURE,
        True,
    ),
)

_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_NOISE = ("hint:", "remote: Enumerating", "remote: Counting", "remote: Compressing", "warning: redirecting")


def explain(
    output: str,
    *,
    doing: str,
    url: str = "",
    host: str | None = None,
    what: str = "it",
    secrets: Iterable[Secret] = (),
) -> LaunchError:
    """What git's error output means.

    :param doing: what was tried, for a message that nothing below knows: ``"cannot fetch"``.
    :param what: the ref or commit that was asked for, in quotes.
    """
    output = masked(output, secrets)
    said = _said(output)
    values = {
        "url": shown(url) if url else "the repository",
        "host": shown(host, 80) if host else "the server",
        "what": what,
        "said": said,
    }
    for case in _CASES:
        if re.search(case.pattern, output):
            hint = case.hint.format(**values) if case.hint else None
            if hint is not None and case.hint is _LOGIN and host is None:
                hint = "check the path, and that the agent's user may read it"
            return LaunchError(
                case.detail.format(**values),
                reason=Reason.SOURCE_FAILED,
                fault=case.fault,
                hint=hint,
                retryable=case.retryable,
            )
    return LaunchError(
        f"{doing} {values['url']}: {said}",
        reason=Reason.SOURCE_FAILED,
        fault=Fault.INFRASTRUCTURE,
        hint="the agent's log has more",
        retryable=True,
    )


def masked(text: str, secrets: Iterable[Secret] = ()) -> str:
    """The text without secrets, and without what stands before ``@`` in URLs."""
    for secret in secrets:
        if secret:
            text = text.replace(secret.reveal(), "<secret>")
    return _USERINFO.sub("<secret>@", text)


def _said(output: str) -> str:
    """The line of the output that says most, escaped: it is the server's, and hostile."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", output)]
    lines = [line for line in lines if line and not line.startswith(_NOISE)]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote: error", "ERROR"))]
    line = (telling or lines or ["git said nothing"])[0]
    return plain(line.removeprefix("fatal: ").removeprefix("error: "), 240)
