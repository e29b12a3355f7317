"""A store that is slow, away, overloaded or wrong, and uploads that are given up: nothing half-written."""

from __future__ import annotations

import gzip
import hashlib
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from launch_kaniko import store_bucket
from launch_kaniko.store_objects import ContextStore, open_store
from launch_kaniko.store_places import parse_store
from launch_kaniko.testing.store import ACCESS, Asked, Proxy, World, missing, never, noise, options_for

from launchcore.plugin import Cancelled, Fault, LaunchError, Reason

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

NAME = hashlib.sha256(b"a context").hexdigest()
FILE = f"launch-{NAME}.tar.gz"
MIB = 1 << 20
CANARY = "canary-of-the-store"


def quick(**more: Any) -> dict[str, Any]:
    """Options with which a fault is over soon."""
    return {"retries": 4, "retry_seconds": 20.0, "part_mb": 5, **more}


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
            return fault if failed[what] <= 2 else None

    proxy.script = script
    with world.open(proxy.url, **quick()) as store:
        store.put(NAME, noise(17), never)
        assert store.has(NAME)
    assert gzip.decompress(world.content(f"contexts/{FILE}")) == b"".join(noise(17))
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


@pytest.mark.parametrize("done", [True, False])
def test_a_completion_that_was_done_and_is_not_known_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """Scripted: what some services answer when a completion whose answer was lost is repeated."""
    import obstore

    put = obstore.put

    def lost(*args: Any, **more: Any) -> None:
        if done:
            put(*args, **more)
        raise RuntimeError("404 Not Found: <Code>NoSuchUpload</Code>")

    monkeypatch.setattr(obstore, "put", lost)
    with world.open() as store:
        if done:
            store.put(NAME, [b"x"], never)
        else:
            with pytest.raises(LaunchError, match="NoSuchUpload"):
                store.put(NAME, [b"x"], never)
        assert store.has(NAME) is done
