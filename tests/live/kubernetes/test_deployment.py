"""The agent as the chart deploys it: its manifests, its role, its pod."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from launch_docker.testing.fixtures import docker_machine
from launch_docker.testing.machine import Machine
from launch_k8s.checks import RULES

from launchcore.plugin import Limits, QueueConfig, RunSpec, RunState, Secret, SourceRef
from launchcore.queues.base import Service
from launchcore.queues.connect import open_service
from launchcore.queues.http_settings import HttpSettings
from scripts.cluster import Cluster
from tests.crash import invariants
from tests.crash.world import AgentProcess, wait_until
from tests.live.kubernetes import agent_image, chart
from tests.live.kubernetes.cluster import LiveCluster
from tests.live.kubernetes.world import KubernetesWorld

__all__ = ["docker_machine"]

pytestmark = [pytest.mark.live, pytest.mark.slow]

PLUGINS = ("k8s", "kaniko", "aws")
"""What the image of the Dockerfile has."""
SELDOM = {
    ("events", "list"),  # when a pod's own words do not say why it waits
    ("jobs", "get"),  # when the answer to a creation was lost; the same for the next four
    ("secrets", "get"),
    ("configmaps", "get"),
    ("services", "get"),
    ("networkpolicies", "get"),
    ("networkpolicies", "create"),  # as for services
    ("resourcequotas", "list"),  # `launch doctor`
}
"""What the role allows and a usual journey does not need."""


# -- the chart ---------------------------------------------------------------------------------------


def test_the_manifests_are_the_charts() -> None:
    """``deploy/kubernetes/agent.yaml`` is what the chart makes without any values."""
    assert chart.rendered("launchcore-agent", "launchcore") == chart.PLAIN.read_text()


def test_the_chart_is_sound() -> None:
    told = chart.helm("lint", "--strict", str(chart.CHART), check=False)
    assert told.returncode == 0, told.stdout


def test_a_value_that_cannot_be_is_refused() -> None:
    command = ("template", "x", str(chart.CHART), "--kube-version", "v1.33.0", "--values", "-")
    wrong: list[dict[str, object]] = [
        {"queues": []},
        {"namespaces": ["No"]},
        {"maxJobs": "m"},
        {"unknown": 1},
    ]
    for values in wrong:
        told = chart.helm(*command, stdin=json.dumps(values), check=False)
        assert told.returncode != 0, values
        assert "schema" in told.stderr, told.stderr


def test_several_namespaces_and_kinds() -> None:
    """Each namespace gets the role; the release's own only when it is among them."""
    kinds = [{"apiGroup": "kubeflow.org", "resources": ["pytorchjobs"]}]
    values = {"namespaces": ["a", "b"], "rbac": {"customResources": kinds, "objects": False}}
    made = chart.manifests(chart.rendered("agent", "home", values))
    roles = [each for each in made if each["kind"] == "Role"]
    bindings = [each for each in made if each["kind"] == "RoleBinding"]

    assert [each["metadata"]["namespace"] for each in roles] == ["a", "b"]
    assert [each["metadata"]["namespace"] for each in bindings] == ["a", "b"]
    assert {each["subjects"][0]["namespace"] for each in bindings} == {"home"}
    rules = {resource: rule["verbs"] for rule in roles[0]["rules"] for resource in rule["resources"]}
    assert "create" in rules["pytorchjobs"]
    assert "services" not in rules
    (config,) = (each for each in made if each["kind"] == "ConfigMap")
    said = yaml.safe_load(config["data"]["launch-config.yaml"])
    assert said["plugins"]["kubernetes"]["namespaces"] == ["a", "b"]


def test_the_role_is_what_doctor_asks_for() -> None:
    made = chart.manifests(chart.PLAIN.read_text())
    (role,) = (each for each in made if each["kind"] == "Role")
    allowed = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {(rule.group, rule.things, verb) for rule in RULES for verb in rule.verbs} <= allowed


