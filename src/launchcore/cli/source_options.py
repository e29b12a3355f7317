"""The flags that say where code comes from: the same for ``launch submit`` and ``launch job create``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from launchcore.cli.errors import CommandError

Directory = Annotated[
    Path | None,
    typer.Argument(metavar="DIRECTORY", help="A directory: it is packed and uploaded."),
]
Git = Annotated[
    str | None,
    typer.Option(
        "--git", metavar="URL[@REF]", help="A git repository, at a branch, tag or commit; . is this checkout."
    ),
]
Ref = Annotated[str | None, typer.Option("--ref", metavar="REF", help="The branch, tag or commit.")]
Subdir = Annotated[str | None, typer.Option("--subdir", metavar="PATH", help="Work in this directory of it.")]
Patch = Annotated[
    Path | None, typer.Option("--patch", metavar="FILE", help="Apply this patch to the git source.")
]
Dirty = Annotated[bool, typer.Option("--dirty", help="Take along what is not committed, as a patch.")]
NoPin = Annotated[
    bool, typer.Option("--no-pin", help="Let the agent resolve the ref, when it fetches, instead of now.")
]
Image = Annotated[str | None, typer.Option("--image", metavar="REF", help="A ready image.")]


@dataclass(frozen=True)
class SourceFlags:
    """Where the code comes from, as it was typed."""

    directory: Path | None = None
    git: str | None = None
    ref: str | None = None
    subdir: str | None = None
    patch: Path | None = None
    dirty: bool = False
    no_pin: bool = False
    image: str | None = None

    def named(self) -> list[str]:
        """The sources that were named, as words for people."""
        found = {"DIRECTORY": self.directory, "--git": self.git, "--image": self.image}
        return [name for name, value in found.items() if value is not None]

    def check(self, job: str | None = None) -> None:
        """Refuse flags that do not go together.

        :raises CommandError: none or several sources, or a flag of another source.
        """
        named = self.named() + (["--job"] if job is not None else [])
        if len(named) > 1:
            raise CommandError(
                f"a run has one source, and this names {len(named)}: {' and '.join(named)}",
                hint="give DIRECTORY, --git, --image or --job",
            )
        for flag, given in (
            ("--ref", self.ref is not None),
            ("--patch", self.patch is not None),
            ("--dirty", self.dirty),
            ("--no-pin", self.no_pin),
        ):
            if given and self.git is None:
                raise CommandError(f"{flag} belongs to a git source", hint="add --git URL")
        if self.subdir is not None and self.git is None and self.directory is None:
            raise CommandError("--subdir belongs to a directory or a git source")
        if self.patch is not None and self.dirty:
            raise CommandError("--patch and --dirty are two patches", hint="give one of them")
        if not named:
            raise CommandError(
                "there is nothing to run: no source",
                hint="give DIRECTORY, --git URL, --image REF or --job NAME",
            )
