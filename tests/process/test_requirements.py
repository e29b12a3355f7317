"""Requirements files: what they include, and what they may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from launchcore.builtin.process.requirements import flatten
from launchcore.plugin import LaunchError, Reason
from launchcore.recipes.requirements import logical_lines


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_lines() -> None:
    text = "a==1  # why\n# comment\n\nb==2 \\\n    --hash=sha256:ff\nurl @ https://x/y#sha256=1\n"

    assert list(logical_lines(text)) == [
        "a==1",
        "b==2      --hash=sha256:ff",
        "url @ https://x/y#sha256=1",
    ]


def test_includes_and_constraints(tmp_path: Path) -> None:
    tree = write(
        tmp_path,
        {
            "requirements.txt": "-r reqs/base.txt\n--requirement=reqs/more.txt\n-creqs/limits.txt\n"
            "--index-url https://i\nc\n",
            "reqs/base.txt": "a\n-r deeper.txt\n",
            "reqs/deeper.txt": "b\n",
            "reqs/more.txt": "m\n",
            "reqs/limits.txt": "a<2\n-r more-limits.txt\n",
            "reqs/more-limits.txt": "b<3\n",
        },
    )
    flat = flatten(tree, tree / "requirements.txt")

    assert flat.lines == ["a", "b", "m", "--index-url https://i", "c"]
    assert flat.constraints == ["a<2", "b<3"]
    assert {file.name for file in flat.files} == {
        *("requirements.txt", "base.txt", "deeper.txt", "more.txt", "limits.txt", "more-limits.txt")
    }


def test_local_packages_and_archives(tmp_path: Path) -> None:
    tree = write(
        tmp_path,
        {
            "requirements.txt": "-e .\n./libs/foo[x,y]\nbar @ file:libs/bar\n-e git+https://h/r.git#egg=r\n"
            "wheels/w-1-py3-none-any.whl ; python_version > '3'\nlocal.tar.gz\n"
            "--find-links wheels\nplain[extra]>=1\n",
            "libs/foo/pyproject.toml": "",
            "libs/bar/setup.py": "",
            "wheels/w-1-py3-none-any.whl": "",
            "local.tar.gz": "",
        },
    )
    flat = flatten(tree, tree / "requirements.txt")

    assert flat.packages == {tree: (), tree / "libs/foo": ("x", "y"), tree / "libs/bar": ()}
    assert flat.lines == [
        "git+https://h/r.git#egg=r",
        f"{tree}/wheels/w-1-py3-none-any.whl ; python_version > '3'",
        f"{tree}/local.tar.gz",
        f"--find-links {tree}/wheels",
        "plain[extra]>=1",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "-r ../outside.txt",
        "-r /etc/passwd",
        "-c ../outside.txt",
        "-r link.txt",
        "-e ..",
        "/etc",
        "../outside.txt",
        "x @ file:///etc/passwd",
        "--find-links /etc",
        "-r missing.txt",
        "-r requirements.txt",
    ],
)
def test_nothing_outside_of_the_tree(tmp_path: Path, line: str) -> None:
    """A run may not make the agent read its other files: uv's errors would show them."""
    (tmp_path / "outside.txt").write_text("secret")
    tree = write(tmp_path / "tree", {"requirements.txt": line + "\n"})
    (tree / "link.txt").symlink_to("../outside.txt")
    with pytest.raises(LaunchError) as caught:
        flatten(tree, tree / "requirements.txt")

    assert caught.value.reason is Reason.BUILD_FAILED
    assert "secret" not in caught.value.detail


def test_a_file_without_end(tmp_path: Path) -> None:
    tree = write(tmp_path, {"requirements.txt": "x" * (5 << 20)})
    with pytest.raises(LaunchError, match="too large"):
        flatten(tree, tree / "requirements.txt")
