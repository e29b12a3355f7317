"""Where runs write down what they do, on a cluster whose nodes are other machines: a pod that is asked for
pages which it does not have, and logs that it was."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Any

from tests.crash.world import wait_until
from tests.live.kubernetes.cluster import LiveCluster

NOTE = """\
note() {
  until wget -O - "http://$RECORDER/$1/$LAUNCH_ATTEMPT_ID" 2>&1 | grep -q 404; do usleep 50000; done
}
"""
"""The shell function with which a run writes down a word."""
PORT = 8080
_ASKED = re.compile(r"^(\S+) \S+ url:/(\w+)/([\w-]+)$", re.MULTILINE)


class Recorder:
    """The pod. All times are its node's: one clock."""

    def __init__(self, cluster: LiveCluster) -> None:
        self._cluster = cluster
        name = f"recorder-{uuid.uuid4().hex[:8]}"
        container: dict[str, Any] = {
            "name": "main",
            "image": cluster.image,
            "command": ["httpd", "-f", "-vv", "-p", str(PORT), "-h", "/tmp"],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        user = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
        spec = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": user,
            "containers": [container],
        }
        cluster.create(cluster.path("pods"), {"metadata": {"name": name}, "spec": spec})
        self._path = f"{cluster.path('pods')}/{name}"
        self.address = ""
        wait_until("there is a recorder", self._runs)

    def _runs(self) -> bool:
        status = self._cluster.api.get(self._path).get("status") or {}
        self.address = f"{status.get('podIP')}:{PORT}"
        return bool(status.get("phase") == "Running" and status.get("podIP"))

    def lines(self) -> str:
        """What was written down so far, a line each: word, attempt, UNIX seconds, and a filler."""
        wire = self._cluster.api.stream(f"{self._path}/log", silence=30.0, timestamps=True)
        found = b""
        try:
            while not wire.over:
                found += wire.read(wait=True)
        finally:
            wire.close()
        return "".join(
            f"{what} {attempt} {datetime.fromisoformat(at[:26] + '+00:00').timestamp():.6f} 1\n"
            for at, what, attempt in _ASKED.findall(found.decode())
        )

    def close(self) -> None:
        self._cluster.api.delete(self._path, grace=0)
