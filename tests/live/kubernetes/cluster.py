"""The cluster of the live tests: the one that KUBECONFIG names, or one of this machine's own.

Without KUBECONFIG the cluster of ``make cluster-up`` is used if it runs, and left as it was; otherwise one is
started for the session and removed at its end. Where none can be had a test is skipped, or fails when
``LAUNCHCORE_REQUIRE_LIVE=1`` says that live tests are wanted.

On a cluster of another machine ``LAUNCHCORE_TEST_IMAGE`` names an image with a shell that it can pull.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from launch_k8s.api import Api
from launch_k8s.clusters import Clusters
from launch_k8s.settings import ClusterSettings

from scripts.cluster import Cluster, built, default_root, missing
from scripts.cluster.images import BUSYBOX
from tests.crash.world import wait_until

COLLECTIONS = {
    "pods": "/api/v1/namespaces/{}/pods",
    "secrets": "/api/v1/namespaces/{}/secrets",
    "configmaps": "/api/v1/namespaces/{}/configmaps",
    "services": "/api/v1/namespaces/{}/services",
    "jobs": "/apis/batch/v1/namespaces/{}/jobs",
    "networkpolicies": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "events": "/api/v1/namespaces/{}/events",
    "resourcequotas": "/api/v1/namespaces/{}/resourcequotas",
}


@attrs.frozen(kw_only=True)
class LiveCluster:
    """A cluster, a namespace on it for this session, and an image that its node has or can pull.

    ``own`` is what may be killed and looked into: ``None`` on a cluster of another machine.
    """

    kubeconfig: Path
    api: Api
    namespace: str
    image: str
    own: Cluster | None

    def items(self, collection: str, namespace: str | None = None, **params: Any) -> list[dict[str, Any]]:
        """All objects of a collection in the session's namespace, or another."""
        return self.api.items(self.path(collection, namespace), **params)

    def path(self, collection: str, namespace: str | None = None) -> str:
        return COLLECTIONS[collection].format(namespace or self.namespace)

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self.api.request("POST", path, body=body)
        return made

    def make_namespace(self, prefix: str = "lc", labels: dict[str, str] | None = None) -> str:
        """A namespace in which pods can run."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels or {}}})
        accounts = f"/api/v1/namespaces/{name}/serviceaccounts"
        wait_until("pods may be made", lambda: self.api.items(accounts))
        return name

    def token_kubeconfig(self, path: Path, account: str, home: str, namespace: str) -> Path:
        """A kubeconfig for a token of the service account ``account`` in ``home``."""
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        made = self.create(f"/api/v1/namespaces/{home}/serviceaccounts/{account}/token", asked)
        config = yaml.safe_load(self.kubeconfig.read_text())
        current = next(each for each in config["contexts"] if each["name"] == config["current-context"])
        current["context"].update(user="account", namespace=namespace)
        config["users"] = [{"name": "account", "user": {"token": made["status"]["token"]}}]
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump({**config, "contexts": [current]}))
        return path

    def remove_namespace(self, name: str) -> None:
        self.api.delete(f"/api/v1/namespaces/{name}")


def unavailable(why: str) -> None:
    """A live test cannot run here."""
    if os.environ.get("LAUNCHCORE_REQUIRE_LIVE") == "1":
        pytest.fail(f"a live test is wanted, and cannot run: {why}")
    pytest.skip(why)


@contextlib.contextmanager
def _own_cluster() -> Iterator[Cluster]:
    """The machine's own, shared by all sessions that run at a time; the last one that needs it removes it."""
    why = missing()
    if why is not None:
        unavailable(why)
    if built() is None:
        unavailable("the cluster's programs are not built: scripts/cluster/build (10 minutes, once)")
    root = default_root()
    root.parent.mkdir(parents=True, exist_ok=True)
    made = root.with_name(f"{root.name}.session")
    cluster = Cluster(root)
    with contextlib.ExitStack() as stack:
        change, users = (
            stack.enter_context(root.with_name(f"{root.name}.{what}").open("w")) for what in ("lock", "users")
        )
        fcntl.flock(change, fcntl.LOCK_EX)
        if not cluster.runs():
            made.touch()
            cluster.start()
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(change, fcntl.LOCK_UN)
        try:
            yield cluster
        finally:
            fcntl.flock(change, fcntl.LOCK_EX)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if made.exists():
                    cluster.close()
                    made.unlink()


@contextlib.contextmanager
def live_cluster() -> Iterator[LiveCluster]:
    """While in the block: the cluster, with a namespace of the block's own."""
    with contextlib.ExitStack() as stack:
        own, said = None, os.environ.get("KUBECONFIG")
        if not said or Path(said) == default_root() / "kubeconfig":
            own = stack.enter_context(_own_cluster())
            said = str(own.kubeconfig)
        image = BUSYBOX if own else os.environ.get("LAUNCHCORE_TEST_IMAGE", "busybox:1.36")
        api = Clusters(ClusterSettings(kubeconfig=said), {}).api(None)
        made = LiveCluster(kubeconfig=Path(said), api=api, namespace="", image=image, own=own)
        made = attrs.evolve(made, namespace=made.make_namespace())
        stack.callback(made.remove_namespace, made.namespace)
        yield made


@pytest.fixture(scope="session")
def cluster() -> Iterator[LiveCluster]:
    """A cluster for this session's tests."""
    with live_cluster() as made:
        yield made


@pytest.fixture
def own_cluster(cluster: LiveCluster) -> Iterator[Cluster]:
    """One whose programs a test may kill, and whose node is this machine."""
    if cluster.own is None:
        pytest.skip("needs a cluster of this machine's own: make cluster-up")
    yield cluster.own
    for program in ("kube-apiserver", "kubelet", "kube-controller-manager", "kube-scheduler"):
        cluster.own.start_program(program)
    wait_until("the API server answers", cluster.own.api_answers)


class _NoImages(BaseHTTPRequestHandler):
    """A registry that has nothing."""

    def do_GET(self) -> None:
        found = self.path.rstrip("/") == "/v2"
        body = b"{}" if found else b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def absent_image(cluster: LiveCluster) -> Iterator[str]:
    """An image that is not there: in a registry that answers at once and has none; on a cluster of another
    machine, where its test image comes from."""
    if cluster.own is None:
        name = cluster.image.partition("@")[0]
        folder, _, last = name.rpartition("/")
        yield f"{folder}{'/' if folder else ''}{last.partition(':')[0]}:launchcore-none"
        return
    server = ThreadingHTTPServer((cluster.own.host_address, 0), _NoImages)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    host = f"{cluster.own.host_address}:{server.server_address[1]}"
    cluster.own.trust_registry(host)
    try:
        yield f"{host}/team/none:1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
