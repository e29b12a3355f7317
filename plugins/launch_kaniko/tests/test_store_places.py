"""The store's URL, and how the executor sees what is there."""

from __future__ import annotations

import doctest

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from launch_kaniko import store_places
from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import check_store, file_name, name_of, parse_store, sight

NAME = "ab" * 32
FILE = f"launch-{NAME}.tar.gz"
PLAIN = StoreOptions()


@pytest.mark.parametrize(
    ("url", "scheme", "bucket", "prefix"),
    [
        ("s3://my-bucket/contexts", "s3", "my-bucket", "contexts"),
        ("s3://my-bucket", "s3", "my-bucket", ""),
        ("S3://my.bucket/a/b/", "s3", "my.bucket", "a/b"),
        ("gs://my_bucket/a", "gs", "my_bucket", "a"),
        ("az://contexts/team=a", "az", "contexts", "team=a"),
        ("az://a-b/c", "az", "a-b", "c"),
        ("https://myaccount.blob.core.windows.net/contexts/a", "az", "contexts", "a"),
        ("https://myaccount.blob.core.chinacloudapi.cn/contexts", "az", "contexts", ""),
        ("pvc://build-contexts", "pvc", "build-contexts", ""),
        ("pvc://build-contexts/a/b", "pvc", "build-contexts", "a/b"),
    ],
)
def test_a_store_is_a_url(url: str, scheme: str, bucket: str, prefix: str) -> None:
    place = parse_store(url)
    assert (place.scheme, place.bucket, place.prefix) == (scheme, bucket, prefix)
    assert parse_store(place.url) == place


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "must begin with a scheme"),
        ("my-bucket/contexts", "must begin with a scheme"),
        ("s3:/my-bucket", r"two slashes after s3: \(s3://…\)"),
        ("s3:my-bucket", "two slashes"),
        ("s3://", "names no bucket: s3://BUCKET"),
        ("s3:///contexts", "names no bucket"),
        ("pvc://", "names no claim: pvc://CLAIM"),
        ("az://", "names no container"),
        ("https://myaccount.blob.core.windows.net", "names no container"),
        ("gcs://my-bucket", "did you mean gs://"),
        ("s3a://my-bucket", "did you mean s3://"),
        ("abfss://contexts", "did you mean az://"),
        ("file:///mnt/contexts", "did you mean pvc://"),
        ("s4://my-bucket", "did you mean s3://"),
        ("ftp://my-bucket", "unknown scheme 'ftp'; It is one of"),
        ("https://example.com/contexts", "no storage account's address"),
        ("http://myaccount.blob.core.windows.net/contexts", "unknown scheme 'http'"),
        ("s3://my-bucket/../other", r"must not have '\.' or '\.\.'"),
        ("s3://my-bucket/a/..", r"must not have '\.' or '\.\.'"),
        ("s3://my-bucket/./a", r"must not have '\.' or '\.\.'"),
        ("s3://../a", "impossible bucket"),
        ("s3://my-bucket//a", "an empty part"),
        ("s3://my-bucket/a%2fb", "another character"),
        ("s3://my-bucket/a b", "another character"),
        ("s3://my-bucket/a\nb", "another character"),
        ("s3://my-bucket\n", "impossible bucket"),
        ("s3://my-bucket/" + "a/" * 400, "too long a path"),
        ("s3://b", "3 to 63 letters"),
        ("az://ab", "3 to 63 small letters"),
        ("az://a--b", "3 to 63 small letters"),
        ("az://" + "a-" * 32 + "a", "3 to 63 small letters"),
        ("pvc://Claim", "small letters"),
        ("s3://my-bucket/a#b", "query or a fragment"),
    ],
)
def test_a_near_miss_is_told_what_to_write(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_store(url)


SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"s3://key:{SECRET}@my-bucket/contexts",
        f"s4://key:{SECRET}@my-bucket",
        f"s3:key:{SECRET}@my-bucket",
        f"https://myaccount.blob.core.windows.net/contexts?sig={SECRET}",
        f"gs://my-bucket/?{SECRET}",
        f"s3://my-bucket/a {SECRET}",
        f"https://{SECRET}.example.com/contexts",
        f"{SECRET}",
    ],
)
def test_what_may_be_a_password_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        parse_store(url)
    assert SECRET not in str(caught.value)


