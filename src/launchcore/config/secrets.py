"""Where the values of secrets come from: only from what the agent's configuration opens.

A run names a secret; it can never name a variable or a file of the agent. Values are read when they
are needed, so that a rotated file counts from the next run on, and are kept nowhere.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from launchcore.config.values import SecretSource
from launchcore.plugin import Fault, LaunchError, Reason, Secret

VARIABLE_PREFIX: Final = "LAUNCHCORE_SECRET_"
"""``LAUNCHCORE_SECRET_HF_TOKEN`` in the agent's environment offers the secret ``HF_TOKEN``."""

MAX_BYTES: Final = 64 * 1024
"""What fits into a variable of a process on every system, with room to spare."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)


class SecretStore:
    """What one agent offers.

    :param secrets: ``secrets`` of its configuration; these come before its environment's.
    :param environ: the agent's environment. Read are only the variables that ``secrets`` names, and
        those that begin with :data:`VARIABLE_PREFIX`.
    """

    def __init__(self, secrets: Mapping[str, SecretSource], environ: Mapping[str, str]) -> None:
        self._secrets = dict(secrets)
        self._environ = environ

    def __repr__(self) -> str:
        return f"SecretStore({', '.join(self.names())})"

    def names(self) -> tuple[str, ...]:
        """The names of everything on offer, whether or not it can be read just now."""
        found = {
            name.removeprefix(VARIABLE_PREFIX) for name in self._environ if name.startswith(VARIABLE_PREFIX)
        }
        return tuple(sorted({name for name in found if _NAME.fullmatch(name)} | self._secrets.keys()))

    def resolve(self, name: str, *, allowed: Collection[str] | None = None) -> Secret:
        """The value of a secret that a run has named.

        :param allowed: the names that the queue opens; ``None``: all.
        :raises LaunchError: ``config_error``: of the user, when the queue does not open it or the name
            is none; of the infrastructure, when this agent does not have it or cannot read it.
        """
        if not _NAME.fullmatch(name):
            raise _refused(f"{name[:80]!r} is not the name of a secret", "use letters, digits and _")
        if allowed is not None and name not in allowed:
            opened = f"it opens {', '.join(sorted(allowed))}" if allowed else "it opens none"
            raise _refused(f"the queue does not open the secret {name}", opened)
        text = self._read(name)
        if not text:
            raise _missing(f"the secret {name} is empty", self._where(name))
        if "\0" in text:
            raise _missing(f"the secret {name} has a NUL character", self._where(name))
        return Secret(text)

    def warnings(self) -> list[str]:
        """What is odd about the secrets on offer, one line each: unreadable, or open to others."""
        found = []
        for name in self.names():
            try:
                self.resolve(name)
            except LaunchError as error:
                found.append(error.detail)
            source = self._secrets.get(name)
            if source is not None and source.file is not None:
                found += _permissions(name, Path(source.file).expanduser())
        return found

    def _read(self, name: str) -> str:
        source = self._secrets.get(name)
        if source is None or (source.env is None and source.file is None):
            if VARIABLE_PREFIX + name in self._environ:
                return self._environ[VARIABLE_PREFIX + name]
            offered = ", ".join(self.names()) or "none"
            raise _missing(
                f"this agent has no secret {name} (it has: {offered})",
                f"add it to `secrets` in the agent's configuration, or give it {VARIABLE_PREFIX}{name}",
            )
        if source.env is not None:
            if source.env not in self._environ:
                raise _missing(
                    f"the secret {name} comes from the variable {source.env}, which the agent does not have",
                    f"set {source.env} in the agent's environment, and restart it",
                )
            return self._environ[source.env]
        return _content(name, Path(str(source.file)).expanduser())

    def _where(self, name: str) -> str:
        source = self._secrets.get(name)
        if source is not None and source.file is not None:
            return f"look at {source.file} on the agent's machine"
        variable = source.env if source and source.env else VARIABLE_PREFIX + name
        return f"look at {variable} in the agent's environment"


def _content(name: str, path: Path) -> str:
    """A secret's file, without its last line end. Regular files only: a pipe would wait for ever."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _missing(f"the secret {name}: {path} is not a regular file")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _missing(f"the secret {name} cannot be read from {path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise _missing(f"the secret {name}: {path} is larger than {MAX_BYTES} bytes")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _missing(f"the secret {name}: {path} is not UTF-8", "write a binary secret as base64") from None


def _permissions(name: str, path: Path) -> list[str]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return []
    if not mode & 0o077:
        return []
    return [f"the secret {name}: others can read or write {path} (mode {mode:04o}); chmod 600 {path}"]


def _refused(detail: str, hint: str) -> LaunchError:
    return LaunchError(detail, reason=Reason.CONFIG_ERROR, fault=Fault.USER, hint=hint)


def _missing(detail: str, hint: str | None = None) -> LaunchError:
    hint = hint or "mend the file, or `secrets` in the agent's configuration"
    return LaunchError(detail, reason=Reason.CONFIG_ERROR, fault=Fault.INFRASTRUCTURE, hint=hint)
