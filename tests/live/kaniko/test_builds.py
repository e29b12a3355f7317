"""Builds as Jobs of a real cluster, pushed to a real registry, with their contexts in a real store."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from launch_docker.testing.registry import PASSWORD, USER

from launchcore.plugin import (
    BuiltImage,
    Cancelled,
    EnvVar,
    Fault,
    Label,
    LaunchError,
    Login,
    Reason,
    Secret,
)
from launchcore.testing.conformance.build_bench import BuilderBench, Files
from tests.crash.world import wait_until
from tests.live.kaniko.place import Place, unique

pytestmark = [pytest.mark.live]

PASS = PASSWORD


class Bench:
    """A builder at the place, and what it may have left."""

    def __init__(
        self, root: Path, place: Place, *, registry: bool = True, password: str = PASS, **more: Any
    ) -> None:
        self.place = place
        host = place.registry.host
        self.inner = BuilderBench(
            root,
            plugin="launch_kaniko.plugin",
            name="kaniko",
            settings=place.settings(**more),
            repository=place.repository,
            logins=(Login(host=host, username=USER, password=Secret(password)),),
            registry=place.oci(root) if registry else None,
        )
        self.context = self.inner.context

    def files(self, *lines: str, **more: str) -> Files:
        return {"Dockerfile": self.place.dockerfile(*lines), **more}

    def build(self, files: Files, *contributions: Any, **changes: Any) -> BuiltImage:
        return self.inner.build(self.inner.plan(files, **changes), *contributions, context=self.context)

    def fails(self, files: Files, **changes: Any) -> LaunchError:
        with pytest.raises(LaunchError) as caught:
            self.build(files, **changes)
        assert self.place.left() == [], caught.value.detail
        assert caught.value.hint
        return caught.value


@pytest.fixture
def bench(tmp_path: Path, place: Place) -> Iterator[Bench]:
    yield Bench(tmp_path, place)
    wait_until("nothing is left", lambda: not place.left(), seconds=30)


def test_built_once_then_found_then_from_cached_layers(bench: Bench) -> None:
    lines = (
        f"RUN echo slow; echo {unique()} > /slow",
        "COPY train.py /train.py",
        "RUN cat /train.py > /copy",
    )
    first = bench.build(bench.files(*lines, **{"train.py": "1"}), Label(name="cost-centre", value="ml-42"))
    assert first.ref.digest
    assert not first.cached
    assert "slow" in bench.context.lines
    labels = bench.place.image(first.ref.name)["config"]["Labels"]
    assert labels["cost-centre"] == "ml-42"
    assert bench.inner.site.owner in labels.values()

    second = bench.build(bench.files(*lines, **{"train.py": "1"}), Label(name="cost-centre", value="ml-42"))
    assert second.cached
    assert second.ref == first.ref

    bench.context.lines.clear()
    third = bench.build(bench.files(*lines, **{"train.py": "2"}), Label(name="cost-centre", value="ml-42"))
    assert third.ref.name != first.ref.name
    assert any("Using caching version of cmd: RUN echo slow" in line for line in bench.context.lines)
    assert "slow" not in bench.context.lines
    assert any("No cached layer found for cmd RUN cat" in line for line in bench.context.lines)


def test_an_image_has_the_sources_files_and_no_others(bench: Bench) -> None:
    """The executor leaves the archive that it has fetched beside what it has unpacked."""
    files = bench.files("WORKDIR /code", "COPY . .", "RUN ls -A /code", word=unique())
    bench.build(files)
    listed = [line.strip() for line in bench.context.lines]
    assert "word" in listed
    assert not [line for line in listed if line.endswith(".tar.gz") and " " not in line]


def test_a_build_secret_is_in_no_layer(bench: Bench) -> None:
    canary = f"canary-{unique()}"
    step = "RUN --mount=type=secret,id=TOKEN wc -c < /run/secrets/TOKEN"
    built = bench.build(bench.files(step), EnvVar(name="TOKEN", value=Secret(canary)))
    assert str(len(canary)) in [line.strip() for line in bench.context.lines]
    assert canary not in str(bench.context.lines)
    client = bench.place.client()
    repository, _, tag = built.ref.name.rpartition(":")
    manifest, _ = client.manifest(repository, tag)
    layers = [_unpacked(client.blob(repository, each["digest"])) for each in manifest["layers"]]
    assert not [layer for layer in layers if canary.encode() in layer]
    assert canary not in str(bench.place.image(built.ref.name))


def _unpacked(layer: bytes) -> bytes:
    return gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer


def test_a_failing_dockerfile(bench: Bench) -> None:
    error = bench.fails(bench.files("RUN echo oh no; exit 3"))
    assert (error.reason, error.fault) == (Reason.BUILD_FAILED, Fault.USER)
    assert error.detail == "RUN echo oh no; exit 3: exit code 3 (oh no)"


def test_a_base_image_that_does_not_exist(bench: Bench) -> None:
    error = bench.fails({"Dockerfile": f"FROM {bench.place.registry.host}/nothing:{unique()}\n"})
    assert (error.reason, error.fault) == (Reason.BUILD_FAILED, Fault.USER)
    assert "does not exist" in error.detail


def test_a_missing_bucket(tmp_path: Path, place: Place) -> None:
    bench = Bench(tmp_path, place, build_context_store="s3://nothing-here/x")
    error = bench.fails(bench.files(f"RUN true {unique()}"))
    assert (error.reason, error.fault) == (Reason.CONFIG_ERROR, Fault.INFRASTRUCTURE)


def test_a_context_that_the_executor_cannot_read(tmp_path: Path, place: Place) -> None:
    """The agent can, and the pods have another address of the store, at which nobody is."""
    with socket.socket() as free:
        free.bind((place.registry.address, 0))
        nobody = f"http://{place.registry.address}:{free.getsockname()[1]}"
        store = {**place.settings()["store"], "cluster-endpoint": nobody}
        bench = Bench(tmp_path, place, store=store)
        error = bench.fails(bench.files(f"RUN true {unique()}"))
    assert error.reason is Reason.INFRASTRUCTURE
    assert "does not reach" in error.detail


def test_a_wrong_password(tmp_path: Path, place: Place) -> None:
    bench = Bench(tmp_path, place, registry=False, password="not-the-password")
    error = bench.fails({"Dockerfile": f"FROM scratch\nLABEL a={unique()}\n"})
    assert (error.reason, error.fault) == (Reason.PUSH_FAILED, Fault.INFRASTRUCTURE)
    assert "refuses us" in error.detail
    assert "not-the-password" not in error.detail


def test_a_registry_that_is_down(tmp_path: Path, place: Place) -> None:
    with socket.socket() as free:
        free.bind((place.registry.address, 0))
        nobody = f"{place.registry.address}:{free.getsockname()[1]}/models"
        bench = Bench(tmp_path, place, registry=False)
        error = bench.fails(bench.files(f"RUN true {unique()}"), repository=nobody)
    assert (error.reason, error.fault) == (Reason.PUSH_FAILED, Fault.INFRASTRUCTURE)
    assert "is away" in error.detail


def test_a_registry_of_an_unknown_authority(tmp_path: Path, place: Place) -> None:
    bench = Bench(tmp_path, place, registry=False, registry_certificates={})
    error = bench.fails({"Dockerfile": f"FROM scratch\nLABEL a={unique()}\n"})
    assert error.reason is Reason.PUSH_FAILED
    assert "certificate" in error.detail


def test_a_deadline(tmp_path: Path, place: Place) -> None:
    bench = Bench(tmp_path, place, deadline_seconds=4)
    error = bench.fails(bench.files(f"RUN echo {unique()}; sleep 300"))
    assert (error.reason, error.fault) == (Reason.BUILD_FAILED, Fault.USER)
    assert "longer than 4 s" in error.detail


def test_no_node_can_build(tmp_path: Path, place: Place) -> None:
    nowhere = {"launchcore.test/kind": "none"}
    bench = Bench(tmp_path, place, unschedulable_seconds=1, node_selector=nowhere)
    error = bench.fails(bench.files(f"RUN true {unique()}"))
    assert error.reason is Reason.UNSCHEDULABLE


def test_memory_that_is_not_enough(tmp_path: Path, place: Place) -> None:
    bench = Bench(tmp_path, place, resources={"limits": {"memory": "64Mi"}})
    error = bench.fails(bench.files(f"RUN echo {unique()}; awk 'BEGIN {{ s = \"x\"; while (1) s = s s }}'"))
    assert error.reason is Reason.OUT_OF_MEMORY, error.detail


def test_a_cancelled_build(bench: Bench) -> None:
    with ThreadPoolExecutor(1) as pool:
        context = bench.inner.new_context()
        plan = bench.inner.plan(bench.files(f"RUN echo begun {unique()}; sleep 300"))
        future = pool.submit(bench.inner.build, plan, context=context)
        wait_until("it has begun", lambda: any(line.startswith("begun") for line in context.lines))
        context.cancel()
        with pytest.raises(Cancelled):
            future.result(60)
        assert bench.place.left() == []


def test_two_agents_at_once_build_once(bench: Bench) -> None:
    files = bench.files(f"RUN echo {unique()}; sleep 3")
    builders = [bench.inner.again(bench.inner.elsewhere()) for _ in range(2)]
    contexts = [bench.inner.new_context() for _ in range(2)]

    def build(number: int) -> BuiltImage:
        plan = bench.inner.plan(files)
        return bench.inner.build(plan, builder=builders[number], context=contexts[number])

    with ThreadPoolExecutor(2) as pool:
        images = list(pool.map(build, range(2)))
    assert sorted(image.cached for image in images) == [False, True]
    assert images[0].ref == images[1].ref
