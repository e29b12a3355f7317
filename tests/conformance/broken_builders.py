"""Echo builders and registries with one fault each: what every test of their suites is there to find."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs

from launchcore.plugin import (
    BuilderSpec,
    BuildPlan,
    BuiltImage,
    CredentialHelper,
    Given,
    ImageRef,
    Kind,
    LaunchError,
    Login,
    Reason,
    RegistrySpec,
    Site,
    StageContext,
    hookimpl,
)
from launchcore.testing.context import RecordingContext
from launchcore.testing.echo import EchoBuilderSettings, EchoRegistrySettings
from launchcore.testing.echo.parts import EchoBuilder, EchoRegistry

# -- builders --------------------------------------------------------------------------------------


class NoTag(EchoBuilder):
    def name(self, plan: BuildPlan) -> str:
        return super().name(plan).rpartition(":")[0]


class AnotherRepository(EchoBuilder):
    def name(self, plan: BuildPlan) -> str:
        return f"my-own:{super().name(plan).rpartition(':')[2]}"


class TagOfTheAttempt(EchoBuilder):
    def name(self, plan: BuildPlan) -> str:
        return f"{super().name(plan)}-{plan.attempt_id}"


class TagOfThePlace(EchoBuilder):
    def name(self, plan: BuildPlan) -> str:
        return f"{super().name(plan)}-{hashlib.sha256(str(plan.tree.path).encode()).hexdigest()[:6]}"


class OneTagForAll(EchoBuilder):
    def name(self, plan: BuildPlan) -> str:
        return f"{super().name(plan).rpartition(':')[0]}:latest"


class ForgetsArguments(EchoBuilder):
    def name(self, plan: BuildPlan) -> str:
        return super().name(attrs.evolve(plan, build_args={}))


class TagOfTheRepository(EchoBuilder):
    def name(self, plan: BuildPlan) -> str:
        where = plan.destination.repository if plan.destination else ""
        return f"{super().name(plan)}{hashlib.sha256(where.encode()).hexdigest()[:6]}"


class BuildsAgain(EchoBuilder):
    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        return attrs.evolve(super().build(plan, given, context), cached=False)


class RemembersInMemory(EchoBuilder):
    def __init__(self, settings: EchoBuilderSettings, directory: Path) -> None:
        super().__init__(settings, directory / str(id(self)))


class BuildsInRace(EchoBuilder):
    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self.directory.mkdir(parents=True, exist_ok=True)
        yield

    def labels(self, plan: BuildPlan, given: Given) -> dict[str, str]:
        time.sleep(0.2)
        return super().labels(plan, given)


class WritesIntoTheTree(EchoBuilder):
    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        (plan.tree.path / "Dockerfile").write_text("FROM scratch")
        return super().build(plan, given, context)


class FailsWithAnything(EchoBuilder):
    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        try:
            return super().build(plan, given, context)
        except LaunchError as error:
            raise RuntimeError from error


class FailsAsInfrastructure(EchoBuilder):
    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        try:
            return super().build(plan, given, context)
        except LaunchError as error:
            raise LaunchError(error.detail, reason=Reason.INFRASTRUCTURE) from error


class LeavesItsLock(EchoBuilder):
    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        lock = self.directory / "busy"
        self.directory.mkdir(parents=True, exist_ok=True)
        if lock.exists():
            raise LaunchError("somebody builds")
        lock.touch()
        yield
        lock.unlink()


class IgnoresCancel(EchoBuilder):
    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        return super().build(plan, given, RecordingContext())


class CancelledIsBuilt(EchoBuilder):
    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        super().build(plan, given, RecordingContext())
        return super().build(plan, given, context)


class PushesWithoutDigest(EchoBuilder):
    def push(self, image: BuiltImage, plan: BuildPlan, given: Given, context: StageContext) -> ImageRef:
        super().push(image, plan, given, context)
        return image.ref


class AnotherDigestEachTime(EchoBuilder):
    def push(self, image: BuiltImage, plan: BuildPlan, given: Given, context: StageContext) -> ImageRef:
        digest = hashlib.sha256(str(time.monotonic_ns()).encode()).hexdigest()
        return attrs.evolve(super().push(image, plan, given, context), digest=f"sha256:{digest}")


class PushIgnoresCancel(EchoBuilder):
    def push(self, image: BuiltImage, plan: BuildPlan, given: Given, context: StageContext) -> ImageRef:
        return super().push(image, plan, given, RecordingContext())


class CleanupRemovesImages(EchoBuilder):
    def cleanup(self, attempt_id: str) -> None:
        for path in (self.directory / "built").glob("*"):
            path.unlink()


class CleansUpOnce(EchoBuilder):
    def cleanup(self, attempt_id: str) -> None:
        (self.directory / f"cleaned-{attempt_id}").mkdir()


class DropsLabels(EchoBuilder):
    def labels(self, plan: BuildPlan, given: Given) -> dict[str, str]:
        return {f"image.{name}": value for name, value in plan.labels.items()}


class DropsTheOwner(EchoBuilder):
    def labels(self, plan: BuildPlan, given: Given) -> dict[str, str]:
        return {label.name: label.value for label in given.labels}


class LabelsAsContainers(EchoBuilder):
    def labels(self, plan: BuildPlan, given: Given) -> dict[str, str]:
        return {**super().labels(plan, given), **plan.labels}


class LogsTheLogin(EchoBuilder):
    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        context.log(f"docker login {passwords(given)}")
        return super().build(plan, given, context)


class KeepsTheLogin(EchoBuilder):
    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "config.json").write_text(json.dumps(passwords(given)))
        return super().build(plan, given, context)


class TellsTheLogin(EchoBuilder):
    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        try:
            return super().build(plan, given, context)
        except LaunchError as error:
            error.args = (f"{error.detail} with {passwords(given)}",)
            raise


class LabelsWithTheLogin(EchoBuilder):
    def labels(self, plan: BuildPlan, given: Given) -> dict[str, str]:
        return {**super().labels(plan, given), "login": str(passwords(given))}


def passwords(given: Given) -> list[str]:
    return [login.password.reveal() for login in given.logins if isinstance(login, Login)]


class RefusesWithoutAdvice(EchoBuilder):
    nothing: ClassVar[bool] = True

    def build(self, plan: BuildPlan, given: Given, context: StageContext) -> BuiltImage:
        raise LaunchError("no", reason=Reason.BUILD_FAILED)


class BuildsAfterAll(EchoBuilder):
    nothing: ClassVar[bool] = True


@attrs.frozen(kw_only=True)
class Undocumented:
    error: str | None = None
    push_error: str | None = None
    build_for: float = 0.0


class SettingsWithoutHelp(EchoBuilder):
    settings_class: ClassVar[type] = Undocumented


# -- registries ------------------------------------------------------------------------------------


class RegistryWithoutHelp(EchoRegistry):
    @attrs.frozen(kw_only=True)
    class Settings:
        repository: str = "echo.invalid/launch"
        password: str | None = None
        error: str | None = None

    settings_class: ClassVar[type] = Settings


class RepositoryWithTag(EchoRegistry):
    repository: ClassVar[str | None] = "echo.invalid/launch:latest"


class NoRepository(EchoRegistry):
    repository: ClassVar[str | None] = None


class ResolvesEachTime(EchoRegistry):
    def resolve(self, repository: str) -> str:
        return f"echo.invalid/{repository}"


class ResolvesForHimself(EchoRegistry):
    def resolve(self, repository: str) -> str:
        return repository if "#" in repository else f"{repository}#{id(self)}"


class TakesEverything(EchoRegistry):
    def resolve(self, repository: str) -> str:
        return f"echo.invalid/{repository.rpartition('/')[2]}"


class EnsuresOnce(EchoRegistry):
    def ensure(self, ref: ImageRef) -> None:
        (self.directory / "repository").mkdir(parents=True)


class EnsureMakesImages(EchoRegistry):
    def ensure(self, ref: ImageRef) -> None:
        push(self.directory, ref)


class MissingIsAnError(EchoRegistry):
    def digest(self, ref: ImageRef) -> str | None:
        found = super().digest(ref)
        if found is None:
            raise LaunchError("404")
        return found


class MissingIsEmpty(EchoRegistry):
    def digest(self, ref: ImageRef) -> str | None:
        return super().digest(ref) or ""


class AnotherDigest(EchoRegistry):
    def digest(self, ref: ImageRef) -> str | None:
        found = super().digest(ref)
        return f"sha256:{hashlib.sha256(found.encode()).hexdigest()}" if found else None


class IgnoresTheDigest(EchoRegistry):
    def digest(self, ref: ImageRef) -> str | None:
        return super().digest(attrs.evolve(ref, digest=None))


class AwayIsNotThere(EchoRegistry):
    def digest(self, ref: ImageRef) -> str | None:
        try:
            return super().digest(ref)
        except LaunchError:
            return None


class AwayIsTheUsersFault(EchoRegistry):
    def digest(self, ref: ImageRef) -> str | None:
        try:
            return super().digest(ref)
        except LaunchError as error:
            raise LaunchError(error.detail, reason=Reason.BUILD_FAILED) from error


class LoginOfAnotherHost(EchoRegistry):
    def logins(self, repository: str) -> Sequence[Login | CredentialHelper]:
        return [attrs.evolve(login, host="https://echo.invalid/v2/") for login in super().logins(repository)]


class NoLogin(EchoRegistry):
    def logins(self, repository: str) -> Sequence[Login | CredentialHelper]:
        return ()


class LoginForEverybody(EchoRegistry):
    def logins(self, repository: str) -> Sequence[Login | CredentialHelper]:
        host = repository.partition("/")[0]
        return [attrs.evolve(login, host=host) for login in super().logins(self.settings.repository)]


class ShowsThePassword(EchoRegistry):
    def __repr__(self) -> str:
        return f"registry({self.settings.password.reveal() if self.settings.password else ''})"


class FailsWithThePassword(EchoRegistry):
    def digest(self, ref: ImageRef) -> str | None:
        try:
            return super().digest(ref)
        except LaunchError as error:
            text = self.settings.password.reveal() if self.settings.password else ""
            raise LaunchError(f"{error.detail} as {text}") from error


def push(directory: Path, ref: ImageRef) -> ImageRef:
    """What the echo builder does to push."""
    digest = f"sha256:{hashlib.sha256(ref.name.encode()).hexdigest()}"
    path = directory / "pushed" / hashlib.sha256(ref.name.encode()).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(digest)
    return attrs.evolve(ref, digest=digest)


# -- the plugin ------------------------------------------------------------------------------------


def _builder_spec(cls: type[Any]) -> BuilderSpec:
    def create(settings: Any, site: Site) -> Any:
        return cls(settings, site.state / "echo")

    return BuilderSpec(
        name=cls.__name__.lower(),
        summary="Broken.",
        create=create,
        settings=getattr(cls, "settings_class", EchoBuilderSettings),
        applies=frozenset(Kind),
        builds=not getattr(cls, "nothing", False),
    )


def _registry_spec(cls: type[Any]) -> RegistrySpec:
    def create(settings: Any, site: Site) -> Any:
        return cls(settings, site.state / "echo")

    def repository(settings: Any) -> str | None:
        own: str | None = getattr(cls, "repository", settings.repository)
        return own

    return RegistrySpec(
        name=cls.__name__.lower(),
        summary="Broken.",
        create=create,
        settings=getattr(cls, "settings_class", EchoRegistrySettings),
        repository=repository,
    )


@hookimpl
def launch_register_builders() -> Iterable[BuilderSpec]:
    return [_builder_spec(cls) for cls in EchoBuilder.__subclasses__()]


@hookimpl
def launch_register_registries() -> Iterable[RegistrySpec]:
    return [_registry_spec(cls) for cls in EchoRegistry.__subclasses__()]
