"""The registry `oci` and a real registry: with a login, with TLS, gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from launch_docker.testing.fixtures import IMAGE
from launch_docker.testing.registry import PASSWORD, USER, RegistryMachine
from launch_docker.testing.workplace import Workplace, running_registry

from launchcore.builtin.oci.registry import OciRegistry
from launchcore.builtin.oci.settings import OciSettings
from launchcore.plugin import ImageRef, LaunchError, Reason

pytestmark = [pytest.mark.live]


@pytest.fixture(scope="module", params=[False, True], ids=["http", "tls"])
def registry(request: pytest.FixtureRequest) -> Iterator[RegistryMachine]:
    with running_registry(tls=request.param) as machine:
        yield machine


@pytest.fixture
def settings(registry: RegistryMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OciSettings:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return OciSettings(
        repository=f"{registry.host}/team/deeply/nested/train",
        username=USER,
        password_file=str(tmp_path / "password"),
        ca_file=str(registry.ca) if registry.tls else None,
        retries=0,
    )


@pytest.fixture
def pushed(docker_host: str, registry: RegistryMachine, tmp_path: Path) -> ImageRef:
    """An image that the builder has pushed."""
    work = Workplace(tmp_path, docker_host, registry)
    work.write({"Dockerfile": f"FROM {IMAGE}\nRUN echo of this test > /x\n"})
    image = work.build()
    return image.ref if image.pushed else work.push(image)


def test_the_digest_is_that_of_the_push(settings: OciSettings, pushed: ImageRef) -> None:
    registry = OciRegistry(settings)
    assert pushed.digest is not None
    assert registry.digest(attrs.evolve(pushed, digest=None)) == pushed.digest
    assert registry.digest(pushed) == pushed.digest


def test_what_is_not_there_is_none(settings: OciSettings) -> None:
    registry = OciRegistry(settings)
    assert registry.digest(ImageRef(name=f"{settings.repository}:nothing")) is None
    assert registry.digest(ImageRef(name=f"{settings.repository}-never/heard/of:1")) is None


def test_a_wrong_password_is_refused(settings: OciSettings, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("not-the-password")
    with pytest.raises(LaunchError) as caught:
        OciRegistry(settings).digest(ImageRef(name=f"{settings.repository}:1"))
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert "not-the-password" not in f"{caught.value.detail} {caught.value.hint}"


def test_a_certificate_that_nobody_knows_is_not_trusted(
    settings: OciSettings, registry: RegistryMachine
) -> None:
    unknown = OciRegistry(attrs.evolve(settings, ca_file=None))
    ref = ImageRef(name=f"{settings.repository}:nothing")
    if not registry.tls:
        assert unknown.digest(ref) is None
        return
    with pytest.raises(LaunchError) as caught:
        unknown.digest(ref)
    assert "not trusted" in caught.value.detail
