"""What we give to those who run a server: the unit and the compose file say what ``launch`` understands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from launchcore.cli.app import root

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "launchcore-server.service"
COMPOSE = ROOT / "deploy" / "compose" / "compose.yaml"


def understood(words: list[str]) -> None:
    """``launch`` has this command with these options."""
    command = root().get_command(None, words[0])
    assert command is not None, words
    known = {name for parameter in command.params for name in parameter.opts}
    given = {word.partition("=")[0] for word in words[1:] if word.startswith("-")}
    assert given <= known, given - known


def test_the_unit_starts_what_there_is() -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    words = shlex.split(line)

    assert words[0].endswith("/bin/launch")
    understood(words[1:])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    launch = Path(sys.executable).parent / "launch"
    text = UNIT.read_text().replace("/opt/launchcore/bin/launch", str(launch))
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("=launchcore\n", "=daemon\n"))  # an account that every machine has

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    about = [line for line in (checked.stdout + checked.stderr).splitlines() if UNIT.name in line]
    assert about == [], about


def test_the_compose_file() -> None:
    made: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    services = made["services"]

    understood(services["server"]["command"])
    assert services["server"]["read_only"]
    assert services["server"]["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in services["server"]["ports"])
    for service in services.values():
        assert "docker.sock" not in str(service)
        assert "privileged" not in service
    dockerfile = ROOT / services["server"]["build"]["dockerfile"]
    assert dockerfile.is_file()
    assert (COMPOSE.parent / services["server"]["build"]["context"]).resolve() == ROOT
    (command,) = re.findall(r"^CMD \[(.*)\]$", dockerfile.read_text(), re.MULTILINE)
    understood([word.strip().strip('"') for word in command.split(",")])


def test_the_token_service_of_the_compose_file_makes_a_token(tmp_path: Path) -> None:
    """With its own shell line, on a database of ours."""
    made = yaml.safe_load(COMPOSE.read_text())
    shell, flag, script, name = made["services"]["token"]["entrypoint"]
    environ = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LAUNCHCORE_DATABASE": f"sqlite://{tmp_path}/queue.db",
    }

    done = subprocess.run(
        [shell, flag, script.replace("$$", "$"), name, "create", "me", "--scope", "admin"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert re.fullmatch(r"lc_[0-9a-f]{12}_[\w-]{43}\n", done.stdout)
