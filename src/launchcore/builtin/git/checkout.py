"""From a commit in a bare repository to a plain tree of files, with its submodules.

The tree has no ``.git``: nothing in it can run by itself (hooks, filters, monitors), and nobody mistakes
it for a repository. Symbolic links that lead out of the tree are left out, with a note in the run's log,
since what works on the tree later (a patch, a builder) would follow them on the agent's machine.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

import attrs

from launchcore.builtin.git.address import Address, beside, check_allowed
from launchcore.builtin.git.command import Result
from launchcore.builtin.git.hosts import public_addresses
from launchcore.builtin.git.remote import Git
from launchcore.builtin.git.repositories import Repositories
from launchcore.builtin.git.variables import proxied
from launchcore.builtin.text import plain, shown, size
from launchcore.builtin.trees import TreeInfo, empty
from launchcore.plugin import LaunchError, Reason

_MAX_SUBMODULES = 100
_MAX_NESTING = 10
_MAX_LISTING_LINE = 1 << 16


class Damaged(Exception):
    """A repository of the cache cannot be read: it has to be fetched again."""


@attrs.frozen
class _Part:
    """One repository of the tree: the run's own, or a submodule."""

    address: Address
    commit: str
    tree: Path
    nesting: int


@attrs.define
class _Listing:
    """What a commit holds."""

    links: list[str] = attrs.field(factory=list)
    modules: list[tuple[str, str]] = attrs.field(factory=list)


class Checkout:
    """Fills one tree from a commit; counts over all its submodules."""

    def __init__(self, git: Git, repositories: Repositories, *, submodules: bool) -> None:
        self._git = git
        self._repositories = repositories
        self._submodules = submodules
        self._files = 0
        self._bytes = 0
        self._modules = 0
        self._notes: list[str] = []

    def fill(self, address: Address, commit: str, tree: Path) -> TreeInfo:
        """Check ``commit`` out into the empty directory ``tree``.

        :raises LaunchError: ``source_failed``: too large, unsafe, a submodule that cannot be had, …
        """
        self._fill(_Part(address, commit, tree, 0), top=address, root=tree)
        if _uses_lfs(tree):
            self._notes.append("git: files of Git LFS are not fetched: their pointers are in the tree")
        return TreeInfo(files=self._files, bytes=self._bytes, notes=tuple(self._notes))

    def _fill(self, part: _Part, *, top: Address, root: Path) -> None:
        listing, urls = self._write(part)
        self._notes += drop_links_out(root, [part.tree / link for link in listing.links])
        if not self._submodules:
            return
        for path, wanted in listing.modules:
            url, update = urls.get(path, (None, None))
            where = shown((part.tree / path).relative_to(root).as_posix())
            if url is None:
                self._notes.append(f"git: submodule {where} has no URL in .gitmodules: left empty")
                continue
            if update == "none":
                continue
            self._modules += 1
            if self._modules > _MAX_SUBMODULES or part.nesting >= _MAX_NESTING:
                raise _refused(f"too many submodules: more than {_MAX_SUBMODULES}, or {_MAX_NESTING} deep")
            module = self._admit(part.address, top, url, where)
            inside = _plain_directory(part.tree, path)
            self._git.watch.log(f"git: submodule {where}")
            self._fill(_Part(module, wanted, inside, part.nesting + 1), top=top, root=root)

    def _write(self, part: _Part) -> tuple[_Listing, dict[str, tuple[str | None, str | None]]]:
        """Write the files of one repository; once more from a fresh fetch if the cache is damaged."""
        before = (self._files, self._bytes)
        for last in (False, True):
            with self._repositories.holding(self._git, part.address, part.commit) as repository:
                try:
                    listing = self._list(repository, part.commit)
                    self._check_out(repository, part.commit, part.tree)
                    urls = self._module_urls(repository, part.commit) if listing.modules else {}
                    return listing, urls
                except Damaged as error:
                    if last:
                        where = f"the commit {part.commit[:12]} of {shown(part.address.url)}"
                        raise _refused(
                            f"{where} cannot be checked out: {error}",
                            "git fsck in that repository shows more",
                        ) from error
            self._git.watch.log("git: the cached repository is damaged: fetching it again")
            self._repositories.discard(self._git, repository)
            empty(part.tree)
            self._files, self._bytes = before
        raise AssertionError("unreachable")

    def _list(self, repository: Path, commit: str) -> _Listing:
        """Count what would be written, before anything is: a small repository can list endless files."""
        listing, rest = _Listing(), b""

        def consume(data: bytes) -> None:
            nonlocal rest
            *lines, rest = (rest + data).split(b"\0")
            if len(rest) > _MAX_LISTING_LINE:
                raise _refused("the repository has a file with an endless name")
            for line in lines:
                self._count(line, listing)

        arguments = ("ls-tree", "-r", "-l", "-z", "--full-tree", f"{commit}^{{tree}}")
        result = self._git.run(f"--git-dir={repository}", *arguments, consume=consume)
        _check(result)
        return listing

    def _count(self, line: bytes, listing: _Listing) -> None:
        head, _, name = line.partition(b"\t")
        mode, _, object_id, count = head.split()
        path = os.fsdecode(name)
        self._files += 1
        if mode == b"160000":
            listing.modules.append((path, object_id.decode()))
        elif mode == b"120000":
            listing.links.append(path)
        self._bytes += int(count) if count.isdigit() else 0
        settings = self._git.settings
        if self._files > settings.max_files or self._bytes > settings.max_bytes:
            raise _refused(
                f"the repository has more than {settings.max_files} files or {size(settings.max_bytes)}",
                "keep data and models out of it, or raise plugins.git.max_bytes (max_files) of the agent",
            )

    def _check_out(self, repository: Path, commit: str, tree: Path) -> None:
        index = tree.parent / f"index-{secrets.token_hex(6)}"
        extra = {"GIT_DIR": str(repository), "GIT_WORK_TREE": str(tree), "GIT_INDEX_FILE": str(index)}
        try:
            _check(self._git.run("read-tree", f"{commit}^{{tree}}", cwd=tree, extra=extra))
            _check(self._git.run("checkout-index", "--all", "--force", "--quiet", cwd=tree, extra=extra))
        finally:
            index.unlink(missing_ok=True)

    def _module_urls(self, repository: Path, commit: str) -> dict[str, tuple[str | None, str | None]]:
        """From .gitmodules: path → (URL, update). Nothing else in there is honoured."""
        result = self._git.run(
            *(f"--git-dir={repository}", "config", "-z", f"--blob={commit}:.gitmodules"),
            *("--get-regexp", r"^submodule\..*\.(path|url|update)$"),
        )
        sections: dict[str, dict[str, str]] = {}
        for entry in os.fsdecode(result.output).split("\0"):
            key, _, value = entry.partition("\n")
            section, _, name = key.rpartition(".")
            sections.setdefault(section, {})[name] = value
        return {
            values["path"]: (values.get("url"), values.get("update"))
            for values in sections.values()
            if "path" in values
        }

    def _admit(self, address: Address, top: Address, url: str, where: str) -> Address:
        """A submodule's address, if this agent may go there."""
        try:
            module = beside(address, url)
        except ValueError as error:
            raise _refused(f"submodule {where}: its URL {error}") from error
        check_allowed(module, self._git.settings.protocols, local=self._git.local)
        if self._git.local or module.host == top.host:
            return module
        return attrs.evolve(module, numbers=public_addresses(module, proxied=proxied()))


