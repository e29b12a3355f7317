"""The kit proves itself: each of its tests fails for a plugin that is broken just there."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from launchcore.testing.conformance import RunnerConformance, SourceConformance
from launchcore.testing.conformance.suite import Suite
from tests.conformance import broken_runners as runners
from tests.conformance import broken_sources as sources
from tests.conformance.test_echo import EchoConformance, TestEchoSource

RUNNERS: dict[str, tuple[type[Any], ...]] = {
    "test_every_setting_is_documented": (runners.SettingsWithoutHelp,),
    "test_prepare_starts_nothing": (runners.PrepareStarts,),
    "test_start_returns_before_the_run_ends": (runners.StartWaits,),
    "test_an_immediate_start_returns_something_that_runs": (runners.StartsPending,),
    "test_two_starts_make_one_object": (runners.StartsTwice,),
    "test_starts_at_the_same_time_make_one_object": (runners.StartsInRace,),
    "test_a_start_in_the_past_starts_nothing": (runners.StartsLate,),
    "test_find_gives_back_a_lost_handle": (runners.FindsNothing,),
    "test_find_of_nothing_is_none": (runners.FindsAnything,),
    "test_after_find_has_said_none_a_late_start_is_refused": (runners.ForgetsItsPromise,),
    "test_status_goes_only_forward": (runners.GoesBack, runners.ChangesItsEnd),
    "test_the_exit_code_survives": (runners.LosesTheExitCode,),
    "test_a_killed_run_has_a_signal_or_an_exit_code": (runners.SignalAndCode,),
    "test_an_end_has_its_times": (runners.NoTimes,),
    "test_poll_answers_for_every_handle": (runners.OneBadHandleSpoilsAll, runners.LeavesHandlesOut),
    "test_what_is_not_there_has_not_failed": (runners.FailsTheMissing,),
    "test_a_handle_survives_json_and_a_fresh_process": (runners.KeepsStatusInMemory,),
    "test_a_watch_pushes_the_end": (runners.NeverPushes,),
    "test_logs_are_complete_and_resumable_from_any_cursor": (
        runners.LosesBytes,
        runners.NeverEnds,
        runners.ReadsInCircles,
        runners.KeepsTheCursorToItself,
    ),
    "test_logs_of_a_running_run_are_there_and_open": (runners.EndsEarly,),
    "test_standard_error_is_in_the_log": (runners.DropsStandardError,),
    "test_logs_of_a_failed_run_are_kept": (runners.LosesTheLogOfAFailure,),
    "test_the_plans_environment_reaches_the_run": (runners.DropsTheEnvironment,),
    "test_contributed_variables_reach_the_run": (runners.DropsVariables, runners.RedactsVariables),
    "test_contributed_files_reach_the_run": (runners.DropsFiles,),
    "test_a_secret_file_is_gone_after_cleanup": (runners.LeavesFilesBehind,),
    "test_labels_reach_the_run": (runners.DropsLabels, runners.DropsThePlansLabels),
    "test_logins_reach_the_run": (runners.DropsLogins,),
    "test_volumes_reach_the_run": (runners.DropsVolumes,),
    "test_cancel_ends_the_run": (runners.IgnoresCancel,),
    "test_cancel_forces_what_does_not_listen": (runners.OnlyAsks,),
    "test_cancel_may_be_repeated": (runners.CancelsOnce,),
    "test_cancel_after_the_end_changes_nothing": (runners.CancelRewritesTheEnd,),
    "test_nothing_is_left_after_cleanup": (runners.LeavesAll,),
    "test_owned_shows_only_this_owners": (runners.OwnsEverything,),
    "test_cleanup_of_what_is_not_there_is_no_error": (runners.CleanupOfNothingFails,),
    "test_secrets_show_nowhere": (
        runners.LeaksInHandle,
        runners.LeaksInOurLog,
        runners.LeaksInAFile,
        runners.LeaksInALabel,
        runners.LeaksInAnError,
        runners.LeaksInTheStagesLog,
    ),
}
SOURCES: dict[str, tuple[type[Any], ...]] = {
    "test_every_setting_is_documented": (sources.FieldsWithoutHelp,),
    "test_the_tree_has_the_files": (sources.LosesAFile, sources.PointsOutside),
    "test_it_writes_only_where_it_may": (sources.WritesElsewhere,),
    "test_the_pinned_reference_gives_the_same_again": (
        sources.AnotherEachTime,
        sources.PinsNothing,
        sources.NeedsItsCache,
    ),
    "test_what_is_missing_is_source_failed": (sources.RaisesWhatItLikes,),
    "test_a_cancel_is_obeyed": (sources.IgnoresCancel,),
    "test_after_a_failure_it_can_be_repeated": (sources.LeavesItsLock,),
    "test_two_trees_share_nothing": (sources.LinksIntoItsCache,),
    "test_fetches_at_the_same_time_do_not_meet": (sources.MeetsItself,),
    "test_unknown_fields_are_refused": (sources.AcceptsUnknownFields,),
}
GUARD = "test_no_standard_test_is_overridden_without_a_reason"


def _tests_of(suite: type[Suite]) -> set[str]:
    return {name for name in dir(suite) if name.startswith("test_")}


def pairs(table: dict[str, tuple[type[Any], ...]]) -> list[Any]:
    return [
        pytest.param(test, broken, id=f"{broken.__name__}-{test}")
        for test, those in table.items()
        for broken in those
    ]


@pytest.mark.parametrize(("suite", "table"), [(RunnerConformance, RUNNERS), (SourceConformance, SOURCES)])
def test_every_test_of_a_suite_has_a_mutant(suite: type[Suite], table: dict[str, Any]) -> None:
    assert set(table) == _tests_of(suite) - {GUARD}


@pytest.mark.parametrize("suite", [RunnerConformance, SourceConformance])
def test_every_test_says_what_to_check(suite: type[Suite]) -> None:
    for name in _tests_of(suite):
        last = inspect.cleandoc(getattr(suite, name).__doc__ or "").split("\n\n")[-1]
        assert last.startswith("If this fails, check "), name
        assert last.endswith("."), name


@pytest.mark.parametrize(("test", "broken"), pairs(RUNNERS))
def test_a_broken_runner_fails(
    test: str, broken: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mutant(EchoConformance):
        plugin = runners.__name__
        name = broken.__name__.lower()
        patience = 0.6
        long = 0.4

    fails(Mutant(), test, tmp_path, monkeypatch)


@pytest.mark.parametrize(("test", "broken"), pairs(SOURCES))
def test_a_broken_source_fails(
    test: str, broken: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mutant(TestEchoSource):
        plugin = sources.__name__
        name = broken.__name__.lower()

    fails(Mutant(), test, tmp_path, monkeypatch)


def fails(suite: Any, test: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one test of a suite: it must fail, and not be skipped."""
    bench = suite.make_bench(tmp_path)
    have = {"bench": bench, "tmp_path": tmp_path, "monkeypatch": monkeypatch, "code": 7}
    method = getattr(suite, test)
    wanted = {name: have[name] for name in inspect.signature(method).parameters}
    with pytest.raises((pytest.fail.Exception, Exception)):
        method(**wanted)


