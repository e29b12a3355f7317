"""Environments with one fault each: what every test of their suite is there to find."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import attrs

from launchcore.plugin import (
    Contribution,
    EnvironmentSpec,
    EnvVar,
    Fault,
    LaunchError,
    Reason,
    RunPlan,
    Secret,
    SecretFile,
    Site,
    hookimpl,
    setting,
)

log = logging.getLogger("launchcore.tests")


@attrs.frozen(kw_only=True)
class Settings:
    key: Secret = setting("The account's key.")
    problem: str | None = setting("What is wrong.", default=None)


class Sky:
    """A healthy one."""

    settings_class: ClassVar[type] = Settings

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def verify(self) -> str:
        if self.settings.problem is not None:
            raise LaunchError(
                self.settings.problem, reason=Reason.CONFIG_ERROR, fault=Fault.INFRASTRUCTURE, hint="mend it"
            )
        return "sky account 7 as alice"

    def access(self, store: str) -> Sequence[EnvVar | SecretFile]:
        if not store.startswith("sky://"):
            return ()
        return (EnvVar(name="SKY_REGION", value="east"), EnvVar(name="SKY_KEY", value=self.settings.key))

    def contribute_to_run(self, plan: RunPlan) -> Sequence[Contribution]:
        return (EnvVar(name="SKY_REGION", value="east"),)


class SettingsWithoutHelp(Sky):
    @attrs.frozen(kw_only=True)
    class Bare:
        key: Secret
        problem: str | None = None

    settings_class: ClassVar[type] = Bare


class SaysNothing(Sky):
    def verify(self) -> str:
        super().verify()
        return ""


class SaysTooMuch(Sky):
    def verify(self) -> str:
        return f"{super().verify()}\nand more"


class SaysSomethingElse(Sky):
    def verify(self) -> str:
        return f"{super().verify()} at {time.monotonic_ns()}"


class AsksNobody(Sky):
    def verify(self) -> str:
        return "sky account 7 as alice"


class FailsWithAnything(Sky):
    def verify(self) -> str:
        try:
            return super().verify()
        except LaunchError as error:
            raise RuntimeError(error.detail) from None


class BlamesTheUser(Sky):
    def verify(self) -> str:
        try:
            return super().verify()
        except LaunchError as error:
            raise LaunchError(error.detail, reason=Reason.CONFIG_ERROR, hint=error.hint) from None


class AdvisesNothing(Sky):
    def verify(self) -> str:
        try:
            return super().verify()
        except LaunchError as error:
            raise LaunchError(error.detail, fault=Fault.INFRASTRUCTURE) from None


class OpensEveryStore(Sky):
    def access(self, store: str) -> Sequence[EnvVar | SecretFile]:
        return super().access("sky://")


class OpensNoStore(Sky):
    def access(self, store: str) -> Sequence[EnvVar | SecretFile]:
        return ()


class GivesTwice(Sky):
    def access(self, store: str) -> Sequence[EnvVar | SecretFile]:
        return (*super().access(store), *super().access(store))


class GivesTheKeyInClear(Sky):
    def access(self, store: str) -> Sequence[EnvVar | SecretFile]:
        if not super().access(store):
            return ()
        return (EnvVar(name="SKY_KEY", value=self.settings.key.reveal()),)


class LendsToRuns(Sky):
    def contribute_to_run(self, plan: RunPlan) -> Sequence[Contribution]:
        return (EnvVar(name="SKY_KEY", value=self.settings.key),)


class LendsAFileToRuns(Sky):
    def contribute_to_run(self, plan: RunPlan) -> Sequence[Contribution]:
        return (SecretFile(name="sky", content=self.settings.key),)


class ShowsItsHalf(Sky):
    """Makes its client when it is first needed, and shows it before it is ready."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._client: dict[str, str] | None = None

    def verify(self) -> str:
        if self._client is None:
            self._client = {}
            time.sleep(0.01)
            self._client["who"] = super().verify()
        return self._client["who"]


class ShowsTheKey(Sky):
    def __repr__(self) -> str:
        return f"sky({self.settings.key.reveal()})"


class KeepsTheKey(Sky):
    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.key = settings.key.reveal()


class LogsTheKey(Sky):
    def access(self, store: str) -> Sequence[EnvVar | SecretFile]:
        log.debug("the key is %s", self.settings.key.reveal())
        return super().access(store)


class FailsWithTheKey(Sky):
    def verify(self) -> str:
        try:
            return super().verify()
        except LaunchError as error:
            error.detail = f"{error.detail} ({self.settings.key.reveal()})"
            raise


def subclasses() -> Iterable[type[Sky]]:
    return itertools.chain([Sky], Sky.__subclasses__())


@hookimpl
def launch_register_environments() -> Iterable[EnvironmentSpec]:
    for cls in subclasses():

        def create(settings: Any, site: Site, cls: type[Sky] = cls) -> Sky:
            return cls(settings)

        yield EnvironmentSpec(
            name=cls.__name__.lower(), summary="A cloud.", create=create, settings=cls.settings_class
        )