def drop_links_out(root: Path, links: list[Path]) -> list[str]:
    """Remove those links that lead out of ``root``, on whatever way; gives a note for each."""
    real, notes = root.resolve(), []
    for link in links:
        try:
            inside = Path(os.path.realpath(link)).is_relative_to(real)
        except OSError:
            inside = False
        if not inside:
            with contextlib.suppress(FileNotFoundError):
                link.unlink()
            name = shown(link.relative_to(root).as_posix())
            notes.append(f"git: link {name} leads out of the source and was left out")
    return notes


def all_links(root: Path) -> list[Path]:
    """Every symbolic link in a tree."""
    found = []
    for directory, directories, files in os.walk(root):
        places = [Path(directory, name) for name in (*directories, *files)]
        found += [path for path in places if path.is_symlink()]
    return found


def _plain_directory(tree: Path, path: str) -> Path:
    """The directory of a submodule, which git has made empty; nothing on the way may be a link."""
    at = tree
    for part in path.split("/"):
        at /= part
        if not at.is_symlink():
            at.mkdir(exist_ok=True)
        if not stat.S_ISDIR(at.lstat().st_mode):
            raise _refused(f"submodule {shown(path)} lies behind a link")
    return at


def _uses_lfs(tree: Path) -> bool:
    attributes = tree / ".gitattributes"
    if attributes.is_symlink() or not attributes.is_file():
        return False
    with attributes.open("rb") as stream:
        return b"filter=lfs" in stream.read(1 << 16)


def _check(result: Result) -> None:
    """:raises Damaged: a command on our own repository failed, and not for want of space."""
    if result.code == 0:
        return
    if "No space left" in result.errors or "quota" in result.errors:
        raise LaunchError("the disk is full", hint="free space for the agent's cache", retryable=True)
    for sign in ("invalid path", "not a tree object", "over limit"):
        if sign in result.errors:
            raise _refused(f"the commit cannot be used: {plain(result.errors.strip(), 200)}")
    raise Damaged(plain(result.errors.strip() or "git failed", 200))


def _refused(detail: str, hint: str | None = None) -> LaunchError:
    return LaunchError(detail, reason=Reason.SOURCE_FAILED, hint=hint)
