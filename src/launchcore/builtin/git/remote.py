"""What a remote repository has: branches, tags, and the commit that a ref stands for."""

from __future__ import annotations

import difflib
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import attrs

from launchcore.builtin.git.address import Address, check_allowed, read_address
from launchcore.builtin.git.command import Result, Watch, run_git
from launchcore.builtin.git.diagnosis import explain
from launchcore.builtin.git.settings import GitSettings, check_ref, is_commit
from launchcore.builtin.git.variables import scrubbed, token_for
from launchcore.builtin.text import shown
from launchcore.plugin import LaunchError, Reason, Secret, StageContext

_SHORT = re.compile(r"[0-9a-f]{4,63}")


@attrs.frozen(kw_only=True)
class Resolved:
    """A ref and the commit that it stands for now. ``ref`` is ``None`` when a commit was asked for."""

    commit: str
    ref: str | None


class Git:
    """git, with the settings of this agent, for one fetch.

    ``scratch`` is where temporary files may be; ``None``: where the system has them.
    """

    def __init__(
        self, settings: GitSettings, *, local: bool, watch: Watch, scratch: Path | None = None
    ) -> None:
        self.settings = settings
        self.local = local
        self.watch = watch
        self.scratch = scratch

    def run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        stdin: IO[bytes] | None = None,
        consume: Callable[[bytes], None] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> Result:
        """A command that talks to nobody."""
        env = {**scrubbed(self.settings, local=self.local), **(extra or {})}
        return run_git(arguments, env=env, watch=self.watch, cwd=cwd, stdin=stdin, consume=consume)

    def talk(
        self,
        address: Address,
        *arguments: str,
        inspect: Callable[[], None] | None = None,
        keep: Sequence[int] = (),
        extra: Mapping[str, str] | None = None,
    ) -> Result:
        """A command that talks to a server, with its token in the environment.

        :raises LaunchError: the protocol is not allowed, the token is not there, …
        """
        check_allowed(address, self.settings.protocols, local=self.local)
        username, secret = token_for(address, self.settings)
        env = scrubbed(
            self.settings,
            local=self.local,
            address=address,
            username=username,
            secret=secret,
        )
        env.update(extra or {})
        return run_git(arguments, env=env, watch=self.watch, inspect=inspect, keep=keep)

    def failed(self, address: Address, result: Result, *, doing: str, what: str = "it") -> LaunchError:
        """What went wrong in :meth:`talk`, without the secrets that it used."""
        username, secret = token_for(address, self.settings)
        secrets = [one for one in (secret, Secret(username or "")) if one is not None]
        if secret is not None and secret:
            secrets = [secret]  # then the user name is only a name
        return explain(
            result.errors, doing=doing, url=address.url, host=address.host, what=what, secrets=secrets
        )


def resolve_ref(
    url: str,
    ref: str | None,
    *,
    settings: GitSettings,
    local: bool,
    timeout: float,
    context: StageContext | None = None,
) -> Resolved:
    """Ask the remote which commit ``ref`` stands for: for pinning a run when it is submitted.

    :param ref: a branch, a tag, a full or short commit; ``None``: the remote's default branch.
    :param local: local paths are allowed.
    :param timeout: seconds for all of it.
    :raises LaunchError: ``source_failed``, with what to do.
    """
    try:
        check_ref(ref)
    except ValueError as error:
        raise LaunchError(f"source git: {error}", reason=Reason.SOURCE_FAILED) from error
    watch = Watch(deadline=time.monotonic() + timeout, context=context)
    return resolve(Git(settings, local=local, watch=watch), read_address(url), ref)


def resolve(git: Git, address: Address, ref: str | None) -> Resolved:
    """See :func:`resolve_ref`."""
    check_allowed(address, git.settings.protocols, local=git.local)
    if ref is not None and is_commit(ref):
        return Resolved(commit=ref, ref=None)
    if ref is None or ref == "HEAD":
        return _default(git, address)
    names = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
    found, _ = _ask(git, address, [*names, *(f"{name}^{{}}" for name in names)])
    commits = {name: found.get(f"{name}^{{}}", found[name]) for name in names if name in found}
    if len(set(commits.values())) > 1:
        raise LaunchError(
            f"{shown(ref)} is a branch and a tag in {shown(address.url)}, with different commits",
            reason=Reason.SOURCE_FAILED,
            hint=f"say refs/heads/{ref} or refs/tags/{ref}",
        )
    if commits:
        return Resolved(commit=next(iter(commits.values())), ref=ref)
    everything, _ = _ask(git, address, [])
    if _SHORT.fullmatch(ref) and (commit := _complete(git, address, ref, everything)) is not None:
        return Resolved(commit=commit, ref=None)
    raise _missing(ref, address, everything)


