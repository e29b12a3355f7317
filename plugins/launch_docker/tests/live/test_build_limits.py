"""What an engine without BuildKit, or BuildKit within an engine, cannot do is refused, and says what can."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_docker import build_kit
from launch_docker.engine import Engine
from launch_docker.images import Images
from launch_docker.settings import Prune
from launch_docker.testing.fixtures import IMAGE
from launch_docker.testing.machine import wait_until
from launch_docker.testing.registry import RegistryMachine
from launch_docker.testing.workplace import Workplace, running_registry

from launchcore.plugin import Fault, LaunchError, Reason

pytestmark = pytest.mark.live

TOOLS = Path.home() / ".cache" / "launchcore" / "tools"
needs_buildx = pytest.mark.skipif(
    not ((TOOLS / "docker-buildx").exists() or build_kit.version()), reason="there is no buildx here"
)


@pytest.fixture(autouse=True)
def _docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No login of this account; buildx where it is."""
    folder = tmp_path / "docker-config"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(TOOLS)]}))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))


@pytest.fixture(scope="module")
def registry() -> Iterator[RegistryMachine]:
    with running_registry(login=False) as machine:
        yield machine


def refused(work: Workplace) -> LaunchError:
    """The operator's to mend, told in one line before anything is built; and nothing is left."""
    before = work.containers()
    work.write({"Dockerfile": f"FROM {IMAGE}\nRUN echo {time.time()}\n"})
    error = work.fails(given=work.given(password=None))
    assert (error.reason, error.fault) == (Reason.CONFIG_ERROR, Fault.INFRASTRUCTURE)
    assert work.containers() == before
    return error


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"platform": "linux/amd64,linux/arm64"}, "several platforms at once"),
        ({"cache_from": ("type=registry,ref=r/cache",)}, "cache_from"),
        ({"cache_to": ("type=registry,ref=r/cache",)}, "cache_to"),
        ({"buildx_builder": "mine"}, "buildx_builder"),
    ],
)
def test_what_the_classic_builder_cannot(
    tmp_path: Path, docker_host: str, registry: RegistryMachine, settings: dict[str, Any], what: str
) -> None:
    error = refused(Workplace(tmp_path, docker_host, registry, **settings))

    assert what in error.detail
    assert "need BuildKit" in error.detail
    assert "buildx" in str(error.hint)


@needs_buildx
@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"platform": "linux/amd64,linux/arm64"}, "buildx_builder"),
        ({"cache_to": ("type=registry,ref=127.0.0.1:1/cache",)}, "type=inline"),
        ({"buildx_builder": "nobody-made-it"}, "docker buildx ls"),
    ],
)
def test_what_the_buildkit_within_an_engine_cannot(
    tmp_path: Path, docker_host: str, registry: RegistryMachine, settings: dict[str, Any], hint: str
) -> None:
    error = refused(Workplace(tmp_path, docker_host, registry, buildkit="always", **settings))

    assert hint in str(error.hint)


@needs_buildx
def test_a_cache_is_exported_with_the_image_and_imported_from_the_registry(
    tmp_path: Path, docker_host: str, engine: Engine, registry: RegistryMachine
) -> None:
    """An engine that has never built it reuses the steps of another's image."""
    slow = f"FROM {IMAGE}\nRUN echo {time.time()} > /dependencies\nCOPY . /code\n"
    first = Workplace(tmp_path / "first", docker_host, registry, buildkit="always", cache_to=("type=inline",))
    first.write({"Dockerfile": slow, "train.py": "print(1)\n"})
    pushed = first.push(first.build(given=first.given(None)), first.given(None))
    engine.request("DELETE", f"/images/{pushed.name}", params={"force": True})
    engine.request("POST", "/build/prune", params={"all": True})

    imported = (f"type=registry,ref={pushed.name}",)
    second = Workplace(tmp_path / "second", docker_host, registry, buildkit="always", cache_from=imported)
    second.write({"Dockerfile": slow, "train.py": "print(2)\n"})
    built = second.build(given=second.given(None))

    assert not built.cached
    assert built.ref.name != pushed.name
    assert second.logged("CACHED"), second.context.lines


# -- pruning ---------------------------------------------------------------------------------------


def built_images(work: Workplace, count: int, megabytes: int = 1) -> list[str]:
    names = []
    for number in range(count):
        step = f"RUN echo {number} {time.time()}; dd if=/dev/urandom of=/noise bs=1M count={megabytes}"
        work.write({"Dockerfile": f"FROM {IMAGE}\n{step}\n"})
        names.append(work.build().ref.name)
    return names


def test_images_are_pruned_by_age_and_by_size(tmp_path: Path, docker_host: str, engine: Engine) -> None:
    """Ours, that no container uses; the longest unused first. Not others', not those that are in use."""
    work = Workplace(tmp_path, docker_host, None)
    old, busy, new = built_images(work, 3)
    made = engine.request("POST", "/containers/create", body={"Image": busy, "Cmd": ["true"]}).json()["Id"]

    def there() -> list[str]:
        tags = [tag for each in engine.get("/images/json") for tag in each["RepoTags"] or ()]
        return [name for name in (old, busy, new, IMAGE) if name in tags]

    def images(**prune: Any) -> Images:
        return Images(engine, work.site.owner, tmp_path / "state", Prune(**prune))

    try:
        sizes = [int(engine.get(f"/images/{name}/json")["Size"]) for name in (old, busy, new)]
        assert images(after_days=1.0).prune() == []
        assert len(images(keep_size=str(sum(sizes) - 1)).prune()) == 1
        assert there() == [busy, new, IMAGE]

        wait_until("the new one is old, too", lambda: images(after_days=1e-5).prune())
        assert there() == [busy, IMAGE]
    finally:
        engine.request("DELETE", f"/containers/{made}", params={"force": True})
    wait_until("that one is not used any more", lambda: images(after_days=1e-5).prune())
    assert there() == [IMAGE]
