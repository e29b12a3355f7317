"""The submitter's own checkout: where it comes from, and what of it is not committed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import attrs

from launchcore.builtin.git.address import parse
from launchcore.builtin.git.command import Result, Watch, run_git
from launchcore.builtin.git.diagnosis import explain, masked
from launchcore.builtin.git.variables import own_checkout
from launchcore.builtin.text import plain, shown
from launchcore.plugin import LaunchError, Reason

_TIMEOUT_SECONDS = 120.0


@attrs.frozen(kw_only=True)
class Checkout:
    """A user's checkout.

    ``url`` is the remote's, without credentials, or ``None``: it has no remote. ``branch`` is ``None``
    on a detached HEAD. ``dirty``: there are changes that are not committed, untracked files included.
    ``unpushed``: how many commits no remote branch has, as far as this checkout knows. ``subdir`` is
    the path that was asked about, inside ``root``.
    """

    root: Path
    subdir: str | None
    url: str | None
    commit: str
    branch: str | None
    dirty: bool
    unpushed: int


def describe_checkout(path: Path) -> Checkout:
    """Describe the checkout that ``path`` (a directory) is in.

    :raises LaunchError: ``user_error``: not in a checkout, or one without a commit.
    """
    root = _root(path)
    commit = _head(root)
    branch = _ask(root, "symbolic-ref", "--quiet", "--short", "HEAD") or None
    status = _must(root, "status", "--porcelain", "-z", "--untracked-files=normal")
    count = _must(root, "rev-list", "--count", "HEAD", "--not", "--remotes").output
    inside = path.resolve().relative_to(root).as_posix()
    return Checkout(
        root=root,
        subdir=None if inside == "." else inside,
        url=_url(root, branch),
        commit=commit,
        branch=branch,
        dirty=bool(status.output),
        unpushed=int(count),
    )


def make_patch(path: Path) -> bytes:
    """What of the checkout is not committed, against HEAD: changed, new and deleted files, binary ones too.

    Ignored files are not in it. Empty when there are no changes. Nothing in the checkout is touched: the
    index is a copy, and new objects go to a directory that is removed.

    :raises LaunchError: ``user_error``: not in a checkout, or changes in a submodule, which a patch
        cannot carry.
    """
    root = _root(path)
    _head(root)
    index, objects = (
        root / _must(root, "rev-parse", "--git-path", name).output.decode().strip("\n")
        for name in ("index", "objects")
    )
    with tempfile.TemporaryDirectory(prefix="launchcore-patch-") as directory:
        extra = {
            "GIT_INDEX_FILE": f"{directory}/index",
            "GIT_OBJECT_DIRECTORY": f"{directory}/objects",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(objects),
        }
        Path(extra["GIT_OBJECT_DIRECTORY"]).mkdir()
        if index.exists():
            shutil.copyfile(index, extra["GIT_INDEX_FILE"])
        _must(root, "add", "--all", extra=extra)
        _check_submodules(_must(root, "diff", "--cached", "--raw", "-z", "--no-renames", "HEAD", extra=extra))
        dirty = _must(root, "diff", "--raw", "-z", "--ignore-submodules=none", extra=extra)
        _check_submodules(dirty)
        return _must(
            root,
            *("diff", "--cached", "--binary", "--full-index", "--no-renames", "--no-color"),
            *("--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/", "HEAD"),
            extra=extra,
        ).output


def _check_submodules(result: Result) -> None:
    entries = result.output.split(b"\0")
    for head, name in zip(entries[::2], entries[1::2], strict=False):
        if b"160000" in head.split()[:2] or head.startswith(b":160000"):
            raise LaunchError(
                f"the submodule {shown(name)} has changes, or is a repository of its own",
                reason=Reason.USER_ERROR,
                hint="commit and push it, and commit the new state of the submodule; or ignore it",
            )


def _root(path: Path) -> Path:
    if not path.is_dir():
        raise LaunchError(
            f"{shown(str(path))} is not a directory",
            reason=Reason.USER_ERROR,
            hint="give a directory in a git checkout",
        )
    result = _run(path, "rev-parse", "--show-toplevel")
    if result.code != 0:
        if "dubious ownership" in result.errors:
            raise explain(result.errors, doing="cannot read", url=str(path))
        raise LaunchError(
            f"{shown(str(path))} is not in a git checkout",
            reason=Reason.USER_ERROR,
            hint="submit the directory itself, or make it a repository (git init, git add, git commit)",
        )
    return Path(os.fsdecode(result.output.removesuffix(b"\n")))


def _head(root: Path) -> str:
    commit = _ask(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if not commit:
        raise LaunchError(
            f"the repository {shown(str(root))} has no commit yet",
            reason=Reason.USER_ERROR,
            hint="commit something, or submit the directory itself",
        )
    return commit


def _url(root: Path, branch: str | None) -> str | None:
    """The remote that the branch follows, else ``origin``, else the only one there is."""
    remotes = _ask(root, "remote").split()
    followed = _ask(root, "config", f"branch.{branch}.remote") if branch else ""
    wanted = [name for name in (followed, "origin") if name in remotes] or remotes
    if not wanted or (len(wanted) > 1 and wanted is remotes):
        return None
    text = _ask(root, "remote", "get-url", "--", wanted[0])
    if text.startswith((".", "~")) or ("/" in text and "://" not in text and ":" not in text):
        return str((root / Path(text).expanduser()).resolve())
    try:
        return parse(text).url
    except ValueError:
        return masked(plain(text))


def _ask(root: Path, *arguments: str) -> str:
    """A command's output without the last line end; empty when it failed."""
    return os.fsdecode(_run(root, *arguments).output).removesuffix("\n")


def _must(root: Path, *arguments: str, extra: Mapping[str, str] | None = None) -> Result:
    result = _run(root, *arguments, extra=extra)
    if result.code != 0:
        said = plain(result.errors.strip().partition("\n")[0], 200)
        raise LaunchError(
            f"git {arguments[0]} failed in {shown(str(root))}: {said}",
            reason=Reason.USER_ERROR,
            hint="see what `git status` says there",
        )
    return result


def _run(root: Path, *arguments: str, extra: Mapping[str, str] | None = None) -> Result:
    watch = Watch(deadline=time.monotonic() + _TIMEOUT_SECONDS)
    return run_git(arguments, env={**own_checkout(), **(extra or {})}, watch=watch, cwd=root)


def _quoted(path: Path) -> str:
    """For a list that git splits at colons: in quotes, as git quotes C strings."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
