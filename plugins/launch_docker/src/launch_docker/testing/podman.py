"""A private Podman: its own storage, its own socket that is compatible with Docker's, nobody else's.

Needs root, ``podman``, and on a machine with cgroups of version 1 ``runc`` (crun takes no hybrid ones).
A rootless one belongs to ``nobody``, whose subordinate ids are in files of our own, in a mount namespace.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from launch_docker.engine import Engine
from launch_docker.errors import EngineAway
from launch_docker.settings import Settings
from launch_docker.testing.machine import clear, wait_until

CONFIG = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
netns = "none"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
{runtime}
"""
"""Podman's own limits are higher than what root may give everywhere."""


NOBODY = 65534
IDS = f"{NOBODY}:200000:65536\n"
ROOTLESS = """\
mount --bind "$0/ids" /etc/subuid && mount --bind "$0/ids" /etc/subgid &&
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
"""


def missing_podman(*, rootless: bool = False) -> str | None:
    """Why no Podman can be started here; None: one can."""
    if os.getuid() != 0:
        return "starting a Podman of its own needs root"
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists() and shutil.which("runc") is None:
        return "cgroups are of version 1, and there is no runc (Debian: runc)"
    more = ("newuidmap", "setpriv", "unshare") if rootless else ()
    for program in ("podman", "busybox", *more):
        if shutil.which(program) is None:
            return f"there is no {program} here (Debian: podman, busybox-static, uidmap)"
    return None


class PodmanMachine:
    """One ``podman system service``."""

    def __init__(self, *, rootless: bool = False) -> None:
        self.rootless = rootless
        self.root = Path(tempfile.mkdtemp(prefix="lc-podman-", dir="/var/tmp"))
        self.url = f"unix://{self.root}/podman.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        runtime = "" if shutil.which("runc") is None else 'runtime = "runc"'
        config = self.root / "containers.conf"
        config.write_text(CONFIG.format(runtime=runtime))
        command = ["podman", "--root", str(self.root / "root"), "--runroot", str(self.root / "run")]
        command += ["system", "service", "--time=0", self.url]
        environ = {**os.environ, "CONTAINERS_CONF": str(config), "TMPDIR": str(self.root)}
        if self.rootless:
            for name in ("subuid", "subgid"):  # something to mount over
                Path("/etc", name).touch()
            (self.root / "ids").write_text(IDS)
            os.chown(self.root, NOBODY, NOBODY)
            command[1:1] = ["--storage-driver", "vfs"]
            command = ["unshare", "--mount", "sh", "-c", ROOTLESS, str(self.root), *command]
            environ |= {"HOME": str(self.root), "XDG_RUNTIME_DIR": str(self.root)}
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
                cwd=self.root,
                start_new_session=True,
            )
        engine = self.engine()

        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log()[-3000:]
            with contextlib.suppress(EngineAway):
                return engine.is_podman()
            return False

        wait_until("Podman answers", answers)
        engine.close()

    def engine(self) -> Engine:
        """A client of it."""
        return Engine(Settings(host=self.url, answer_seconds=30.0), environ={})

    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    def close(self) -> None:
        """End everything that it has started, and remove its data."""
        if self.process is not None:
            engine = self.engine()
            with contextlib.suppress(Exception):
                for each in engine.get("/containers/json", all=True):
                    engine.request("DELETE", f"/containers/{each['Id']}", params={"force": True, "v": True})
            engine.close()
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            self.process.kill()
            self.process.wait()
        # A rootless one is the child of what was started, and a process that pauses keeps its namespace.
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.root / "libpod" / "tmp" / "pause.pid").read_text()), signal.SIGKILL)
        clear(self.root)