@given(st.text(max_size=60) | st.from_regex(r"(s3|gs|az|pvc)://[a-z0-9._/@?%-]{0,60}", fullmatch=True))
@example("s3://aaa/...")
@example("az://$root/a")
def test_whatever_is_taken_has_one_spelling_and_stays_below_its_prefix(url: str) -> None:
    try:
        place = parse_store(url)
    except ValueError:
        return
    assert parse_store(place.url) == place
    parts = place.prefix.split("/") if place.prefix else []
    assert all(part not in ("", ".", "..") for part in parts)
    assert not set("?#%@ \n\\") & set(place.bucket)
    options = StoreOptions(account="myaccount", mount="/contexts")
    assert sight(place, NAME, options).context.endswith(f"/{FILE}")


def test_the_executor_sees_a_bucket() -> None:
    seen = sight(parse_store("s3://my-bucket/contexts"), NAME, PLAIN)
    assert seen.context == f"s3://my-bucket/contexts/{FILE}"
    assert not seen.env
    assert (seen.claim, seen.mount, seen.sub_path) == (None, None, None)
    assert sight(parse_store("gs://my-bucket"), NAME, PLAIN).context == f"gs://my-bucket/{FILE}"


def test_an_endpoint_is_told_in_the_executors_own_words() -> None:
    options = StoreOptions(endpoint="http://10.0.0.1:9000/", allow_http=True)
    place = parse_store("s3://my-bucket")
    assert sight(place, NAME, options).env == {
        "S3_ENDPOINT": "http://10.0.0.1:9000",
        "S3_FORCE_PATH_STYLE": "true",
    }
    inside = attrs.evolve(options, cluster_endpoint="https://minio.storage.svc", path_style=False)
    assert sight(place, NAME, inside).env == {
        "S3_ENDPOINT": "https://minio.storage.svc",
        "S3_FORCE_PATH_STYLE": "false",
    }
    assert sight(parse_store("gs://my-bucket"), NAME, options).env == {
        "STORAGE_EMULATOR_HOST": "http://10.0.0.1:9000"
    }


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("az://contexts/a", StoreOptions(account="myaccount")),
        ("https://myaccount.blob.core.windows.net/contexts/a", PLAIN),
        (
            "az://contexts/a",
            StoreOptions(account="x123", endpoint="https://myaccount.blob.core.windows.net/"),
        ),
    ],
)
def test_a_container_is_an_https_address_of_its_account(url: str, options: StoreOptions) -> None:
    seen = sight(parse_store(url), NAME, options)
    assert seen.context == f"https://myaccount.blob.core.windows.net/contexts/a/{FILE}"


def test_a_claim_is_mounted_and_the_context_is_a_file_in_it() -> None:
    options = StoreOptions(mount="/var/contexts")
    seen = sight(parse_store("pvc://build-contexts/a/b"), NAME, options)
    assert seen.context == f"tar:///kaniko/contexts/{FILE}"
    assert (seen.claim, seen.mount, seen.sub_path) == ("build-contexts", "/kaniko/contexts", "a/b")
    assert sight(parse_store("pvc://build-contexts"), NAME, options).sub_path is None


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("pvc://build-contexts", PLAIN, "needs `mount`"),
        ("pvc://build-contexts", StoreOptions(mount="/a", endpoint="https://x"), "no endpoint"),
        ("az://contexts", PLAIN, "needs `account`"),
        ("az://contexts", StoreOptions(account="abc", endpoint="https://x.example.com"), "by its host only"),
        ("s3://my-bucket", StoreOptions(endpoint="http://x"), "allow_http"),
        ("s3://my-bucket", StoreOptions(cluster_endpoint="http://x"), "allow_http"),
    ],
)
def test_options_that_do_not_suit_the_store(url: str, options: StoreOptions, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_store(parse_store(url), options)


@pytest.mark.parametrize(
    "options",
    [
        {"endpoint": "minio.example.com"},
        {"endpoint": f"https://key:{SECRET}@minio.example.com"},
        {"endpoint": f"https://minio.example.com?{SECRET}"},
        {"account": "My-Account"},
        {"mount": "contexts"},
        {"mount": "/contexts/../etc"},
        {"compression": 10},
        {"part_mb": 1},
        {"concurrency": 0},
        {"request_seconds": 0.0},
    ],
)
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        StoreOptions(**options)  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)


def test_only_our_own_objects_have_our_names() -> None:
    assert name_of(file_name(NAME)) == NAME
    for other in ("context.tar.gz", f"{NAME}.tar.gz", f"launch-{NAME}.tar.gz.old", "launch-x.tar.gz", ""):
        assert name_of(other) is None
    for name in ("", "abc", "../" + NAME, NAME.upper(), "a" * 129, NAME + "\n"):
        with pytest.raises(ValueError, match="hex digest"):
            file_name(name)


def test_the_docstrings_are_true() -> None:
    assert doctest.testmod(store_places).failed == 0
