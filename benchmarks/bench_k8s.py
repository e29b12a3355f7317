"""Jobs through launchcore beside bare Jobs, in one run: ``python -m benchmarks.bench_k8s``.

JSON on standard output. Uses the cluster in KUBECONFIG, else the one that ``make cluster-up`` has made; where
there is none, it says so. Requests are counted in the API server's audit log, on a cluster of our own only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import psutil

from benchmarks.paper_node import NAME, QUEUE, paper_node
from launchcore.plugin import RunState
from scripts.cluster import Cluster, default_root
from tests.crash.world import wait_until
from tests.live.kubernetes.cluster import LiveCluster, live_cluster
from tests.live.kubernetes.world import OURS, KubernetesWorld

NOWHERE = {"launchcore.test/kind": "none"}


def until(what: str, condition: Callable[[], object], seconds: float, pause: float = 0.25) -> None:
    """Wait for a condition. Whoever asks an API server for hundreds of Jobs all the time measures himself."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(pause)


def bare_job(cluster: LiveCluster, command: list[str]) -> dict[str, Any]:
    """A Job like those that a queue without any configuration makes."""
    container = {
        "name": "main",
        "image": cluster.image,
        "command": command,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    user = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": user,
        "containers": [container],
    }
    spec = {"backoffLimit": 0, "ttlSecondsAfterFinished": 86400, "template": {"spec": pod}}
    name = f"bare-{uuid.uuid4().hex[:12]}"
    return {"metadata": {"name": name, "labels": {"bare": "yes"}}, "spec": spec}


def over(job: dict[str, Any]) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions)


def bare(cluster: LiveCluster, count: int) -> float:
    """Bare Jobs a second: create them, wait until all are over, remove them."""
    path = cluster.path("jobs")
    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: cluster.create(path, bare_job(cluster, ["true"])), range(count)))
    until(
        "all bare Jobs are over",
        lambda: sum(map(over, cluster.items("jobs", labelSelector="bare=yes"))) == count,
        seconds=1200,
    )
    took = time.perf_counter() - began
    cluster.api.delete(path, labelSelector="bare=yes")
    until("they are gone", lambda: not cluster.items("pods"), seconds=600)
    return count / took


def throughput(world: KubernetesWorld, count: int) -> dict[str, float]:
    """Runs of ``true`` a second, from the first submission to the last end, beside bare Jobs."""
    began = time.perf_counter()
    runs = [world.run("true") for _ in range(count)]
    for run in runs:
        world.ended(run, seconds=1200)
    ours = count / (time.perf_counter() - began)
    assert all(world.service.run(run).state is RunState.SUCCEEDED for run in runs), world.report()
    until("they are gone", lambda: not world.cluster.items("pods"), seconds=600)
    theirs = bare(world.cluster, count)
    return {
        "runs_per_s": round(ours, 2),
        "bare_per_s": round(theirs, 2),
        "share_of_bare": round(ours / theirs, 2),
    }


def latency(world: KubernetesWorld, count: int) -> dict[str, float]:
    """From submit to the Job in the cluster, and from there to its end; beside creating a bare one."""
    created, ended, plain = [], [], []
    path = world.cluster.path("jobs")
    for _ in range(count):
        began = time.perf_counter()
        run = world.run("true")
        wait_until("there is a Job", lambda: world.cluster.items("jobs", labelSelector="!bare"))
        created.append(time.perf_counter() - began)
        world.ended(run)
        ended.append(time.perf_counter() - began)
        wait_until("it is gone", lambda: not world.cluster.items("jobs"))
        began = time.perf_counter()
        made = world.cluster.create(path, bare_job(world.cluster, ["true"]))
        plain.append(time.perf_counter() - began)
        world.cluster.api.delete(f"{path}/{made['metadata']['name']}")
        wait_until("it is gone", lambda: not world.cluster.items("jobs"))
    return {
        "submit_to_job_p50_s": round(statistics.median(created), 3),
        "submit_to_ended_p50_s": round(statistics.median(ended), 3),
        "bare_create_p50_s": round(statistics.median(plain), 3),
    }


@attrs.frozen
class Requests:
    """Counts what the agent asks of the API server, from its audit log."""

    cluster: Cluster

    def mark(self) -> int:
        return self.cluster.audit_log.stat().st_size

    def since(self, mark: int) -> Counter[str]:
        """By verb and kind of object."""
        seen: dict[str, str] = {}
        with self.cluster.audit_log.open("rb") as log:
            log.seek(mark)
            for line in log:
                entry = json.loads(line)
                if entry["user"]["username"].startswith("system:serviceaccount:") and "objectRef" in entry:
                    asked = entry["objectRef"]
                    what = "/".join(filter(None, (asked.get("resource"), asked.get("subresource"))))
                    seen[entry["auditID"]] = f"{entry['verb']} {what}"
        return Counter(seen.values())


def requests(world: KubernetesWorld, count: int) -> dict[str, Any]:
    """API requests for each run, from submission until nothing is left."""
    assert world.cluster.own is not None
    counted = Requests(world.cluster.own)
    mark = counted.mark()
    for run in [world.run("echo", "hello") for _ in range(count)]:
        world.ended(run, seconds=600)
    wait_until("nothing is left", lambda: not world.leftovers(), seconds=120)
    found = counted.since(mark)
    return {
        "per_run": round(found.total() / count, 2),
        "by_kind": {what: round(number / count, 2) for what, number in found.most_common()},
    }