def test_the_configuration_is_one_that_the_agent_takes(tmp_path: Path) -> None:
    made = chart.manifests(chart.PLAIN.read_text())
    (config,) = (each for each in made if each["kind"] == "ConfigMap")
    path = tmp_path / "launch-config.yaml"
    path.write_text(
        config["data"]["launch-config.yaml"].replace("/var/run/secrets/launchcore", str(tmp_path))
    )
    (tmp_path / "token").write_text("lct_0123")
    command = [sys.executable, "-m", "launchcore", "config", "check", "--config", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


# -- the role ----------------------------------------------------------------------------------------


@pytest.fixture
def account(cluster: LiveCluster, tmp_path: Path) -> Iterator[tuple[Path, str, str]]:
    """A kubeconfig with the token of the chart's service account, and two namespaces that it may use."""
    home, first, second = (cluster.make_namespace(prefix) for prefix in ("lc-home", "lc-a", "lc-b"))
    made = chart.manifests(chart.rendered("agent", home, {"namespaces": [first, second]}))
    paths = {
        "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
        "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
        "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    }
    for each in made:
        if each["kind"] in paths:
            cluster.create(paths[each["kind"]].format(each["metadata"]["namespace"]), each)
    path = cluster.token_kubeconfig(tmp_path / "kubeconfig", "agent", home, first)
    yield path, first, second
    for namespace in (home, first, second):
        cluster.remove_namespace(namespace)


def test_the_role_is_enough_and_not_more(world: KubernetesWorld, account: tuple[Path, str, str]) -> None:
    """The suite's core with the service account's token: nothing is refused, nothing is allowed in vain."""
    kubeconfig, first, second = account
    world.namespaces += [first, second]
    environ = {"KUBECONFIG": str(kubeconfig), "CANARY": "s3cret"}
    config = world.root / "agent.yaml"
    plugins = {"kubernetes": {"namespaces": [first, second]}}
    config.write_text(json.dumps({"secrets": {"CANARY": {"env": "CANARY"}}, "plugins": plugins}))
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}, "data": {"a": "b"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "head"}, "spec": {"clusterIP": "None"}},
    ]
    world.queue("a", config={"namespace": first, "objects": objects})
    world.queue("b", config={"namespace": second, "node_selector": {"launchcore.test/kind": "none"}})
    world.queue("c", config={"namespace": second})
    agent = world.agent("one", queues=("a", "b", "c"), environ=environ, args=("--config", str(config)))
    began = time.time()

    good = world.run("sh", "-c", "echo ${#CANARY}", queue="a", secrets=("CANARY",))
    bad = world.run("sh", "-c", "exit 3", queue="c")
    waits = world.run("true", queue="b")
    long = world.run("sh", "-c", "echo up; exec sleep 300", queue="c", limits=Limits(grace_seconds=1.0))
    assert world.ended(good).state is RunState.SUCCEEDED, world.report()
    assert world.log(good).endswith(b"6\n")
    assert world.ended(bad).exit_code == 3
    wait_until("it runs", lambda: b"up\n" in world.log(long))
    world.pod(waits)
    agent.kill()
    world.agent("two", queues=("a", "b", "c"), environ=environ, args=("--config", str(config)))
    for run in (waits, long):
        world.service.cancel(run)
        assert world.ended(run).state is RunState.CANCELLED, world.report()
    invariants.nothing_left(world)
    own = world.cluster.own
    if own is not None:
        _the_audit_log_agrees(own, began, {first, second})


def _the_audit_log_agrees(own: Cluster, began: float, namespaces: set[str]) -> None:
    """Nothing was refused, and every verb of the role was needed."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began))
    used: set[tuple[str, str]] = set()
    refused = []
    for line in own.audit_log.read_text().splitlines():
        entry = json.loads(line)
        asked = entry.get("objectRef") or {}
        if not entry["user"]["username"].endswith(":agent") or entry["requestReceivedTimestamp"] < stamp:
            continue
        if asked.get("namespace") not in namespaces:
            continue
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        if entry.get("responseStatus", {}).get("code") == 403:
            refused.append((entry["verb"], resource))
        used.add((resource, entry["verb"]))
    assert not refused
    (role, *_) = (each for each in chart.manifests(chart.PLAIN.read_text()) if each["kind"] == "Role")
    allowed = {
        (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    assert not allowed - used - SELDOM


# -- the agent in a pod ------------------------------------------------------------------------------


@pytest.fixture
def service(own_cluster: Cluster, tmp_path: Path) -> Iterator[tuple[Service, str, str]]:
    """A queue service that pods reach: the client of an administrator, its URL, an agent's token."""
    database = f"sqlite:///{tmp_path}/queue.db"
    environ = {**os.environ, "LAUNCHCORE_DATABASE": database, "HOME": str(tmp_path), "NO_COLOR": "1"}
    launch = [sys.executable, "-m", "launchcore"]

    def token(name: str, *scopes: str) -> str:
        asked = [each for scope in scopes for each in ("--scope", scope)]
        command = [*launch, "token", "create", name, *asked, "--db", database, "--json"]
        made = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        assert made.returncode == 0, made.stdout + made.stderr
        return str(json.loads(made.stdout)["secret"])

    admin, agent = token("admin", "admin", "submit", "read"), token("agent", "agent:*")
    host = own_cluster.host_address
    output = tmp_path / "server.out"
    with output.open("wb") as out:
        command = [*launch, "server", "--host", host, "--port", "0", "--log-format", "json"]
        command += ["--db", database]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environ)
    server = AgentProcess(process, output)
    try:
        url = _url(server)
        client = open_service(url, HttpSettings(token=Secret(admin), allow_plain_http=True))
        yield client, url, agent
        client.close()
    finally:
        server.kill()


