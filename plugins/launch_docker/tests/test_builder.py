"""What the builder decides before it asks an engine for anything: there is none behind these tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from launch_docker.build_settings import BuilderSettings
from launch_docker.builder import DockerBuilder

from launchcore.plugin import (
    BuildPlan,
    BuiltImage,
    Destination,
    Given,
    ImageRef,
    LaunchError,
    Reason,
    SourceRef,
    SourceTree,
)
from launchcore.testing.context import RecordingContext
from launchcore.testing.sites import make_site

DIGEST = f"sha256:{'7' * 64}"


@attrs.define
class Shelf:
    """A registry that has every image, and remembers which it was asked for."""

    asked: list[str] = attrs.field(factory=list)

    def resolve(self, repository: str) -> str:
        return repository

    def ensure(self, ref: ImageRef) -> None: ...

    def digest(self, ref: ImageRef) -> str | None:
        self.asked.append(ref.name)
        return DIGEST

    def logins(self, repository: str) -> Sequence[Any]:
        return ()


@attrs.define
class Desk:
    root: Path
    shelf: Shelf = attrs.field(factory=Shelf)

    def tree(self, name: str, files: Mapping[str, str]) -> Path:
        for path, text in files.items():
            file = self.root / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return self.root / name

    def build(self, tree: Path, **plan: Any) -> BuiltImage:
        settings = BuilderSettings(host=f"unix://{self.root}/nobody.sock", pin_base=False)
        builder = DockerBuilder(settings, make_site(self.root / "site"))
        context = RecordingContext()
        context.registry = self.shelf
        asked = BuildPlan(
            run_id="r1",
            attempt_id="r1-1",
            queue="q",
            tree=SourceTree(path=tree, identity="x", pinned=SourceRef(type="archive")),
            destination=Destination(registry="oci", repository="registry.example/team/train"),
            settings=settings,
            **plan,
        )
        try:
            return builder.build(asked, Given(), context)
        finally:
            builder.engine.close()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


CODE = {"train.py": "print(1)\n", "requirements.txt": "attrs==24.2.0\n"}


def test_what_the_core_finds_in_the_registry_is_not_asked_of_an_engine(desk: Desk) -> None:
    found = desk.build(desk.tree("one", CODE))

    assert (found.cached, found.pushed, found.ref.digest) == (True, True, DIGEST)
    assert desk.shelf.asked == [found.ref.name]


@pytest.mark.parametrize("extra", [{}, {"Dockerfile": "FROM scratch\nCOPY . .\n"}])
def test_a_run_names_the_part_of_the_source_that_is_built(desk: Desk, extra: dict[str, str]) -> None:
    """It is the image of that part, whatever lies beside it."""
    alone = desk.build(desk.tree("alone", {**CODE, **extra}))
    part = {f"services/train/{path}": text for path, text in {**CODE, **extra}.items()}
    within = desk.build(
        desk.tree("many", {**part, "services/other/x.py": "", "Dockerfile": "FROM other\n"}),
        build_context="services/train",
    )

    assert within.ref.name == alone.ref.name


def test_a_dockerfile_is_named_by_its_path_in_the_source(desk: Desk) -> None:
    """Also when it lies outside of what is built."""
    files = {"docker/train.Dockerfile": "FROM scratch\nCOPY . .\n", "services/train/train.py": ""}
    tree = desk.tree("one", files)
    first = desk.build(tree, build_context="services/train", dockerfile="docker/train.Dockerfile")
    (tree / "README.md").write_text("not in the build context")
    second = desk.build(tree, build_context="services/train", dockerfile="docker/train.Dockerfile")

    assert first.ref.name == second.ref.name


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("services/none", "does not have"),
        ("../..", "outside of the source"),
        ("link", "outside of the source"),
        ("train.py", "is not a directory"),
    ],
)
def test_build_contexts_that_cannot_be(desk: Desk, said: str, why: str) -> None:
    tree = desk.tree("one", CODE)
    (tree / "link").symlink_to("/etc")
    with pytest.raises(LaunchError, match=why) as caught:
        desk.build(tree, build_context=said)
    assert caught.value.reason is Reason.BUILD_FAILED
