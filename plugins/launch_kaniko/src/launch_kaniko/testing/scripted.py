"""A builder on the scripted API server, with a registry that is a directory."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from launch_k8s.testing.api_server import ApiServer

from launchcore.plugin import CredentialHelper, ImageRef, Login

PROGRAM = Path(__file__).with_name("scripted_executor.py")
REPOSITORY = "registry.example.com/models"


class FolderRegistry:
    """What the scripted executor has pushed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(exist_ok=True)
        self.ensured: list[str] = []
        self.asked = 0

    def resolve(self, repository: str) -> str:
        return repository

    def ensure(self, ref: ImageRef) -> None:
        self.ensured.append(ref.name)

    def digest(self, ref: ImageRef) -> str | None:
        self.asked += 1
        found = self.image(ref.name)
        return str(found["digest"]) if found else None

    def logins(self, repository: str) -> tuple[Login | CredentialHelper, ...]:
        return ()

    def image(self, name: str) -> dict[str, Any]:
        path = self.root / hashlib.sha256(name.encode()).hexdigest()
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    @property
    def pushes(self) -> list[str]:
        path = self.root / "pushes"
        return path.read_text().splitlines() if path.exists() else []


def settings(root: Path, server: ApiServer, registry: FolderRegistry) -> dict[str, Any]:
    """The ``builder:`` block of a builder on this server."""
    contexts = root / "contexts"
    contexts.mkdir(exist_ok=True)
    container = {
        "name": "kaniko",
        "command": [sys.executable, str(PROGRAM)],
        "env": [
            {"name": "SCRIPTED_REGISTRY", "value": str(registry.root)},
            {"name": "SCRIPTED_CONTEXTS", "value": str(contexts)},
        ],
    }
    return {
        "kubeconfig": str(server.kubeconfig(root / "kubeconfig")),
        "build-context-store": "pvc://contexts",
        "store": {"mount": str(contexts)},
        "kaniko-config": {"spec": {"template": {"spec": {"containers": [container]}}}},
    }


def left(server: ApiServer) -> list[str]:
    """Everything that a build has left in the cluster."""
    return [f"{kind}/{name}" for kind, _, name in server.store.things]
