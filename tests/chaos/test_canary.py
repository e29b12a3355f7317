"""What is looked for is what the jobs print: otherwise nothing would ever be found."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.chaos.canary import SHOWN, forms
from tests.chaos.served import JOB

CANARY = "canary 0badc0de/of+this&history"


@pytest.fixture
def printed(tmp_path: Path) -> list[bytes]:
    """The lines of a job that nobody masks."""
    script = tmp_path / "job.sh"
    script.write_text(JOB)
    environ = {**os.environ, "CANARY": CANARY, "LAUNCH_ATTEMPT_ID": "r-1"}
    command = ["sh", str(script), str(tmp_path / "history"), "1", "0"]
    return subprocess.run(command, env=environ, check=True, capture_output=True).stdout.splitlines()


def test_every_line_that_should_be_masked_is_found(printed: list[bytes]) -> None:
    secret, rest = printed[:3], printed[3:]
    assert [line.split()[0] for line in secret] == [line.split()[0] for line in SHOWN.splitlines()]
    for line in secret:
        assert any(form in line for form in forms(CANARY)), line
    assert not any(form in line for line in rest for form in forms(CANARY))


def test_a_dump_of_bytes_is_looked_through_as_well(printed: list[bytes]) -> None:
    for line in printed[:3]:
        assert any(form in line.hex().encode() for form in forms(CANARY)), line