def test_the_fast_mutants_of_long_runs_fail_for_their_own_reason(tmp_path: Path) -> None:
    """A healthy echo passes with the mutants' short times, so that it is the fault that fails."""

    class Healthy(EchoConformance):
        name = "echo"
        patience = 0.6
        long = 0.4

    for number, test in enumerate(sorted({*RUNNERS} - {"test_a_handle_survives_json_and_a_fresh_process"})):
        root = tmp_path / str(number)
        root.mkdir()
        suite = Healthy()
        bench = suite.make_bench(root)
        have = {"bench": bench, "tmp_path": root, "code": 7}
        method = getattr(suite, test)
        try:
            method(**{name: have[name] for name in inspect.signature(method).parameters})
        except pytest.skip.Exception:
            assert test == "test_an_immediate_start_returns_something_that_runs"
        finally:
            bench.close()


# -- the guard -------------------------------------------------------------------------------------


def test_the_guard_lets_xfail_with_a_reason_pass() -> None:
    class Honest(EchoConformance):
        @pytest.mark.xfail(reason="the backend has no exit codes")
        def test_the_exit_code_survives(self) -> None:  # type: ignore[override]
            raise AssertionError

        def test_something_of_its_own(self) -> None: ...

    Honest().test_no_standard_test_is_overridden_without_a_reason()


def test_the_guard_finds_silent_overrides() -> None:
    class Silent(EchoConformance):
        def test_the_exit_code_survives(self) -> None:  # type: ignore[override]
            pass

    class Reasonless(EchoConformance):
        @pytest.mark.xfail
        def test_the_exit_code_survives(self) -> None:  # type: ignore[override]
            raise AssertionError

    class Deleted(EchoConformance):
        test_the_exit_code_survives = None  # type: ignore[assignment]

    @pytest.mark.skip(reason="no time")
    class Skipped(EchoConformance):
        pass

    for suite in (Silent, Reasonless, Deleted, Skipped):
        with pytest.raises(AssertionError):
            suite().test_no_standard_test_is_overridden_without_a_reason()
