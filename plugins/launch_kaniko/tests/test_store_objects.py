"""Contexts in a real S3 service (moto's, a process of its own)."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import time
import types
from pathlib import Path
from typing import Any

import attrs
import pytest
from launch_kaniko import store_bucket
from launch_kaniko.store_objects import open_store
from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import parse_store, sight
from launch_kaniko.testing.store import Proxy, World, missing, never, noise, options_for

from launchcore.plugin import EnvVar, LaunchError, Reason, Secret
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
    stored = world.content(f"contexts/{FILE}")
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
    assert gzip.decompress(world.content(f"contexts/{FILE}")) == b"".join(noise(17))
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
    assert gzip.decompress(world.content(f"contexts/{FILE}")) == b"".join(noise(12))
    assert not world.unfinished()


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
        world.put(key, b"x")
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
from launch_kaniko.testing.store import ACCESS, options_for
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