def _url(server: AgentProcess) -> str:
    found: list[str] = []

    def told() -> bool:
        assert server.process.poll() is None, server.text()
        found[:] = re.findall(r"http://[0-9.]+:[0-9]+", server.text())
        return bool(found)

    wait_until("the server listens", told)
    return found[0]


@pytest.fixture(scope="session")
def built_image(docker_machine: Machine) -> str:
    """``deploy/Dockerfile``, built on the session's engine."""
    return agent_image.build(docker_machine)


@pytest.mark.timeout(600)
def test_the_image_has_the_plugins_and_nothing_to_build_with(
    docker_machine: Machine, built_image: str
) -> None:
    """As the chart runs it: nobody special, on a root file system that cannot be written."""
    run = ("run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL")

    told = agent_image.docker(docker_machine, *run, built_image, "plugins", "list", "--json")
    states = {each["name"]: each["state"] for each in json.loads(told)}
    here = subprocess.run(
        [sys.executable, "-m", "launchcore", "plugins", "list", "--json"], stdout=subprocess.PIPE, check=True
    )
    expected = {each["name"]: each["state"] for each in json.loads(here.stdout)}
    assert states["k8s"] == "loaded"
    assert {name: states.get(name) for name in PLUGINS} == {name: expected[name] for name in PLUGINS}
    assert "docker" not in states
    user = agent_image.docker(docker_machine, *run, "--entrypoint=id", built_image, "-u")
    assert user.strip() == "10001"
    # Wheels, sources and pip belong to the stage that is left behind.
    left = agent_image.docker(
        docker_machine,
        *run,
        "--entrypoint=sh",
        built_image,
        "-c",
        "ls /src /wheels /opt/launchcore/bin/pip*; true",
    )
    assert not left.strip()


@pytest.fixture
def loaded_image(own_cluster: Cluster, docker_machine: Machine, built_image: str, tmp_path: Path) -> str:
    """The image, on the cluster's node."""
    agent_image.save(docker_machine, built_image, tmp_path / "image.tar")
    with (tmp_path / "image.tar").open("rb") as saved:
        own_cluster.load_archive(saved)
    return built_image


@pytest.mark.timeout(600)
def test_the_agent_in_a_pod(
    cluster: LiveCluster, own_cluster: Cluster, service: tuple[Service, str, str], loaded_image: str
) -> None:
    """The image of the Dockerfile, from the chart, with its service account; its pod is removed in mid-run,
    and the next one goes on."""
    client, url, token = service
    namespace = cluster.make_namespace(
        "lc-agent", labels={"pod-security.kubernetes.io/enforce": "restricted"}
    )
    name, _, tag = loaded_image.rpartition(":")
    values = {
        "image": {"repository": name, "tag": tag, "pullPolicy": "Never"},
        "baseUrl": url,
        "queues": ["q"],
        "config": {"allow_plain_http": True, "lease_seconds": 6},
        "terminationGracePeriodSeconds": 5,
    }
    secret = {"kind": "Secret", "metadata": {"name": "launchcore-agent", "namespace": namespace}}
    secret = {"apiVersion": "v1", **secret, "stringData": {"token": token}}
    own_cluster.apply(secret, *chart.manifests(chart.rendered("agent", namespace, values)))
    client.create_queue("q", QueueConfig(type="kubernetes", config={"namespace": namespace}))
    source = SourceRef(type="image", fields={"image": cluster.image})
    script = "for n in 1 2 3 4 5 6 7 8; do echo line $n; sleep 1; done"
    run = client.submit("q", RunSpec(source=source, command=("sh", "-c", script))).id
    pods = cluster.path("pods", namespace)

    def told() -> str:
        return own_cluster.kubectl("-n", namespace, "logs", "agent-0", "--tail=20", check=False)

    try:
        wait_until("it runs", lambda: b"line 2" in client.logs(run, offset=0).data, seconds=90)
        cluster.api.delete(f"{pods}/agent-0", grace=0)
        wait_until("it is over", lambda: client.run(run).state.final, seconds=90)
    except AssertionError as error:
        seen = own_cluster.kubectl("-n", namespace, "describe", "pods", check=False)[-3000:]
        raise AssertionError(f"{error}\n{client.run(run)}\n{told()}\n{seen}") from None

    ended = client.run(run)
    assert ended.state is RunState.SUCCEEDED, f"{ended}\n{told()}"
    assert len(ended.attempts) == 1
    expected = "".join(f"line {number}\n" for number in range(1, 9)).encode()
    assert client.logs(run, offset=0).data.endswith(expected)
    wait_until("nothing is left", lambda: not cluster.items("jobs", namespace))
    cluster.remove_namespace(namespace)