def _default(git: Git, address: Address) -> Resolved:
    found, branch = _ask(git, address, ["HEAD"])
    if "HEAD" not in found:
        raise LaunchError(
            f"{shown(address.url)} has no default branch: it is empty, or its HEAD names a branch that "
            "it does not have",
            reason=Reason.SOURCE_FAILED,
            hint="push a commit to it, or name a branch",
        )
    return Resolved(commit=found["HEAD"], ref=branch)


def _ask(git: Git, address: Address, patterns: Sequence[str]) -> tuple[dict[str, str], str | None]:
    """``git ls-remote``: names to commits, and the branch that HEAD names."""
    result = git.talk(address, "ls-remote", "--symref", "--", address.url, *patterns)
    if result.code != 0:
        raise git.failed(address, result, doing="cannot ask")
    found: dict[str, str] = {}
    branch = None
    for line in result.output.decode("utf-8", "replace").splitlines():
        left, _, name = line.partition("\t")
        if left.startswith("ref: "):
            branch = left.removeprefix("ref: refs/heads/") if name == "HEAD" else branch
        elif is_commit(left):
            found[name] = left
    if branch is not None:
        try:
            check_ref(branch)
        except ValueError:
            branch = None  # a server may say anything
    return found, branch


def _complete(git: Git, address: Address, short: str, known: Mapping[str, str]) -> str | None:
    """The full commit for a short one: the tip of a ref, or anywhere in history.

    Of history only the commits are fetched, where the server can do that.
    """
    tips = {commit for commit in known.values() if commit.startswith(short)}
    if len(tips) == 1:
        return tips.pop()
    with tempfile.TemporaryDirectory(prefix="launchcore-git-", dir=git.scratch) as directory:
        repository = Path(directory)
        make_bare(repository, sha256=any(len(commit) == 64 for commit in known.values()))
        result = git.talk(
            address,
            *(f"--git-dir={repository}", "fetch", "--quiet", "--filter=tree:0", "--no-tags"),
            *("--", address.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"),
            inspect=size_guard(repository, git.settings.max_bytes),
        )
        if result.code != 0:
            raise git.failed(address, result, doing="cannot fetch the history of", what=shown(short))
        found = git.run(
            *(f"--git-dir={repository}", "rev-parse", "--verify", "--end-of-options", f"{short}^{{commit}}")
        )
    if "ambiguous" in found.errors:
        raise LaunchError(
            f"the short commit {shown(short)} stands for several commits",
            reason=Reason.SOURCE_FAILED,
            hint="give more of its digits",
        )
    commit = found.output.decode("ascii", "replace").strip()
    return commit if found.code == 0 and is_commit(commit) else None


def _missing(ref: str, address: Address, known: Mapping[str, str]) -> LaunchError:
    names = sorted({re.sub(r"^refs/(heads|tags)/|\^\{\}$", "", name) for name in known if name != "HEAD"})
    near = difflib.get_close_matches(ref, names, n=3, cutoff=0.5) or names[:5]
    listed = ", ".join(shown(name, 60) for name in near)
    return LaunchError(
        f"there is no branch, tag or commit {shown(ref)} in {shown(address.url)}",
        reason=Reason.SOURCE_FAILED,
        hint=f"it has {listed}{' …' if len(names) > len(near) else ''}" if near else "push a commit to it",
    )


def make_bare(repository: Path, *, sha256: bool) -> None:
    """An empty bare repository: three files, and no template of hooks."""
    (repository / "objects").mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    version, extension = (1, "[extensions]\n\tobjectFormat = sha256\n") if sha256 else (0, "")
    (repository / "config").write_text(
        f"[core]\n\trepositoryFormatVersion = {version}\n\tbare = true\n{extension}"
    )
    (repository / "HEAD").write_text("ref: refs/heads/none\n")


def size_guard(repository: Path, most: int) -> Callable[[], None]:
    """A look, a few times a second, at how large a repository has become."""
    seen_at = 0.0

    def inspect() -> None:
        nonlocal seen_at
        if time.monotonic() - seen_at < 0.25:
            return
        seen_at = time.monotonic()
        if pack_bytes(repository) > most:
            raise LaunchError(
                f"the repository is larger than {most} bytes",
                reason=Reason.SOURCE_FAILED,
                hint="keep data and models out of it, or raise plugins.git.max_bytes of the agent",
            )

    return inspect


def pack_bytes(repository: Path) -> int:
    """The bytes of all packs, also of those that are being received."""
    total = 0
    for path in (repository / "objects" / "pack").glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
