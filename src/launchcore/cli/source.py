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
    return SourceRef(type="image", fields={"image": flags.image})


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
    from launchcore.builtin.git.resolve import resolve_ref
    from launchcore.builtin.git.settings import GitSettings
    from launchcore.host.settings import structure
    from launchcore.plugin import SourceRef

    settings = structure(GitSettings, config.plugins.get("git", {}), path="plugins.git")
    local = is_local(config.base_url)
    url, ref = _location(flags)
    patch = _patch_file(flags.patch)
    pinned_by_checkout = False
    if Path(url).is_dir():
        url, commit, patch = _checkout(Path(url), ref, flags, local=local, patch=patch, tell=tell)
        if commit is not None:
            ref, pinned_by_checkout = ref or commit, True
    elif flags.dirty:
        raise CommandError("--dirty needs a checkout on this machine", hint="use --git . in the checkout")
    fields: dict[str, Any] = {"url": url}
    if ref is not None:
        fields["ref"] = ref
    if not flags.no_pin:
        found = resolve_ref(url, ref, settings=settings, local=local, timeout=settings.timeout_seconds)
        fields["commit"] = found.commit
        if not pinned_by_checkout:
            fields["ref"] = found.ref
            tell(f"pinned {found.ref or url} to {found.commit[:12]}")
    if flags.subdir is not None:
        fields["subdir"] = flags.subdir
    if patch:
        with tempfile.TemporaryFile() as file:
            file.write(patch)
            fields["patch"], length, _ = _upload(file, service)
        tell(f"uploaded a patch of {size(length)}")
    return SourceRef(type="git", fields=fields)


def is_local(base_url: str) -> bool:
    """Whether the queue lives on this machine, with this account, so that local paths mean something."""
    from launchcore.host import Host

    return Host.load().catalog.queue_for(base_url).spec.local


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
) -> tuple[str, str | None, bytes]:
    """A checkout of the user's: the URL to fetch from, the commit, the patch."""
    from launchcore.builtin.git.checkout import describe_checkout, make_patch

    found = describe_checkout(path)
    here = str(path.resolve())
    if ref is None:
        if found.dirty and not flags.dirty and not patch:
            tell("! what is not committed stays here: --dirty takes it along")
        if flags.dirty:
            patch = make_patch(path)
    elif flags.dirty:
        raise CommandError("--dirty goes with the commit that is checked out", hint="leave --ref out")
    if found.url is not None and not found.unpushed:
        return found.url, None if ref else found.commit, patch
    if not local:
        why = "has no remote" if found.url is None else f"has commits that its remote {found.url} lacks"
        raise CommandError(f"the checkout {here} {why}, so no agent could fetch it", hint="push it first")
    return here, None if ref else found.commit, patch
