"""The scripted cluster's controllers and its one node: Jobs get pods, containers are processes."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launch_k8s.testing.api_store import Refused, Store, Thing, now


class Log:
    """What a container has printed: lines with their times, of nine digits as the node writes them."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self.over = False

    def add(self, line: bytes, at: str | None = None) -> None:
        with self._changed:
            self._lines.append((at or f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z", line))
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def rotate(self, keep: int) -> None:
        """The node moves all but the last lines away."""
        with self._changed:
            del self._lines[: len(self._lines) - keep]

    def lines(self, at: int) -> tuple[list[tuple[str, bytes]], int]:
        with self._changed:
            return self._lines[at:], len(self._lines)

    def wait(self, seconds: float) -> None:
        with self._changed:
            if not self.over:
                self._changed.wait(seconds)


class Machine:
    """Runs pods. A test may hold them back, or say itself what becomes of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._root = Path(tempfile.mkdtemp(prefix="launch-k8s-machine-"))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[tuple[str, str, int], Log] = {}
        self._known: set[str] = set()
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self.held: Callable[[Thing], bool] = lambda _pod: False
        """Pods that stay pending: a test sets their status itself."""
        self.pods_held = False
        """Jobs get no pods."""
        store.holds = self._runs

    def start(self) -> None:
        self._spawn(self._control)

    def close(self) -> None:
        self._closed.set()
        for process in list(self._processes.values()):
            _kill(process, signal.SIGKILL)
        for thread in self._threads:
            thread.join(timeout=10)
        shutil.rmtree(self._root, ignore_errors=True)

    def log(self, namespace: str, pod: str, container: str | None, *, previous: bool = False) -> Log:
        """The log of the latest start of a container, or the one before it."""
        del container  # one process stands for the pod
        starts = [number for where, name, number in self._logs if (where, name) == (namespace, pod)]
        if not starts:
            raise Refused(
                400, "BadRequest", f'container in pod "{pod}" is waiting to start: ContainerCreating'
            )
        wanted = max(starts) - (1 if previous else 0)
        if wanted not in starts:
            raise Refused(400, "BadRequest", f'previous terminated container in pod "{pod}" not found')
        return self._logs[namespace, pod, wanted]

    def begin_log(self, namespace: str, pod: str, start: int = 0) -> Log:
        """The log of a start that a test writes itself."""
        return self._logs.setdefault((namespace, pod, start), Log())

    # -- controllers -----------------------------------------------------------------------------

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _control(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(Refused):
                for job in self._store.items("jobs", ""):
                    self._job(job)
                for pod in self._store.items("pods", ""):
                    self._pod(pod)
            self._store.wait(0.2)

    def _job(self, job: Thing) -> None:
        meta, spec = job["metadata"], job["spec"]
        if meta.get("deletionTimestamp") or spec.get("suspend") or self.pods_held:
            return
        where, name = meta["namespace"], meta["name"]
        if meta["uid"] not in self._known:
            self._known.add(meta["uid"])
            self._store.set_status("jobs", where, name, startTime=now(), active=1)
            template = spec["template"]
            labels = {**(template["metadata"].get("labels") or {}), "job-name": name}
            owner = {"kind": "Job", "name": name, "uid": meta["uid"], "controller": True}
            pod = {
                "metadata": {"name": f"{name}-x7k2q", "labels": labels, "ownerReferences": [owner]},
                "spec": {"nodeName": "node-1", **template["spec"]},
                "status": {"phase": "Pending"},
            }
            self._store.create("pods", where, pod)
            return
        if any(each.get("status") == "True" for each in job["status"].get("conditions") or ()):
            return
        pods = [pod for pod in self._store.items("pods", where) if _owned(pod, meta["uid"])]
        phases = {pod["status"].get("phase") for pod in pods}
        if "Succeeded" in phases:
            self._finish_job(where, name, "Complete", "CompletionsReached")
        elif "Failed" in phases or not pods:
            self._finish_job(where, name, "Failed", "BackoffLimitExceeded")

    def _finish_job(self, where: str, name: str, kind: str, reason: str) -> None:
        condition = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": now()}
        done = {"completionTime": now()} if kind == "Complete" else {}
        self._store.set_status("jobs", where, name, conditions=[condition], active=None, **done)

    def _pod(self, pod: Thing) -> None:
        meta = pod["metadata"]
        uid = meta["uid"]
        if meta.get("deletionTimestamp"):
            if uid not in self._processes:
                self._store.remove("pods", meta["namespace"], meta["name"])
            elif f"stopping {uid} {meta.get('deletionGracePeriodSeconds')}" not in self._known:
                self._known.add(f"stopping {uid} {meta.get('deletionGracePeriodSeconds')}")
                grace = float(meta.get("deletionGracePeriodSeconds") or 0)
                self._spawn(self._stop, self._processes[uid], grace)
        elif uid not in self._known and pod["status"].get("phase") == "Pending" and not self.held(pod):
            self._known.add(uid)
            self._spawn(self._run, pod)

    # -- the node --------------------------------------------------------------------------------

    def _runs(self, plural: str, thing: Thing) -> bool:
        return plural == "pods" and thing["metadata"]["uid"] in self._processes

    def _run(self, pod: Thing) -> None:
        meta = pod["metadata"]
        where, name, uid = meta["namespace"], meta["name"], meta["uid"]
        container = pod["spec"]["containers"][0]
        environment, places = self._mounted(pod, container)
        words = self._root / uid / "termination-log"
        words.parent.mkdir(parents=True, exist_ok=True)
        places[container.get("terminationMessagePath") or "/dev/termination-log"] = str(words)
        command = [
            word.replace("$$", "$") for key in ("command", "args") for word in container.get(key) or ()
        ]
        for path, place in places.items():
            command = [word.replace(path, place) for word in command]
        log = self.begin_log(where, name)
        started = now()
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            why = {"reason": "StartError", "message": str(error), "exitCode": 128}
            log.end()
            self._status(where, name, container, "Failed", {"terminated": why})
            return
        self._processes[uid] = process
        self._status(where, name, container, "Running", {"running": {"startedAt": started}})
        assert process.stdout is not None
        for line in process.stdout:
            log.add(line)
        code = process.wait()
        process.stdout.close()
        message = words.read_text() if words.exists() else ""
        shutil.rmtree(self._root / uid, ignore_errors=True)
        log.end()
        code = 128 - code if code < 0 else code
        end = {
            "exitCode": code,
            "reason": "Error" if code else "Completed",
            "startedAt": started,
            "finishedAt": now(),
            "message": message,
        }
        self._status(where, name, container, "Failed" if code else "Succeeded", {"terminated": end})
        del self._processes[uid]
        with self._store.changed:
            self._store.changed.notify_all()

    def _status(self, where: str, name: str, container: Thing, phase: str, state: Thing) -> None:
        status = {"name": container["name"], "restartCount": 0, "ready": "running" in state, "state": state}
        self._store.set_status("pods", where, name, phase=phase, startTime=now(), containerStatuses=[status])

    def _stop(self, process: subprocess.Popen[bytes], grace: float) -> None:
        _kill(process, signal.SIGTERM)
        until = time.monotonic() + grace
        while process.poll() is None and time.monotonic() < until and not self._closed.is_set():
            time.sleep(0.02)
        _kill(process, signal.SIGKILL)

    def _mounted(self, pod: Thing, container: Thing) -> tuple[dict[str, str], dict[str, str]]:
        """The container's environment, and where its secret volumes are on this machine."""
        where, places = pod["metadata"]["namespace"], {}
        volumes = {each["name"]: each for each in pod["spec"].get("volumes") or ()}
        for mount in container.get("volumeMounts") or ():
            secret = (volumes.get(mount["name"]) or {}).get("secret")
            if secret is not None:
                place = self._root / pod["metadata"]["uid"] / mount["name"]
                place.mkdir(parents=True, exist_ok=True)
                values = self._secret(where, secret["secretName"])
                paths = {each["key"]: each["path"] for each in secret.get("items") or ()}
                for key, content in values.items():
                    if not paths or key in paths:
                        file = place / paths.get(key, key)
                        file.parent.mkdir(parents=True, exist_ok=True)
                        file.write_bytes(content)
                places[mount["mountPath"]] = str(place)
                if mount.get("subPath"):
                    places[mount["mountPath"]] = str(place / mount["subPath"])
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
        for each in container.get("env") or ():
            wanted = (each.get("valueFrom") or {}).get("secretKeyRef")
            if wanted is not None:
                value = self._secret(where, wanted["name"])[wanted["key"]].decode()
            else:
                value = str(each.get("value") or "").replace("$$", "$")
            for path, place_ in places.items():
                value = value.replace(path, place_)
            environment[each["name"]] = value
        return environment, places

    def _secret(self, where: str, name: str) -> dict[str, bytes]:
        until = time.monotonic() + 10
        while True:
            try:
                secret = self._store.get("secrets", where, name)
                break
            except Refused:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        plain = {key: value.encode() for key, value in (secret.get("stringData") or {}).items()}
        return {
            **{key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()},
            **plain,
        }


def _owned(pod: Thing, uid: str) -> bool:
    return any(each["uid"] == uid for each in pod["metadata"].get("ownerReferences") or ())


def _kill(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
