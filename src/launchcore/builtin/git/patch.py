"""Applies a patch of local changes to a fetched tree."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import IO

from launchcore.builtin.git.checkout import all_links, drop_links_out
from launchcore.builtin.git.remote import Git
from launchcore.builtin.text import plain, size
from launchcore.plugin import Fault, LaunchError, Reason, StageContext

MAX_PATCH_BYTES = 256 << 20


def apply_patch(git: Git, digest: str, tree: Path, scratch: Path, context: StageContext) -> list[str]:
    """Apply the uploaded patch ``digest`` to ``tree``; gives notes for the log.

    ``git apply`` itself refuses paths that lead out of the tree, through links, or into a ``.git``.

    :raises LaunchError: ``source_failed``: it does not apply, is unsafe, damaged or too large.
    """
    with tempfile.TemporaryFile(dir=scratch) as file:
        with context.open_archive(digest) as stream:
            _spool(stream, file, digest, context)
        file.seek(0)
        result = git.run(
            *("apply", "--whitespace=nowarn", "-"),
            cwd=tree,
            stdin=file,
            # Without this, git would look for a repository around the tree, and apply nothing at all.
            extra={"GIT_CEILING_DIRECTORIES": str(tree.resolve().parent), "GIT_ALLOC_LIMIT": "1g"},
        )
    if result.code != 0:
        said = plain(result.errors.strip().partition("\n")[0].removeprefix("error: "), 200)
        raise LaunchError(
            f"the patch of local changes does not apply: {said}",
            reason=Reason.SOURCE_FAILED,
            hint="make it again against the commit that the run names",
        )
    return drop_links_out(tree, all_links(tree))


def _spool(stream: IO[bytes], file: IO[bytes], digest: str, context: StageContext) -> None:
    sha256, total = hashlib.sha256(), 0
    while data := stream.read(1 << 20):
        context.check()
        total += len(data)
        if total > MAX_PATCH_BYTES:
            raise LaunchError(
                f"the patch is larger than {size(MAX_PATCH_BYTES)}",
                reason=Reason.SOURCE_FAILED,
                hint="commit and push the changes",
            )
        sha256.update(data)
        file.write(data)
    if f"sha256:{sha256.hexdigest()}" != digest:
        raise LaunchError(
            f"the stored patch {digest[:19]}… is not what was uploaded: its SHA-256 differs",
            reason=Reason.SOURCE_FAILED,
            fault=Fault.INFRASTRUCTURE,
            hint="submit again, and look at the disk of the queue's store",
            retryable=True,
        )
