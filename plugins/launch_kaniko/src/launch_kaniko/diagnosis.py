"""A build that has failed → whose fault it is, at which step, and what to do. Pure.

Two witnesses: the cluster (:class:`RunStatus`, as the runner reads it: no node, no memory, evicted …) and the
executor, whose last word begins with where it was (``cmd/executor/cmd/root.go``, ``pkg/executor``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from launch_kaniko.progress import Progress
from launchcore.plugin import Failure, Fault, LaunchError, Reason

_FULL: Final = re.compile(r"no space left on device|disk quota exceeded|ephemeral[- ]storage", re.IGNORECASE)
_KILLED: Final = re.compile(r"signal: killed|cannot allocate memory", re.IGNORECASE)
_AWAY: Final = re.compile(
    r"connection re(?:set|fused)|broken pipe|\bEOF\b|i/o timeout|timeout exceeded|deadline exceeded|"
    r"no such host|network is unreachable|no route to host|server misbehaving|tls handshake timeout|"
    r"\b50[0234]\b|"
    r"internal server error|service unavailable|bad gateway|toomanyrequests|too many requests|INTERNAL_ERROR",
    re.IGNORECASE,
)
_LOGIN: Final = re.compile(
    r"unauthorized|authentication required|no basic auth|incorrect username or password|\b401\b|"
    r"authorization failed|not authorized",
    re.IGNORECASE,
)
_DENIED: Final = re.compile(r"\bdenied\b|forbidden|\b403\b|insufficient_scope|AccessDenied", re.IGNORECASE)
_TLS: Final = re.compile(r"x509|certificate|server gave HTTP response to HTTPS client", re.IGNORECASE)
_ABSENT: Final = re.compile(
    r"MANIFEST_UNKNOWN|manifest unknown|NAME_UNKNOWN|name unknown|not found|\b404\b", re.IGNORECASE
)
_IMMUTABLE: Final = re.compile(r"immutable|cannot be overwritten", re.IGNORECASE)
_CONTEXT: Final = re.compile(
    r"error resolving source context|NoSuchBucket|NoSuchKey|getting bucketname|unpacking (?:tar|context)|"
    r"bucket .*(?:does not exist|doesn't exist)|ContainerNotFound|BlobNotFound|"
    r"operation error S3|get(?:ting)? (?:build )?context|failed to get credentials|"
    r"failed to refresh cached cred|"
    r"/kaniko/contexts/",
    re.IGNORECASE,
)
_PUSH_CHECK: Final = re.compile(r"error checking push permissions", re.IGNORECASE)
_PUSH: Final = re.compile(r"error pushing image|failed to push to destination", re.IGNORECASE)
_BASE: Final = re.compile(
    r"retrieving image|error getting image|failed to get filesystem from image|GET https?://\S+/manifests/|"
    r"unable to complete operation after \d+ attempts",
    re.IGNORECASE,
)
_PARSE: Final = re.compile(
    r"dockerfile parse error|error parsing dockerfile|parsing dockerfile|parsing (?:build )?stages|"
    r"unknown instruction|error resolving dockerfile path|file with no instructions|"
    r"failed to (?:find|get) target",
    re.IGNORECASE,
)
_FLAGS: Final = re.compile(r"unknown (?:shorthand )?flag|invalid argument .* for .*flag", re.IGNORECASE)
_PLATFORM: Final = re.compile(r"exec format error|no child with platform|no matching manifest", re.IGNORECASE)
_EXIT: Final = re.compile(r"waiting for process to exit: (?:exit status (\d+)|(.*))")
TRUST: Final = (
    "name its CA in the builder's `registry_certificates`, or the registry in `insecure_registries` if it "
    "has no TLS"
)
_PREFIXES: Final = re.compile(
    r"^error: |^Error: |error building image: |error building stage: |failed to execute command: |"
    r" -- make sure you entered the correct tag name, and that you are authenticated correctly, and try "
    r"again|"
    r"error pushing image: |error checking push permissions: ?",
)
_HINTS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), hint)
    for pattern, hint in (
        (
            r"no matching distribution found|could not find a version that satisfies",
            "is the requirement spelled correctly, and is there a version for this Python and platform?",
        ),
        (
            r"temporary failure in name resolution|name or service not known|could not resolve host|"
            r"failed to establish a new connection",
            "the build has no way to that host: look at the cluster's network, or set a proxy in the "
            "builder's `kaniko-config`",
        ),
        (r"resolutionimpossible|conflicting dependencies", "the requirements contradict each other"),
        (
            r"command 'gcc' failed|gcc: (?:command )?not found|python\.h|unable to execute 'gcc'",
            "a package has to be compiled: add build-essential to the builder's `system_packages`, or use "
            "wheels",
        ),
        (
            r"no such file or directory|failed to get fileinfo|no source files were specified",
            "is the file in the source, and not in .dockerignore?",
        ),
        (
            r"secret not defined",
            "the step needs a build secret that no plugin and no configuration gives",
        ),
    )
)


@attrs.frozen(kw_only=True)
class Evidence:
    """What is known of a build that has failed. ``store``: where its context is, for people."""

    progress: Progress
    failure: Failure | None
    """What the cluster says."""
    exit_code: int | None
    store: str
    image: str
    deadline_seconds: int


def diagnose(seen: Evidence) -> LaunchError:
    """The failure, in one line."""
    if seen.failure is not None and seen.failure.reason is not Reason.USER_ERROR:
        return _by_cluster(seen, seen.failure)
    last = last_words(seen.progress)
    everything = "\n".join((last, *list(seen.progress.tail)[-8:]))
    if _FULL.search(everything):
        return _full(seen, last)
    for pattern, make in _TABLE:
        if pattern.search(last):
            return make(seen, last)
    return _step_failed(seen, last)


def last_words(progress: Progress) -> str:
    """What the executor said when it gave up, else the last line of all."""
    if progress.last is not None:
        return progress.last
    return next((line for line in reversed(progress.tail) if line.strip()), "")


# -- what the cluster says ---------------------------------------------------------------------------


def _by_cluster(seen: Evidence, said: Failure) -> LaunchError:
    where = _where(seen)
    if said.reason is Reason.RUN_TIMEOUT:
        return LaunchError(
            f"the build took longer than {seen.deadline_seconds} s{where}",
            reason=Reason.BUILD_FAILED,
            hint="make it shorter, or raise the builder's `deadline_seconds`",
        )
    if said.reason is Reason.OUT_OF_MEMORY:
        return _memory(seen, said.detail)
    if said.reason is Reason.IMAGE_PULL:
        return LaunchError(
            f"the executor's image: {said.detail}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint="look at the builder's `image`, `pull` and `image_pull_secrets`",
        )
    if said.reason is Reason.CONFIG_ERROR:
        return LaunchError(
            f"the build cannot run: {said.detail}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint="look at the builder's settings and its `kaniko-config`",
        )
    if _FULL.search(said.detail):
        return _full(seen, said.detail)
    hint = said.hint
    if said.reason is Reason.UNSCHEDULABLE:
        hint = "look at the builder's `resources`, `node_selector` and `tolerations`"
    return LaunchError(
        f"the build was stopped{where}: {said.detail}"
        if said.reason is not Reason.UNSCHEDULABLE
        else said.detail,
        reason=said.reason,
        fault=said.fault,
        hint=hint,
        retryable=True,
    )


# -- what the executor says --------------------------------------------------------------------------


def _memory(seen: Evidence, detail: str) -> LaunchError:
    return LaunchError(
        f"the build ran out of memory{_where(seen)}: {_short(detail)}",
        reason=Reason.OUT_OF_MEMORY,
        hint="give the builder more: `resources: {limits: {memory: …}}`; or `single_snapshot: true`",
    )


def _full(seen: Evidence, text: str) -> LaunchError:
    return LaunchError(
        f"the disk of the build is full{_where(seen)}: {_short(text)}",
        reason=Reason.INFRASTRUCTURE,
        hint="make room on the nodes, or give the builder's `resources` more ephemeral-storage",
        retryable=True,
    )


def _context(seen: Evidence, text: str) -> LaunchError:
    if _AWAY.search(text) and not _ABSENT.search(text):
        return LaunchError(
            f"the executor does not reach {seen.store}: {_short(text)}",
            reason=Reason.INFRASTRUCTURE,
            hint="can the cluster's pods reach the store? `store: {cluster_endpoint: …}` names it for them",
            retryable=True,
        )
    return LaunchError(
        f"the executor cannot read the build context in {seen.store}: {_short(text)}",
        reason=Reason.CONFIG_ERROR,
        fault=Fault.INFRASTRUCTURE,
        hint="look at `build-context-store`, and whether the agent's environment may read it",
    )


def _pushed(seen: Evidence, text: str) -> LaunchError:
    what = f"{seen.image} cannot be pushed"
    if _LOGIN.search(text) or (_DENIED.search(text) and not _IMMUTABLE.search(text)):
        return LaunchError(
            f"{what}: the registry refuses us: {_short(text)}",
            reason=Reason.PUSH_FAILED,
            hint="look at the registry's username and password, and whether they may push there",
        )
    if _TLS.search(text):
        return LaunchError(
            f"{what}: the registry's certificate is not trusted: {_short(text)}",
            reason=Reason.PUSH_FAILED,
            hint=TRUST,
        )
    if _IMMUTABLE.search(text):
        return LaunchError(
            f"{what}: its tag is there already and may not change: {_short(text)}",
            reason=Reason.PUSH_FAILED,
            hint="`launch retry` finds the image that is there",
            retryable=True,
        )
    if _AWAY.search(text):
        return LaunchError(
            f"{what}: the registry is away: {_short(text)}",
            reason=Reason.PUSH_FAILED,
            hint="can the cluster's pods reach the registry, and does it run?",
            retryable=True,
        )
    return LaunchError(
        f"{what}: {_short(text)}",
        reason=Reason.PUSH_FAILED,
        hint="does the repository exist, and may the agent push to it?",
    )


def _base(seen: Evidence, text: str) -> LaunchError:
    name = seen.progress.image or "an image that the Dockerfile names"
    if _PLATFORM.search(text):
        return _failed(f"{name} does not exist for this platform: {_short(text)}", "look at `platform`")
    if _LOGIN.search(text) or _DENIED.search(text):
        return _failed(
            f"{name} is refused by its registry: {_short(text)}",
            "give the agent a login to that registry; some say this of an image that does not exist",
        )
    if _TLS.search(text):
        return LaunchError(
            f"the certificate of the registry of {name} is not trusted: {_short(text)}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint=TRUST,
        )
    if _ABSENT.search(text):
        return _failed(f"{name} does not exist: {_short(text)}", "correct the FROM line of the Dockerfile")
    return LaunchError(
        f"{name} cannot be had: {_short(text)}",
        reason=Reason.INFRASTRUCTURE,
        hint="can the cluster's pods reach its registry?",
        retryable=True,
    )


def _parse(seen: Evidence, text: str) -> LaunchError:
    del seen
    return _failed(f"the Dockerfile cannot be read: {_short(text)}", "correct the Dockerfile")


def _version(seen: Evidence, text: str) -> LaunchError:
    del seen
    return LaunchError(
        f"the executor does not take its arguments: {_short(text)}",
        reason=Reason.CONFIG_ERROR,
        fault=Fault.INFRASTRUCTURE,
        hint="use a current osscontainertools/kaniko as the builder's `image`, and look at the arguments of "
        "`kaniko-config`",
    )


def _platform(seen: Evidence, text: str) -> LaunchError:
    return _failed(
        f"{seen.progress.step or 'a step'}: {_short(text)}",
        "the image is for another platform than the nodes: look at `platform` and `node_selector`",
    )


def _step_failed(seen: Evidence, text: str) -> LaunchError:
    step = seen.progress.step
    found = _EXIT.search(text)
    if found and found[1]:
        words = f"exit code {found[1]}"
    elif text:
        words = _short(text)
    else:
        words = f"exit code {seen.exit_code}"
    printed = seen.progress.printed
    said = f" ({_short(printed, 160)})" if found and printed else ""
    if not seen.progress.begun:
        return LaunchError(
            f"the executor did not begin: {words}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint="is the builder's `image` an executor of osscontainertools/kaniko?",
        )
    everything = "\n".join((text, *seen.progress.tail))
    hint = next((hint for pattern, hint in _HINTS if pattern.search(everything)), None)
    where = f"{_short(step, 160)}: " if step else ""
    return _failed(f"{where}{words}{said}", hint or "`launch logs` shows what it printed")


_TABLE: Final[Sequence[tuple[re.Pattern[str], Callable[[Evidence, str], LaunchError]]]] = (
    (_FLAGS, _version),
    (_PUSH_CHECK, _pushed),
    (_PUSH, _pushed),
    (_EXIT, lambda seen, text: (_memory if _KILLED.search(text) else _step_failed)(seen, text)),
    (_PLATFORM, _platform),
    (_PARSE, _parse),
    (_CONTEXT, _context),
    (_BASE, _base),
)


def _failed(detail: str, hint: str) -> LaunchError:
    return LaunchError(detail, reason=Reason.BUILD_FAILED, hint=hint)


def _where(seen: Evidence) -> str:
    return f" at {_short(seen.progress.step, 120)}" if seen.progress.step else ""


def _short(text: str | None, limit: int = 300) -> str:
    clean = _PREFIXES.sub("", " ".join((text or "").split()))
    clean = "".join(letter if letter.isprintable() else "?" for letter in clean)
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"
