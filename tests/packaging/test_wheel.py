"""The built wheel: what is in it, and that it needs nothing that it does not declare."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.third_party.environments import ROOT, Fresh, make, run_uv, wheel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

IMPORT_ALL = """
import importlib, pkgutil, launchcore
names = [m.name for m in pkgutil.walk_packages(launchcore.__path__, "launchcore.")]
kit = [name for name in names if name.startswith("launchcore.testing")]
ours = [name for name in names if name not in kit and not name.endswith("__main__")]
needs = set()
for name in ours:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith(("launchcore.server.", "launchcore.telemetry.")):
            raise  # only those two have extras of their own
        needs.add(error.name.partition(".")[0])
print(len(names), len(kit), *sorted(needs))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run_uv("build", "--quiet", "--wheel", "--out-dir", out, ROOT)
    return wheel(out, "launchcore")


@pytest.fixture(scope="module")
def bare(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    return make(tmp_path_factory.mktemp("bare"), "venv", [built])


def test_the_wheel_has_the_package_and_the_kit_and_no_tests(built: Path) -> None:
    names = zipfile.ZipFile(built).namelist()

    assert "launchcore/py.typed" in names
    assert "launchcore/testing/conformance/runner.py" in names
    assert "launchcore/testing/pytest_plugin.py" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"launchcore"}


def test_every_module_can_be_imported_with_the_declared_dependencies_only(bare: Fresh) -> None:
    modules, kit, *needs = bare.run("python", "-c", IMPORT_ALL).split()

    assert int(modules) > 100
    assert int(kit) >= 8
    assert set(needs) <= {"litestar", "uvicorn", "prometheus_client", "opentelemetry"}


def test_the_program_starts_without_a_home_that_can_be_written_to(bare: Fresh) -> None:
    assert "Usage" in bare.run("launch", "--help")
    assert bare.run("launch", "--version").startswith("launch ")


def test_the_echo_plugin_and_its_runner_need_no_pytest(bare: Fresh) -> None:
    code = (
        "import sys; from launchcore.host import Host;"
        "host = Host.load(extra=('launchcore.testing.echo',));"
        "print(host.catalog.runner('echo').plugin, 'pytest' in sys.modules)"
    )

    name, version, pytest_too = bare.run("python", "-c", code).split()
    assert (name, pytest_too) == ("launchcore", "False")
    assert version
