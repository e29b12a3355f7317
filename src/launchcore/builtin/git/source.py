"""Fetches a repository at a commit: resolved once, pinned, cached as a repository and as a tree."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

from launchcore.builtin.fields import enter, read_fields, tidy, variant
from launchcore.builtin.git.address import Address, check_allowed, read_address
from launchcore.builtin.git.checkout import Checkout
from launchcore.builtin.git.command import Watch
from launchcore.builtin.git.patch import apply_patch
from launchcore.builtin.git.remote import Git, resolve
from launchcore.builtin.git.repositories import Repositories
from launchcore.builtin.git.settings import GitFields, GitSettings
from launchcore.builtin.trees import TreeCache, disk_errors
from launchcore.plugin import FetchPlan, SourceRef, SourceTree, StageContext


class GitSource:
    """The source ``git``."""

    def __init__(self, settings: GitSettings) -> None:
        self._settings = settings
        self._trees: dict[Path, TreeCache] = {}
        self._lock = threading.Lock()

    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        """See :meth:`launchcore.plugin.Source.fetch`."""
        with disk_errors("cannot write the source"):
            return self._fetch(plan, into, context)

    def _fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        fields = read_fields(GitFields, plan.source)
        address = read_address(fields.url)
        check_allowed(address, self._settings.protocols, local=plan.local)
        watch = Watch(deadline=time.monotonic() + self._settings.timeout_seconds, context=context)
        git = Git(self._settings, local=plan.local, watch=watch, scratch=plan.cache)
        commit, ref = fields.commit, fields.ref
        if commit is None:
            resolved = resolve(git, address, fields.ref)
            commit, ref = resolved.commit, resolved.ref
        checkout = Checkout(git, Repositories(plan.cache / "repositories"), submodules=fields.submodules)
        info = self._cache(plan.cache).place(
            _key(address, commit, submodules=fields.submodules, local=plan.local),
            into,
            lambda tree: checkout.fill(address, commit, tree),
            git.watch.check,
        )
        notes = list(info.notes)
        if fields.patch is not None:
            notes += apply_patch(git, fields.patch, into, plan.cache, context)
        for note in notes:
            context.log(note)
        on = f" on {ref}" if ref else ""
        patched = ", patched" if fields.patch else ""
        return SourceTree(
            path=enter(into, fields.subdir),
            identity=variant(
                f"git:{commit}",
                subdir=tidy(fields.subdir),
                patch=fields.patch,
                submodules=None if fields.submodules else False,
            ),
            pinned=_pinned(plan.source, commit, ref),
            summary=f"{commit[:7]}{on}, {info.files} files{patched}",
        )

    def _cache(self, root: Path) -> TreeCache:
        with self._lock:
            if root not in self._trees:
                self._trees[root] = TreeCache(root / "trees", max_bytes=self._settings.cache_bytes)
            return self._trees[root]


def _key(address: Address, commit: str, *, submodules: bool, local: bool) -> str:
    """By URL too: who cannot read a private repository must not get its tree by knowing a commit."""
    text = f"{address.url} {commit} {submodules} {local}"
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _pinned(source: SourceRef, commit: str, ref: str | None) -> SourceRef:
    """The reference as it was given, and the commit; unchanged when it had one."""
    if source.fields.get("commit") is not None:
        return source
    fields: dict[str, Any] = {**source.fields, "commit": commit}
    if ref is not None:
        fields["ref"] = ref
    return SourceRef(type=source.type, fields=fields)
