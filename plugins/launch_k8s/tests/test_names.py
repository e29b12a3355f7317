"""Names, labels and the small pure modules: their examples."""

from __future__ import annotations

import doctest

import pytest
from launch_k8s import (
    diagnosis_words,
    manifest_objects,
    manifest_pod,
    manifest_secrets,
    names,
    quantity,
    times,
)


@pytest.mark.parametrize(
    "module", [diagnosis_words, manifest_objects, manifest_pod, manifest_secrets, names, quantity, times]
)
def test_examples(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize(
    "key", ["launchcore.io/x", "a.launchcore.io/x", "launchcore.owner", names.MANAGED_BY]
)
def test_whose_labels_are_whose(key: str) -> None:
    assert names.reserved(key)
    assert not names.reserved("example.org/x")
    assert not names.reserved("notlaunchcore.io/x")


@pytest.mark.parametrize(
    "key", ["", "/", "a/", "/a", "a/b/c", "A_B/c", "a b", "-a", "x" * 64, f"{'a' * 254}/b"]
)
def test_keys_that_no_label_can_have(key: str) -> None:
    assert names.label_key_problem(key)


@pytest.mark.parametrize("key", ["a", "a.b/c", "x" * 63, "A_b.c-1", "app.kubernetes.io/name"])
def test_keys_that_labels_can_have(key: str) -> None:
    assert names.label_key_problem(key) is None