def tracked(
    world: KubernetesWorld, pid: int, counts: tuple[int, ...], seconds: float, *, queue: str, phase: str
) -> dict[str, Any]:
    """The agent's memory and requests while it looks after a few Jobs, and after many.

    :param counts: how many there are at each look.
    :param phase: of their pods, for which is waited.
    """
    process = psutil.Process(pid)
    found: dict[str, Any] = {}
    there = 0
    for count in counts:
        for _ in range(count - there):
            world.run("true", queue=queue)
        there = count
        wait_for_pods(world, count, phase)
        time.sleep(2 * seconds)  # starting them is measured elsewhere
        mark = Requests(world.cluster.own).mark() if world.cluster.own else 0
        used = sum(process.cpu_times()[:2])
        time.sleep(seconds)
        found[f"at_{count}"] = {
            "rss_mb": round(process.memory_info().rss / 1e6, 1),
            "threads": process.num_threads(),
            "cpu_percent": round(100 * (sum(process.cpu_times()[:2]) - used) / seconds, 1),
        }
        if world.cluster.own:
            asked = Requests(world.cluster.own).since(mark)
            found[f"at_{count}"]["requests_per_s"] = round(asked.total() / seconds, 2)
    few, many = counts[0], counts[-1]
    more = found[f"at_{many}"]["rss_mb"] - found[f"at_{few}"]["rss_mb"]
    return {**found, "kb_per_run": round(1e3 * more / (many - few), 1)}


def wait_for_pods(world: KubernetesWorld, count: int, phase: str) -> None:
    def there() -> bool:
        pods = world.cluster.items("pods", labelSelector=OURS)
        return [(each.get("status") or {}).get("phase") for each in pods].count(phase) == count

    until(f"all have pods that are {phase}", there, seconds=900)


def cleared(world: KubernetesWorld) -> None:
    """Remove all Jobs at once, behind the back of an agent that is no more."""
    world.cluster.api.delete(world.cluster.path("jobs"))
    until("the pods are gone", lambda: not world.cluster.items("pods"), seconds=600)


def running(world: KubernetesWorld, environ: dict[str, str], quick: bool) -> dict[str, Any]:
    """Jobs that run, on a node that is there on paper; an agent of their own, since one that has done other
    things has memory to spare."""
    with paper_node(world.cluster):
        world.queue(NAME, max_running=None, config=QUEUE)
        agent = world.agent("paper", queues=(NAME,), environ=environ)
        counts, seconds = ((10, 40), 2.0) if quick else ((10, 100, 1000), 10.0)
        try:
            return tracked(world, agent.pid, counts, seconds, queue=NAME, phase="Running")
        finally:
            agent.kill()
            cleared(world)


@contextlib.contextmanager
def agent_kubeconfig(cluster: LiveCluster, folder: Path) -> Iterator[Path]:
    """Credentials of the agent's own, so that its requests can be told from ours."""
    home = cluster.make_namespace("lc-bench")
    cluster.create(f"/api/v1/namespaces/{home}/serviceaccounts", {"metadata": {"name": "agent"}})
    binding = f"launchcore-{home}"
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subjects = [{"kind": "ServiceAccount", "name": "agent", "namespace": home}]
    cluster.create(bindings, {"metadata": {"name": binding}, "roleRef": role, "subjects": subjects})
    try:
        yield cluster.token_kubeconfig(folder / "kubeconfig", "agent", home, cluster.namespace)
    finally:
        cluster.api.delete(f"{bindings}/{binding}")
        cluster.remove_namespace(home)


def measure(quick: bool) -> dict[str, Any]:
    if not os.environ.get("KUBECONFIG") and not Cluster(default_root()).runs():
        return {"not_measured": "no cluster: make cluster-up, or set KUBECONFIG"}
    found: dict[str, Any] = {}
    with live_cluster() as cluster:
        world = KubernetesWorld(Path(tempfile.mkdtemp(prefix="lc-")), cluster)
        try:
            with agent_kubeconfig(cluster, world.root) as kubeconfig:
                world.queue(max_running=None)
                world.queue("waiting", max_running=None, config={"node_selector": NOWHERE})
                environ = {"KUBECONFIG": str(kubeconfig), "LAUNCHCORE_LEASE_SECONDS": "30"}
                agent = world.agent(queues=("q", "waiting"), environ=environ)
                world.ended(world.run("true"))
                found["latency"] = latency(world, 3 if quick else 10)
                if cluster.own:
                    found["requests"] = requests(world, 5 if quick else 20)
                found["jobs_20"] = throughput(world, 20)
                if not quick:
                    found["jobs_200"] = throughput(world, 200)
                few, many, seconds = (10, 40, 2.0) if quick else (10, 300, 10.0)
                waiting = tracked(world, agent.pid, (few, many), seconds, queue="waiting", phase="Pending")
                found["waiting"] = waiting
                agent.kill()
                cleared(world)
                if cluster.own:
                    found["running"] = running(world, environ, quick)
        finally:
            world.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples: does it work at all?")
    print(json.dumps(measure(parser.parse_args().quick), indent=2))


if __name__ == "__main__":
    main()
