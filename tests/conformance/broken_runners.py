"""Echo runners with one fault each: what every test of the runner suite is there to find.

A plugin like any other: its runners are found through the hooks, in a fresh process too.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs

from launchcore.plugin import (
    EnvVar,
    Given,
    Kind,
    LaunchError,
    LogBatch,
    OnChange,
    Phase,
    RunHandle,
    RunnerSpec,
    RunPlan,
    RunStatus,
    Site,
    StageContext,
    hookimpl,
)
from launchcore.testing.echo import EchoSettings, echo_directory
from launchcore.testing.echo.runner import EchoRunner, output, script_of
from launchcore.testing.echo.script import EchoObject, Script


class PrepareStarts(EchoRunner):
    def prepare(self, plan: RunPlan, given: Given, context: StageContext) -> None:
        super().start(plan, given)


class StartWaits(EchoRunner):
    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        handle = super().start(plan, given)
        while not self.poll([handle])[handle.key].phase.final:
            time.sleep(0.01)
        return handle


class StartsPending(EchoRunner):
    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        return super().start(attrs.evolve(plan, settings=Script(pending_for=60)), given)


class StartsTwice(EchoRunner):
    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        if self.objects.read(plan.attempt_id):
            plan = attrs.evolve(plan, attempt_id=f"{plan.attempt_id}-again")
        return super().start(plan, given)


class StartsInRace(EchoRunner):
    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        if self.objects.read(plan.attempt_id) is None:
            time.sleep(0.1)
            script = script_of(plan)
            made = EchoObject(attempt_id=plan.attempt_id, script=script, started_at=time.time())
            self.objects.remove(plan.attempt_id)
            self.objects.create(made, output(script, plan, given) + b"started\n")
        return self._handle(plan.attempt_id)


class StartsLate(EchoRunner):
    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        return super().start(attrs.evolve(plan, start_before=None), given)


class FindsNothing(EchoRunner):
    def find(self, attempt_id: str) -> RunHandle | None:
        return None


class FindsAnything(EchoRunner):
    def find(self, attempt_id: str) -> RunHandle | None:
        return self._handle(attempt_id)


class ForgetsItsPromise(EchoRunner):
    def find(self, attempt_id: str) -> RunHandle | None:
        return self._handle(attempt_id) if self.objects.read(attempt_id) else None


class Polls(EchoRunner):
    """Base of those that change what a poll says."""

    def poll(self, handles: Sequence[RunHandle]) -> Mapping[str, RunStatus]:
        return {key: self.changed(status) for key, status in super().poll(handles).items()}

    def changed(self, status: RunStatus) -> RunStatus:
        raise NotImplementedError


class GoesBack(Polls):
    count = 0

    def changed(self, status: RunStatus) -> RunStatus:
        self.count += 1
        back = status.phase is Phase.RUNNING and self.count % 2
        return RunStatus(phase=Phase.PENDING) if back else status


class ChangesItsEnd(Polls):
    def changed(self, status: RunStatus) -> RunStatus:
        if not status.phase.final:
            return status
        self.seen = getattr(self, "seen", 0) + 1
        return attrs.evolve(status, exit_code=self.seen)


class LosesTheExitCode(Polls):
    def changed(self, status: RunStatus) -> RunStatus:
        return attrs.evolve(status, exit_code=1) if status.phase is Phase.FAILED else status


class SignalAndCode(Polls):
    def changed(self, status: RunStatus) -> RunStatus:
        return attrs.evolve(status, exit_code=137) if status.signal else status


class NoTimes(Polls):
    def changed(self, status: RunStatus) -> RunStatus:
        return attrs.evolve(status, finished_at=None)


class FailsTheMissing(Polls):
    def changed(self, status: RunStatus) -> RunStatus:
        return attrs.evolve(status, phase=Phase.FAILED) if status.phase is Phase.GONE else status


class OneBadHandleSpoilsAll(EchoRunner):
    def poll(self, handles: Sequence[RunHandle]) -> Mapping[str, RunStatus]:
        if any(self.objects.read(handle.attempt_id) is None for handle in handles):
            raise LaunchError("not found")
        return super().poll(handles)


class LeavesHandlesOut(EchoRunner):
    def poll(self, handles: Sequence[RunHandle]) -> Mapping[str, RunStatus]:
        return super().poll([one for one in handles if self.objects.read(one.attempt_id)])


class KeepsStatusInMemory(EchoRunner):
    started: ClassVar[set[str]] = set()

    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        self.started.add(plan.attempt_id)
        return super().start(plan, given)

    def poll(self, handles: Sequence[RunHandle]) -> Mapping[str, RunStatus]:
        gone = RunStatus(phase=Phase.GONE)
        return {key: one if key in self.started else gone for key, one in super().poll(handles).items()}


class NeverPushes(EchoRunner):
    @contextlib.contextmanager
    def watch(self, on_change: OnChange) -> Iterator[None]:
        yield


class Logs(EchoRunner):
    """Base of those that change what a log says."""

    def logs(self, handle: RunHandle, cursor: str | None, limit: int) -> LogBatch:
        return self.changed(super().logs(handle, cursor, limit), self.poll([handle])[handle.key])

    def changed(self, batch: LogBatch, status: RunStatus) -> LogBatch:
        raise NotImplementedError


class LosesBytes(Logs):
    def changed(self, batch: LogBatch, status: RunStatus) -> LogBatch:
        return attrs.evolve(batch, data=batch.data[1:])


class NeverEnds(Logs):
    def changed(self, batch: LogBatch, status: RunStatus) -> LogBatch:
        return attrs.evolve(batch, end=False)


class EndsEarly(Logs):
    def changed(self, batch: LogBatch, status: RunStatus) -> LogBatch:
        return attrs.evolve(batch, end=True)


class LosesTheLogOfAFailure(Logs):
    def changed(self, batch: LogBatch, status: RunStatus) -> LogBatch:
        return LogBatch(data=b"", cursor="0", end=True) if status.phase is Phase.FAILED else batch


class ReadsInCircles(EchoRunner):
    def logs(self, handle: RunHandle, cursor: str | None, limit: int) -> LogBatch:
        return super().logs(handle, None, limit)


class KeepsTheCursorToItself(EchoRunner):
    """The cursor is a number that only this object understands."""

    def logs(self, handle: RunHandle, cursor: str | None, limit: int) -> LogBatch:
        known: dict[str, str] = self.__dict__.setdefault("known", {})
        batch = super().logs(handle, known.get(cursor or ""), limit)
        key = str(len(known) + 1)
        known[key] = batch.cursor
        return attrs.evolve(batch, cursor=key)


class Starts(EchoRunner):
    """Base of those that start something else than they were asked."""

    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        return super().start(*self.changed(plan, given))

    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        raise NotImplementedError


class DropsStandardError(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        command = tuple(word.replace('"err"', '""') for word in plan.command)
        return attrs.evolve(plan, command=command), given


class DropsTheEnvironment(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        return attrs.evolve(plan, env={}), given


class DropsVariables(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        return plan, attrs.evolve(given, env=())


class RedactsVariables(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        env = tuple(attrs.evolve(one, value=str(one.value)) for one in given.env)
        return plan, attrs.evolve(given, env=env)


class DropsFiles(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        return plan, attrs.evolve(given, files=())


class LeavesFilesBehind(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        env = []
        for file in given.files:
            path = self.directory / f"left-{file.name}"
            path.write_text(file.content.reveal())
            env.append(EnvVar(name=file.path_env or "", value=str(path)))
        return plan, attrs.evolve(given, env=tuple(env), files=())


class DropsLabels(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        return plan, attrs.evolve(given, labels=())


class DropsThePlansLabels(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        return attrs.evolve(plan, labels={}), given


class DropsLogins(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        return plan, attrs.evolve(given, logins=())


class DropsVolumes(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        return plan, attrs.evolve(given, volumes=())


class IgnoresCancel(EchoRunner):
    def cancel(self, handle: RunHandle, grace: float) -> None:
        pass


class OnlyAsks(EchoRunner):
    def cancel(self, handle: RunHandle, grace: float) -> None:
        super().cancel(handle, 1e9)


class CancelsOnce(EchoRunner):
    def cancel(self, handle: RunHandle, grace: float) -> None:
        one = self.objects.read(handle.attempt_id)
        if one and one.cancel_at is not None:
            raise LaunchError("already stopping")
        super().cancel(handle, grace)


class CancelRewritesTheEnd(EchoRunner):
    def cancel(self, handle: RunHandle, grace: float) -> None:
        one = self.objects.read(handle.attempt_id)
        if one:
            self.objects.rewrite(attrs.evolve(one, cancel_at=one.started_at - 1, grace=0.0))


class LeavesAll(EchoRunner):
    def cleanup(self, handle: RunHandle) -> None:
        pass


class OwnsEverything(EchoRunner):
    roots: ClassVar[list[Path]] = []

    def owned(self) -> Sequence[RunHandle]:
        self.roots.append(self.directory)
        others = [EchoRunner(root, self.site) for root in {*self.roots}]
        return [other._handle(one.attempt_id) for other in others for one in other.objects.all()]


class CleanupOfNothingFails(EchoRunner):
    def cleanup(self, handle: RunHandle) -> None:
        if self.objects.read(handle.attempt_id) is None:
            raise LaunchError("not found")
        super().cleanup(handle)


class LeaksInHandle(EchoRunner):
    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        handle = super().start(plan, given)
        return attrs.evolve(handle, data={**handle.data, "env": [one.reveal() for one in given.secrets()]})


class LeaksInOurLog(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        logging.getLogger("broken").debug("starting with %s", [one.reveal() for one in given.secrets()])
        return plan, given


class LeaksInAFile(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        (self.directory / "env").write_text(" ".join(one.reveal() for one in given.secrets()))
        return plan, given


class LeaksInALabel(Starts):
    def changed(self, plan: RunPlan, given: Given) -> tuple[RunPlan, Given]:
        return attrs.evolve(plan, labels={**plan.labels, "s": given.secrets()[0].reveal()}), given


class LeaksInAnError(EchoRunner):
    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        try:
            return super().start(plan, given)
        except LaunchError as error:
            raise LaunchError(f"{error.detail} {[one.reveal() for one in given.secrets()]}") from error


class LeaksInTheStagesLog(EchoRunner):
    def prepare(self, plan: RunPlan, given: Given, context: StageContext) -> None:
        context.log(" ".join(one.reveal() for one in given.secrets()))


@attrs.frozen(kw_only=True)
class Undocumented:
    port: int = 1


CHANGES: Mapping[str, Mapping[str, Any]] = {
    "SettingsWithoutHelp": {"config": Undocumented},
    "StartsPending": {"immediate": True},
}
"""What is different in a descriptor, for those whose fault is there."""


class SettingsWithoutHelp(EchoRunner):
    pass


def _of(cls: type[EchoRunner]) -> RunnerSpec:
    def create(settings: Any, site: Site) -> EchoRunner:
        return cls(echo_directory(settings, site), site, cls.__name__.lower())

    spec = RunnerSpec(
        name=cls.__name__.lower(),
        summary="Broken.",
        create=create,
        settings=EchoSettings,
        config=Script,
        needs_image=False,
        applies=frozenset(Kind),
        watches=True,
        host_bound=True,
    )
    return attrs.evolve(spec, **CHANGES.get(cls.__name__, {}))


@hookimpl
def launch_register_runners() -> Iterable[RunnerSpec]:
    broken = [value for value in globals().values() if isinstance(value, type)]
    return [_of(cls) for cls in broken if issubclass(cls, EchoRunner) and cls.__module__ == __name__]
