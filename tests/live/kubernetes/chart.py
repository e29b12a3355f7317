"""The agent's chart, rendered by Helm."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from scripts.cluster import built
from tests.live.kubernetes.cluster import unavailable

TOP = Path(__file__).parents[3]
CHART = TOP / "deploy" / "helm" / "launchcore-agent"
PLAIN = TOP / "deploy" / "kubernetes" / "agent.yaml"


def helm(*args: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run Helm."""
    folder = built("helm")
    if folder is None:
        unavailable("Helm is not built: scripts/cluster/build helm (minutes, once)")
    command = [f"{folder}/helm", *args]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=check)


def rendered(name: str, namespace: str, values: dict[str, Any] | None = None) -> str:
    """``helm template`` with these values."""
    told = helm(
        *("template", name, str(CHART), "--namespace", namespace, "--kube-version", "v1.33.0"),
        *("--values", "-"),
        stdin=json.dumps(values or {}),
    )
    return told.stdout


def manifests(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each]
