"""What a build or a push says when it fails → whose fault it is and what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from launch_docker.errors import disk_full, one_line
from launchcore.plugin import Fault, LaunchError, Reason

_FULL = re.compile(r"no space left on device|disk quota exceeded|not enough free space", re.IGNORECASE)
_AWAY = re.compile(
    r"connection re(?:set|fused)|broken pipe|\bEOF\b|i/o timeout|timeout exceeded|deadline exceeded|"
    r"no such host|network is unreachable|no route to host|server misbehaving|tls handshake timeout|"
    r"(?:received unexpected HTTP status|status code|status):? 5\d\d|internal server error|"
    r"service unavailable|bad gateway|gateway time-?out|toomanyrequests|too many requests|context canceled|"
    r"use of closed network connection|blob upload (?:unknown|invalid)|unexpected end of JSON",
    re.IGNORECASE,
)
_LOGIN = re.compile(
    r"unauthorized|authentication required|no basic auth credentials|incorrect username or password|"
    r"\b401\b|authorization failed|invalid username/password",
    re.IGNORECASE,
)
_DENIED = re.compile(r"denied|forbidden|\b403\b|insufficient_scope", re.IGNORECASE)
_PLAIN = re.compile(r"server gave HTTP response to HTTPS client|certificate|x509", re.IGNORECASE)
_UNKNOWN = re.compile(
    r"name[ _]unknown|repository name not known|repository .* (?:does not exist|not found)", re.IGNORECASE
)
_MISSING = re.compile(
    r"manifest unknown|not found|no such manifest|name unknown|repository name not known", re.IGNORECASE
)
_NOT_HERE = re.compile(r"image does not exist locally|tag does not exist|No such image", re.IGNORECASE)
_IMMUTABLE = re.compile(r"immutable|cannot be overwritten|already exists", re.IGNORECASE)

_HINTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), hint)
    for pattern, hint in (
        (
            r"no matching distribution found|could not find a version that satisfies",
            "is the requirement spelled correctly, and is there a version for this Python and platform?",
        ),
        (
            r"temporary failure in name resolution|name or service not known|"
            r"failed to establish a new connection|could not resolve host|network is unreachable",
            "the build has no way to that host: look at the engine's network and proxy, "
            "or the builder's `network`",
        ),
        (
            r"resolutionimpossible|conflicting dependencies|no solution found",
            "the requirements contradict each other: loosen one of them",
        ),
        (
            r"requires a different python|requires-python|not in '[<>=]",
            "another Python is needed: .python-version, requires-python, or the builder's `python`",
        ),
        (
            r"command 'gcc' failed|gcc: (?:command )?not found|error: microsoft visual|python\.h|cc1plus|"
            r"unable to execute 'gcc'",
            "a package has to be compiled: add build-essential to the builder's `system_packages`, "
            "or use wheels",
        ),
        (
            r"hashes are required|do not match the hashes",
            "the hashes of the requirements are not complete",
        ),
        (r"permission denied", "a step may not do this: does the Dockerfile change the USER too early?"),
        (
            r"copy failed|failed to compute cache key|file not found in build context|not found: not found|"
            r"failed to calculate checksum",
            "the file is not in the build context: is it in the source, and not in .dockerignore?",
        ),
        (
            r"multiple top-level (?:packages|modules)",
            "the source's own package cannot be built: name its packages in pyproject.toml",
        ),
    )
)


_NEEDS_BUILDER: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), hint)
    for pattern, hint in (
        (
            r"multi(?:ple|-)\s?platforms? (?:build|feature) is (?:currently )?not supported for the docker",
            "`docker buildx create` makes a builder that can; name it in the builder's `buildx_builder`",
        ),
        (
            r"cache export is (?:currently )?not supported for the docker driver",
            "this engine's own BuildKit can `type=inline` only; `docker buildx create` makes a builder that "
            "can more: name it in the builder's `buildx_builder`",
        ),
        (
            r"no builder \".*\" found",
            "`docker buildx ls`, with the agent's account, shows the builders that there are",
        ),
    )
)
"""What buildx says, before it begins, of a builder that cannot do what the settings ask of it."""


def _builder_cannot(step: str | None, text: str) -> LaunchError | None:
    hints = (hint for pattern, hint in _NEEDS_BUILDER if step is None and pattern.search(text))
    found = next(hints, None)
    if found is None:
        return None
    return LaunchError(text, reason=Reason.CONFIG_ERROR, fault=Fault.INFRASTRUCTURE, hint=found)


def build_failed(step: str | None, message: str, tail: Sequence[str] = ()) -> LaunchError:
    """A build that the engine has given up.

    :param step: the step as the Dockerfile has it: ``Step 4/7 : RUN pip install -r requirements.txt``.
    :param tail: the last lines of its output.
    """
    where = f"{one_line(step, 160)}: " if step else ""
    text = f"{where}{_said(message, tail)}"
    everything = "\n".join([message, *tail])
    if _FULL.search(everything):
        return disk_full(f"the build failed: {text}")
    early = _base_failed(text, message) if _of_base(step, message) else _builder_cannot(step, text)
    if early is not None:
        return early
    if re.search(r"network \S+ not found|entitlement .* is not allowed", message):
        return LaunchError(
            text,
            reason=Reason.BUILD_FAILED,
            fault=Fault.INFRASTRUCTURE,
            hint="the engine does not have this network for builds: look at the builder's `network`",
        )
    if re.search(r"(?:code|exit code|exited with):? 137\b|signal: killed", message):
        return _failed(text, "the step was killed: perhaps the engine's machine has too little memory for it")
    if not re.search(r"non-zero code|exit code|exited with|did not complete", message) and _AWAY.search(
        message
    ):
        return LaunchError(
            f"the engine broke the build off: {text}",
            reason=Reason.INFRASTRUCTURE,
            hint="look at the engine's own log",
            retryable=True,
        )
    for pattern, hint in _HINTS:
        if pattern.search(everything):
            return _failed(text, hint)
    if re.search(r"parse error|unknown instruction|dockerfile", message, re.IGNORECASE):
        return _failed(text, "correct the Dockerfile")
    return _failed(text, "`launch logs` shows what the step printed")


def _said(message: str, tail: Sequence[str]) -> str:
    """The message; of a command that failed, which the step shows, its exit code and its last words."""
    match = re.search(r"(?:returned a non-zero code|exit code): (\d+)", message)
    if match is None:
        noise = (
            r"^failed to solve: (?:rpc error: code = \w+ desc = )?(?:failed to solve with frontend \S+: )?"
        )
        return one_line(re.sub(rf"{noise}(?:failed to create LLB definition: )?", "", message), 240)
    errors = [line for line in tail if re.search(r"\berror\b|\bfatal\b", line, re.IGNORECASE)]
    words = [line for line in tail if not re.match(r"\s*(?:--->|Removing intermediate)", line)]
    last = (errors or words)[-1:]
    return f"exit code {match[1]}{f' ({one_line(last[0], 160)})' if last else ''}"


def _failed(text: str, hint: str) -> LaunchError:
    return LaunchError(text, reason=Reason.BUILD_FAILED, fault=Fault.USER, hint=hint)


def _of_base(step: str | None, message: str) -> bool:
    pulls = re.search(
        r"pull access denied|manifest|toomanyrequests|repository does not exist", message, re.IGNORECASE
    )
    from_step = re.search(r"(?:^|:\s|\]\s)FROM\b|load metadata|resolve image", step or "", re.IGNORECASE)
    return bool(pulls) or bool(from_step)


def _base_failed(text: str, message: str) -> LaunchError:
    if re.search(r"toomanyrequests|rate limit", message, re.IGNORECASE):
        hint = "the registry limits pulls: give the agent a login for it, or wait"
    elif _AWAY.search(message) or _PLAIN.search(message):
        hint = "the engine cannot reach the base image's registry: look at its network, proxy, certificates"
    else:
        return _failed(text, "does the base image exist, is it public, and is it built for this platform?")
    return LaunchError(
        f"the base image cannot be had: {text}",
        reason=Reason.BUILD_FAILED,
        fault=Fault.INFRASTRUCTURE,
        hint=hint,
        retryable=True,
    )


# -- registries, as the engine sees them ---------------------------------------------------------


def is_missing(message: str) -> bool:
    """The registry answers, and has no such image."""
    return bool(_MISSING.search(message)) and not _LOGIN.search(message)


def is_temporary(message: str) -> bool:
    """A push that failed so may go through the next time."""
    return bool(_AWAY.search(message)) and not (_LOGIN.search(message) or _DENIED.search(message))


def is_immutable(message: str) -> bool:
    """The registry has this tag already, and lets nobody write it again."""
    return bool(_IMMUTABLE.search(message))


def is_denied(message: str) -> bool:
    """Not to be seen with this login: private, or not there. Registries do not tell which."""
    return bool(_DENIED.search(message)) and not re.search(r"authentication required|incorrect", message)


def registry_failed(name: str, message: str, *, login: bool, doing: str = "push") -> LaunchError:
    """The engine could not push an image, or ask for it."""
    said = one_line(message, 240)
    text = f"cannot {doing} {name}: {said}"

    def failed(hint: str, *, retryable: bool = False) -> LaunchError:
        return LaunchError(
            text, reason=Reason.PUSH_FAILED, fault=Fault.INFRASTRUCTURE, hint=hint, retryable=retryable
        )

    if _FULL.search(message):
        return failed("a disk is full: the engine's, or the registry's own", retryable=True)
    if _NOT_HERE.search(message):
        return failed(
            "the image was removed from the engine before it was pushed; it is built anew", retryable=True
        )
    if _PLAIN.search(message):
        return failed(
            "the engine does not trust the registry: install its CA in /etc/docker/certs.d, "
            "or add it to the engine's insecure-registries"
        )
    if _UNKNOWN.search(message):
        return failed("the repository does not exist there, and this registry wants it to be created first")
    if is_temporary(message):
        return failed("the registry is away or busy: look at it, and at the way to it", retryable=True)
    if _LOGIN.search(message):
        return failed(
            "the registry refuses the login that the agent has for it: look at username and password"
            if login
            else "the registry wants a login: give the agent one in its `registry` block"
        )
    if _DENIED.search(message):
        return failed("may the agent's login write to this repository, and does it exist?")
    return failed("look at the registry and at the engine's own log", retryable=True)
