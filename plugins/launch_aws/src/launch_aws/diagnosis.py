"""What an error of AWS means: whose fault it is, and what to do. Pure: an exception in, a LaunchError out.

Exceptions of the SDK are known by their names (their own and those of their bases), since not every version
has them all.
"""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from launchcore.plugin import Fault, LaunchError, Reason

EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
UNKNOWN_KEY: Final = frozenset(
    {
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "InvalidAccessKeyId",
        "AuthFailure",
        "InvalidToken",
    }
)
BAD_SIGNATURE: Final = frozenset(
    {"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "RequestExpired"}
)
SKEWED: Final = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "UnauthorizedException",
        "OptInRequired",
    }
)
BUSY: Final = frozenset(
    {
        *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled"),
        *("RequestThrottledException", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown"),
    }
)
ACTION: Final = re.compile(r"not authorized to perform:? ?([a-z0-9-]+:[A-Za-z]+)")

STILL_EXPIRED: Final = "refreshed credentials are still expired"
"""What botocore says, as a plain RuntimeError, of credentials that were expired when they came."""

CREDENTIALS_HINT: Final = (
    "set environment.profile, or the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the agent, or "
    "give its machine or pod a role"
)
LOGIN_HINT: Final = "log in again where the agent runs (aws sso login), or give it a role that renews itself"


@attrs.frozen(kw_only=True)
class Asked:
    """What was tried, for the texts: ``what`` as in "cannot {what}"."""

    what: str
    region: str | None = None
    profile: str | None = None
    role: str | None = None
    """The role that was to be assumed, where that was what was asked."""
    near: str | None = None
    """A region with almost this name, when there is none of this name."""


def explain(error: Exception, asked: Asked) -> LaunchError:
    """What ``error`` means to whoever runs the agent. Its text has no key, no token and one line."""
    if isinstance(error, LaunchError):
        return error
    if _kinds(error) & {"ClientError"}:
        return _answered(error, asked)
    return _local(error, asked) or _unreachable(error, asked)


def is_sdk(error: Exception) -> bool:
    """Whether an exception is the SDK's way to say that something went wrong, and no mistake of ours."""
    return bool(_kinds(error) & {"BotoCoreError", "ClientError", "OSError"}) or STILL_EXPIRED in str(error)


def is_unreachable(error: Exception) -> bool:
    """Whether there may be no such place: a region with a typing error in it has no address."""
    return bool(_kinds(error) & {"EndpointConnectionError", "ConnectTimeoutError"})


def code_of(error: Exception) -> str:
    """The service's own word for what is wrong; empty when it was not the service that said it."""
    return str(_response(error).get("Error", {}).get("Code", ""))


def _kinds(error: Exception) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def _response(error: Exception) -> dict[str, Any]:
    found: dict[str, Any] = getattr(error, "response", None) or {}
    return found


_LONG: Final = re.compile(r"[A-Za-z0-9+/_-]{38,}={0,2}", re.ASCII)
"""As long as a secret key, or longer: nothing that a person has to read."""


def scrubbed(text: object, limit: int = 300) -> str:
    """One printable line of a service's text, without anything that might be a key or a token."""
    line = " ".join("".join(one if one.isprintable() else " " for one in str(text)).split())
    line = re.sub(r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{8,}", "<key id>", line)
    line = " ".join(word if "arn:" in word else _LONG.sub("<hidden>", word) for word in line.split(" "))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


# -- nothing was asked: what this machine knows of itself -----------------------------------------


def _local(error: Exception, asked: Asked) -> LaunchError | None:
    kinds = _kinds(error)
    who = f"the profile {asked.profile!r}" if asked.profile else "AWS's chain of credentials"
    if "ProfileNotFound" in kinds:
        name = asked.profile or scrubbed(getattr(error, "kwargs", {}).get("profile", ""), 60)
        return _config(
            f"there is no profile {name!r} in the AWS configuration of the agent's account",
            "look at environment.profile, AWS_PROFILE and AWS_CONFIG_FILE: `aws configure list-profiles`",
        )
    if kinds & {"CredentialRetrievalError", "MetadataRetrievalError"}:
        return _config(
            f"the AWS credentials of {who} cannot be had: {_secretless(error)}",
            "look at its credential_process, or at the role of the machine or pod",
        )
    if kinds & {"ConfigParseError", "ConfigNotFound", "InvalidConfigError"}:
        return _config(
            f"the AWS configuration of the agent's account cannot be used: {type(error).__name__}",
            "look at ~/.aws/config and ~/.aws/credentials, or at AWS_CONFIG_FILE",
        )
    if "ParamValidationError" in kinds:
        return _config(f"AWS would not understand what is set: cannot {asked.what}: {scrubbed(error)}", None)
    if STILL_EXPIRED in str(error):
        return _clock(f"cannot {asked.what}: AWS credentials are expired when they come")
    for names, detail, hint in _HERE:
        if kinds & names:
            return _config(detail.format(who=who), hint)
    return None


_HERE: Final = (
    ({"NoCredentialsError"}, "no AWS credentials: {who} has none", CREDENTIALS_HINT),
    (
        {"PartialCredentialsError"},
        "half of the AWS credentials is missing: {who} has a key without its secret, or the reverse",
        CREDENTIALS_HINT,
    ),
    (
        {"NoRegionError"},
        "no AWS region",
        "write environment: {type: aws, region: us-east-1}, or set AWS_REGION",
    ),
    (
        {"InvalidRegionError"},
        "the AWS region is no name of one",
        "look at environment.region and AWS_REGION",
    ),
    (
        {"SSOError", "TokenRetrievalError", "LoginError", "NoAuthTokenError"},
        "the AWS login of {who} has expired, or was never made",
        LOGIN_HINT,
    ),
    (
        {"RefreshWithMFAUnsupportedError"},
        "{who} asks for an MFA code, which nobody is there to type",
        "give the agent a role without MFA",
    ),
)
"""Exceptions → what is wrong with this machine, and what to do."""


def _secretless(error: Exception) -> str:
    """A credential process prints what it likes on standard error."""
    kind = getattr(error, "kwargs", {}).get("provider") or type(error).__name__
    return scrubbed(kind, 60)


# -- the service answered -------------------------------------------------------------------------


def _answered(error: Exception, asked: Asked) -> LaunchError:
    response = _response(error)
    code, message = code_of(error), str(response.get("Error", {}).get("Message", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
    if code in DENIED or ACTION.search(message):
        return _denied(message, asked)
    if code in BUSY or status >= 500 or status in (408, 429):
        why = "AWS throttles us" if code in BUSY else f"AWS answers {status}: {scrubbed(message, 160)}"
        return LaunchError(
            f"cannot {asked.what}: {why}",
            reason=Reason.INFRASTRUCTURE,
            hint="look at the account's service quotas, and at the AWS Health Dashboard; it was tried "
            "several times",
            retryable=True,
        )
    if code == "LimitExceededException":
        return LaunchError(
            f"cannot {asked.what}: a quota of the account is full: {scrubbed(message)}",
            reason=Reason.INFRASTRUCTURE,
            hint="ask for a higher service quota, or remove what is not needed",
        )
    if code == "RegionDisabledException":
        return _config(
            f"cannot {asked.what}: the region {asked.region} is not turned on for the account",
            "turn it on, or choose another environment.region",
        )
    if not code or code.isdecimal():
        return _config(
            f"cannot {asked.what}: what answers {status or code} there is no service of AWS",
            "look at the proxies on the way, and at environment.endpoint_url and endpoints",
        )
    return _refused(code, message, asked) or _config(
        f"cannot {asked.what}: {scrubbed(code, 60)}: {scrubbed(message)}", None
    )


def _refused(code: str, message: str, asked: Asked) -> LaunchError | None:
    """It is the credentials. Such a message may quote the request, with its session token: none is shown."""
    if code in EXPIRED:
        return _config(f"cannot {asked.what}: the AWS credentials have expired", LOGIN_HINT)
    if code in UNKNOWN_KEY:
        return _config(
            f"cannot {asked.what}: AWS does not know the access key, or its session token is wrong",
            "look at the keys that the agent has: were they deleted, made inactive, or for another "
            "partition?",
        )
    late = re.search(r"expired|skew|in the future|earlier", message, re.IGNORECASE)
    if code in SKEWED or (code in BAD_SIGNATURE and late):
        return _clock(f"cannot {asked.what}: this machine's clock is wrong, so AWS refuses what it signs")
    if code in BAD_SIGNATURE:
        return _config(
            f"cannot {asked.what}: the AWS secret key is not that of the access key",
            "look at AWS_SECRET_ACCESS_KEY, or at the profile's aws_secret_access_key",
        )
    return None


def _denied(message: str, asked: Asked) -> LaunchError:
    if asked.role is not None:
        return _config(
            f"the role {asked.role} may not be assumed by who we are",
            "its trust policy must name us, with the external ID if it asks for one, and our own policy must "
            "allow sts:AssumeRole on it",
        )
    action = ACTION.search(message)
    what = f": {action[1]} is not allowed" if action else ""
    return _config(
        f"cannot {asked.what}: AWS denies it{what}",
        f"allow {action[1]} to the agent's user or role"
        if action
        else "look at the policies of the agent's role",
    )


# -- nobody answered ------------------------------------------------------------------------------


def _unreachable(error: Exception, asked: Asked) -> LaunchError:
    near = f"; is the region {asked.near} meant?" if asked.near else ""
    endpoint = getattr(error, "kwargs", {}).get("endpoint_url", "")
    where = scrubbed(re.sub(r"[?#].*", "", str(endpoint)), 120) or f"AWS in {asked.region or 'no region'}"
    kinds = _kinds(error)
    if "SSLError" in kinds:
        return _config(
            f"cannot {asked.what}: the certificate of {where} is not trusted",
            "name the CA that signed it in AWS_CA_BUNDLE",
        )
    if "ProxyConnectionError" in kinds:
        detail = "the proxy on the way does not let us through"
    elif "EndpointConnectionError" in kinds:
        detail = f"{where} cannot be reached{near}"
    elif kinds & {"ConnectTimeoutError", "ReadTimeoutError"}:
        detail = f"{where} does not answer in time{near}"
    elif "HTTPClientError" in kinds:
        detail = f"the connection to {where} broke"
    else:
        detail = f"{type(error).__name__}: {scrubbed(error)}"
    return LaunchError(
        f"cannot {asked.what}: {detail}",
        reason=Reason.INFRASTRUCTURE,
        hint="look at the network, the proxies on the way, environment.region, and endpoints if any are set",
        retryable=True,
    )


def _clock(detail: str) -> LaunchError:
    return LaunchError(
        detail, reason=Reason.INFRASTRUCTURE, hint="set the clock of the agent's machine: start NTP"
    )


def _config(detail: str, hint: str | None) -> LaunchError:
    return LaunchError(detail, reason=Reason.CONFIG_ERROR, fault=Fault.INFRASTRUCTURE, hint=hint)
