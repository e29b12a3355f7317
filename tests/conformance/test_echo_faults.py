"""Every fault of the echo plugin happens when its script says so."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launchcore.host import Host
from launchcore.host.settings import SettingsError, structure
from launchcore.plugin import (
    BuildPlan,
    BuiltImage,
    Cancelled,
    Destination,
    FetchPlan,
    Given,
    ImageRef,
    LaunchError,
    Login,
    Phase,
    Reason,
    RunHandle,
    RunPlan,
    Secret,
    Site,
    SourceRef,
    SourceTree,
)
from launchcore.testing.context import RecordingContext
from launchcore.testing.echo import EchoSettings
from launchcore.testing.echo.objects import real_starts
from launchcore.testing.echo.runner import EchoRunner
from launchcore.testing.echo.script import EchoObject, Script, status_at, visible_at

GIVEN = Given()


@pytest.fixture
def runner(launch_site: Site) -> EchoRunner:
    return EchoRunner(launch_site.state / "echo", launch_site)


def plan(*, attempt: int = 1, command: Any = (), **script: Any) -> RunPlan:
    return RunPlan(
        run_id="r",
        attempt_id=f"r-{attempt}",
        attempt=attempt,
        queue="q",
        name=f"launch-r-{attempt}",
        settings=Script(**script),
        command=command,
        scratch=Path("/nowhere"),
    )


def phase(runner: EchoRunner, handle: RunHandle) -> Phase:
    return runner.poll([handle])[handle.key].phase


# -- the script and the time (pure) ----------------------------------------------------------------


def one(cancel_at: float | None = None, grace: float = 0.0, **script: Any) -> EchoObject:
    return EchoObject(
        attempt_id="r-1", script=Script(**script), started_at=100.0, cancel_at=cancel_at, grace=grace
    )


@pytest.mark.parametrize(
    ("what", "now", "expected"),
    [
        (one(pending_for=5, run_for=5), 104.9, Phase.PENDING),
        (one(pending_for=5, run_for=5), 105.0, Phase.RUNNING),
        (one(pending_for=5, run_for=5), 110.0, Phase.SUCCEEDED),
        (one(run_for=5, exit_code=2), 105.0, Phase.FAILED),
        (one(run_for=5, gone=True), 104.0, Phase.RUNNING),
        (one(run_for=5, gone=True), 105.0, Phase.GONE),
        (one(run_for=50, cancel_at=101.0), 101.0, Phase.FAILED),
        (one(run_for=50, cancel_at=101.0, ignore_cancel_for=3, grace=10), 103.0, Phase.RUNNING),
        (one(run_for=50, cancel_at=101.0, ignore_cancel_for=3, grace=10), 104.0, Phase.FAILED),
        (one(pending_for=50, cancel_at=101.0), 102.0, Phase.FAILED),
        (one(run_for=5, cancel_at=200.0), 300.0, Phase.SUCCEEDED),
    ],
)
def test_status_is_a_function_of_script_and_time(what: EchoObject, now: float, expected: Phase) -> None:
    assert status_at(what, now).phase is expected


def test_ends_are_told_apart() -> None:
    late = 1000.0
    polite = one(run_for=5, cancel_at=101.0, ignore_cancel_for=1, grace=2)
    forced = one(run_for=5, cancel_at=101.0, ignore_cancel_for=3, grace=2)

    assert status_at(one(exit_code=3), late).exit_code == 3
    assert status_at(one(signal=11), late).signal == 11
    assert status_at(polite, late).signal == 15
    assert status_at(forced, late).signal == 9
    oom = status_at(one(oom=True), late)
    assert oom.failure is not None
    assert oom.failure.reason is Reason.OUT_OF_MEMORY


def test_lines_come_at_their_pace_and_stop_with_the_run() -> None:
    slow = one(run_for=10, line_every=2, pending_for=1)
    log = b"1\n2\n3\n4\n5\n"

    assert visible_at(slow, log, 100.5) == b""
    assert visible_at(slow, log, 101.0) == b"1\n"
    assert visible_at(slow, log, 105.5) == b"1\n2\n3\n"
    cancelled = one(run_for=10, line_every=2, cancel_at=103.0)
    assert visible_at(cancelled, log, 1000.0) == b"1\n2\n"


# -- the runner ------------------------------------------------------------------------------------


def test_a_start_can_fail(runner: EchoRunner, stage_context: RecordingContext) -> None:
    with pytest.raises(LaunchError, match="no room") as caught:
        runner.start(plan(start_error="no room", start_error_retryable=True), GIVEN)
    with pytest.raises(RuntimeError):
        runner.start(plan(start_bug=True), GIVEN)
    with pytest.raises(LaunchError, match="bad wheel"):
        runner.prepare(plan(prepare_error="bad wheel"), GIVEN, stage_context)

    assert caught.value.retryable
    assert real_starts(runner.directory) == []


def test_preparing_obeys_a_cancel(runner: EchoRunner, stage_context: RecordingContext) -> None:
    stage_context.cancel()
    with pytest.raises(Cancelled):
        runner.prepare(plan(prepare_for=60.0), GIVEN, stage_context)


@pytest.mark.parametrize(("fault", "starts"), [("die_after_start", ["r-1"]), ("die_before_start", [])])
def test_the_agent_can_be_killed_around_a_start(
    runner: EchoRunner, launch_site: Site, fault: str, starts: list[str]
) -> None:
    code = (
        "import sys; from pathlib import Path; from launchcore.plugin import Given;"
        "from launchcore.testing.sites import make_site;"
        "from launchcore.testing.echo.runner import EchoRunner;"
        "from tests.conformance.test_echo_faults import plan; root = Path(sys.argv[1]);"
        "site = make_site(root.parent, sys.argv[3]);"
        "EchoRunner(root / 'echo', site).start(plan(**{sys.argv[2]: True}), Given())"
    )
    args = [sys.executable, "-c", code, str(launch_site.state), fault, launch_site.owner]
    killed = subprocess.run(args, check=False, capture_output=True)

    assert killed.returncode == -9, killed.stderr
    assert real_starts(runner.directory) == starts
    # Once only: the next agent adopts it, or starts it.
    script: Any = {fault: True}
    found = runner.find("r-1") if starts else runner.start(plan(**script), GIVEN)
    assert found is not None
    assert real_starts(runner.directory) == ["r-1"]


def test_losing_sight_for_some_polls_is_not_the_end(runner: EchoRunner) -> None:
    handle = runner.start(plan(unknown_for=2, exit_code=3), GIVEN)

    assert [phase(runner, handle) for _ in range(4)] == [
        Phase.UNKNOWN,
        Phase.UNKNOWN,
        Phase.FAILED,
        Phase.FAILED,
    ]


@pytest.mark.parametrize(
    ("fault", "call"),
    [
        ("poll_errors", lambda runner, handle: runner.poll([handle])),
        ("find_errors", lambda runner, handle: runner.find(handle.attempt_id)),
        ("log_errors", lambda runner, handle: runner.logs(handle, None, 10)),
        ("cancel_errors", lambda runner, handle: runner.cancel(handle, 0.0)),
        ("cleanup_errors", lambda runner, handle: runner.cleanup(handle)),
    ],
)
def test_calls_fail_as_often_as_asked_in_all_processes_together(
    runner: EchoRunner, launch_site: Site, fault: str, call: Any
) -> None:
    script: Any = {fault: 2}
    handle = runner.start(plan(**script), GIVEN)
    for each in (runner, EchoRunner(runner.directory, launch_site)):
        with pytest.raises(LaunchError, match="on request"):
            call(each, handle)

    call(runner, handle)


def test_a_gap_is_said_and_the_rest_follows(runner: EchoRunner) -> None:
    handle = runner.start(plan(lines=("0123456789",), log_gap=4), GIVEN)
    batch = runner.logs(handle, None, 3)
    rest = runner.logs(handle, batch.cursor, 100)

    assert (batch.data, batch.gap) == (b"456", "4 bytes were lost")
    assert (rest.data, rest.gap, rest.end) == (b"789\n", None, True)


def test_output_has_the_size_that_was_asked_for(runner: EchoRunner) -> None:
    handle = runner.start(plan(output_bytes=100_001), GIVEN)

    assert len(runner.logs(handle, None, 1 << 20).data) == 100_001


def test_later_attempts_can_be_without_faults(runner: EchoRunner) -> None:
    with pytest.raises(LaunchError):
        runner.start(plan(attempt=2, start_error="no", faulty_attempts=2), GIVEN)
    handle = runner.start(plan(attempt=3, start_error="no", faulty_attempts=2), GIVEN)

    assert phase(runner, handle) is Phase.SUCCEEDED


def test_a_runs_command_overrides_the_queues_script(runner: EchoRunner) -> None:
    handle = runner.start(plan(command=("exit-code=5", 'lines=["a", "b"]', "not a word"), exit_code=1), GIVEN)
    status = runner.poll([handle])["r-1"]

    assert status.exit_code == 5
    assert runner.logs(handle, None, 100).data == b"a\nb\n"
    with pytest.raises(SettingsError, match="exit_cod"):
        runner.start(plan(command=("exit_cod=5",)), GIVEN)


def test_agents_may_share_a_directory(launch_host: Host, launch_site: Site, tmp_path: Path) -> None:
    spec = launch_host.catalog.runner("echo").spec
    settings = structure(EchoSettings, {"directory": str(tmp_path / "shared")}, path="plugins.echo")
    first = spec.create(settings, launch_site)
    handle = first.start(plan(run_for=60), GIVEN)

    assert spec.create(settings, launch_site).find("r-1") == handle


def test_a_hanging_start_gives_up_when_it_is_too_late(runner: EchoRunner) -> None:
    import attrs

    late = attrs.evolve(plan(start_hang=0.05), start_before=time.time() + 0.01)
    with pytest.raises(LaunchError, match="too late"):
        runner.start(late, GIVEN)

    assert real_starts(runner.directory) == []


# -- source, builder, registry ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../b", ""])
def test_the_source_writes_inside_only(
    launch_host: Host, launch_site: Site, stage_context: RecordingContext, tmp_path: Path, name: str
) -> None:
    spec = launch_host.catalog.source("echo").spec
    source = spec.create(structure(spec.settings, {}, path="x"), launch_site)
    ref = SourceRef(type="echo", fields={"files": {name: "x"}})
    fetch = FetchPlan(attempt_id="r-1", source=ref, cache=tmp_path, local=True)
    with pytest.raises(LaunchError, match="no path inside the tree"):
        source.fetch(fetch, tmp_path, stage_context)


def test_building_and_pushing_is_remembered(
    launch_host: Host, launch_site: Site, stage_context: RecordingContext, tmp_path: Path
) -> None:
    builders, registries = launch_host.catalog.builder("echo").spec, launch_host.catalog.registry("echo").spec
    builder = builders.create(structure(builders.settings, {}, path="x"), launch_site)
    registry = registries.create(structure(registries.settings, {"password": "p"}, path="x"), launch_site)
    tree = SourceTree(path=tmp_path, identity="sha256:1", pinned=SourceRef(type="echo"))
    build = BuildPlan(
        run_id="r",
        attempt_id="r-1",
        queue="q",
        tree=tree,
        destination=Destination(registry="echo", repository="echo.invalid/launch"),
        settings=None,
    )
    first = builder.build(build, GIVEN, stage_context)
    again = builder.build(build, GIVEN, stage_context)

    assert (first.cached, again.cached, first.ref) == (False, True, again.ref)
    assert registry.digest(first.ref) is None
    pushed = builder.push(first, build, GIVEN, stage_context)
    assert registry.digest(first.ref) == pushed.digest
    assert registry.logins("echo.invalid/launch") == (
        Login(host="echo.invalid", username="echo", password=Secret("p")),
    )


def test_builder_and_registry_fail_on_request(
    launch_host: Host, launch_site: Site, stage_context: RecordingContext
) -> None:
    spec = launch_host.catalog.builder("echo").spec
    broken: Any = structure(spec.settings, {"error": "no base image", "push_error": "denied"}, path="builder")
    builder = spec.create(broken, launch_site)
    tree = SourceTree(path=Path("/x"), identity="i", pinned=SourceRef(type="echo"))
    build = BuildPlan(run_id="r", attempt_id="r-1", queue="q", tree=tree, destination=None, settings=broken)
    with pytest.raises(LaunchError) as failed:
        builder.build(build, GIVEN, stage_context)
    with pytest.raises(LaunchError) as denied:
        builder.push(BuiltImage(ref=ImageRef(name="x")), build, GIVEN, stage_context)

    assert failed.value.reason is Reason.BUILD_FAILED
    assert denied.value.reason is Reason.PUSH_FAILED


# -- the fixtures ----------------------------------------------------------------------------------


def test_the_fixtures_are_there_for_everybody(
    launch_host: Host, launch_site: Site, stage_context: RecordingContext
) -> None:
    assert launch_host.catalog.runner("echo").plugin.startswith("launchcore ")
    assert launch_site.state.is_dir()
    digest = stage_context.add_archive(b"bytes")
    with stage_context.open_archive(digest) as archive:
        assert archive.read() == b"bytes"
    with pytest.raises(LaunchError):
        stage_context.open_archive("sha256:0")


def test_a_cancel_reaches_whoever_waits(stage_context: RecordingContext) -> None:
    stopped: list[str] = []
    with stage_context.on_cancel(lambda: stopped.append("early")):
        stage_context.cancel()
        stage_context.cancel()
    with stage_context.on_cancel(lambda: stopped.append("late")):
        pass

    assert stopped == ["early", "late"]
    with pytest.raises(Cancelled):
        stage_context.check()


def test_the_pytest_plugin_imports_nothing_of_ours() -> None:
    code = (
        "import sys, pytest; import launchcore.testing.pytest_plugin;"
        "print(sorted(m for m in sys.modules if m.startswith(('launchcore', 'attr', 'pluggy', 'msgspec'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "launchcore.plugin" not in done.stdout
    assert "launchcore.host" not in done.stdout
