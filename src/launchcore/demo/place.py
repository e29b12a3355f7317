"""Where the demo lives: one directory of its own, with everything in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from launchcore.cli.errors import CommandError
from launchcore.cli.exits import Exit

BRANCH = "main"
CONFIG = """\
# The configuration of the demo's agent.
base_url: {base_url}
queues: [{queue}]
max_jobs: 4
name: demo
state_dir: {state}
cache_dir: {cache}
"""


@dataclass(frozen=True)
class Place:
    """The demo's directory, and what is where in it."""

    directory: Path

    @property
    def base_url(self) -> str:
        return f"sqlite://{quote(str(self.directory / 'queue.db'))}"

    @property
    def config(self) -> Path:
        return self.directory / "launch-config.yaml"

    @property
    def repository(self) -> Path:
        return self.directory / "two-spirals"

    @property
    def metrics(self) -> Path:
        return self.directory / "metrics.json"

    @property
    def agent_log(self) -> Path:
        return self.directory / "agent.log"


def make_place(directory: Path | None) -> Place:
    """Make the directory: the one that is asked for, else the user's own, else a temporary one.

    It is private: 0700.
    :raises CommandError: the one that was asked for cannot be used.
    """
    if directory is not None:
        try:
            return _prepared(directory.absolute())
        except OSError as error:
            raise CommandError(f"--directory {directory}: {error.strerror or error}") from None
    import platformdirs

    try:
        return _prepared(platformdirs.user_data_path("launchcore") / "demo")
    except OSError:
        return _prepared(Path(tempfile.mkdtemp(prefix="launch-demo-")))


def _prepared(directory: Path) -> Place:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryFile(dir=directory):  # it can be written to
        return Place(directory)


def configure(place: Place, queue: str) -> None:
    """Write the configuration of the demo's agent, which serves ``queue``."""
    quoted = {name: _quoted(place.directory / name) for name in ("state", "cache")}
    text = CONFIG.format(base_url=_quoted(place.base_url), queue=queue, **quoted)
    place.config.write_text(text, encoding="utf-8")


def _quoted(value: object) -> str:
    """A YAML text: single quotes, doubled inside."""
    return "'" + str(value).replace("'", "''") + "'"


def make_repository(place: Place) -> str:
    """A git repository with the training job, as it is in this package; returns its commit.

    A repository that is there is brought up to date with a new commit, if anything differs.
    :raises CommandError: there is no git, or it does not work here.
    """
    path = place.repository
    if not (path / ".git").is_dir():
        path.mkdir(exist_ok=True)
        _git(path, "init", "--quiet", f"--initial-branch={BRANCH}")
    source = Path(__file__).parent / "repository"
    for name in ("README.md", "train.py"):
        shutil.copyfile(source / name, path / name)
    _git(path, "add", "README.md", "train.py")
    if _git(path, "status", "--porcelain", "--", "README.md", "train.py"):
        _git(path, "commit", "--quiet", "--message", "Learn to tell two spirals apart")
    return _git(path, "rev-parse", "HEAD")


def _git(path: Path, *words: str) -> str:
    """git in ``path``, as a user of its own: the configuration of whoever runs the demo is not asked."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    who = ("-c", "user.name=launch demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgSign=false")
    try:
        done = subprocess.run(
            ["git", "-C", str(path), *who, *words],
            check=True,
            capture_output=True,
            text=True,
            env=environ,
            timeout=60,
        )
    except FileNotFoundError:
        hint = "install it, for instance: apt-get install git"
        raise CommandError("the demo needs git", hint=hint, code=Exit.UNAVAILABLE) from None
    except subprocess.SubprocessError as error:
        text = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise CommandError(f"git {words[0]} in {path}: {text[-1] if text else error}") from None
    return done.stdout.strip()
