"""Where things are in the executor's container. Pure.

All below its own folder, which it takes into no image and empties between no two stages.
"""

from __future__ import annotations

from typing import Final

from launch_k8s.manifest_secrets import file_name

CONTEXT_FOLDER: Final = "context"
"""In the packed context, what the build sees is below it: beside it the executor leaves the archive that it
has fetched, which a `COPY . .` would otherwise take into the image."""
CONFIG_FOLDER: Final = "/kaniko/.docker"
GIVEN_FOLDER: Final = "/kaniko/launch"


def secret_path(name: str) -> str:
    """A build secret's file."""
    return f"{GIVEN_FOLDER}/secrets/{file_name(name)}"


def access_path(name: str) -> str:
    """A file with which the executor reaches the context store."""
    return f"{GIVEN_FOLDER}/access/{file_name(name)}"


def certificate_path(number: int) -> str:
    """The certificate of an authority."""
    return f"{GIVEN_FOLDER}/certificates/{number}.pem"
