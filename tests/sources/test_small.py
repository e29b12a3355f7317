"""The source image, the builder none, registry and environment local; and that they are all light."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pluggy
import pytest

from launchcore.builtin import BUILTIN
from launchcore.builtin.image.fields import ImageFields
from launchcore.builtin.image.reference import Reference, parse
from launchcore.plugin import (
    PROJECT,
    BuildPlan,
    Fault,
    Given,
    ImageRef,
    NoSettings,
    Reason,
    Site,
    SourceRef,
    SourceTree,
    hooks,
)
from tests.sources.support import Stage, plan, refused

OURS = [f"launchcore.builtin.{name}.plugin" for name in ("git", "archive", "image", "none", "local")]
SITE = Site(state=Path("/s"), cache=Path("/c"), owner="agent-1", host="box")
DIGEST = "sha256:" + "0123456789abcdef" * 4


def manager() -> pluggy.PluginManager:
    made = pluggy.PluginManager(PROJECT)
    made.add_hookspecs(hooks)
    for name in OURS:
        made.register(importlib.import_module(name))
    made.check_pending()
    return made


def test_all_are_listed() -> None:
    assert set(OURS) < set(BUILTIN)


def test_what_they_register() -> None:
    hook = manager().hook
    assert {spec.name for found in hook.launch_register_sources() for spec in found} == {
        "git",
        "archive",
        "image",
    }
    (builder,) = [spec for found in hook.launch_register_builders() for spec in found]
    assert (builder.name, builder.aliases, builder.builds) == ("none", ("noop",), False)
    (registry,) = [spec for found in hook.launch_register_registries() for spec in found]
    assert (registry.name, registry.remote) == ("local", False)
    (environment,) = [spec for found in hook.launch_register_environments() for spec in found]
    assert environment.name == "local"
    assert [check.name for found in hook.launch_checks() for check in found] == ["git"]


def test_registering_imports_nothing_heavy() -> None:
    """Only the contract and the classes of settings and fields."""
    code = (
        "import sys, importlib\n"
        f"for name in {OURS}: importlib.import_module(name)\n"
        "bad = {'tarfile', 'subprocess', 'socket', 'sqlalchemy', 'requests', 'rich', 'msgspec'}\n"
        "print(sorted(bad & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("python", Reference(host=None, path="python")),
        ("python:3.12-slim", Reference(host=None, path="python", tag="3.12-slim")),
        ("team/train", Reference(host=None, path="team/train")),
        ("ghcr.io/acme/a/b/train:1.2", Reference(host="ghcr.io", path="acme/a/b/train", tag="1.2")),
        ("localhost/x", Reference(host="localhost", path="x")),
        ("localhost:5000/x:y", Reference(host="localhost:5000", path="x", tag="y")),
        ("registry:5000/x", Reference(host="registry:5000", path="x")),
        ("[::1]:5000/x", Reference(host="[::1]:5000", path="x")),
        (f"a@{DIGEST}", Reference(host=None, path="a", digest=DIGEST)),
        (f"h.io/a:t@{DIGEST}", Reference(host="h.io", path="a", tag="t", digest=DIGEST)),
        ("a__b/c-d/e.f/g---h", Reference(host=None, path="a__b/c-d/e.f/g---h")),
        ("Host/x", Reference(host="Host", path="x")),
    ],
)
def test_image_references(text: str, parts: Reference) -> None:
    assert parse(text) == parts
    assert str(parse(text)) == text
    assert ImageFields(image=text).image == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "name of an image"),
        (None, "name of an image"),
        ("Python", "perhaps 'python'"),
        ("a b", "not a part"),
        ("-x", "not a part"),
        ("--privileged", "not a part"),
        ("a:", "tag"),
        ("a:t:u", "not a part"),
        ("a//b", "not a part"),
        ("/a", "not a part"),
        ("a/", "not a part"),
        ("../a", "not the name of a registry"),
        ("https://ghcr.io/a", "registry"),
        ("a@sha256:12", "digest"),
        ("a@", "digest"),
        (f"a@{DIGEST}@{DIGEST}", "digest"),
        ("a\n", "not a part"),
        ("ünï", "not a part"),
        ("$(id)", "not a part"),
        ("a:" + "t" * 129, "tag"),
        ("a/" * 200 + "a", "longer than 255"),
        ("h.io:x/a", "registry"),
    ],
)
def test_what_is_no_image(text: object, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse(text)
    assert str(caught.value).isprintable()
    with pytest.raises(ValueError, match="'image' must be"):
        ImageFields(image=text)  # type: ignore[arg-type]


def test_an_image_has_nothing_to_fetch(tmp_path: Path) -> None:
    (spec,) = importlib.import_module("launchcore.builtin.image.plugin").launch_register_sources()
    assert not spec.fetches
    with refused("no source tree", fault=Fault.CORE):
        spec.create(NoSettings(), SITE).fetch(plan("image", tmp_path, image="a"), tmp_path, Stage())


def test_the_builder_none_says_what_to_do(tmp_path: Path) -> None:
    (spec,) = importlib.import_module("launchcore.builtin.none.plugin").launch_register_builders()
    builder = spec.create(NoSettings(), SITE)
    reference = SourceRef(type="git")
    asked = BuildPlan(
        run_id="r",
        attempt_id="r-1",
        queue="q",
        tree=SourceTree(path=tmp_path, identity="x", pinned=reference),
        destination=None,
        settings=NoSettings(),
    )
    with refused("needs an image", "--image", "type 'process'", reason=Reason.BUILD_FAILED):
        builder.build(asked, Given(), Stage())
    builder.cleanup("r-1")


def test_local() -> None:
    plugin = importlib.import_module("launchcore.builtin.local.plugin")
    (spec,) = plugin.launch_register_registries()
    registry = spec.create(NoSettings(), SITE)
    registry.ensure(ImageRef(name="a"))
    assert registry.digest(ImageRef(name="a")) is None
    (spec,) = plugin.launch_register_environments()
    said = spec.create(NoSettings(), SITE).verify()
    assert said.startswith("local: ")
    assert said.endswith(" on box")
