"""The echo source, builder and registry: files, and faults on request."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import attrs

from launchcore.plugin import (
    BuildPlan,
    BuiltImage,
    CredentialHelper,
    FetchPlan,
    Given,
    ImageRef,
    LaunchError,
    Login,
    Reason,
    SourceTree,
    StageContext,
)
from launchcore.testing.echo import EchoBuilderSettings, EchoRegistrySettings
from launchcore.testing.echo.runner import pause


class EchoSource:
    """Writes the files that the run names."""

    def fetch(self, plan: FetchPlan, into: Path, context: StageContext) -> SourceTree:
        fields = plan.source.fields
        pause(float(fields.get("fetch_for", 0.0)), context)
        if fields.get("error") is not None:
            raise LaunchError(str(fields["error"]), reason=Reason.SOURCE_FAILED)
        files = dict(fields.get("files", {}))
        for name, text in sorted(files.items()):
            path = into / _safe(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(text))
        digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        pinned = attrs.evolve(plan.source, fields={"files": files})
        return SourceTree(
            path=into, identity=f"sha256:{digest}", pinned=pinned, summary=f"{len(files)} files of echo"
        )


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise LaunchError(f"{name!r} is no path inside the tree", reason=Reason.SOURCE_FAILED)
    return path


class EchoBuilder:
    """Builds an image that is a file with its labels. ``builds`` has a line for each real build.

    The build of a tree that has a file ``broken`` fails.
    """

    def __init__(self, settings: EchoBuilderSettings, directory: Path) -> None:
        self.settings = settings
        self.directory = directory

    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        if self.settings.error is not None:
            raise LaunchError(self.settings.error, reason=Reason.BUILD_FAILED)
        context.check()
        ref = ImageRef(name=self.name(plan))
        with self._alone():
            built = _file(self.directory, "built", ref)
            if built.exists():
                return BuiltImage(ref=ref, cached=True)
            pause(self.settings.build_for, context)
            if (plan.tree.path / "broken").exists():
                raise LaunchError(
                    "step 1: the tree is broken", reason=Reason.BUILD_FAILED, hint="remove the file `broken`"
                )
            with (self.directory / "builds").open("a") as file:
                file.write(f"{plan.attempt_id} {ref.name}\n")
            built.parent.mkdir(parents=True, exist_ok=True)
            built.write_text(json.dumps(self.labels(plan, given)))
        return BuiltImage(ref=ref)

    def name(self, plan: BuildPlan) -> str:
        """The image's name: repository, and a hash of the content."""
        what = [plan.tree.identity, plan.dockerfile, plan.build_context, plan.command, dict(plan.build_args)]
        content = json.dumps(what)
        tag = hashlib.sha256(content.encode()).hexdigest()[:12]
        return f"{plan.destination.repository if plan.destination else 'echo'}:{tag}"

    def labels(self, plan: BuildPlan, given: Given) -> dict[str, str]:
        """The image's labels. The plan's have names of their own there, since containers inherit them."""
        labels = {f"image.{name}": value for name, value in plan.labels.items()}
        return {**labels, **{label.name: label.value for label in given.labels}}

    def labels_of(self, image: BuiltImage) -> dict[str, str]:
        """The labels of a built image."""
        labels: dict[str, str] = json.loads(_file(self.directory, "built", image.ref).read_text())
        return labels

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One build at a time, also among processes."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def push(self, image: BuiltImage, plan: BuildPlan, given: Given, context: StageContext) -> ImageRef:
        if self.settings.push_error is not None:
            raise LaunchError(self.settings.push_error, reason=Reason.PUSH_FAILED)
        context.check()
        pushed = _file(self.directory, "pushed", image.ref)
        pushed.parent.mkdir(parents=True, exist_ok=True)
        digest = "sha256:" + hashlib.sha256(image.ref.name.encode()).hexdigest()
        pushed.write_text(digest)
        return attrs.evolve(image.ref, digest=digest)

    def cleanup(self, attempt_id: str) -> None:
        """A build leaves only caches."""


class EchoRegistry:
    """Knows what the echo builder of the same agent has pushed."""

    def __init__(self, settings: EchoRegistrySettings, directory: Path) -> None:
        self.settings = settings
        self.directory = directory

    def resolve(self, repository: str) -> str:
        """A name without a host is in the registry of the settings."""
        self._fail()
        return (
            repository if "/" in repository else f"{self.settings.repository.partition('/')[0]}/{repository}"
        )

    def ensure(self, ref: ImageRef) -> None:
        self._fail()

    def digest(self, ref: ImageRef) -> str | None:
        self._fail()
        try:
            pushed = _file(self.directory, "pushed", ref).read_text()
        except FileNotFoundError:
            return None
        return pushed if ref.digest in (None, pushed) else None

    def logins(self, repository: str) -> Sequence[Login | CredentialHelper]:
        self._fail()
        host = repository.partition("/")[0]
        if not self.settings.password or host != self.settings.repository.partition("/")[0]:
            return ()
        return (Login(host=host, username="echo", password=self.settings.password),)

    def _fail(self) -> None:
        if self.settings.error is not None:
            raise LaunchError(self.settings.error)


def _file(directory: Path, kind: str, ref: ImageRef) -> Path:
    return directory / kind / hashlib.sha256(ref.name.encode()).hexdigest()
