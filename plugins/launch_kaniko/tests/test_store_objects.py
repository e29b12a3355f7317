"""Contexts in a real S3 service (moto's, a process of its own), and what happens when it misbehaves."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import io
import os
import random
import re
import subprocess
import sys
import tarfile
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import boto3
import pytest
from launch_kaniko import store_bucket
from launch_kaniko.store_objects import ContextStore, open_store
from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import parse_store, sight
from launch_kaniko.store_testing import Asked, Proxy, make_bucket, missing, options_for, s3_server

from launchcore.plugin import Cancelled, EnvVar, Fault, LaunchError, Reason, Secret
from launchcore.recipes.context import collect, pack

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

NAME = hashlib.sha256(b"a context").hexdigest()
FILE = f"launch-{NAME}.tar.gz"
MIB = 1 << 20
CANARY = "canary-of-the-store"
ACCESS = (
    EnvVar(name="AWS_ACCESS_KEY_ID", value="testing"),
    EnvVar(name="AWS_SECRET_ACCESS_KEY", value=Secret(CANARY)),
    EnvVar(name="AWS_REGION", value="us-east-1"),
)


def never() -> None:
    """It is wanted."""


def noise(megabytes: int) -> Iterator[bytes]:
    """Bytes that no gzip makes smaller."""
    source = random.Random(megabytes)
    for _ in range(megabytes):
        yield source.randbytes(MIB)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


class World:
    """A bucket of its own, looked at with another client than ours."""

    def __init__(self, address: str, bucket: str) -> None:
        self.address = address
        self.bucket = bucket
        self.s3: Any = boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        make_bucket(address, bucket)

    def open(self, address: str | None = None, prefix: str = "/contexts", **options: Any) -> ContextStore:
        place = parse_store(f"s3://{self.bucket}{prefix}")
        return open_store(place, ACCESS, options_for(address or self.address, **options))

    def keys(self) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def unfinished(self) -> list[str]:
        found = self.s3.list_multipart_uploads(Bucket=self.bucket)
        return [one["Key"] for one in found.get("Uploads", [])]

    def content(self, key: str = f"contexts/{FILE}") -> bytes:
        body: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body


@pytest.fixture
def world(server: str, request: pytest.FixtureRequest) -> World:
    return World(server, "b" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20])


@pytest.fixture
def proxy(server: str) -> Iterator[Proxy]:
    with Proxy(server) as proxy:
        yield proxy


def quick(**more: Any) -> dict[str, Any]:
    """Options with which a fault is over soon."""
    return {"retries": 4, "retry_seconds": 20.0, "part_mb": 5, **more}


def test_a_tree_is_put_and_the_executor_finds_its_tar(world: World, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('hello')\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "weights.bin").write_bytes(os.urandom(3 * MIB))
    tar = b"".join(pack(collect(tmp_path), never))
    with world.open() as store:
        assert not store.has(NAME)
        store.put(NAME, pack(collect(tmp_path), never), never)
        assert store.has(NAME)
    where = sight(parse_store(f"s3://{world.bucket}/contexts"), NAME, StoreOptions()).context
    assert where == f"s3://{world.bucket}/contexts/{FILE}"
    stored = world.content()
    assert gzip.decompress(stored) == tar
    assert stored[3:9] == b"\0" * 6  # no name, no time
    with tarfile.open(fileobj=io.BytesIO(stored), mode="r:gz") as opened:
        assert opened.getnames() == ["data", "data/weights.bin", "train.py"]
    assert world.keys() == [f"contexts/{FILE}"]


def test_a_store_may_have_no_prefix(world: World) -> None:
    with world.open(prefix="") as store:
        store.put(NAME, [b"x"], never)
    assert world.keys() == [FILE]


def test_a_small_context_takes_one_request_and_a_large_one_parts(world: World, proxy: Proxy) -> None:
    with world.open(proxy.url, part_mb=5) as store:
        store.put(NAME, [b"x" * MIB], never)
        assert [(one.method, one.part) for one in proxy.asked] == [("PUT", False)]
        store.put(NAME, noise(17), never)
    assert sum(one.part for one in proxy.asked) == 4
    assert gzip.decompress(world.content()) == b"".join(noise(17))
    assert not world.unfinished()


def test_two_agents_put_the_same_at_once(world: World) -> None:
    failures: list[BaseException] = []
    together = threading.Barrier(2)

    def agent() -> None:
        try:
            with world.open(part_mb=5) as store:
                together.wait()
                store.put(NAME, noise(12), never)
        except BaseException as error:
            failures.append(error)

    agents = [threading.Thread(target=agent) for _ in range(2)]
    for each in agents:
        each.start()
    for each in agents:
        each.join()
    assert not failures
    assert gzip.decompress(world.content()) == b"".join(noise(12))
    assert not world.unfinished()


def test_a_cancel_in_mid_upload_leaves_nothing(world: World) -> None:
    seen: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number, piece in enumerate(noise(64)):
            if number == 30:
                seen.extend([len(world.unfinished()), len(world.keys())])
                raise Cancelled
            yield piece

    with world.open(part_mb=5) as store, pytest.raises(Cancelled):
        store.put(NAME, pieces(), never)
    assert seen == [1, 0]  # an upload was going on, and nobody could see a part of it
    assert not world.unfinished()
    assert not world.keys()


def test_a_cancel_is_heard_while_the_store_is_silent(world: World, proxy: Proxy) -> None:
    proxy.script = lambda asked: "hang" if asked.part else None

    def check() -> None:
        if proxy.hanging.is_set():
            raise Cancelled

    with (
        world.open(proxy.url, **quick(request_seconds=1.0, retries=0)) as store,
        pytest.raises(Cancelled),
    ):
        store.put(NAME, noise(64), check)
    assert not world.keys()
    assert not world.unfinished()


def test_a_store_that_stays_silent_is_left_behind(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_bucket, "GRACE_SECONDS", 0.1)
    proxy.script = lambda asked: "hang" if asked.part else None

    def check() -> None:
        if proxy.hanging.is_set():
            raise Cancelled

    with world.open(proxy.url, **quick(request_seconds=600.0)) as store, pytest.raises(Cancelled):
        store.put(NAME, noise(64), check)
    assert not world.keys()


def test_what_reading_the_tree_raises_passes_through(world: World) -> None:
    changed = LaunchError("the source changed", reason=Reason.SOURCE_FAILED)

    def pieces() -> Iterator[bytes]:
        yield from noise(12)
        raise changed

    with world.open(part_mb=5) as store, pytest.raises(LaunchError) as caught:
        store.put(NAME, pieces(), never)
    assert caught.value is changed
    assert not world.unfinished()
    assert not world.keys()


def test_nothing_is_read_when_it_is_not_wanted(world: World) -> None:
    read: list[int] = []

    def check() -> None:
        raise Cancelled

    def pieces() -> Iterator[bytes]:
        read.append(1)
        yield b""

    with world.open() as store, pytest.raises(Cancelled):
        store.put(NAME, pieces(), check)
    assert not read


@pytest.mark.parametrize("fault", [503, 500, "cut", "swallow"])
def test_a_storm_is_weathered(world: World, proxy: Proxy, fault: int | str) -> None:
    """Every request fails twice, whatever it is for."""
    failed: dict[str, int] = {}
    lock = threading.Lock()

    def script(asked: Asked) -> int | str | None:
        what = re.sub(r"uploadId=[^&]*", "", asked.path) + asked.method
        with lock:
            failed[what] = failed.get(what, 0) + 1
            # A completion whose answer is lost was done: S3 answers the second one alike, moto does not.
            if fault == "swallow" and not asked.part:
                return None
            return fault if failed[what] <= 2 else None

    proxy.script = script
    with world.open(proxy.url, **quick()) as store:
        store.put(NAME, noise(17), never)
        assert store.has(NAME)
    assert gzip.decompress(world.content()) == b"".join(noise(17))
    assert max(failed.values()) > 2
    assert not set(world.keys()) - {f"contexts/{FILE}"}


@pytest.mark.parametrize("fault", [503, "cut"])
def test_a_part_that_never_gets_through_leaves_nothing(world: World, proxy: Proxy, fault: int | str) -> None:
    proxy.script = lambda asked: fault if "partNumber=2&" in asked.path else None
    with world.open(proxy.url, **quick(retries=1)) as store, pytest.raises(LaunchError) as caught:
        store.put(NAME, noise(64), never)
    assert caught.value.reason is Reason.INFRASTRUCTURE
    assert caught.value.retryable
    assert not world.keys()
    assert not world.unfinished()


def raised(store: ContextStore) -> LaunchError:
    with store, pytest.raises(LaunchError) as caught:
        store.put(NAME, [b"x"], never)
    error = caught.value
    text = f"{error.detail} {error.hint}"
    assert CANARY not in text
    assert "\n" not in text
    assert error.fault is Fault.INFRASTRUCTURE
    return error


def test_a_missing_bucket_is_named(world: World) -> None:
    place = parse_store("s3://no-such-bucket/contexts")
    with open_store(place, ACCESS, options_for(world.address)) as store:
        assert not store.has(NAME)
        error = raised(store)
    assert error.reason is Reason.CONFIG_ERROR
    assert error.detail == "the bucket s3://no-such-bucket/contexts does not exist (NoSuchBucket)"
    assert "create the bucket" in str(error.hint)


@pytest.mark.parametrize(
    ("fault", "reason", "said"),
    [
        (403, Reason.CONFIG_ERROR, "may not write to the bucket"),
        (401, Reason.CONFIG_ERROR, "refuses the agent's credentials"),
        (301, Reason.CONFIG_ERROR, "another region"),
        (503, Reason.INFRASTRUCTURE, "overloaded"),
        (507, Reason.INFRASTRUCTURE, "is full"),
        (500, Reason.INFRASTRUCTURE, "fails"),
        ("cut", Reason.INFRASTRUCTURE, "cannot be reached"),
        ("hang", Reason.INFRASTRUCTURE, "does not answer in time"),
    ],
)
def test_a_fault_is_told_apart(
    world: World, proxy: Proxy, fault: int | str, reason: Reason, said: str
) -> None:
    proxy.script = lambda _asked: fault
    error = raised(world.open(proxy.url, retries=0, request_seconds=1.0))
    assert said in error.detail
    assert error.reason is reason
    assert error.retryable == (fault in (503, 500, "cut", "hang"))


@pytest.mark.parametrize(
    ("address", "said", "reason"),
    [
        ("http://127.0.0.1:1", "cannot be reached", Reason.INFRASTRUCTURE),
        ("http://no-such-host.invalid", "is unknown here", Reason.INFRASTRUCTURE),
    ],
)
def test_a_store_that_is_away(world: World, address: str, said: str, reason: Reason) -> None:
    error = raised(world.open(address, retries=0))
    assert said in error.detail
    assert error.reason is reason
    assert error.retryable
    with world.open(address, retries=0) as store, pytest.raises(LaunchError, match=said):
        store.has(NAME)


def test_a_store_that_does_not_speak_tls(world: World) -> None:
    error = raised(world.open(world.address.replace("http:", "https:"), retries=0))
    assert "does not speak TLS" in error.detail


def test_without_the_right_to_list_a_missing_object_is_forbidden(world: World, proxy: Proxy) -> None:
    proxy.script = lambda asked: 403 if asked.method == "HEAD" else None
    with world.open(proxy.url) as store:
        assert not store.has(NAME)
        store.put(NAME, [b"x"], never)
    assert world.keys() == [f"contexts/{FILE}"]


def test_access_is_the_clouds_own_variables_and_the_process_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, proxy: Proxy
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-agent-itself")
    before = dict(os.environ)
    headers: list[str] = []
    serve = proxy._serve

    def spy(request: Any) -> None:
        headers.append(str(request.headers))
        serve(request)

    monkeypatch.setattr(proxy, "_serve", spy)
    more = (
        *ACCESS,
        EnvVar(name="GOOGLE_CLOUD_PROJECT", value="x"),
        EnvVar(name="HTTP_PROXY_USER", value="x"),
    )
    with open_store(parse_store(f"s3://{world.bucket}"), more, options_for(proxy.url)) as store:
        store.put(NAME, [b"x"], never)
    assert os.environ == before
    assert "Credential=testing/" in headers[0]
    assert "of-the-agent-itself" not in headers[0]
    token = (*ACCESS, EnvVar(name="AWS_SESSION_TOKEN", value=Secret("minted")))
    with open_store(parse_store(f"s3://{world.bucket}"), token, options_for(proxy.url)) as store:
        store.put(NAME, [b"x"], never)
    assert "x-amz-security-token: minted" in headers[1].lower()


def test_without_access_the_agents_own_variables_are_used(
    world: World, monkeypatch: pytest.MonkeyPatch, proxy: Proxy
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with open_store(parse_store(f"s3://{world.bucket}"), (), options_for(proxy.url)) as store:
        store.put(NAME, [b"x"], never)
    assert world.keys() == [FILE]


def aged(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """It is ``hours`` later for the agent."""
    at = time.time() + hours * 3600
    monkeypatch.setattr("launch_kaniko.store_bucket.time", types.SimpleNamespace(time=lambda: at))


def test_a_context_that_is_used_again_does_not_vanish(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with world.open(keep_hours=10.0) as store:
        store.put(NAME, [b"x"], never)
        aged(monkeypatch, 4.9)
        assert store.has(NAME)
        assert store.sweep() == 0
        aged(monkeypatch, 5.1)
        assert not store.has(NAME)  # to be put again, which makes it young
        assert store.sweep() == 0
        assert world.keys()
        aged(monkeypatch, 10.1)
        assert store.sweep() == 1
    assert not world.keys()


def test_a_sweep_spares_whatever_is_not_ours(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(5)]
    others = [
        "contexts/context.tar.gz",
        f"contexts/{NAME}.tar.gz",
        f"contexts/launch-{NAME}.tar.gz.bak",
        f"contexts/deeper/{FILE}",
        f"contexts/launch-a/{FILE}",
        FILE,
        "contexts/zzz",
    ]
    for key in others:
        world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"x")
    with world.open(keep_hours=10.0) as store:
        for digest in digests:
            store.put(digest, [b"x"], never)
        assert store.sweep() == 0
        aged(monkeypatch, 1.0)
        assert store.sweep(keep_seconds=7200) == 0
        assert store.sweep(keep_seconds=1800) == 5
    assert sorted(world.keys()) == sorted(others)


def test_a_sweep_is_bounded_and_the_next_ones_reach_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch, proxy: Proxy
) -> None:
    monkeypatch.setattr(store_bucket, "MOST", 10)
    digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(60)]
    with world.open(proxy.url) as store:
        for digest in digests:
            store.put(digest, [b"x"], never)
        aged(monkeypatch, 100.0)
        swept = [store.sweep() for _ in range(6)]
    assert max(swept) == 10
    assert sum(swept) == 60
    assert not world.keys()


def test_one_that_was_put_again_since_it_was_listed_is_spared(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.open() as store:
        store.put(NAME, [b"x"], never)
        young = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=100)
        aged(monkeypatch, 100.0)
        import obstore

        head = obstore.head
        monkeypatch.setattr(obstore, "head", lambda *a: head(*a) | {"last_modified": young})
        assert store.sweep() == 0
    assert world.keys()


def test_a_store_that_is_gone_cannot_be_swept() -> None:
    place = parse_store("s3://my-bucket")
    options = options_for("http://127.0.0.1:1", retries=0)
    with open_store(place, ACCESS, options) as store, pytest.raises(LaunchError, match="cannot be reached"):
        store.sweep()


PEAK = """
import sys
from launch_kaniko.store_objects import open_store
from launch_kaniko.store_places import parse_store
from launch_kaniko.store_testing import ACCESS, options_for
block = __import__("os").urandom(1 << 20)
with open_store(parse_store(sys.argv[2]), ACCESS, options_for(sys.argv[1])) as store:
    store.put("ab" * 32, (block for _ in range(int(sys.argv[3]))), lambda: None)
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def test_memory_does_not_grow_with_the_context(world: World) -> None:
    """A store that takes only what it is given, so that only our own memory is seen."""

    def peak(megabytes: int) -> int:
        command = [sys.executable, "-c", PEAK, world.address, f"s3://{world.bucket}", str(megabytes)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return int(done.stdout)

    small, large = peak(128), peak(384)
    assert large < 1.25 * small


def test_options_that_cannot_be_used_are_the_configurations_fault() -> None:
    with pytest.raises(LaunchError, match="needs `account`") as caught:
        open_store(parse_store("az://contexts"), (), StoreOptions())
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert attrs.asdict(StoreOptions())  # frozen, and all of it has a default
