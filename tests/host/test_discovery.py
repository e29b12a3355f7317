"""Four states, a reason for each, and no plugin that can break the host."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from launchcore.host import Host
from launchcore.host.discovery import PluginRecord, PluginState, own_version
from launchcore.plugin import hookimpl
from tests.host.conftest import Installed

GOOD = """
from launchcore.plugin import RunnerSpec, hookimpl

@hookimpl
def launch_register_runners():
    return [RunnerSpec(name="hello", summary="Says hello.", create=lambda settings, site: None)]
"""


class Watching:
    @hookimpl
    def launch_observe(self) -> None: ...


def only(host: Host) -> PluginRecord:
    [record] = host.plugins
    return record


def test_a_good_plugin_is_loaded_and_says_what_it_offers(installed: Installed) -> None:
    installed.add("launch-hello", GOOD, version="1.2")
    host = installed.load()

    record = only(host)
    assert (record.name, record.label, record.state) == ("hello", "launch-hello 1.2", PluginState.LOADED)
    assert record.hooks == ("launch_register_runners",)
    assert record.offers == ("runner hello",)
    assert record.reason is None
    assert host.catalog.runner("hello").plugin == "launch-hello 1.2"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import kubernetes_that_is_not_there", "ModuleNotFoundError: No module named"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("raise BaseException('odd')", "BaseException: odd"),
        ("raise RuntimeError('two\\nlines \\x1b[31mred')", "RuntimeError: two lines [31mred"),
        ("class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute", "Mute"),
        ("import warnings; warnings.warn('old')", "UserWarning: old"),
    ],
)
def test_what_raises_at_import_is_failed_with_its_reason(
    installed: Installed, source: str, reason: str
) -> None:
    installed.add("launch-bad", source)
    record = only(installed.load())

    assert record.state is PluginState.FAILED
    assert (record.reason or "").startswith(reason)
    assert "\n" not in (record.reason or "")
    assert "Traceback" in (record.traceback or "") or "SyntaxError" in (record.traceback or "")


def test_ctrl_c_is_the_users_and_passes(installed: Installed) -> None:
    installed.add("launch-bad", "raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        installed.load()


def test_what_a_plugin_prints_does_not_reach_standard_output(
    installed: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    installed.add("launch-loud", "print('hello from import')\n" + GOOD)
    installed.load()

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello from import" in captured.err


@pytest.mark.parametrize(
    ("requires", "reason"),
    [
        (["launchcore<0.0.1"], f"it needs launchcore<0.0.1, this is {own_version()}"),
        (["launchcore>=99", "launchcore<100"], f"it needs launchcore>=99, this is {own_version()}"),
        ([], "it does not say which launchcore it needs"),
        (["requests"], "it does not say which launchcore it needs"),
        (['launchcore; extra == "testing"'], "it does not say which launchcore it needs"),
        (['launchcore; python_version < "3"'], "it does not say which launchcore it needs"),
        (["launchcore !! nonsense"], "its requirement 'launchcore !! nonsense' cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused_and_never_imported(
    installed: Installed, requires: list[str], reason: str
) -> None:
    module = installed.add("launch-misfit", "raise RuntimeError('imported')", requires=requires)
    record = only(installed.load())

    assert record.state is PluginState.REFUSED
    assert (record.reason or "").startswith(f"launch-misfit 1.0 was not loaded: {reason}")
    assert module not in sys.modules


@pytest.mark.parametrize("requires", [["LaunchCore>=0.0.1"], ["launchcore[testing]<99"], ["launchcore"]])
def test_a_requirement_that_fits_in_any_spelling_is_loaded(installed: Installed, requires: list[str]) -> None:
    installed.add("launch-hello", GOOD, requires=requires)

    assert only(installed.load()).state is PluginState.LOADED


@pytest.mark.parametrize("name", ["hello", "launch-hello", "Launch_Hello"])
def test_a_disabled_plugin_is_not_imported(installed: Installed, name: str) -> None:
    module = installed.add("launch-hello", GOOD)
    record = only(installed.load(disabled=[name]))

    assert record.state is PluginState.DISABLED
    assert record.reason == "disabled by the configuration"
    assert module not in sys.modules


def test_damaged_metadata_of_others_is_passed_over(installed: Installed) -> None:
    installed.add("launch-hello", GOOD)
    broken = installed.path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_bytes(b"\xff\xfe\x00")
    (broken / "entry_points.txt").write_text("[launchcore]\nnot an entry point at all\n")
    (installed.path / "empty-1.0.dist-info").mkdir()
    nameless = installed.path / "nameless-1.0.dist-info"
    nameless.mkdir()
    (nameless / "METADATA").write_text("Metadata-Version: 2.1\n")
    (nameless / "entry_points.txt").write_text("[launchcore]\nnameless = nameless\n")

    states = {record.name: record.state for record in installed.load().plugins}
    assert states["hello"] is PluginState.LOADED


def test_of_two_copies_of_a_distribution_the_first_on_the_path_counts(installed: Installed) -> None:
    installed.add("launch-hello", GOOD, version="2.0")
    older = Installed(installed.path.parent / "older")
    older.path.mkdir()
    older.add("launch-hello", GOOD, version="1.0")

    host = Host.load(path=[str(installed.path), str(older.path)], builtin=())
    assert only(host).version == "2.0"


def test_an_entry_point_may_name_an_attribute_that_is_missing(installed: Installed) -> None:
    installed.add("launch-hello", GOOD, points={"hello": "launch_hello:nothing.here"})

    assert (only(installed.load()).reason or "").startswith("AttributeError")


def test_two_plugins_of_one_name_are_both_refused(installed: Installed) -> None:
    installed.add("launch-one", GOOD, entry="same")
    installed.add("launch-two", GOOD, entry="same")

    reasons = [record.reason for record in installed.load().plugins]
    assert reasons == [
        "launch-one 1.0 was not loaded: launch-two 1.0 has a plugin 'same' too",
        "launch-two 1.0 was not loaded: launch-one 1.0 has a plugin 'same' too",
    ]


def test_nobody_takes_the_name_of_a_built_in_plugin(installed: Installed) -> None:
    installed.add("launch-thief", GOOD, entry="builtin_one")
    sys.modules["builtin_one"] = Watching()  # type: ignore[assignment]
    try:
        host = Host.load(path=[str(installed.path)], builtin=("builtin_one",))
    finally:
        del sys.modules["builtin_one"]

    mine, theirs = sorted(host.plugins, key=lambda record: record.distribution != "launchcore")
    assert mine.loaded
    assert theirs.state is PluginState.REFUSED
    assert "launchcore" in (theirs.reason or "")


def test_one_bad_plugin_leaves_the_others_alone(installed: Installed) -> None:
    installed.add("launch-hello", GOOD)
    installed.add("launch-bad", "1/0")
    installed.add("launch-old", GOOD, requires=["launchcore<0.0.1"])

    host = installed.load()
    assert {record.name: record.state.value for record in host.plugins} == {
        "bad": "failed",
        "hello": "loaded",
        "old": "refused",
    }
    assert host.catalog.runner("hello").entry == "hello"


def test_extra_plugins_are_given_by_path_or_as_they_are(installed: Installed) -> None:
    (installed.path / "beside.py").write_text(GOOD)

    host = installed.load(extra=("beside", ("mine", Watching())))
    assert [(record.name, record.state) for record in host.plugins] == [
        ("beside", PluginState.LOADED),
        ("mine", PluginState.LOADED),
    ]


def test_the_built_in_plugins_are_ours(installed: Installed) -> None:
    host = Host.load(path=[str(installed.path)])

    assert {record.label for record in host.plugins} == {f"launchcore {own_version()}"}
    assert {"git", "process"} <= {record.name for record in host.plugins}
    assert json.dumps([record.offers for record in host.plugins])


def test_loading_the_host_imports_nothing_heavy() -> None:
    code = (
        "import sys; from launchcore.host import Host; host = Host.load();"
        "heavy = {'sqlalchemy', 'requests', 'jsonschema', 'rich', 'typer', 'yaml', 'docker', 'kubernetes',"
        " 'boto3', 'uv', 'msgspec', 'pathspec'} & set(sys.modules); print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_names_of_strangers_are_harmless_on_a_terminal(installed: Installed) -> None:
    installed.add("launch-odd", GOOD, version="1.0")
    info = installed.path / "launch_odd-1.0.dist-info"
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: launch-\x1b[2Jodd\nVersion: 1\x07.0\nRequires-Dist: launchcore\n"
    )
    record = only(installed.load())

    assert record.label.isprintable()
