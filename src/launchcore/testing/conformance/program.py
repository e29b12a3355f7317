"""What the runner suite lets a run do, without saying how."""

from __future__ import annotations

import shlex

import attrs


@attrs.frozen(kw_only=True)
class Program:
    """Prints ``lines``, then what it is asked to show, then ``errors`` on standard error; lasts; ends."""

    lines: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    show_env: tuple[str, ...] = ()
    """Variables, each printed as ``NAME=value``."""
    show_files: tuple[str, ...] = ()
    """Variables, each with the path of a file, which is printed."""
    seconds: float = 0.0
    exit_code: int = 0
    kills_itself: bool = False
    """It ends by SIGKILL."""
    deaf: bool = False
    """It does not listen to SIGTERM."""

    def shell(self) -> tuple[str, ...]:
        """As a command for a POSIX shell: for every runner that executes commands."""
        parts = ["trap '' TERM"] if self.deaf else []
        parts += [f"printf '%s\\n' {shlex.quote(line)}" for line in self.lines]
        parts += [f"printf '%s=%s\\n' {name} \"${{{name}}}\"" for name in self.show_env]
        parts += [f'cat "${{{name}}}"; echo' for name in self.show_files]
        parts += [f"printf '%s\\n' {shlex.quote(line)} >&2" for line in self.errors]
        parts += [f"sleep {self.seconds}"] if self.seconds else []
        parts += ["kill -9 $$"] if self.kills_itself else []
        return ("sh", "-c", "; ".join([*parts, f"exit {self.exit_code}"]))
