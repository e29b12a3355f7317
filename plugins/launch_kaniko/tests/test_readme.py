"""What the README promises: its keys, its examples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from launch_kaniko.manifest import manifests
from launch_kaniko.settings import BuilderSettings, stores
from launch_kaniko.store_options import StoreOptions
from launch_kaniko.testing.orders import make_order

from launchcore.host.settings import SettingsError, structure
from launchcore.recipes.settings import RecipeSettings

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n# launch-config.yaml\n(.*?)```", README, re.DOTALL)
SHARED = {field.name for field in attrs.fields(RecipeSettings)}
OWN = [field for field in attrs.fields(BuilderSettings) if field.name not in SHARED]


@pytest.mark.parametrize("field", [*OWN, *attrs.fields(StoreOptions)], ids=lambda field: str(field.name))
def test_every_key_is_in_the_readme_with_its_meaning(field: Any) -> None:
    key = field.name.replace("_", "-")
    row = re.search(rf"^\| `{re.escape(key)}` \| (.*?) \| (.*) \|$", README, re.MULTILINE)
    assert row is not None, key
    assert row[2] == field.metadata["help"]
    if isinstance(field.default, str | int | float) and not isinstance(field.default, bool):
        assert row[1] == f"`{field.default}`"


def test_no_other_key_is_in_the_readme() -> None:
    known = {field.name.replace("_", "-") for field in (*OWN, *attrs.fields(StoreOptions))}
    table = README.split("## Every key")[1]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == known


@pytest.mark.parametrize("number", range(2))
def test_the_examples_can_be(number: int) -> None:
    block = yaml.safe_load(EXAMPLES[number])["builder"]
    settings = structure(BuilderSettings, block, path="builder", ignore=("type",))
    job, _ = manifests(make_order(attrs.asdict(settings, recurse=False)))
    assert job["kind"] == "Job"
    assert len(EXAMPLES) == 2


def test_kebab_and_snake_are_the_same() -> None:
    for key in ("build-context-store", "build_context_store"):
        assert (
            structure(BuilderSettings, {key: "s3://bucket/p"}, path="builder").build_context_store
            == "s3://bucket/p"
        )


def test_the_stores_that_the_environment_is_asked_for() -> None:
    assert stores(BuilderSettings(build_context_store="s3://bucket/p/")) == ("s3://bucket/p",)
    assert stores(BuilderSettings(build_context_store="pvc://claim")) == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("build-context-store", "ftp://x"),
        ("build-context-store", "s3://user:pass@bucket"),
        ("image", "--privileged"),
        ("image", "a b"),
        ("namespace", "No"),
        ("destinations", ["-x"]),
        ("cache-repository", "--no-push"),
        ("insecure-registries", ["http://x"]),
        ("registry-certificates", {"x y": "/f"}),
        ("feature-flags", {"PATH": True}),
        ("cache-ttl", "two weeks"),
        ("snapshot-mode", "fast"),
        ("deadline-seconds", 0),
        ("push-retries", -1),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_name(key: str, value: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        structure(BuilderSettings, {"build-context-store": "s3://bucket", key: value}, path="builder")
    assert key.replace("-", "_") in caught.value.detail.replace("-", "_")
    assert "pass" not in caught.value.detail


def test_the_store_is_required() -> None:
    with pytest.raises(SettingsError, match=r"build.context.store"):
        structure(BuilderSettings, {}, path="builder")
