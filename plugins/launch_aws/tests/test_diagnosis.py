"""Errors of AWS and its SDK → one line, whose fault, what to do. Pure."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import exceptions as raised
from launch_aws.diagnosis import Asked, explain, is_sdk, scrubbed

from launchcore.plugin import Fault, LaunchError, Reason

ASKED = Asked(what="look for the image x", region="us-east-1")
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
TOKEN = "IQoJb3JpZ2luX2VjEDoaCXVzLWVhc3QtMSJHMEUCIQDsession0123456789"
CONFIG, AWAY = (Reason.CONFIG_ERROR, False), (Reason.INFRASTRUCTURE, True)


def answered(code: str, message: str = "", status: int = 400) -> raised.ClientError:
    said: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return raised.ClientError(said, "BatchGetImage")


DENIED = (
    "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: ecr:CreateRepository on resource: "
    "arn:aws:ecr:us-east-1:123456789012:repository/x because no identity-based policy allows it"
)
URL = "https://api.ecr.us-east-1.amazonaws.com/"


@pytest.mark.parametrize(
    ("error", "kind", "says", "advice"),
    [
        (raised.NoCredentialsError(), CONFIG, "no AWS credentials", "AWS_ACCESS_KEY_ID"),
        (raised.PartialCredentialsError(provider="env", cred_var="x"), CONFIG, "half of the AWS", "profile"),
        (raised.ProfileNotFound(profile="ml"), CONFIG, "no profile 'ml'", "environment.profile"),
        (raised.NoRegionError(), CONFIG, "no AWS region", "region: us-east-1"),
        (raised.InvalidRegionError(region_name="x y"), CONFIG, "no name of one", "environment.region"),
        (raised.UnauthorizedSSOTokenError(), CONFIG, "login of", "aws sso login"),
        (raised.SSOTokenLoadError(error_msg=TOKEN), CONFIG, "was never made", "aws sso login"),
        (
            raised.CredentialRetrievalError(provider="custom-process", error_msg=TOKEN),
            CONFIG,
            "cannot be had: custom-process",
            "credential_process",
        ),
        (raised.ConfigParseError(path="/x"), CONFIG, "ConfigParseError", "AWS_CONFIG_FILE"),
        (raised.InvalidConfigError(error_msg="x"), CONFIG, "InvalidConfigError", "~/.aws/config"),
        (raised.RefreshWithMFAUnsupportedError(), CONFIG, "MFA", "without MFA"),
        (raised.ParamValidationError(report="bad name"), CONFIG, "bad name", ""),
        (RuntimeError("… but the refreshed credentials are still expired."), None, "expired when", "NTP"),
        (answered("ExpiredTokenException", TOKEN), CONFIG, "have expired", "log in again"),
        (answered("ExpiredToken"), CONFIG, "have expired", "log in again"),
        (answered("UnrecognizedClientException", status=403), CONFIG, "does not know the access key", "keys"),
        (answered("InvalidClientTokenId", KEY_ID, 403), CONFIG, "does not know the access key", "keys"),
        (answered("SignatureDoesNotMatch", f"header: {TOKEN}", 403), CONFIG, "the AWS secret key", "SECRET"),
        (answered("SignatureDoesNotMatch", "Signature expired: 2026 is now earlier"), None, "clock", "NTP"),
        (answered("RequestTimeTooSkewed"), None, "clock", "NTP"),
        (
            answered("AccessDeniedException", DENIED),
            CONFIG,
            "ecr:CreateRepository is not allowed",
            "allow ecr:",
        ),
        (answered("AccessDenied", "no"), CONFIG, "AWS denies it", "policies"),
        (answered("ThrottlingException", "Rate exceeded"), AWAY, "throttles us", "quotas"),
        (answered("RequestLimitExceeded", status=503), AWAY, "throttles us", "quotas"),
        (answered("ServerException", "oops", 500), AWAY, "answers 500: oops", "Health Dashboard"),
        (answered("LimitExceededException", "100000 repositories"), None, "quota", "higher service quota"),
        (answered("RegionDisabledException"), CONFIG, "us-east-1 is not turned on", "turn it on"),
        (answered("KmsException", "no key"), CONFIG, "KmsException: no key", ""),
        (raised.EndpointConnectionError(endpoint_url=f"{URL}?x={KEY_ID}"), AWAY, f"{URL} cannot", "proxies"),
        (raised.ConnectTimeoutError(endpoint_url=URL), AWAY, "in time", "network"),
        (raised.ReadTimeoutError(endpoint_url=URL), AWAY, "in time", "network"),
        (raised.ConnectionClosedError(endpoint_url=URL), AWAY, "broke", "network"),
        (raised.ProxyConnectionError(proxy_url="http://u:p@proxy"), AWAY, "the proxy", "proxies"),
        (raised.SSLError(endpoint_url=URL, error="x"), CONFIG, "certificate", "AWS_CA_BUNDLE"),
        (raised.HTTPClientError(error="x"), AWAY, "broke", "network"),
        (raised.UnknownServiceError(service_name="x", known_service_names="y"), AWAY, "Unknown", ""),
    ],
)
def test_errors(error: Exception, kind: tuple[Reason, bool] | None, says: str, advice: str) -> None:
    told = explain(error, ASKED)
    reason, retryable = kind or (Reason.INFRASTRUCTURE, False)
    assert (told.reason, told.retryable, told.fault) == (reason, retryable, Fault.INFRASTRUCTURE)
    assert says in told.detail
    assert advice in (told.hint or "")
    assert told.detail.isprintable()
    for secret in (KEY_ID, TOKEN, "u:p"):
        assert secret not in f"{told} {told.hint} {vars(told)}"
    assert is_sdk(error)


def test_a_role_that_may_not_be_assumed() -> None:
    role = "arn:aws:iam::210987654321:role/launch"
    told = explain(answered("AccessDenied", DENIED, 403), Asked(what="assume", role=role))
    assert told.detail == f"the role {role} may not be assumed by who we are"
    assert "trust policy" in (told.hint or "")


def test_a_region_with_a_typing_error() -> None:
    asked = Asked(what="ask AWS who we are", region="us-esat-1", near="us-east-1")
    told = explain(raised.EndpointConnectionError(endpoint_url="https://sts.us-esat-1.amazonaws.com/"), asked)
    assert told.detail.endswith("cannot be reached; is the region us-east-1 meant?")


def test_our_own_errors_pass() -> None:
    error = LaunchError("x")
    assert explain(error, ASKED) is error
    assert not is_sdk(KeyError("x"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"the key {KEY_ID} is bad", "the key <key id> is bad"),
        (f"token={TOKEN}; more", "token=<hidden>; more"),
        ("a\nb\x1b[31m", "a b [31m"),
        ("arn:aws:iam::123456789012:role/a-role-with-a-rather-long-name-of-its-own", None),
        ("repository/with/a/path", None),
        ("x" * 30, None),
        ("word " * 100, f"{('word ' * 100)[:299]}…"),
    ],
)
def test_texts_of_a_service_are_scrubbed(text: str, shown: str | None) -> None:
    assert scrubbed(text) == (text if shown is None else shown)
