"""Whether git is here, and new enough."""

from __future__ import annotations

import os
import re
import time

from launchcore.builtin.git.command import Watch, run_git
from launchcore.builtin.text import plain
from launchcore.plugin import CheckResult, CheckVerdict, LaunchError

OLDEST = (2, 31)
"""The first that takes its configuration from the environment."""


def look() -> CheckResult:
    """Ask git for its version."""
    try:
        env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        result = run_git(["--version"], env=env, watch=Watch(deadline=time.monotonic() + 10))
    except LaunchError as error:
        return CheckResult(verdict=CheckVerdict.FAILED, detail=error.detail, hint=error.hint)
    said = plain(result.output.strip(), 80)
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        return CheckResult(
            verdict=CheckVerdict.FAILED,
            detail=f"{said or 'git'} is too old for the source 'git'",
            hint=f"install git {OLDEST[0]}.{OLDEST[1]} or later",
        )
    return CheckResult(verdict=CheckVerdict.OK, detail=said)
