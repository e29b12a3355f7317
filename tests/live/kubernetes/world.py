"""The world of the crash tests with Jobs of a cluster instead of processes; they write their own history."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch_k8s.errors import ApiAway, ApiError
from launch_k8s.names import ATTEMPT

from launchcore.plugin import RetryPolicy, RunSpec, SourceRef
from launchcore.queues.base import RunInfo
from tests.crash.world import AgentProcess, World, wait_until
from tests.live.kubernetes.cluster import LiveCluster
from tests.live.kubernetes.recorder import NOTE as RECORDED
from tests.live.kubernetes.recorder import Recorder

NOTE = """\
note() { read up rest < /proc/uptime; echo "$1 $LAUNCH_ATTEMPT_ID $up $$" >> /history/history; }
"""
JOB = """\
note start
number=0
while [ $number -lt $1 ]; do
  echo "line $number of $LAUNCH_ATTEMPT_ID"
  number=$((number + 1))
  usleep $2
done
note end
"""
"""Arguments: lines, microseconds for each."""

LEASE = "6"
"""Seconds."""
OURS = "app.kubernetes.io/managed-by=launchcore"


class KubernetesWorld(World):
    """Queue ``q`` is of type kubernetes. Its pods write their history to this machine, if it is their node;
    elsewhere a pod of the world's own takes it down."""

    def __init__(self, root: Path, cluster: LiveCluster) -> None:
        super().__init__(root)
        root.chmod(0o755)
        self.cluster = cluster
        self.namespaces = [cluster.namespace]
        self.history.unlink()
        shared = root / "shared"
        shared.mkdir()
        shared.chmod(0o777)
        self.history = shared / "history"
        self.history.touch()
        self.history.chmod(0o666)
        self.recorder: Recorder | None = None

    def queue(self, name: str = "q", **config: Any) -> None:
        target: dict[str, Any] = {"namespace": self.cluster.namespace, **config.pop("config", {})}
        merged: dict[str, Any] = {"type": "kubernetes", "config": target, "retry": RetryPolicy(max_lost=5)}
        super().queue(name, **{**merged, **config})

    def recording_queue(self, name: str = "q", **config: Any) -> None:
        """Its pods write down what they do."""
        target: dict[str, Any] = config.pop("config", {})
        if self.cluster.own is not None:
            path = {"path": f"{self.root}/shared"}
            volume = {"name": "history", "mount_path": "/history", "hostPath": path}
            target = {"volumes": [volume], "allow": ["host-path"], **target}
        else:
            self.recorder = self.recorder or Recorder(self.cluster)
            target = {"env": {"RECORDER": self.recorder.address}, **target}
        self.queue(name, config=target, **config)

    def records(self) -> list[tuple[str, str, float]]:
        if self.recorder is not None:
            self.history.write_text(self.recorder.lines())
        return super().records()

    def submit(self, *, seconds: float = 0.4, lines: int = 20, queue: str = "q", **spec: Any) -> str:
        pause = str(int(seconds / lines * 1e6))
        note = RECORDED if self.recorder is not None else NOTE
        return self.run("sh", "-c", note + JOB, "job", str(lines), pause, queue=queue, **spec)

    def run(self, *command: str, queue: str = "q", **spec: Any) -> str:
        """Submit any command."""
        source = SourceRef(type="image", fields={"image": spec.pop("image", self.cluster.image)})
        return self.service.submit(queue, RunSpec(source=source, command=command, **spec)).id

    def agent(
        self, name: str | None = "one", *, environ: Mapping[str, str] | None = None, **options: Any
    ) -> AgentProcess:
        # The first request of an agent, with the client's import, takes a second; on a busy machine more.
        more = {"KUBECONFIG": str(self.cluster.kubeconfig), "LAUNCHCORE_LEASE_SECONDS": LEASE}
        more = {**more, **(environ or {})}
        return super().agent(name, environ=more, **options)

    def ended(self, run_id: str, *, seconds: float = 60.0) -> RunInfo:
        """Wait for the end of one run."""
        try:
            wait_until("the run is over", lambda: self.service.run(run_id).state.final, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}") from None
        return self.service.run(run_id)

    def running(self, run_id: str, *, seconds: float = 60.0) -> None:
        """Wait until a run is reported as running."""

        def runs() -> bool:
            now = self.service.run(run_id)
            assert not now.state.final, f"{now.failure}\n{self.report()}"
            return now.state.value == "running"

        wait_until("the run runs", runs, seconds=seconds)

    def ours(self, *collections: str) -> list[dict[str, Any]]:
        """Objects of this world's attempts."""
        attempts = {attempt.id for run in self.runs() for attempt in run.attempts}
        return [
            each
            for namespace in self.namespaces
            for collection in collections
            for each in self.cluster.items(collection, namespace, labelSelector=OURS)
            if each["metadata"]["labels"].get(ATTEMPT) in attempts
        ]

    def pod(self, run_id: str) -> dict[str, Any]:
        """Wait for the pod of a run's last attempt."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [
                each
                for each in self.ours("pods")
                if each["metadata"]["labels"][ATTEMPT].startswith(f"{run_id}-")
            ]
            return bool(found)

        wait_until("there is a pod", there)
        return found[-1]

    def leftovers(self) -> list[str]:
        found = [
            f"{each['metadata']['namespace']}/{each['metadata']['name']} {each.get('status')}"
            for each in self.ours("jobs", "pods", "secrets", "configmaps", "services", "networkpolicies")
        ]
        return found + [str(path) for path in (self.state / "attempts").glob("*")]

    def report(self) -> str:
        with contextlib.suppress(ApiAway, ApiError):
            pods = [f"{each['metadata']['name']} {each.get('status')}" for each in self.ours("pods")]
            return "\n".join([super().report(), "--- pods", *pods])
        return super().report()

    def close(self) -> None:
        with contextlib.suppress(ApiAway, ApiError):
            if self.recorder is not None:
                self.recorder.close()
            for each in self.ours("jobs"):
                meta = each["metadata"]
                self.cluster.api.delete(f"{self.cluster.path('jobs', meta['namespace'])}/{meta['name']}")
            for each in self.ours("pods"):
                meta = each["metadata"]
                path = f"{self.cluster.path('pods', meta['namespace'])}/{meta['name']}"
                self.cluster.api.delete(path, grace=0)
        super().close()
