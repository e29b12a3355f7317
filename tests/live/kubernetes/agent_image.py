"""``deploy/Dockerfile``, built as the docs say, of this checkout: without a registry and without an index.

The base image is this machine's own Python, and what pip installs comes from a folder of the very wheels that
are installed here, served on the loopback: they are downloaded once and kept below ``~/.cache/launchcore``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from launch_docker.machine_image import libraries
from launch_docker.testing.machine import Machine
from launch_docker.testing.python_image import python_image
from packaging.requirements import Requirement

from tests.live.kubernetes.cluster import unavailable

TOP = Path(__file__).parents[3]
AGENT_IMAGE = "launchcore.test/agent:1"
BASE = "launchcore.test/python:1"
EXTRAS = ("k8s", "kaniko", "aws", "metrics", "traces")


def build(machine: Machine) -> str:
    """The image's name on this engine."""
    base = _base(machine)
    with _served(_wheels()) as url:
        docker(
            machine,
            *("build", "--network=host", "--file", "deploy/Dockerfile", "--tag", AGENT_IMAGE),
            *("--build-arg", f"BASE={base}", "--build-arg", f"EXTRAS={','.join(EXTRAS)}"),
            *("--build-arg", f"PIP_ARGS=--no-index --find-links={url}", "--build-arg", "PACKAGES=", "."),
        )
    return AGENT_IMAGE


def docker(machine: Machine, *args: str) -> str:
    """Run Docker's command line on this engine; a failure has all that it said."""
    program = shutil.which("docker")
    if program is None:
        unavailable("there is no docker command here (Debian: docker.io)")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
    done = subprocess.run(
        [str(program), "--host", machine.url, *args],
        cwd=TOP,
        env={**environ, "HOME": str(machine.root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"docker {args[0]}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def save(machine: Machine, image: str, into: Path) -> None:
    """``docker save``."""
    docker(machine, "save", "--output", str(into), image)


def _base(machine: Machine) -> str:
    """The image of this machine's Python with the libraries that every Linux has and wheels count on."""
    client = machine.engine()
    name = python_image(client)
    client.close()
    folder = machine.root / "base"
    folder.mkdir()
    wheels = [
        Path(str(each.locate_file(file)))
        for each in importlib.metadata.distributions()
        for file in each.files or ()
        if file.suffix == ".so"
    ]
    for library in libraries(wheels):
        if "site-packages" not in library and "ld-linux" not in library:
            shutil.copy(library, folder)
    (folder / "Dockerfile").write_text(f"FROM {name}\nCOPY lib* /usr/local/lib/\n")
    docker(machine, "build", "--network=none", "--tag", BASE, str(folder))
    return BASE


def _wheels() -> Path:
    """A folder with all that the image installs beside what is ours, and what builds ours."""
    pins = sorted(_pins({"launchcore": EXTRAS, "hatchling": (), "pip": ()}))
    key = hashlib.sha256(f"{sys.version} {pins}".encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "launchcore", "wheels")
    folder = cache / key
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = cache / f"{key}.{os.getpid()}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", "--dest", str(fresh), *pins]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            unavailable(f"the image's wheels cannot be had: {done.stderr.strip()[-500:]}")
        fresh.rename(folder)
    return folder


def _pins(roots: dict[str, Iterable[str]]) -> Iterator[str]:
    """``NAME==VERSION`` of what these distributions need, ours left out, as it is installed here."""
    wanted = [(name, extra) for name, extras in roots.items() for extra in ("", *extras)]
    seen: set[tuple[str, str]] = set()
    told: set[str] = set()
    while wanted:
        name, extra = wanted.pop()
        name = name.lower().replace("_", "-")
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found = importlib.metadata.distribution(name)
        if name not in told and not name.startswith("launchcore"):
            told.add(name)
            yield f"{name}=={found.version}"
        for text in found.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                wanted += [(needed.name, each) for each in ("", *needed.extras)]


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The folder on a port of the loopback."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
