"""The built-in sources pass the kit."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

from launchcore.builtin.archive.pack import pack
from launchcore.testing.conformance import Example, SourceConformance
from launchcore.testing.context import RecordingContext

FILES = {"train.py": b"print('hello')\n", "data/numbers.txt": b"1 2 3\n"}


def write(root: Path) -> Path:
    for name, content in FILES.items():
        path = root / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root / "tree"


class TestGit(SourceConformance):
    plugin = "launchcore.builtin.git.plugin"
    name = "git"

    def example(self, root: Path, context: RecordingContext) -> Example:
        tree = write(root)
        me = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        for command in (["init", "-q", "-b", "main"], ["add", "."], [*me, "commit", "-qm", "first"]):
            subprocess.run(["git", "-C", str(tree), *command], check=True)
        return Example(
            fields={"url": str(tree), "ref": "main"},
            files=FILES,
            missing={"url": str(root / "nowhere")},
        )


class TestArchive(SourceConformance):
    plugin = "launchcore.builtin.archive.plugin"
    name = "archive"

    def example(self, root: Path, context: RecordingContext) -> Example:
        packed = io.BytesIO()
        pack(write(root), packed)
        digest = context.add_archive(packed.getvalue())
        return Example(fields={"digest": digest}, files=FILES, missing={"digest": f"sha256:{'0' * 64}"})


class TestImage(SourceConformance):
    plugin = "launchcore.builtin.image.plugin"
    name = "image"
