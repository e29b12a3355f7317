"""A plugin from elsewhere is found, listed and used; broken ones are shown, and harm nothing.

Everything here is the built wheel in a fresh environment: nothing of this checkout is on its path.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.third_party.broken import BROKEN, Broken
from tests.third_party.environments import HERE, Fresh

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SUBMIT_AND_WAIT = """
import json, sys, time
from launchcore.plugin import QueueConfig, RunSpec, SourceRef
from launchcore.queues.connect import open_service

service = open_service(sys.argv[1])
service.create_queue("hello", QueueConfig(type="hello-runner"))
run = service.submit("hello", RunSpec(
    source=SourceRef(type="hello", fields={"name": "world"}), command=("cat", "hello.txt")))
print("submitted", flush=True)
deadline = time.monotonic() + 60
while not run.state.final and time.monotonic() < deadline:
    run = service.wait(run.id, run.changes, timeout=5)
log = service.logs(run.id).data.decode() if run.attempts else ""
failure = run.failure.one_line() if run.failure else None
print(json.dumps({"state": run.state.value, "log": log, "failure": failure}))
"""


def listed(fresh: Fresh) -> dict[str, Any]:
    return {one["name"]: one for one in json.loads(fresh.run("launch", "plugins", "list", "--json"))}


def test_it_is_found_and_listed(clean: Fresh) -> None:
    found = listed(clean)

    assert found["hello"]["state"] == "loaded"
    assert found["hello"]["offers"] == ["runner hello-runner", "source hello"]
    assert (found["hello"]["distribution"], found["hello"]["version"]) == ("launch-hello", "1.2.0")
    assert {one["state"] for one in found.values()} == {"loaded"}
    assert "plugins.hello" in clean.run("launch", "plugins", "show", "hello-runner")


def test_it_passes_the_conformance_suites_that_ship_in_the_wheel(clean: Fresh) -> None:
    shutil.copytree(HERE / "launch_hello" / "tests", clean.home / "tests")
    out = clean.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")

    assert " passed" in out
    assert "failed" not in out


def test_it_is_used_for_a_run(littered: Fresh, tmp_path: Path) -> None:
    """Among all the broken ones; the twin that takes its name is disabled, as the error advises."""
    config = tmp_path / "launch.yaml"
    url = f"sqlite:///{tmp_path / 'queue.db'}"
    config.write_text(
        textwrap.dedent(
            f"""
            base_url: {url}
            queues: [hello]
            disabled_plugins: [twin]
            state_dir: {tmp_path / "state"}
            cache_dir: {tmp_path / "cache"}
            plugins:
              hello: {{greeting: good morning}}
            """
        )
    )
    script = tmp_path / "submit.py"
    script.write_text(SUBMIT_AND_WAIT)
    waiting = subprocess.Popen(
        [littered.path / "bin" / "python", script, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=littered.environ(),
        cwd=tmp_path,
    )
    assert waiting.stdout is not None
    first = waiting.stdout.readline()  # an agent of a queue that is not there yet ends at once
    assert first == "submitted\n", waiting.communicate()
    with (tmp_path / "agent.log").open("w") as log:
        agent = subprocess.Popen(
            [littered.path / "bin" / "launch", "agent", "--config", config],
            stdout=log,
            stderr=log,
            env=littered.environ(),
            cwd=tmp_path,
        )
        try:
            out, errors = waiting.communicate(timeout=120)
        finally:
            agent.send_signal(signal.SIGTERM)
            agent.wait(timeout=30)
    said = (tmp_path / "agent.log").read_text()

    assert waiting.returncode == 0, f"{errors}\n{said}"
    assert json.loads(out) == {"state": "succeeded", "log": "good morning, world\n", "failure": None}, said


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_broken_one_is_shown_with_its_reason(littered: Fresh, broken: Broken) -> None:
    found = listed(littered)[broken.entry]

    assert found["state"] == broken.state
    assert (found["reason"] or "").startswith(broken.reason)
    assert "\n" not in (found["reason"] or "")


def test_broken_ones_harm_nothing(littered: Fresh) -> None:
    found = listed(littered)

    ours = {one["name"] for one in found.values() if one["distribution"] == "launchcore"}
    assert {"git", "archive", "process", "queues"} <= ours
    assert all(found[name]["state"] == "loaded" for name in ours | {"hello", "loud"})
    assert "Usage" in littered.run("launch", "--help")


def test_a_traceback_can_be_looked_at(littered: Fresh) -> None:
    page = littered.run("launch", "plugins", "show", "broken-import")

    assert "ModuleNotFoundError" in page
    assert "Traceback" in page


def test_what_is_refused_was_never_imported(littered: Fresh) -> None:
    page = json.loads(littered.run("launch", "plugins", "show", "too-new", "--json"))

    assert page["traceback"] is None
