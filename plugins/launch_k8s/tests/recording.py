"""Records what a real cluster says about runs: ``python plugins/launch_k8s/tests/recording.py [NAME …]``.

Needs ``kubectl`` on PATH and KUBECONFIG; the cluster's nodes need the image that IMAGE names. It makes a
namespace, lets each scenario come to its moment, writes ``data/<name>.json`` and removes the namespace.
``test_diagnosis.py`` says what each has to mean. A pod that is removed meanwhile is kept as it was last.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from launch_k8s.manifest import in_namespace
from launch_k8s.settings import RunConfig
from launch_k8s.testing.samples import rendered

from launchcore.plugin import ImageRef, Limits

NAMESPACE = "launch-recording"
DATA = Path(__file__).parent / "data"
IMAGE = os.environ.get("IMAGE", "launchcore.test/busybox:1")
SMALL = {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}


def kubectl(*words: str, given: object = None, check: bool = True) -> str:
    done = subprocess.run(
        ["kubectl", "-n", NAMESPACE, *words],
        input=None if given is None else json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if check and done.returncode:
        raise RuntimeError(f"kubectl {' '.join(words)}: {done.stderr}")
    return done.stdout


def items(kind: str, selector: str = "") -> list[dict[str, Any]]:
    words = ["get", kind, "-o", "json", *(["-l", selector] if selector else [])]
    found: list[dict[str, Any]] = json.loads(kubectl(*words))["items"]
    return found


class Scenario:
    """One run: what it is, when it is looked at, and what is done to it meanwhile."""

    def __init__(
        self,
        *command: str,
        config: RunConfig | None = None,
        limits: Limits | None = None,
        image: str = IMAGE,
        when: str | float = "ended",
        then: Sequence[str] = (),
        running: bool = True,
    ) -> None:
        self.command = command
        self.config = config or RunConfig()
        self.limits = limits or Limits(grace_seconds=1)
        self.image = image
        self.when = when
        self.then = tuple(then)
        self.running = running


def pod(*containers: Mapping[str, Any], **spec: Any) -> RunConfig:
    return RunConfig(pod_template={"spec": {"containers": list(containers), **spec}})


SLEEP = ("sleep", "300")
SIDE = {"name": "side", "image": IMAGE, "args": ["sleep", "300"]}
INIT = {"name": "init", "image": IMAGE, "args": ["sh", "-c", "exit 7"]}
SCENARIOS: dict[str, Scenario] = {
    "succeeded": Scenario("true"),
    "exit-3": Scenario("sh", "-c", "exit 3"),
    "exit-139": Scenario("sh", "-c", "exit 139"),
    "oom": Scenario(
        "dd",
        "if=/dev/zero",
        "of=/dev/null",
        "bs=200M",
        config=RunConfig(resources={"limits": {"memory": "24Mi"}}),
    ),
    "command-not-found": Scenario("no-such-command"),
    "running": Scenario(*SLEEP, when=8.0),
    "image-host-away": Scenario("true", image="127.0.0.1:1/none:1", when=25.0),
    "image-host-unknown": Scenario("true", image="registry.invalid/none:1", when=25.0),
    "image-never-pulled": Scenario("true", image="none:1", config=RunConfig(pull="never"), when=10.0),
    "image-name-invalid": Scenario("true", image="UPPER//x:::", when=10.0),
    "unschedulable-memory": Scenario(
        "true", config=RunConfig(resources={"requests": {"memory": "900Ti"}}), when=12.0
    ),
    "limit-range": Scenario("true", config=RunConfig(resources={"requests": {"cpu": 900}}), when=12.0),
    "preempted": Scenario(
        *SLEEP,
        config=RunConfig(priority_class="recording-low", resources={"requests": {"cpu": "1200m"}}),
        then=("preempt",),
    ),
    "unschedulable-gpu": Scenario("true", config=RunConfig(gpus=8, unschedulable_seconds=5.0), when=12.0),
    "unschedulable-selector": Scenario("true", config=RunConfig(node_selector={"no": "such"}), when=12.0),
    "gated": Scenario("true", config=pod({}, schedulingGates=[{"name": "example.org/wait"}]), when=8.0),
    "claim-missing": Scenario(
        "true",
        config=RunConfig(
            volumes=({"name": "d", "persistentVolumeClaim": {"claimName": "none"}, "mount_path": "/d"},)
        ),
        when=8.0,
    ),
    "secret-missing": Scenario(
        "true",
        config=pod({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "a"}}}]}),
        when=65.0,
    ),
    "config-map-missing": Scenario(
        "true",
        config=RunConfig(volumes=({"name": "c", "configMap": {"name": "none"}, "mount_path": "/c"},)),
        when=65.0,
    ),
    "init-failed": Scenario("true", config=pod({}, initContainers=[INIT])),
    "native-sidecar": Scenario(
        "true", config=pod({}, initContainers=[{**SIDE, "restartPolicy": "Always"}]), when=10.0
    ),
    "plain-sidecar": Scenario("true", config=pod({}, SIDE), when=10.0),
    "plain-sidecar-failed": Scenario("sh", "-c", "exit 5", config=pod({}, SIDE), when=10.0),
    "deadline-of-the-pod": Scenario(
        *SLEEP, config=RunConfig(start_allowance_seconds=1), limits=Limits(run_seconds=3, grace_seconds=1)
    ),
    "deadline-of-the-job": Scenario(
        *SLEEP,
        config=RunConfig(
            api_version="batch/v1", kind="Job", spec={"activeDeadlineSeconds": 4, "template": {"spec": {}}}
        ),
    ),
    "suspended": Scenario(
        "true", config=RunConfig(api_version="batch/v1", kind="Job", spec={"suspend": True}), when=12.0
    ),
    "quota": Scenario(
        "true", config=RunConfig(resources={"requests": {"cpu": 800}, "limits": {"cpu": 800}}), when=12.0
    ),
    "service-account-missing": Scenario("true", config=RunConfig(service_account="nobody"), when=12.0),
    "pod-deleted": Scenario(*SLEEP, then=("delete", "pod", "--wait=false", "-l")),
    "job-deleted": Scenario(
        *SLEEP, then=("delete", "job", "--wait=false", "--cascade=foreground", "-l"), when=6.0
    ),
    "evicted-by-api": Scenario(*SLEEP, then=("evict",)),
    "storage-exceeded": Scenario(
        "sh",
        "-c",
        "dd if=/dev/zero of=/tmp/x bs=1M count=30; sleep 300",
        config=RunConfig(resources={"limits": {"ephemeral-storage": "4Mi"}}),
        when=60.0,
    ),
    "two-pods-one-failed": Scenario(
        "sh",
        "-c",
        "[ $JOB_COMPLETION_INDEX = 1 ] && exit 9; sleep 300",
        config=RunConfig(
            api_version="batch/v1",
            kind="Job",
            spec={"parallelism": 2, "completions": 2, "completionMode": "Indexed"},
        ),
    ),
    "crash-loop": Scenario(
        "sh",
        "-c",
        "exit 4",
        config=RunConfig(
            api_version="batch/v1",
            kind="Job",
            spec={
                "backoffLimit": 5,
                "template": {"spec": {"restartPolicy": "OnFailure", "containers": [{}]}},
            },
        ),
        when=15.0,
    ),
}


def start(name: str, scenario: Scenario) -> str:
    run = name.replace("-", "")
    made = rendered(
        scenario.config,
        command=scenario.command,
        image=ImageRef(name=scenario.image),
        limits=scenario.limits,
        run_id=run,
        attempt_id=f"{run}-1",
        labels={},
    )
    kubectl("create", "-f", "-", given=in_namespace(made, NAMESPACE).main)
    return f"launchcore.io/attempt={run}-1"


def follow(selector: str, into: Path) -> subprocess.Popen[bytes]:
    """Write every version of every pod."""
    words = ["get", "pods", "-l", selector, "-o", "json", "--watch", "--output-watch-events"]
    with into.open("wb") as file:
        return subprocess.Popen(["kubectl", "-n", NAMESPACE, *words], stdout=file)


def last_versions(file: Path) -> list[dict[str, Any]]:
    """The last version of each pod before it was removed."""
    text, at, found = file.read_text(), 0, {}
    while at < len(text):
        event, at = json.JSONDecoder().raw_decode(text, at)
        at += len(text[at:]) - len(text[at:].lstrip())
        if event["type"] != "DELETED":
            found[event["object"]["metadata"]["name"]] = event["object"]
    return list(found.values())


def observe(selector: str, versions: Path | None = None) -> dict[str, Any]:
    """Everything that the API says, as it says it; only managedFields are left out."""
    mains, pods = items("jobs", selector), items("pods", selector)
    if versions is not None:
        pods = last_versions(versions)
    uids = {each["metadata"]["uid"] for each in [*mains, *pods]}
    events = [each for each in items("events") if each["involvedObject"].get("uid") in uids]
    for each in [*mains, *pods, *events]:
        each["metadata"].pop("managedFields", None)
    found = {"at": round(time.time(), 3), "main": mains[0] if mains else None, "pods": pods}
    return {**found, "events": [each for each in events if each["type"] != "Normal"]}


def over(seen: Mapping[str, Any]) -> bool:
    conditions = ((seen["main"] or {}).get("status") or {}).get("conditions") or ()
    return any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions)


def is_running(seen: Mapping[str, Any]) -> bool:
    return any(each["status"].get("phase") == "Running" for each in seen["pods"])


def act(scenario: Scenario, selector: str, seen: Mapping[str, Any]) -> None:
    name = seen["pods"][0]["metadata"]["name"]
    if scenario.then == ("evict",):
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": NAMESPACE},
        }
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
        kubectl("create", "--raw", path, "-f", "-", given=body)
    elif scenario.then == ("preempt",):
        resources = {"requests": {"cpu": "1200m"}}
        config = RunConfig(priority_class="recording-high", resources=resources)
        start("higher", Scenario("true", config=config))
    else:
        kubectl(*scenario.then, selector)


def record(names: Sequence[str], save: Callable[[str, Mapping[str, Any]], None]) -> None:
    begun, folder = {}, Path(tempfile.mkdtemp(prefix="recording-"))
    watches: dict[str, subprocess.Popen[bytes]] = {}
    for name in names:
        begun[name] = (time.time(), start(name, SCENARIOS[name]))
        if SCENARIOS[name].then:
            watches[name] = follow(begun[name][1], folder / name)
    acted: dict[str, float] = {}
    until = time.time() + 150
    while begun and time.time() < until:
        for name, (at, selector) in list(begun.items()):
            scenario, seen = SCENARIOS[name], observe(selector)
            if name in watches and over(seen):
                seen = observe(selector, folder / name)
            if scenario.then and name not in acted:
                if is_running(seen):
                    act(scenario, selector, seen)
                    acted[name] = time.time()
                continue
            since = time.time() - acted.get(name, at)
            if over(seen) if scenario.when == "ended" else since >= float(scenario.when):
                save(name, seen)
                del begun[name]
        time.sleep(0.5)
    if begun:
        print("never came to their moment:", *begun)
    for watch in watches.values():
        watch.terminate()
        watch.wait()


def main(names: Sequence[str]) -> None:
    kubectl("create", "namespace", NAMESPACE, check=False)
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q"},
        "spec": {"hard": {"limits.cpu": "700"}},
    }
    limits = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "l"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1m"}}]},
    }
    deadline = time.time() + 20
    while not kubectl("get", "serviceaccount", "default", check=False) and time.time() < deadline:
        time.sleep(0.5)

    def save(name: str, seen: Mapping[str, Any]) -> None:
        (DATA / f"{name}.json").write_text(json.dumps(seen, indent=1, sort_keys=True) + "\n")
        print("recorded", name, flush=True)

    try:
        classes = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
        for name, value in (("recording-low", -10), ("recording-high", 10)):
            kubectl("apply", "-f", "-", given={**classes, "metadata": {"name": name}, "value": value})
        if {"quota", "limit-range"} & set(names):
            for each in (quota, limits):
                kubectl("apply", "-f", "-", given=each)
        record(names, save)
    finally:
        kubectl("delete", "priorityclass", "recording-low", "recording-high", check=False)
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")


if __name__ == "__main__":
    main(sys.argv[1:] or list(SCENARIOS))
