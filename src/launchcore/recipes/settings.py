"""What every builder's block says about how an image is made of a source. A run can set none of it."""

from __future__ import annotations

import re
from typing import Any, Literal

import attrs

from launchcore.plugin import setting


def _image(_: Any, attribute: Any, value: Any) -> None:
    """It goes into a line of a Dockerfile: one word, nothing that could become another instruction."""
    if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:@{}-]{0,400}", value):
        raise ValueError(f"'{attribute.name}' must be the name of an image, not {str(value)[:80]!r}")


def _inside(_: Any, attribute: Any, value: Any) -> None:
    for path in (value,) if isinstance(value, str) else value or ():
        if path.startswith("/") or ".." in path.split("/") or not path.isprintable():
            raise ValueError(f"'{attribute.name}' must be a path inside the source, not {path[:80]!r}")


def _version(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and not re.fullmatch(r"3\.\d{1,2}(\.\d{1,2})?", value):
        raise ValueError(f"'{attribute.name}' must be a version of Python like '3.12', in quotes")


def _words(_: Any, attribute: Any, value: Any) -> None:
    for word in value:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+:~=-]*", word):
            raise ValueError(f"'{attribute.name}' has {word[:60]!r}, which is no name")


def _platforms(_: Any, attribute: Any, value: Any) -> None:
    if value is not None and not re.fullmatch(
        r"[a-z0-9]+(/[a-z0-9]+){1,2}(,[a-z0-9]+(/[a-z0-9]+){1,2})*", value
    ):
        raise ValueError(f"'{attribute.name}' must be like linux/arm64, or several with commas between")


@attrs.frozen(kw_only=True)
class Accelerator:
    """Builds for machines with GPUs."""

    base_image: str = setting(
        "The base image, with the GPU's libraries: nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04.",
        validator=_image,
    )
    python: Literal["install", "included"] = setting(
        "`install`: the image has no Python, and apt. `included`: it has the Python that is wanted.",
        default="install",
    )


@attrs.frozen(kw_only=True)
class RecipeSettings:
    """A builder's own settings class inherits these: ``builder: {type: NAME, …}``."""

    dockerfile: str | None = setting(
        "The Dockerfile of sources whose run names none; without it, `Dockerfile` if there is one, else one "
        "is generated.",
        default=None,
        validator=_inside,
    )
    context: str | None = setting(
        "The directory of the source that is built, unless the run names one; without it, all of it.",
        default=None,
        validator=_inside,
    )
    generate: bool = setting("Generate a Dockerfile even if the source has one.", default=False)
    include_git: bool = setting("Give `.git` to the build; it changes with every commit.", default=False)
    base_image: str = setting(
        "Base image of generated Dockerfiles; {python} stands for the version of Python.",
        default="python:{python}-slim",
        validator=_image,
    )
    conda_image: str = setting(
        "Base image of generated Dockerfiles for an environment.yml; it has `conda`.",
        default="condaforge/miniforge3:24.11.3-2",
        validator=_image,
    )
    accelerator: Accelerator | None = setting("Build for GPUs, on a base image of its own.", default=None)
    python: str | None = setting(
        "The version of Python; without it, what the source asks for, else 3.12.",
        default=None,
        validator=_version,
    )
    requirements: tuple[str, ...] = setting(
        "The files that say what to install, instead of those that are looked for.",
        default=(),
        validator=_inside,
    )
    extras: tuple[str, ...] = setting("Extras of the source's own package.", default=(), validator=_words)
    system_packages: tuple[str, ...] = setting(
        "Packages that apt installs first: build-essential, git.", default=(), validator=_words
    )
    user: int = setting(
        "The number of the user that runs execute as; 0 is root.",
        default=1000,
        validator=attrs.validators.and_(attrs.validators.ge(0), attrs.validators.lt(1 << 31)),
    )
    build_args: dict[str, str] = setting("Build arguments of every build; a run's own win.", factory=dict)
    platform: str | None = setting(
        "The platform to build for: linux/arm64.",
        default=None,
        validator=_platforms,
    )
    pin_base: bool = setting(
        "Ask the registry for the base images' digests: a new base image gives a new image.", default=False
    )
    target: str | None = setting("The stage of a Dockerfile to build.", default=None)
