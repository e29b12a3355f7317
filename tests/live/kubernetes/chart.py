"""The agent's chart, rendered by Helm, and an image for it made of this checkout."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import certifi
import yaml
from packaging.requirements import Requirement

from scripts.cluster import built, images
from tests.live.kubernetes.cluster import unavailable

TOP = Path(__file__).parents[3]
CHART = TOP / "deploy" / "helm" / "launchcore-agent"
PLAIN = TOP / "deploy" / "kubernetes" / "agent.yaml"
AGENT_IMAGE = "launchcore.test/agent:1"


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


def agent_image(tar: tarfile.TarFile, plugins: Iterable[str] = ("launch_k8s",)) -> None:
    """This machine's Python, with what ``pip install launchcore[k8s,metrics]`` brings, of this checkout."""
    distributions = [name.replace("launch_", "launchcore-") for name in plugins]
    files = list(_installed(["launchcore", *distributions, "prometheus-client"]))
    images.python(tar, [path for path, _ in files if path.suffix == ".so"])
    home = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    site = f"{sys.base_prefix.lstrip('/')}/{home}"
    for source in (TOP / "src", *(TOP / "plugins" / name / "src" for name in plugins)):
        for package in source.iterdir():
            tar.add(package, f"{site}/{package.name}", filter=images.wanted)
    for path, name in files:
        tar.add(path, f"{site}/{name}", filter=images.wanted)
    # As every base image has them; some HTTP clients do not even begin without.
    tar.add(certifi.where(), "etc/ssl/certs/ca-certificates.crt", filter=images.wanted)


def _installed(names: Iterable[str]) -> Iterable[tuple[Path, str]]:
    """Files of these distributions and of all that they require, without extras."""
    wanted, seen = list(names), set[str]()
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for text in found.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append(requirement.name)
        for file in found.files or ():
            path = Path(str(found.locate_file(file)))
            left_out = {"..", "aio", "__pycache__", "tests", "bin"}.intersection(file.parts)
            if not left_out and path.suffix != ".pth" and path.is_file():
                yield path, str(file)
