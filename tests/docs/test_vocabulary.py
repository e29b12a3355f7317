"""One word per concept, and a core that has heard of no cloud."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT

SOURCE = ROOT / "src" / "launchcore"
MODULES = sorted(SOURCE.rglob("*.py"))

NOT_OURS = {"task", "backend", "project", "resource", "item"}
"""Each of these means something else in every system of this field; we have our own words."""

ALLOWED_NAMES = {
    ("plugin/hooks.py", "PROJECT"): "pluggy's own word",
}
"""(module, identifier) → why it may be there."""

CLOUD_WORDS = {
    *("aws", "amazon", "sagemaker", "ecr", "eks", "s3", "boto3", "botocore"),
    *("gcp", "gke", "gcs", "google", "azure", "aks", "acr"),
    *("docker", "dockerd", "podman", "kubernetes", "kubectl", "k8s", "kaniko", "slurm"),
}

ALLOWED_TABLES = {("host/catalog.py", "INSTALL_HINTS"): "which extra brings what"}
"""(module, constant) → why it may name them. Docstrings and comments may: they explain."""

PROTOCOL_WORDS = {"builtin/oci": {"docker", "ecr"}}
"""Folder → words of the protocol that it speaks: media types, docker.io, credential helpers."""

PLUGINS = ("launch_docker", "launch_k8s", "launch_kaniko")
"""Those that build and execute for every cloud, and so have heard of none."""

ACCOUNT_WORDS = {
    *("aws", "amazon", "amazonaws", "ecr", "eks", "ec2", "iam", "arn", "sts", "irsa"),
    *("boto", "boto3", "botocore", "cloudwatch", "sagemaker", "gcp", "gke", "gcr", "azure", "aks", "acr"),
}
"""Of clouds' accounts. Not ``s3``, ``gs`` and ``az``: by these an object store's URL says its protocol."""

ALLOWED_IN_PLUGINS: dict[tuple[str, str], str] = {
    (
        "launch_kaniko/src/launch_kaniko/store_places.py",
        "azure",
    ): "what people write for az://, and are told so",
}
"""(module below plugins/, word) → why it may be there."""


def words(identifier: str) -> set[str]:
    """``maxTaskItems`` and ``max_task_items`` → {max, task, item}: singular, lower case."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", identifier)
    return {part.lower().removesuffix("s") for part in parts}


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a module defines: not those that it only uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr, node.lineno


def assigned(node: ast.AST) -> str:
    """The name that a statement assigns to, if it is one that does."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return targets[0].id if isinstance(targets[0], ast.Name) else ""


def strings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every string of a module that is not a docstring."""
    explaining = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explaining:
            yield node.value, node.lineno


@pytest.mark.parametrize(
    ("identifier", "found"),
    [
        ("max_tasks", {"max", "task"}),
        ("BackendItem", {"backend", "item"}),
        ("HTTPResource", {"http", "resource"}),
        ("multitasking", {"multitasking"}),
    ],
)
def test_words_of_an_identifier(identifier: str, found: set[str]) -> None:
    assert words(identifier) == found


def test_other_systems_words_are_not_used_for_our_concepts() -> None:
    """A job, a queue, a run, a runner … have one name each."""
    bad = []
    for module in MODULES:
        where = str(module.relative_to(SOURCE))
        bad += [f"{where}: the module's own name" for part in words(module.stem) & NOT_OURS if part]
        for name, line in identifiers(ast.parse(module.read_text())):
            if words(name) & NOT_OURS and (where, name) not in ALLOWED_NAMES:
                bad.append(f"{where}:{line}: {name}")

    assert bad == []


def cloud_words(tree: ast.AST, forbidden: set[str]) -> Iterator[str]:
    """Where code names a cloud or an SDK."""
    for name, line in identifiers(tree):
        parts = {part.lower() for part in re.split(r"_|(?<=[a-z0-9])(?=[A-Z])", name)}
        yield from (f"{line}: {name}" for _ in parts & forbidden)
    for text, line in strings(tree):
        for word in set(re.findall(r"[a-z0-9]+", text.lower())) & forbidden:
            yield f"{line}: {word!r} in a string"


def test_core_names_no_cloud_and_no_sdk() -> None:
    """Outside the table of install hints, which says which extra offers what."""
    bad, needed = [], set()
    for module in MODULES:
        where = str(module.relative_to(SOURCE))
        for statement in ast.parse(module.read_text()).body:
            spoken = PROTOCOL_WORDS.get(str(Path(where).parent), set())
            found = list(cloud_words(statement, CLOUD_WORDS - spoken))
            if found and (where, assigned(statement)) in ALLOWED_TABLES:
                needed.add((where, assigned(statement)))
            else:
                bad += [f"{where}:{line}" for line in found]

    assert bad == []
    assert needed == set(ALLOWED_TABLES)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugins_that_serve_every_cloud_name_none(plugin: str) -> None:
    """What a cloud's builds and runs need comes as contributions, under names that only their giver knows."""
    root = ROOT / "plugins"
    bad, needed = [], set()
    for module in sorted((root / plugin / "src").rglob("*.py")):
        where = str(module.relative_to(root))
        found = list(cloud_words(ast.parse(module.read_text()), ACCOUNT_WORDS))
        for word in ACCOUNT_WORDS:
            lines = list(cloud_words(ast.parse(module.read_text()), {word})) if found else []
            if lines and (where, word) in ALLOWED_IN_PLUGINS:
                needed.add((where, word))
            else:
                bad += [f"{where}:{line}" for line in lines]

    assert bad == []
    assert needed == {one for one in ALLOWED_IN_PLUGINS if one[0].startswith(f"{plugin}/")}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("aws_region = 1", ["1: aws_region"]),
        ("x = 'AWS_REGION'", ["1: 'aws' in a string"]),
        ("def f(ecrLogin): ...", ["1: ecrLogin"]),
        ('"""An ECR."""\nlaws = ["s3://b", "mecrx"]  # aws', []),
    ],
)
def test_where_a_cloud_is_named(code: str, found: list[str]) -> None:
    assert list(cloud_words(ast.parse(code), ACCOUNT_WORDS)) == found


def test_allowed_names_are_still_there() -> None:
    """An exception that is no longer needed goes."""
    defined = {
        (str(module.relative_to(SOURCE)), name)
        for module in MODULES
        for name, _ in identifiers(ast.parse(module.read_text()))
    }

    assert set(ALLOWED_NAMES) <= defined
