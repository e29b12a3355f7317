"""The runner: plans in, a keeper's requests out; records in, statuses out."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from launchcore.builtin.process import procfs
from launchcore.builtin.process.client import ANSWER_SECONDS, KeeperClient, NoKeeper, Unreachable
from launchcore.builtin.process.command import inspect
from launchcore.builtin.process.diagnosis import not_executed, status_of
from launchcore.builtin.process.environment import Environments, Prepared
from launchcore.builtin.process.output import read_log
from launchcore.builtin.process.records import Place, all_places, safe_name
from launchcore.builtin.process.settings import ProcessConfig, ProcessSettings
from launchcore.builtin.process.variables import all_labels, environment_of, inherited
from launchcore.builtin.process.watch import Watch
from launchcore.builtin.process.wire import FileOrder, Order
from launchcore.plugin import (
    Given,
    LaunchError,
    LogBatch,
    OnChange,
    Phase,
    Reason,
    RunHandle,
    RunPlan,
    RunStatus,
    Site,
    StageContext,
)

NAME = "process"


class ProcessRunner:
    """Implements :class:`launchcore.plugin.Runner`. See :mod:`.keeper` for who does the work.

    All agents of one owner (one queue service) that share a state directory share a keeper, so that
    each finds what another has started. A handle has the keeper's directory, so that it can be used
    from another state directory of the same account as well.
    """

    def __init__(self, settings: ProcessSettings, site: Site) -> None:
        self._settings = settings
        self._site = site
        folder = site.state / "process" / safe_name(site.owner)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root = folder.resolve()
        self._environments = Environments(settings, site.cache / "venvs")
        self._base = inherited(os.environ, settings.inherit)
        self._clients: dict[Path, KeeperClient] = {}
        self._known: dict[str, RunHandle] = {}
        self._watch: Watch | None = None
        self._lock = threading.Lock()

    # -- starting ------------------------------------------------------------------------------

    def prepare(self, plan: RunPlan, given: Given, context: StageContext) -> None:
        self._environments.prepare(plan, given, context)

    def start(self, plan: RunPlan, given: Given) -> RunHandle:
        if not plan.command:
            raise LaunchError(
                "there is no command to run",
                reason=Reason.USER_ERROR,
                hint="give one after `--`, or let the job have one",
            )
        plan.scratch.mkdir(parents=True, exist_ok=True)
        prepared = self._environments.take(plan) or self._environments.prepare(plan, given, None)
        order = self._order(plan, given, prepared)
        early = plan.attempt_id not in self._known
        if early:  # its end may be pushed before the answer comes
            self._known[plan.attempt_id] = self._handle(plan.attempt_id, None)
        try:
            started = self._started(order)
        except BaseException:
            if early:
                self._known.pop(plan.attempt_id, None)
            raise
        handle = self._handle(plan.attempt_id, started)
        self._known[plan.attempt_id] = handle
        return handle

    def _order(self, plan: RunPlan, given: Given, prepared: Prepared) -> Order:
        config: ProcessConfig = plan.settings
        cwd = plan.tree.path if plan.tree is not None else plan.scratch
        env = environment_of(
            plan,
            given,
            base=self._base,
            queue_env=config.env,
            owner=self._site.owner,
            keeper=str(self._root),
            venv=prepared.venv,
            python_path=prepared.python_path,
            bin_path=prepared.bin_path,
        )
        # Whoever gives up waiting for the answer must know that nothing starts afterwards.
        latest = time.time() + ANSWER_SECONDS
        return Order(
            attempt=plan.attempt_id,
            run=plan.run_id,
            queue=plan.queue,
            owner=self._site.owner,
            argv=list(plan.command),
            env=env,
            cwd=str(cwd.resolve()),
            scratch=str(plan.scratch.resolve()),
            files=[
                FileOrder(name=file.name, content=file.content.reveal(), path_env=file.path_env)
                for file in given.files
            ],
            labels=all_labels(plan, given),
            nice=config.nice,
            cgroups=self._settings.cgroups,
            run_seconds=plan.limits.run_seconds,
            memory_bytes=plan.limits.memory_bytes,
            grace=plan.limits.grace_seconds,
            start_before=latest if plan.start_before is None else min(latest, plan.start_before),
        )

    def _started(self, order: Order) -> Mapping[str, Any]:
        client = self._client(self._root)
        try:
            answer = client.ask({"op": "start", "order": order})
        except Unreachable:
            # It may have been started, and the answer lost. Find it, or make sure that it never is.
            answer = client.ask({"op": "find", "attempt": order["attempt"]})
            if answer.get("started") is None:
                raise
        if "error" in answer:
            raise self._not_started(answer, order)
        started: Mapping[str, Any] = answer["started"]
        return started

    def _not_started(self, answer: Mapping[str, Any], order: Order) -> LaunchError:
        detail = f"not started: {answer['detail']}"
        if answer["error"] == "not_executed":
            path = order["env"].get("PATH", os.defpath)
            return not_executed(inspect(answer, order["argv"][0], Path(order["cwd"]), path))
        if answer["error"] == "unusable":
            return LaunchError(detail, reason=Reason.USER_ERROR)
        return LaunchError(detail, reason=Reason.INFRASTRUCTURE, retryable=answer["error"] == "failed")

    def find(self, attempt_id: str) -> RunHandle | None:
        answer = self._client(self._root).ask({"op": "find", "attempt": attempt_id})
        if "error" in answer:
            raise LaunchError(f"cannot make sure that {attempt_id} never starts: {answer['detail']}")
        started = answer["started"]
        return None if started is None else self._handle(attempt_id, started)

    # -- looking -------------------------------------------------------------------------------

    def poll(self, handles: Sequence[RunHandle]) -> Mapping[str, RunStatus]:
        found: dict[str, RunStatus] = {}
        by_root: dict[Path, list[RunHandle]] = {}
        for handle in handles:
            host = handle.data.get("host", self._site.host)
            if host != self._site.host:
                found[handle.key] = _unknown(f"it runs on {host}, and can be seen from there only")
                continue
            self._known.setdefault(handle.attempt_id, handle)
            by_root.setdefault(self._root_of(handle), []).append(handle)
        for root, some in by_root.items():
            found.update(self._poll(root, [handle.attempt_id for handle in some]))
            if self._watch is not None:
                self._watch.add(self._client(root))
        return found

    def _poll(self, root: Path, attempts: list[str]) -> dict[str, RunStatus]:
        try:
            answer = self._statuses(root, attempts)
        except LaunchError as error:
            return {each: _unknown(error.detail) for each in attempts}
        return {each: status_of(answer.get(each)) for each in attempts}

    def _statuses(self, root: Path, attempts: list[str]) -> Mapping[str, Any]:
        """From the keeper; without one, from the records, if they say all that there is to say."""
        request = {"op": "status", "attempts": attempts}
        try:
            answer = self._client(root).ask(request, start=False)
        except NoKeeper:
            places = {each: Place(root, each) for each in attempts}
            records = {each: place.read() for each, place in places.items()}
            found = {each: record for each, record in records.items() if record is not None}
            if all("exit" in record for record in found.values()):
                return found
            answer = self._client(root).ask(request)
        if "error" in answer:
            raise LaunchError(str(answer["detail"])) from None
        statuses: Mapping[str, Any] = answer["found"]
        return statuses

    def logs(self, handle: RunHandle, cursor: str | None, limit: int) -> LogBatch:
        return read_log(Place(self._root_of(handle), handle.attempt_id), cursor, limit)

    def watch(self, on_change: OnChange) -> AbstractContextManager[None]:
        def deliver(root: Path, event: Mapping[str, Any]) -> None:
            attempt = event["attempt"]
            known = self._known.get(attempt)
            if known is not None and self._root_of(known) == root:
                on_change(self._handle(attempt, event["started"], root), status_of(event))

        watch = Watch(deliver, self._client(self._root))
        self._watch = watch
        return watch

    def owned(self) -> Sequence[RunHandle]:
        records = [record["started"] for _, record in all_places(self._root) if record is not None]
        found = {each["attempt"]: self._handle(each["attempt"], each) for each in records}
        ours = procfs.mark(procfs.KEEPER_MARK, str(self._root))
        for pid in procfs.snapshot():  # records may have been deleted; what runs is ours all the same
            data = procfs.environment(pid)
            if ours in data:
                attempt = procfs.value_of(data, procfs.ATTEMPT_MARK)
                if attempt and attempt not in found:
                    found[attempt] = self._handle(attempt, None)
        return list(found.values())

    # -- ending --------------------------------------------------------------------------------

    def cancel(self, handle: RunHandle, grace: float) -> None:
        self._tell(handle, {"op": "cancel", "attempt": handle.attempt_id, "grace": grace})

    def cleanup(self, handle: RunHandle) -> None:
        self._tell(handle, {"op": "cleanup", "attempt": handle.attempt_id})
        self._known.pop(handle.attempt_id, None)

    def _tell(self, handle: RunHandle, request: Mapping[str, Any]) -> None:
        host = handle.data.get("host", self._site.host)
        if host != self._site.host:
            raise LaunchError(f"{handle.attempt_id} runs on {host}, and can be reached from there only")
        answer = self._client(self._root_of(handle)).ask(request)
        if "error" in answer:
            raise LaunchError(f"the keeper of processes failed: {answer['detail']}")

    # -- inside --------------------------------------------------------------------------------

    def _client(self, root: Path) -> KeeperClient:
        with self._lock:
            if root not in self._clients:
                self._clients[root] = KeeperClient(root, idle_seconds=self._settings.idle_seconds)
            return self._clients[root]

    def _handle(
        self, attempt_id: str, started: Mapping[str, Any] | None, root: Path | None = None
    ) -> RunHandle:
        data = {"directory": str(root or self._root), "host": self._site.host}
        if started is not None:
            data["pid"] = started["pid"]
        return RunHandle(runner=NAME, attempt_id=attempt_id, data=data)

    def _root_of(self, handle: RunHandle) -> Path:
        """The keeper's directory that a handle names, if it is this account's and nobody else's.

        Handles come back from a queue service, which is not to point us at any directory it likes.
        """
        named = handle.data.get("directory")
        if not isinstance(named, str) or named == str(self._root):
            return self._root
        try:
            found = Path(named).lstat()
        except (OSError, ValueError):
            return self._root
        private = found.st_uid == os.getuid() and not found.st_mode & 0o077
        return Path(named) if private and (Path(named) / "keeper.lock").is_file() else self._root


def _unknown(why: str) -> RunStatus:
    return RunStatus(phase=Phase.UNKNOWN, message=why)
