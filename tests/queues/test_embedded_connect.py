"""From a URL to the embedded queue, and its descriptor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launchcore.plugin import AgentInfo, Fault, LaunchError, Reason
from launchcore.queues.connect import database_path, default_url, open_client, open_service
from launchcore.queues.plugin import SqliteSettings, launch_register_queues


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/lib/launch/queue.db", "/var/lib/launch/queue.db"),
        ("sqlite:////var/lib/launch/queue.db", "/var/lib/launch/queue.db"),
        ("sqlite:///home/a%20b/%23%3F.db", "/home/a b/#?.db"),
        ("SQLITE:///x.db", "/x.db"),
    ],
)
def test_paths(url: str, path: str) -> None:
    assert database_path(url) == Path(path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "queue.db",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://queue.db",
        "sqlite:///folder/",
        "sqlite:///x.db?mode=ro",
        "sqlite:///x.db#1",
        "sqlite:///x%00.db",
        "mysql://host/x",
        "sqlite://[/x",
    ],
)
def test_urls_that_are_none_say_what_to_write(url: str) -> None:
    with pytest.raises(LaunchError) as error:
        open_service(url)
    assert (error.value.reason, error.value.fault) == (Reason.CONFIG_ERROR, Fault.USER)
    assert "sqlite:///" in (error.value.hint or "")


def test_the_default_is_this_users_own() -> None:
    assert database_path(default_url()).name == "queue.db"


def test_the_descriptor_connects(tmp_path: Path) -> None:
    spec = next(iter(launch_register_queues()))
    assert (spec.name, spec.schemes, spec.local) == ("sqlite", ("sqlite",), True)
    url = f"sqlite://{tmp_path}/queue.db"

    client = spec.connect(url, SqliteSettings())

    agent = AgentInfo(name="a", session="s", host="h", pid=1, version="0", queues=())
    client.register(agent, lease_seconds=30)
    assert client.claim(agent, ["none"], limit=1, lease_seconds=30, wait=0) == ()
    client.close()
    service = open_service(url)
    assert [row.name for row in service.agents()] == ["a"]
    service.close()
    open_client(url).close()


def test_the_descriptor_costs_nothing() -> None:
    script = (
        "import sys, launchcore.queues.plugin, launchcore.queues.connect\n"
        "heavy = {'sqlalchemy', 'platformdirs', 'launchcore.store', 'jsonschema'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
