"""A queue, an agent and a source, all in one temporary directory, as a user would have them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import psutil

from launchcore.plugin import QueueConfig, RunSpec, SourceRef
from launchcore.queues.base import RunInfo, Service
from launchcore.queues.connect import open_service

QUEUE = "bench"
LAUNCH = str(Path(sys.executable).with_name("launch"))


@attrs.frozen(kw_only=True)
class Bench:
    """One rig. ``agent`` is the process of ``launch agent``."""

    service: Service
    agent: psutil.Process
    source: SourceRef

    def submit(self, *command: str) -> RunInfo:
        return self.service.submit(QUEUE, RunSpec(source=self.source, command=command))

    def end(self, run: RunInfo, timeout: float = 60.0) -> RunInfo:
        """Wait for a run's end, being told of it."""
        deadline = time.monotonic() + timeout
        while not run.state.final:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{run.id} is still {run.state.value}")
            run = self.service.wait(run.id, run.changes, timeout=left)
        return run

    def family(self) -> list[psutil.Process]:
        """The agent and what works for it: its keeper of processes, not the runs."""
        root = self.agent.environ().get("LAUNCHCORE_STATE_DIR", "")
        keepers = [p for p in psutil.process_iter(["cmdline"]) if root in " ".join(p.info["cmdline"] or ())]
        return [self.agent, *(p for p in keepers if p.pid != self.agent.pid)]


def _archive() -> bytes:
    """A source tree with one small file."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("README")
        member.size = 6
        tar.addfile(member, io.BytesIO(b"bench\n"))
    return content.getvalue()


@contextmanager
def rig() -> Iterator[Bench]:
    """While in the block, an agent serves one queue of the process runner."""
    with tempfile.TemporaryDirectory(prefix="launch-bench-", ignore_cleanup_errors=True) as folder:
        top = Path(folder)
        url = f"sqlite://{top}/queue.db"
        environ = {
            **os.environ,
            "LAUNCHCORE_BASE_URL": url,
            "LAUNCHCORE_STATE_DIR": str(top / "state"),
            "LAUNCHCORE_CACHE_DIR": str(top / "cache"),
            "HOME": str(top),
        }
        service = open_service(url)
        service.create_queue(QUEUE, QueueConfig(type="process", config={"python": "none"}))
        source = SourceRef(type="archive", fields={"digest": service.put_archive([_archive()])})
        with (top / "agent.log").open("wb") as log:
            command = [LAUNCH, "agent", "--queue", QUEUE, "--log-format", "json"]
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=top)
        bench = Bench(service=service, agent=psutil.Process(process.pid), source=source)
        try:
            bench.end(bench.submit("/bin/true"))  # the agent is there, and everything is warm
            yield bench
        except BaseException:
            sys.stderr.write((top / "agent.log").read_text()[-4000:])
            raise
        finally:
            helpers = bench.family()[1:] if process.poll() is None else []
            process.terminate()
            process.wait(30)
            for helper in helpers:
                helper.terminate()
            service.close()
