"""What the plugin declares, and that declaring it costs nothing."""

from __future__ import annotations

import subprocess
import sys

from launchcore.builtin.process.plugin import launch_checks, launch_register_runners
from launchcore.plugin import CheckVerdict, Kind


def test_the_descriptor() -> None:
    (spec,) = launch_register_runners()

    assert spec.name == "process"
    assert (spec.needs_image, spec.watches, spec.immediate, spec.host_bound) == (False, True, True, True)
    assert spec.applies == {Kind.ENV, Kind.FILE, Kind.LABEL}


def test_the_checks() -> None:
    for check in launch_checks():
        result = check.run()

        assert result.verdict in (CheckVerdict.OK, CheckVerdict.WARNING)
        assert "\n" not in result.detail


def test_the_keeper_needs_the_standard_library_only() -> None:
    """It is started for the first run on a machine, and shares its memory with nobody but the nanny."""
    script = (
        "import sys; import launchcore.builtin.process.keeper\n"
        "others = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "print(sorted(others - {'__main__', '__mp_main__'}))\n"
        "print(sorted({'subprocess', 'threading', 'asyncio', 'logging', 'inspect'} & set(sys.modules)))"
    )
    src = __import__("launchcore").__path__[0] + "/.."
    said = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": src},
        check=True,
        capture_output=True,
        text=True,
    )

    assert said.stdout.splitlines() == ["['launchcore']", "[]"]


def test_the_plugin_module_is_light() -> None:
    script = (
        "import launchcore.plugin, sys; before = set(sys.modules); import launchcore.builtin.process.plugin\n"
        "print(sorted(each for each in set(sys.modules) - before if 'launchcore.builtin' not in each))"
    )
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert said.stdout.strip() == "[]"
