"""gzip as a stream, what a store's errors mean, and how credentials reach the storage library."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_kaniko.store_access import access_of, settings_of, short
from launch_kaniko.store_errors import disk_error, store_error
from launch_kaniko.store_gzip import BLOCK, blocks, deflated, gzipped
from launch_kaniko.store_objects import open_store
from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import parse_store

from launchcore.plugin import EnvVar, LaunchError, Reason, Secret, SecretFile

NOISE = random.Random(1).randbytes(3 * BLOCK + 17)
TEXT = b"import torch\nprint('hello')\n" * 150_000
CANARY = "hunter2hunter2"


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 40))
def test_blocks_do_not_depend_on_how_the_bytes_came(pieces: list[bytes], size: int) -> None:
    whole = b"".join(pieces)
    assert list(blocks(pieces, size)) == [whole[at : at + size] for at in range(0, len(whole), size)]


@pytest.mark.parametrize("data", [b"", b"x", TEXT, NOISE, TEXT + NOISE, b"\0" * BLOCK])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_it_is_gzip(data: bytes, level: int) -> None:
    assert gzip.decompress(b"".join(gzipped([data], level, 2))) == data


def test_the_bytes_depend_on_the_content_alone() -> None:
    data = TEXT + NOISE
    one = b"".join(gzipped([data], 1, 1))
    pieces = (data[at : at + 1000] for at in range(0, len(data), 1000))
    assert b"".join(gzipped(pieces, 1, 4)) == one


def test_what_can_be_made_smaller_is_and_the_rest_costs_nothing() -> None:
    assert len(deflated(TEXT[:BLOCK], 1)) < BLOCK / 20
    assert BLOCK < len(deflated(NOISE[:BLOCK], 1)) < BLOCK + 200


def test_few_blocks_are_read_ahead() -> None:
    read: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(50):
            read.append(number)
            yield NOISE[:BLOCK]

    packed = gzipped(pieces(), 1, 2)
    for _ in range(11):
        next(packed)
    assert len(read) < 16
    packed.close()


def test_an_error_of_the_source_ends_it() -> None:
    def pieces() -> Iterator[bytes]:
        yield TEXT
        raise RuntimeError("the source")

    with pytest.raises(RuntimeError, match="the source"):
        list(gzipped(pieces(), 1, 2))


PLACE = parse_store("s3://my-bucket/contexts")
WENT = "Error performing PUT http://x/b/k in 5ms, after 1 retries - "


@pytest.mark.parametrize(
    ("kind", "message", "said", "reason"),
    [
        ("FileNotFoundError", "404 Not Found: <Code>NoSuchBucket</Code>", "not exist", Reason.CONFIG_ERROR),
        ("FileNotFoundError", "404: <Code>ContainerNotFound</Code>", "not exist", Reason.CONFIG_ERROR),
        ("PermissionDeniedError", "403 Forbidden: <Code>AccessDenied</Code>", "may not", Reason.CONFIG_ERROR),
        ("PermissionDeniedError", "<Code>InvalidAccessKeyId</Code>", "refuses", Reason.CONFIG_ERROR),
        ("PermissionDeniedError", "<Code>SignatureDoesNotMatch</Code>", "refuses", Reason.CONFIG_ERROR),
        ("GenericError", "400: <Code>ExpiredToken</Code>", "have expired", Reason.INFRASTRUCTURE),
        ("PermissionDeniedError", "<Code>RequestTimeTooSkewed</Code>", "clock", Reason.INFRASTRUCTURE),
        ("UnauthenticatedError", "401 Unauthorized", "refuses", Reason.CONFIG_ERROR),
        ("GenericError", "PUT http://169.254.169.254/latest/api", "no credentials", Reason.CONFIG_ERROR),
        ("GenericError", "Error performing token request", "no credentials", Reason.CONFIG_ERROR),
        ("GenericError", "Received redirect without LOCATION", "another region", Reason.CONFIG_ERROR),
        ("GenericError", "<Code>AuthorizationHeaderMalformed</Code>", "another region", Reason.CONFIG_ERROR),
        ("GenericError", "507 Insufficient Storage", "is full", Reason.INFRASTRUCTURE),
        ("GenericError", "503 Service Unavailable: <Code>SlowDown</Code>", "over", Reason.INFRASTRUCTURE),
        ("GenericError", "500 Internal Server Error", "fails", Reason.INFRASTRUCTURE),
        ("GenericError", "error sending request ... TimedOut", "in time", Reason.INFRASTRUCTURE),
        ("GenericError", "error sending request ... ConnectionRefused", "reached", Reason.INFRASTRUCTURE),
        ("GenericError", "error sending request ... dns error", "unknown here", Reason.INFRASTRUCTURE),
        ("GenericError", "error sending request ... UnknownIssuer", "TLS", Reason.INFRASTRUCTURE),
        ("GenericError", "HTTP error: builder error", "cannot be used", Reason.CONFIG_ERROR),
        ("GenericError", "413 Payload Too Large", "this size", Reason.CONFIG_ERROR),
        ("GenericError", "something new", "cannot write to the bucket", Reason.INFRASTRUCTURE),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(
    kind: str, message: str, said: str, reason: Reason
) -> None:
    headers = f"x-amz-security-token:{CANARY}\nStringToSign"
    error = store_error(PLACE, kind, f"{WENT}{message}\n{headers}", "write to")
    assert said in error.detail
    assert error.reason is reason
    assert error.hint
    assert "s3://my-bucket/contexts" in error.detail
    assert CANARY not in f"{error.detail}{error.hint}"
    assert "\n" not in f"{error.detail}{error.hint}"
    assert "{" not in f"{error.detail}{error.hint}"


@pytest.mark.parametrize(
    ("number", "said", "reason"),
    [
        (errno.ENOSPC, "is full", Reason.INFRASTRUCTURE),
        (errno.EDQUOT, "is full", Reason.INFRASTRUCTURE),
        (errno.EROFS, "may not write to", Reason.CONFIG_ERROR),
        (errno.EACCES, "may not write to", Reason.CONFIG_ERROR),
        (errno.ESTALE, "cannot write to the claim pvc://build-contexts (ESTALE)", Reason.INFRASTRUCTURE),
        (None, "cannot write to", Reason.INFRASTRUCTURE),
    ],
)
def test_an_error_of_a_claim(number: int | None, said: str, reason: Reason) -> None:
    error = disk_error(parse_store("pvc://build-contexts"), OSError(number, "x"), "write to")
    assert said in error.detail
    assert error.reason is reason


KNOWN = {
    "access_key_id",
    "secret_access_key",
    "session_token",
    "token",
    "default_region",
    "region",
    "key_file",
}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("CLOUD_ACCESS_KEY_ID", "access_key_id"),
        ("CLOUD_SESSION_TOKEN", "session_token"),
        ("CLOUD_DEFAULT_REGION", "default_region"),
        ("CLOUD_STORAGE_REGION", "region"),
        ("REGION", "region"),
        ("CLOUD_OTHER", None),
        ("", None),
    ],
)
def test_a_variable_has_one_name_in_the_library(name: str, key: str | None) -> None:
    assert short(name, KNOWN.__contains__) == key


def test_a_setting_wins_and_the_first_spelling_too() -> None:
    access = [
        EnvVar(name="CLOUD_REGION", value="ours"),
        EnvVar(name="OTHER_REGION", value="theirs"),
        EnvVar(name="CLOUD_TOKEN", value=Secret(CANARY)),
        EnvVar(name="HOME", value="/root"),
    ]
    found = access_of(access, KNOWN.__contains__, {"token": "set"})
    assert found.config == {"region": "ours", "token": "set"}
    assert found.provider is None


def test_keys_go_together() -> None:
    access = [
        EnvVar(name="CLOUD_ACCESS_KEY_ID", value="id"),
        EnvVar(name="CLOUD_SECRET_ACCESS_KEY", value=Secret(CANARY)),
    ]
    found = access_of(access, KNOWN.__contains__, {})
    assert found.config == {}
    assert found.provider is not None
    assert found.provider() == {
        "access_key_id": "id",
        "secret_access_key": CANARY,
        "token": None,
        "expires_at": None,
    }
    assert CANARY not in repr(found)


def test_a_file_is_read_from_memory_and_gone_when_closed() -> None:
    file = SecretFile(name="key", content=Secret(CANARY), path_env="CLOUD_KEY_FILE")
    found = access_of([file, SecretFile(name="x", content=Secret("y"))], KNOWN.__contains__, {})
    path = Path(found.config["key_file"])
    assert path.read_text() == CANARY
    assert path.read_text() == CANARY
    found.close()
    assert not path.exists()


@pytest.mark.parametrize(
    ("url", "options", "config"),
    [
        ("s3://my-bucket", StoreOptions(), {}),
        ("s3://my-bucket", StoreOptions(endpoint="https://x:9/"), {"endpoint": "https://x:9"}),
        (
            "s3://my-bucket",
            StoreOptions(endpoint="https://x:9", path_style=False),
            {"endpoint": "https://my-bucket.x:9", "virtual_hosted_style_request": "true"},
        ),
        ("gs://my-bucket", StoreOptions(endpoint="https://x"), {"base_url": "https://x"}),
        ("az://contexts", StoreOptions(account="abc"), {"account_name": "abc"}),
        ("https://abc.blob.core.windows.net/contexts", StoreOptions(), {"account_name": "abc"}),
        (
            "https://abc.blob.core.chinacloudapi.cn/contexts",
            StoreOptions(),
            {"account_name": "abc", "endpoint": "https://abc.blob.core.chinacloudapi.cn"},
        ),
    ],
)
def test_options_in_the_librarys_words(url: str, options: StoreOptions, config: dict[str, str]) -> None:
    assert settings_of(parse_store(url), options) == config


KEY = "dGhlIGtleQ=="


@pytest.mark.parametrize(
    ("url", "options", "access"),
    [
        ("s3://my-bucket", StoreOptions(endpoint="https://x"), {"AWS_ENDPOINT_URL": "https://y"}),
        ("s3://my-bucket", StoreOptions(), {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}),
        ("s3://my-bucket", StoreOptions(), {"AWS_ENDPOINT_URL": "https://y", "AWS_ENDPOINT": "https://y"}),
        ("s3://my-bucket", StoreOptions(), {"AZURE_STORAGE_ACCOUNT_KEY": KEY, "PATH": "/bin"}),
        ("gs://my-bucket", StoreOptions(), {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_SERVICE_ACCOUNT_KEY": "{}"}),
        ("az://contexts", StoreOptions(account="abc"), {"AZURE_STORAGE_ACCOUNT_NAME": "abc"}),
        (
            "az://contexts",
            StoreOptions(account="abc"),
            {"AZURE_STORAGE_ACCOUNT_KEY": KEY, "AZURE_STORAGE_ACCESS_KEY": KEY},
        ),
        ("https://abc.blob.core.usgovcloudapi.net/a-a", StoreOptions(), {"AZURE_STORAGE_ACCESS_KEY": KEY}),
    ],
)
def test_the_library_takes_what_environments_give(
    url: str, options: StoreOptions, access: dict[str, str]
) -> None:
    before = dict(os.environ)
    given = [EnvVar(name=name, value=Secret(value)) for name, value in access.items()]
    if "GOOGLE_SERVICE_ACCOUNT_KEY" in access:
        with pytest.raises(LaunchError, match="cannot be read") as caught:
            open_store(parse_store(url), given, options)
        assert caught.value.reason is Reason.CONFIG_ERROR
        return
    with open_store(parse_store(url), given, options):
        assert os.environ == before


def service_account() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    said = {"type": "service_account", "client_email": "ci@example.com", "private_key_id": "1"}
    return json.dumps(said | {"private_key": key.decode()})


def test_a_service_accounts_file_is_taken() -> None:
    def given(content: str) -> list[SecretFile]:
        return [SecretFile(name="a", content=Secret(content), path_env="GOOGLE_APPLICATION_CREDENTIALS")]

    place = parse_store("gs://my-bucket")
    with open_store(place, given(service_account()), StoreOptions()):
        pass
    with pytest.raises(LaunchError, match="cannot be read") as caught:
        open_store(place, given("{"), StoreOptions())
    assert caught.value.reason is Reason.CONFIG_ERROR
