"""What a store says when something goes wrong → what it means, whose fault it is, what to do. Pure.

A service's own words are never passed on: they may repeat a request's headers, tokens among them.
"""

from __future__ import annotations

import errno
import re
from typing import Final

import attrs

from launch_kaniko.store_places import StorePlace
from launchcore.plugin import Fault, LaunchError, Reason


@attrs.frozen
class _Row:
    sign: re.Pattern[str]
    said: str
    hint: str
    reason: Reason = Reason.CONFIG_ERROR
    retryable: bool = False


def _row(sign: str, said: str, hint: str, *, away: bool = False, retryable: bool = False) -> _Row:
    reason = Reason.INFRASTRUCTURE if away or retryable else Reason.CONFIG_ERROR
    return _Row(re.compile(sign, re.IGNORECASE), said, hint, reason, retryable)


_CREDENTIALS: Final = (
    "give the agent an `environment`, or the store's own variables, or a pod identity that may use it"
)
_ROWS: Final = (
    _row(
        r"169\.254\.\d+\.\d+|metadata\.google|token request|MissingAccessKeyId|MissingSecretAccessKey|"
        r"MissingAccount|NoCredentials",
        "there are no credentials for {it}",
        _CREDENTIALS,
    ),
    _row(
        r"Unable to open service account|service account|Unable to decode|InvalidAccessKey\b",
        "the credentials for {it} cannot be read",
        "look at the files and keys that the environment gives for it",
    ),
    _row(
        r"NoSuchBucket|ContainerNotFound|bucket does not exist|InvalidBucketName|ContainerBeingDeleted",
        "{it} does not exist",
        "create the {kind}, or mend `build-context-store`",
    ),
    _row(
        r"ExpiredToken|TokenRefreshRequired|RequestExpired|token (?:has|is) expired",
        "the credentials for {it} have expired",
        "renew them; an `environment` that mints short-lived ones does it by itself",
        retryable=True,
    ),
    _row(
        r"RequestTimeTooSkewed|RequestInTheFuture",
        "{it} refuses the agent's clock",
        "set the clock of the agent's machine",
        away=True,
    ),
    _row(
        r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|AuthenticationFailed|Unauthenticated|"
        r"401 Unauthorized",
        "{it} refuses the agent's credentials",
        "they are wrong, or for another account: " + _CREDENTIALS,
    ),
    _row(
        r"without LOCATION|PermanentRedirect|TemporaryRedirect|AuthorizationHeaderMalformed|"
        r"IllegalLocationConstraint|\b30[1278]\b (?:Moved|Found|Temp|Perm)",
        "{it} is in another region than the one that was asked",
        "set the environment's `region` to that of the {kind}, or an `endpoint` that is the right one",
    ),
    _row(
        r"AllAccessDisabled|AccountProblem|UserProjectAccountProblem|BillingDisabled",
        "the account of {it} is suspended",
        "ask who pays for it",
        away=True,
    ),
    _row(
        r"QuotaExceeded|507 Insufficient|InsufficientCapacity|StorageFull",
        "{it} is full: its quota is used up",
        "remove what is old from it, or raise the quota; a shorter retention of contexts helps",
        away=True,
    ),
    _row(
        r"PermissionDenied|AccessDenied|403 Forbidden|AuthorizationPermissionMismatch|AuthorizationFailure",
        "the agent may not {doing} {it}",
        "allow its credentials to get, put, list and delete objects there, and to use its encryption key",
    ),
    _row(
        r"EntityTooLarge|413 (?:Payload|Request)|RequestBodyTooLarge",
        "{it} refuses a context of this size",
        "keep data out of it with `.dockerignore`, or raise `part-mb`",
    ),
    _row(
        r"builder error|URL scheme is not allowed|BadScheme|\(\"http\"\)",
        "the endpoint of {it} cannot be used",
        "an address without TLS needs `allow-http: true`; is it spelled rightly?",
    ),
    _row(
        r"InvalidCertificate|UnknownIssuer|certificate|tls handshake|InvalidContentType",
        "{it} does not speak TLS as it should",
        "look at the endpoint's certificate and at `http` or `https` before it",
        away=True,
    ),
    _row(
        r"SlowDown|ServerBusy|429 Too Many|TooManyRequests|503 Service|RequestLimitExceeded",
        "{it} is overloaded, and stayed so through all retries",
        "try again; a smaller `concurrency`, or more `retries`",
        retryable=True,
    ),
    _row(
        r"dns error|failed to lookup|name or service not known",
        "the host of {it} is unknown here",
        "look at the endpoint's or the region's spelling, and at the agent's DNS",
        retryable=True,
    ),
    _row(
        r"TimedOut|timed out|timeout while",
        "{it} does not answer in time",
        "look at the network between agent and store; `request-seconds` and `part-mb` suit slow ones",
        retryable=True,
    ),
    _row(
        r"error sending request|ConnectionRefused|connection (?:refused|reset|closed)|IncompleteMessage|"
        r"unreachable|BrokenPipe|ConnectionReset|connect error",
        "{it} cannot be reached",
        "look at the network, proxy and firewall between agent and store",
        retryable=True,
    ),
    _row(r"\b5\d\d [A-Z]", "{it} fails", "it is the service's own trouble: try again", retryable=True),
)
_CODE: Final = re.compile(r"<Code>([A-Za-z]{3,48})</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3})\b")


def store_error(place: StorePlace, kind: str, message: str, doing: str) -> LaunchError:
    """For what the storage library raised.

    :param kind: the exception's class name.
    :param message: all that it says, with its debug form; matched only, never shown.
    :param doing: ``write to``, ``read``, ``list`` …
    """
    it = f"the {place.kind} {place.url}"
    text = f"{kind}: {message}"
    row = next((row for row in _ROWS if row.sign.search(text)), None)
    code = _CODE.search(message) or _STATUS.search(message)
    by = f" ({code[1]})" if code else ""
    if row is None:
        return LaunchError(
            f"cannot {doing} {it}{by}",
            reason=Reason.INFRASTRUCTURE,
            hint="look at the store's own log",
            retryable=True,
        )
    return LaunchError(
        row.said.format(it=it, doing=doing) + by,
        reason=row.reason,
        fault=Fault.INFRASTRUCTURE,
        hint=row.hint.format(kind=place.kind),
        retryable=row.retryable,
    )


def not_mounted(place: StorePlace, mount: str) -> LaunchError:
    """The agent does not see the claim."""
    return LaunchError(
        f"the claim {place.url} is not mounted here: {mount} is no directory",
        reason=Reason.CONFIG_ERROR,
        fault=Fault.INFRASTRUCTURE,
        hint="mount the claim into the agent's pod, and let `mount` name the directory",
    )


def disk_error(place: StorePlace, error: OSError, doing: str) -> LaunchError:
    """For what the file system said of a claim."""
    it = f"the claim {place.url}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        said, hint = f"{it} is full", "enlarge it, or keep contexts for a shorter time"
        return LaunchError(said, reason=Reason.INFRASTRUCTURE, hint=hint)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return LaunchError(
            f"the agent may not {doing} {it} ({errno.errorcode[error.errno]})",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint="mount it writable into the agent's pod, with an `fsGroup` that is the agent's",
        )
    number = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return LaunchError(
        f"cannot {doing} {it} ({number})",
        reason=Reason.INFRASTRUCTURE,
        hint="look at the volume and at the node that it is mounted on",
        retryable=True,
    )
