"""The virtual environment of a run: found in the cache, or made by uv.

A tree without dependency files gets a bare environment that all such runs share, so that ``python``
is never the agent's own. A tree that is a package gets its dependencies only; its code stays in the
tree (see :mod:`.package`). A running job can change the environment that it shares with others, as
it can do anything else that this account can: this runner keeps apart, it does not lock in.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import attrs

from launchcore.builtin.process.needs import Needs, look
from launchcore.builtin.process.package import lay_out
from launchcore.builtin.process.settings import ProcessSettings, Python
from launchcore.builtin.process.uv import Uv, run
from launchcore.builtin.process.variables import inherited
from launchcore.builtin.process.venvs import Venvs
from launchcore.plugin import Given, LaunchError, Reason, RunPlan, StageContext

MOST_WAITING = 1000


@attrs.frozen(kw_only=True)
class Prepared:
    """What a run's environment variables have to say."""

    venv: Path | None = None
    python_path: tuple[str, ...] = ()
    bin_path: tuple[str, ...] = ()


class Environments:
    """Safe to use from any thread."""

    def __init__(self, settings: ProcessSettings, root: Path) -> None:
        self._settings = settings
        self._venvs = Venvs(root, most=settings.keep_environments, most_bytes=settings.keep_bytes)
        self._interpreters: dict[str | None, tuple[Path, str]] = {}
        self._waiting: dict[str, Prepared] = {}
        self._lock = threading.Lock()

    def take(self, plan: RunPlan) -> Prepared | None:
        """What has been prepared for this plan; ``None`` when something is still to be made."""
        with self._lock:
            prepared = self._waiting.pop(plan.attempt_id, None)
        return prepared or self._find(plan)

    def prepare(self, plan: RunPlan, given: Given, context: StageContext | None) -> Prepared:
        """Make what is missing, and keep it for :meth:`take`.

        :raises LaunchError: ``build_failed``, ``config_error``.
        """
        prepared = self._find(plan) or self._make(plan, given, context)
        with self._lock:
            self._waiting[plan.attempt_id] = prepared
            while len(self._waiting) > MOST_WAITING:  # prepared, and never started
                del self._waiting[next(iter(self._waiting))]
        return prepared

    def _find(self, plan: RunPlan) -> Prepared | None:
        if plan.settings.python is Python.NONE:
            return Prepared()
        needs = look(plan.tree, plan.settings)
        interpreter = self._own(needs.python) or self._interpreters.get(needs.python)
        venv = self._venvs.find(needs.key(_name(interpreter))) if interpreter else None
        return self._prepared(plan, needs, venv) if venv else None

    def _make(self, plan: RunPlan, given: Given, context: StageContext | None) -> Prepared:
        needs = look(plan.tree, plan.settings)
        uv = Uv(self._settings, os.environ, given)
        interpreter = self._interpreter(uv, needs.python, context)
        python, version = interpreter

        def build(folder: Path, hold: int) -> None:
            if plan.tree is None or needs.bare:
                _build_bare(python, folder, context, hold)
                return
            cwd = plan.tree.path
            if context is not None:
                context.log(f"installing the source's dependencies for Python {version.split()[0]}")
            for arguments, extra in _steps(needs, python, folder):
                uv.run(arguments, cwd=cwd, context=context, extra=extra, hold=hold)

        return self._prepared(plan, needs, self._venvs.make(needs.key(_name(interpreter)), build, context))

    def _prepared(self, plan: RunPlan, needs: Needs, venv: Path) -> Prepared:
        roots = [root for package in needs.packages for root in package.roots]
        programs: list[Path] = []
        if needs.packages:
            programs, site = lay_out(needs.packages, venv / "bin" / "python", plan.scratch / "package")
            roots += site
        return Prepared(
            venv=venv,
            python_path=tuple(map(str, dict.fromkeys(roots))),
            bin_path=tuple(map(str, programs)),
        )

    # -- interpreters --------------------------------------------------------------------------

    def _own(self, wanted: str | None) -> tuple[Path, str] | None:
        """The Python below the agent's own environment, if it is what the source wants."""
        if wanted is not None and not _fits(wanted):
            return None
        base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
        return (base if base.exists() else Path(sys.executable)), sys.version

    def _interpreter(self, uv: Uv, wanted: str | None, context: StageContext | None) -> tuple[Path, str]:
        if own := self._own(wanted):
            return own
        if wanted in self._interpreters:
            return self._interpreters[wanted]
        assert wanted is not None
        if wanted.startswith("-") or "\0" in wanted:
            raise _no_python(wanted)
        try:
            found = uv.run(["python", "find", "--no-project", wanted], cwd=Path("/"), context=None)
        except LaunchError as error:
            if error.reason is not Reason.BUILD_FAILED:
                raise
            raise _no_python(wanted) from None
        path = Path(found.strip().splitlines()[-1])
        version = run(
            [str(path), "-c", "import sys; print(sys.version.replace(chr(10), ' '))"],
            cwd=Path("/"),
            env=inherited(os.environ),
            context=context,
            seconds=60.0,
        )
        with self._lock:
            self._interpreters[wanted] = (path, version.strip())
            return self._interpreters[wanted]


def _name(interpreter: tuple[Path, str]) -> str:
    return f"{interpreter[0]}\0{interpreter[1]}"


def _no_python(wanted: str) -> LaunchError:
    return LaunchError(
        f"the source asks for Python {wanted}, which this machine does not have",
        reason=Reason.BUILD_FAILED,
        hint=f"install it there (`uv python install {wanted!r}`), or allow plugins.process.python_downloads",
    )


def _fits(wanted: str) -> bool:
    """Whether the agent's own version is what ``.python-version`` or ``requires-python`` asks for."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    own = ".".join(map(str, sys.version_info[:3]))
    plain = wanted.removeprefix("python").removeprefix("cpython-")
    if plain and all(part.isdecimal() for part in plain.split(".")):
        return own == plain or own.startswith(plain + ".")
    try:
        return SpecifierSet(wanted).contains(own)
    except InvalidSpecifier:
        return False


def _build_bare(python: Path, folder: Path, context: StageContext | None, hold: int) -> None:
    """By the standard library, so that the simplest run does not even need uv."""
    run(
        [str(python), "-m", "venv", "--without-pip", str(folder / "venv")],
        cwd=folder,
        env=inherited(os.environ),
        context=context,
        seconds=300.0,
        hold=hold,
    )


def _steps(needs: Needs, python: Path, folder: Path) -> list[tuple[list[str], dict[str, str]]]:
    """Arguments of uv, and variables for it, one call after the other. Writes the files that they name."""
    venv = folder / "venv"
    make: list[str] = ["venv", "--no-project", "--python", str(python), str(venv)]
    extras = [word for extra in needs.extras for word in ("--extra", extra)]
    if needs.locked:
        install = ["sync", "--frozen", "--no-dev", "--no-install-workspace", "--no-editable"]
        install += ["--python", str(python), *extras]
        return [(make, {}), (install, {"UV_PROJECT_ENVIRONMENT": str(venv)})]
    install = ["pip", "install", "--python", str(venv / "bin" / "python")]
    for option, lines in (("-r", needs.lines), ("-c", needs.constraints)):
        if lines:
            file = folder / f"lines{option}.txt"
            file.write_text("\n".join(lines) + "\n")
            install += [option, str(file)]
    for metadata in needs.metadata:
        install += ["-r", str(metadata)]
    return [(make, {}), ([*install, *extras], {})]
