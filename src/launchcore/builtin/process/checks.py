"""What ``launch doctor`` says about the process runner."""

from __future__ import annotations

from launchcore.builtin.process import cgroups, secret_files
from launchcore.builtin.process.settings import ProcessSettings
from launchcore.plugin import Check, CheckResult, CheckVerdict, Given, LaunchError


def checks() -> list[Check]:
    """Named checks; they look only."""
    return [
        Check(name="process: uv", run=_uv),
        Check(name="process: memory limits", run=_memory),
        Check(name="process: secret files", run=_secrets),
    ]


def _uv() -> CheckResult:
    from pathlib import Path

    from launchcore.builtin.process.uv import Uv

    try:
        said = Uv(ProcessSettings(), {}, Given()).run(["--version"], cwd=Path("/"), context=None)
    except LaunchError as error:
        return CheckResult(verdict=CheckVerdict.FAILED, detail=error.detail, hint=error.hint)
    return CheckResult(verdict=CheckVerdict.OK, detail=f"{said.strip()} installs the sources' dependencies")


def _memory() -> CheckResult:
    home = cgroups.find_home()
    if home is None:
        return CheckResult(
            verdict=CheckVerdict.WARNING,
            detail="memory limits of runs are enforced by looking five times a second",
            hint="where the agent may make control groups (as root; Delegate=yes), the kernel does it",
        )
    return CheckResult(
        verdict=CheckVerdict.OK, detail=f"the kernel enforces memory limits (cgroup version {home.version})"
    )


def _secrets() -> CheckResult:
    folders = secret_files.memory_folders()
    if not folders:
        return CheckResult(
            verdict=CheckVerdict.WARNING,
            detail="secret files of runs are written to the disk, into the run's private directory",
            hint="a writable /dev/shm or XDG_RUNTIME_DIR keeps them in memory",
        )
    return CheckResult(verdict=CheckVerdict.OK, detail=f"secret files of runs are in memory ({folders[0]})")
