"""From source flags to a source reference: pack and upload a directory, pin a git ref, make a patch."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from launchcore.cli.errors import CommandError, usage
from launchcore.cli.parse import git_location
from launchcore.cli.source_options import SourceFlags
from launchcore.cli.times import size

if TYPE_CHECKING:
    from launchcore.config.values import AgentConfig
    from launchcore.plugin import SourceRef
    from launchcore.queues.base import Service

Tell = Callable[[str], None]
CHUNK = 1 << 20
RESOLVE_SECONDS = 60.0
"""How long a remote may take to say what a ref stands for."""


def make_source(flags: SourceFlags, service: Service, config: AgentConfig, tell: Tell) -> SourceRef:
    """The source that ``flags`` name, with everything uploaded that it needs.

    :param tell: is given lines about what was packed, pinned and uploaded.
    :raises LaunchError: ``source_failed``: there is no such repository, ref, …
    :raises CommandError: no such directory or patch file, flags that do not fit.
    """
    from launchcore.plugin import SourceRef

    if flags.directory is not None:
        return _directory(flags.directory, flags.subdir, service, tell)
    if flags.git is not None:
        return _git(flags, service, config, tell)
    from launchcore.builtin.image.fields import ImageFields
    from launchcore.host.settings import structure

    fields = {"image": flags.image}
    structure(ImageFields, fields, path="--image")
    return SourceRef(type="image", fields=fields)


def _directory(directory: Path, subdir: str | None, service: Service, tell: Tell) -> SourceRef:
    from launchcore.builtin.archive.pack import pack
    from launchcore.plugin import SourceRef

    if not directory.is_dir():
        what = "is a file" if directory.exists() else "does not exist"
        raise CommandError(f"the directory {str(directory)!r} {what}", hint="name the directory of the code")
    if subdir is not None and not (directory / subdir).is_dir():
        raise CommandError(f"{str(directory)!r} has no directory {subdir!r}")
    with tempfile.TemporaryFile() as file:
        summary = pack(directory, file)
        for note in summary.skipped[:5]:
            tell(f"! {note}")
        if len(summary.skipped) > 5:
            tell(f"! and {len(summary.skipped) - 5} more were left out")
        digest, length, there = _upload(file, service)
    state = "already uploaded" if there else f"uploaded {size(length)}"
    tell(f"packed {directory}: {summary.files} files, {size(summary.bytes)}, {state}")
    fields: dict[str, Any] = {"digest": digest}
    if subdir is not None:
        fields["subdir"] = subdir
    return SourceRef(type="archive", fields=fields)


def _upload(file: IO[bytes], service: Service) -> tuple[str, int, bool]:
    """Store what ``file`` holds, unless it is there: its digest, its length, whether it was there."""
    file.seek(0)
    sha, length = hashlib.sha256(), 0
    for chunk in _chunks(file):
        sha.update(chunk)
        length += len(chunk)
    digest = f"sha256:{sha.hexdigest()}"
    if service.has_archive(digest):
        return digest, length, True
    file.seek(0)
    return service.put_archive(_chunks(file)), length, False


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _git(flags: SourceFlags, service: Service, config: AgentConfig, tell: Tell) -> SourceRef:
    from launchcore.builtin.git.remote import resolve_ref
    from launchcore.builtin.git.settings import GitFields, GitSettings
    from launchcore.host.settings import structure
    from launchcore.plugin import SourceRef

    settings = structure(GitSettings, config.plugins.get("git", {}), path="plugins.git")
    local = is_local(config)
    url, ref = _location(flags)
    fields: dict[str, Any] = {"url": url, "ref": ref, "subdir": flags.subdir}
    patch = _patch_file(flags.patch)
    if Path(url).is_dir() and not _is_bare(Path(url)):
        found, patch = _checkout(Path(url), ref, flags, local=local, patch=patch, tell=tell)
        fields.update(found)
        if flags.subdir is not None and found.get("subdir"):
            fields["subdir"] = f"{found['subdir']}/{flags.subdir}"
        elif flags.subdir is not None:
            fields["subdir"] = flags.subdir
    elif flags.dirty:
        raise CommandError("--dirty needs a checkout on this machine", hint="use --git . in the checkout")
    elif Path(url).is_dir():
        fields["url"] = path_as_url(Path(url).resolve())
    fields = {name: value for name, value in fields.items() if value is not None}
    structure(GitFields, fields, path="--git")
    if "commit" not in fields and not flags.no_pin:
        patience = min(settings.timeout_seconds, RESOLVE_SECONDS)
        resolved = resolve_ref(fields["url"], ref, settings=settings, local=local, timeout=patience)
        fields["commit"] = resolved.commit
        if resolved.ref is not None:
            fields["ref"] = resolved.ref
        tell(f"pinned {resolved.ref or fields['url']} to {resolved.commit[:12]}")
    if patch:
        with tempfile.TemporaryFile() as file:
            file.write(patch)
            fields["patch"], length, _ = _upload(file, service)
        tell(f"uploaded a patch of {size(length)}")
    return SourceRef(type="git", fields=fields)


def path_as_url(path: str | Path) -> str:
    """A local repository as git's own address: the path, or a file URL where a path would be misread."""
    text = str(path)
    return text if text.isprintable() and not set(text) & set(" \\") else Path(text).as_uri()


def _is_bare(path: Path) -> bool:
    return (path / "HEAD").is_file() and (path / "objects").is_dir()


def is_local(config: AgentConfig) -> bool:
    """Whether the queue lives on this machine, with this account, so that local paths mean something."""
    from launchcore.cli.service import host_of

    return host_of(config).catalog.queue_for(config.base_url).spec.local


def _location(flags: SourceFlags) -> tuple[str, str | None]:
    assert flags.git is not None
    if Path(flags.git).is_dir():
        return flags.git, flags.ref
    with usage():
        url, ref = git_location(flags.git)
    if ref is not None and flags.ref is not None:
        raise CommandError(f"two refs: {ref!r} in the URL, and --ref {flags.ref!r}", hint="give one of them")
    return url, ref or flags.ref


def _patch_file(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"--patch {path}: {error.strerror or error}") from None


def _checkout(
    path: Path, ref: str | None, flags: SourceFlags, *, local: bool, patch: bytes, tell: Tell
) -> tuple[dict[str, Any], bytes]:
    """A checkout of the user's: what it says about the source, and the patch.

    Agents fetch from its remote; where the commit is not there, and the agent is on this machine, from
    the checkout itself.
    """
    from launchcore.builtin.git.worktree import describe_checkout, make_patch

    found = describe_checkout(path)
    fields: dict[str, Any] = {"url": found.url, "subdir": found.subdir}
    if ref is not None and flags.dirty:
        raise CommandError("--dirty goes with the commit that is checked out", hint="leave --ref out")
    if ref is None:
        fields["ref"] = found.branch
        if not flags.no_pin:
            fields["commit"] = found.commit
        if flags.dirty:
            patch = make_patch(path)
        elif found.dirty and not patch:
            tell("! what is not committed stays here: --dirty takes it along")
    if found.url is None or (ref is None and found.unpushed):
        if not local:
            why = "has no remote" if found.url is None else f"has commits that {found.url} lacks"
            raise CommandError(
                f"the checkout {found.root} {why}: no agent could fetch it", hint="push it first"
            )
        fields["url"] = str(found.root)
    if fields["url"].startswith("/"):
        fields["url"] = path_as_url(fields["url"])
    commit = "" if ref is not None else f" at {found.commit[:12]}"
    tell(f"git source: {fields['url']}{commit}")
    return fields, patch
