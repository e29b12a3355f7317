"""A node that is there on paper: its pods run as far as anybody can ask, and cost nothing.

A real API server, real controllers and a real scheduler have real Jobs on it; instead of a kubelet a thread
says that their pods run, and an HTTPS server gives the logs, which say nothing. So many runs can be followed
at a time as no two cores could run. Only on a cluster of this machine's own, whose API server reaches it.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from launch_k8s.api import MERGE
from launch_k8s.errors import ApiAway, ApiError

from scripts.cluster.certs import Authority
from tests.live.kubernetes.cluster import LiveCluster

NAME = "paper"
KIND = {"launchcore.test/kind": NAME}
TAINT = {"key": "launchcore.test/paper", "effect": "NoSchedule"}
QUEUE: dict[str, Any] = {"node_selector": KIND, "tolerations": [{"key": TAINT["key"], "operator": "Exists"}]}
"""The configuration of a queue whose runs go there."""
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
NODES = "/api/v1/nodes"
BEAT = 10.0
"""Seconds between two signs of life."""


@contextlib.contextmanager
def paper_node(cluster: LiveCluster) -> Iterator[None]:
    """While in the block, there is one."""
    closed = threading.Event()
    with _kubelet(cluster, closed) as port:
        _register(cluster, port)
        threads = [
            threading.Thread(target=_repeat, args=(closed, seconds, work, cluster), daemon=True)
            for seconds, work in ((BEAT, _beat), (0.5, _say_that_they_run))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            closed.set()
            for thread in threads:
                thread.join()
            cluster.api.delete(f"{NODES}/{NAME}")
            cluster.api.delete(f"{LEASES}/{NAME}")


def _register(cluster: LiveCluster, port: int) -> None:
    assert cluster.own is not None
    cluster.create(NODES, {"metadata": {"name": NAME, "labels": KIND}, "spec": {"taints": [TAINT]}})
    room = {"cpu": "10k", "memory": "10Ti", "ephemeral-storage": "10Ti", "pods": "10k"}
    status = {
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": cluster.own.host_address}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    _patch(cluster, f"{NODES}/{NAME}/status", {"status": status})
    cluster.create(LEASES, {"metadata": {"name": NAME}, "spec": {"holderIdentity": NAME}})
    _beat(cluster)


def _beat(cluster: LiveCluster) -> None:
    now = datetime.now(UTC)
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "OnPaper",
        "lastHeartbeatTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "lastTransitionTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
    }
    _patch(cluster, f"{NODES}/{NAME}/status", {"status": {"conditions": [ready]}})
    spec = {"renewTime": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}", "leaseDurationSeconds": 40}
    _patch(cluster, f"{LEASES}/{NAME}", {"spec": spec})


def _say_that_they_run(cluster: LiveCluster) -> None:
    for pod in cluster.api.items("/api/v1/pods", fieldSelector=f"spec.nodeName={NAME}"):
        meta = pod["metadata"]
        path = f"{cluster.path('pods', meta['namespace'])}/{meta['name']}"
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        if meta.get("deletionTimestamp"):
            cluster.api.delete(path, grace=0)
        elif pod["status"]["phase"] == "Pending":
            running = [
                {
                    "name": each["name"],
                    "image": each["image"],
                    "imageID": f"sha256:{'0' * 64}",
                    "containerID": f"containerd://{meta['uid']}",
                    "ready": True,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": now}},
                }
                for each in pod["spec"]["containers"]
            ]
            status = {"phase": "Running", "startTime": now, "containerStatuses": running}
            _patch(cluster, f"{path}/status", {"status": status})


def _patch(cluster: LiveCluster, path: str, body: dict[str, Any]) -> None:
    cluster.api.request("PATCH", path, body=body, content=MERGE)


def _repeat(closed: threading.Event, seconds: float, work: Any, cluster: LiveCluster) -> None:
    while not closed.wait(seconds):
        with contextlib.suppress(ApiAway, ApiError):  # a pod that has gone meanwhile; the next time, then
            work(cluster)


@contextlib.contextmanager
def _kubelet(cluster: LiveCluster, closed: threading.Event) -> Iterator[int]:
    """The part of a kubelet that API servers ask for logs."""
    assert cluster.own is not None

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if "true" in parse_qs(urlsplit(self.path).query).get("follow", ()):
                closed.wait()
            with contextlib.suppress(OSError):
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    authority = Authority(cluster.own.root / "pki")
    authority.certificate(NAME, f"/CN={NAME}", "serverAuth")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.root / f"{NAME}.crt", authority.root / f"{NAME}.key")
    server = ThreadingHTTPServer((cluster.own.host_address, 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        closed.set()
        server.shutdown()
        server.server_close()
        thread.join()
