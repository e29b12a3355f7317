"""What goes to a build, its digest and its tar; and what .dockerignore keeps out."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from launchcore.plugin import ATTEMPT_LABEL, OWNER_LABEL, Cancelled, LaunchError
from launchcore.recipes.context import WHEN, Context, collect, digest, pack
from launchcore.recipes.ignore import read_ignore
from launchcore.recipes.tags import Ingredients, image_labels, image_name, tag


def nothing() -> None:
    """No cancel."""


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def names(context: Context) -> list[str]:
    return [entry.name for entry in context.entries]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(tmp_path, train="print()", data__a="1", data__b="22", _dot_git__config="x")
    (tmp_path / "run").write_text("#!/bin/sh")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("../../etc/passwd")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_context_has_all_but_the_history(tree: Path) -> None:
    assert names(collect(tree)) == ["data", "data/a", "data/b", "empty", "link", "run", "train"]
    assert ".git/config" in names(collect(tree, git=True))


def test_the_tar_is_what_was_there(tree: Path) -> None:
    packed = b"".join(pack(collect(tree), nothing))
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        members = {member.name: member for member in tar}
        assert tar.extractfile("data/b").read() == b"22"  # type: ignore[union-attr]
    assert members["link"].issym()
    assert members["link"].linkname == "../../etc/passwd"
    assert members["empty"].isdir()
    assert [members[name].mode for name in ("run", "train")] == [0o755, 0o644]
    assert {(member.mtime, member.uid, member.gid) for member in members.values()} == {(WHEN, 0, 0)}


def test_names_of_any_length_and_bytes_survive(tmp_path: Path) -> None:
    long = "/".join(["d" * 120] * 3)
    for name in (f"{long}/file", "größe", "b\udcff"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pack(collect(tmp_path), nothing)))) as tar:
        found = tar.getnames()
    assert {f"{long}/file", "größe", "b\udcff"} <= set(found)


def test_times_and_places_do_not_matter(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    import os
    import shutil

    other = tmp_path_factory.mktemp("other") / "copy"
    shutil.copytree(tree, other, symlinks=True)
    os.utime(other / "train", (1, 1))
    (other / "train").chmod(0o600)

    assert digest(collect(tree), nothing) == digest(collect(other), nothing)
    assert b"".join(pack(collect(tree), nothing)) == b"".join(pack(collect(other), nothing))


@pytest.mark.parametrize("change", ["content", "name", "mode", "link", "directory", "kind"])
def test_what_a_build_can_see_matters(tree: Path, change: str) -> None:
    before = digest(collect(tree), nothing)
    match change:
        case "content":
            (tree / "data" / "a").write_text("3")
        case "name":
            (tree / "data" / "a").rename(tree / "data" / "c")
        case "mode":
            (tree / "train").chmod(0o755)
        case "link":
            (tree / "link").unlink()
            (tree / "link").symlink_to("elsewhere")
        case "directory":
            (tree / "empty").rmdir()
        case _:
            (tree / "link").unlink()
            (tree / "link").write_text("../../etc/passwd")
    assert digest(collect(tree), nothing) != before


def test_two_trees_never_give_the_same_bytes(tmp_path: Path) -> None:
    """Where a name ends and a content begins is part of what is hashed."""
    first = write(tmp_path / "1", ab="c", d="")
    second = write(tmp_path / "2", a="bc", d="")
    third = write(tmp_path / "3", ab="", d="c")
    assert len({digest(collect(each), nothing) for each in (first, second, third)}) == 3


def test_files_that_are_ignored_do_not_matter(tree: Path) -> None:
    (tree / ".dockerignore").write_text("data\n")
    before = digest(collect(tree), nothing)
    (tree / "data" / "a").write_text("another")
    assert digest(collect(tree), nothing) == before


def test_kept_and_added_files_go_in_whatever_is_ignored(tree: Path) -> None:
    (tree / ".dockerignore").write_text("**\n")
    context = collect(tree, keep=("train",), added={".launchcore/Dockerfile": b"FROM x"})
    assert names(context) == [".launchcore/Dockerfile", "train"]


def test_a_tree_that_changes_meanwhile_is_an_error(tree: Path) -> None:
    context = collect(tree)
    (tree / "data" / "b").write_text("")
    with pytest.raises(LaunchError, match="changed"):
        list(pack(context, nothing))


def test_a_link_that_was_a_file_is_not_followed(tree: Path) -> None:
    context = collect(tree)
    (tree / "train").unlink()
    (tree / "train").symlink_to("/etc/passwd")
    with pytest.raises(LaunchError, match="changed"):
        list(pack(context, nothing))


def test_packing_obeys_a_cancel(tree: Path) -> None:
    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        list(pack(collect(tree), stop))


@pytest.mark.parametrize(
    ("rules", "path", "ignored"),
    [
        ("data", "data/x/y.csv", True),
        ("data/", "data/x", True),
        ("/data", "data/x", True),
        ("data", "other/data", False),
        ("**/data", "other/data/x", True),
        ("*.csv", "a.csv", True),
        ("*.csv", "deep/a.csv", False),
        ("**/*.csv", "deep/er/a.csv", True),
        ("**/*.csv", "a.csv", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a[0-9]", "a7", True),
        ("a[^0-9]", "a7", False),
        ("a\\*", "a*", True),
        ("a\\*", "ab", False),
        ("# comment\n\n  x  ", "x", True),
        ("data\n!data/keep", "data/keep", False),
        ("data\n!data/keep", "data/drop", True),
        ("!data/keep\ndata", "data/keep", True),
        ("*\n!src\nsrc/secret", "src/secret", True),
        ("*\n!src", "src/a", False),
        ("docs/**", "docs/a/b", True),
        ("./a/../b", "b", True),
        ("../x", "x", False),
        (".", "x", False),
        ("[", "[", True),
        ("a[z-a]", "az", False),
        ("\ufeffx", "x", True),
    ],
)
def test_dockerignore(rules: str, path: str, ignored: bool) -> None:
    assert read_ignore(rules).ignored(path) is ignored


def test_a_file_taken_back_is_found_below_an_ignored_directory(tmp_path: Path) -> None:
    write(tmp_path, data__keep__x="1", data__drop="2", _dot_dockerignore="data\n!data/keep\n")
    assert names(collect(tmp_path)) == [".dockerignore", "data/keep", "data/keep/x"]


# -- tags ------------------------------------------------------------------------------------------

BASE = Ingredients(context="c", dockerfile="Dockerfile")


@pytest.mark.parametrize(
    "other",
    [
        {"context": "d"},
        {"dockerfile": "other"},
        {"build_args": {"A": "1"}},
        {"bases": {"python": "sha256:1"}},
        {"platform": "linux/arm64"},
        {"target": "train"},
        {"labels": {"a": "b"}},
    ],
)
def test_every_ingredient_matters(other: dict[str, object]) -> None:
    changed = Ingredients(**{"context": "c", "dockerfile": "Dockerfile", **other})  # type: ignore[arg-type]
    assert tag(changed) != tag(BASE)


def test_the_order_of_arguments_does_not_matter() -> None:
    first = Ingredients(context="c", dockerfile="d", build_args={"A": "1", "B": "2"})
    second = Ingredients(context="c", dockerfile="d", build_args={"B": "2", "A": "1"})
    assert tag(first) == tag(second)


def test_the_repository_is_only_the_repository() -> None:
    names = [image_name(each, BASE) for each in ("ghcr.io/a/b", "10.0.0.1:5000/c", None)]
    assert {name.rpartition(":")[2] for name in names} == {tag(BASE)}
    assert names[2].startswith("localhost/launch:")


def test_an_image_does_not_look_like_a_container_of_ours() -> None:
    labels = image_labels({OWNER_LABEL: "me", ATTEMPT_LABEL: "r-1", "other": "x"})
    assert labels == {"launchcore.image.owner": "me", "launchcore.image.attempt": "r-1", "other": "x"}


def test_packed_below_a_directory(tmp_path: Path) -> None:
    """For who unpacks it where something else is."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("x")
    packed = b"".join(pack(collect(tmp_path), lambda: None, under="context"))
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert tar.getnames() == ["context", "context/folder", "context/folder/a"]
