"""What a real cluster said about runs (``data/*.json``, written by ``recording.py``), and what that means."""

from __future__ import annotations

import sys
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launch_k8s.diagnosis import Observed, diagnose
from launch_k8s.kinds import JOB, kind_for
from launch_k8s.pods import trim_event, trim_main, trim_pod
from launch_k8s.testing.sightings import (
    DATA,
    INFRA,
    died,
    look,
    recorded,
    waits,
)

from launchcore.plugin import Fault, Phase, Reason

# -- recorded -------------------------------------------------------------------------------------


@attrs.frozen
class Failed:
    reason: Reason
    words: str
    fault: Fault = Fault.USER
    exit_code: int | None = None
    signal: int | None = None


FAILED = {
    "exit-3": Failed(Reason.USER_ERROR, "exit code 3", exit_code=3),
    "exit-139": Failed(Reason.USER_ERROR, "SIGSEGV", signal=11),
    "oom": Failed(Reason.OUT_OF_MEMORY, "its limit of 24Mi", signal=9),
    "command-not-found": Failed(Reason.USER_ERROR, 'not found in the image: exec: "no-such-command"'),
    "image-never-pulled": Failed(Reason.IMAGE_PULL, "pull: never"),
    "image-name-invalid": Failed(Reason.IMAGE_PULL, "no name of an image"),
    "unschedulable-gpu": Failed(Reason.UNSCHEDULABLE, "Insufficient nvidia.com/gpu", INFRA),
    "secret-missing": Failed(Reason.CONFIG_ERROR, 'secret "none" not found', INFRA),
    "config-map-missing": Failed(Reason.CONFIG_ERROR, 'configmap "none" not found', INFRA),
    "service-account-missing": Failed(Reason.CONFIG_ERROR, 'serviceaccount "nobody" not found', INFRA),
    "limit-range": Failed(Reason.CONFIG_ERROR, "must be less than or equal to cpu limit", INFRA),
    "init-failed": Failed(Reason.CONFIG_ERROR, "init container 'init' failed with exit code 7", INFRA),
    "plain-sidecar-failed": Failed(Reason.USER_ERROR, "exit code 5", exit_code=5),
    "deadline-of-the-pod": Failed(Reason.RUN_TIMEOUT, "its limit of 3 s", signal=9),
    "deadline-of-the-job": Failed(Reason.RUN_TIMEOUT, "within 4 s"),
    "pod-deleted": Failed(Reason.INFRASTRUCTURE, "its pod was deleted", INFRA, signal=9),
    "evicted-by-api": Failed(Reason.EVICTED, "evicted", INFRA, signal=9),
    "preempted": Failed(Reason.PREEMPTED, "higher priority", INFRA, signal=9),
    "storage-exceeded": Failed(Reason.EVICTED, "more than it may", signal=9),
    "two-pods-one-failed": Failed(Reason.USER_ERROR, "exit code 9", exit_code=9),
}


@pytest.mark.parametrize("name", FAILED)
def test_failures(name: str) -> None:
    status, wanted = look(recorded(name)), FAILED[name]
    assert status.phase is Phase.FAILED
    assert status.failure is not None
    assert (status.failure.reason, status.failure.fault) == (wanted.reason, wanted.fault)
    assert wanted.words in status.failure.detail
    assert status.failure.hint
    assert (status.exit_code, status.signal) == (wanted.exit_code, wanted.signal)


WAITING = {
    "unschedulable-memory": "unschedulable: 0/1 nodes are available: 1 Insufficient memory.",
    "unschedulable-selector": "didn't match Pod's node affinity/selector",
    "claim-missing": 'persistentvolumeclaim "none" not found',
    "gated": "waits to be admitted: ",
    "image-host-away": "cannot be pulled for 30 s: Head",
    "image-host-unknown": "lookup registry.invalid",
    "quota": "until the namespace's quota has room",
    "suspended": "has been suspended for 30 s:",
    "crash-loop": "ends again and again, last with exit code 4",
}


@pytest.mark.parametrize("name", WAITING)
def test_what_people_are_told_while_a_run_waits(name: str) -> None:
    status = look(recorded(name))
    assert status.phase is Phase.PENDING
    assert WAITING[name] in (status.message or "")


@pytest.mark.parametrize("name", ["succeeded", "native-sidecar", "plain-sidecar"])
def test_the_main_container_decides(name: str) -> None:
    status = look(recorded(name))
    assert (status.phase, status.exit_code) == (Phase.SUCCEEDED, 0)
    assert status.started_at is not None
    assert status.finished_at is not None


def test_running_says_since_when_and_nothing_else() -> None:
    status = look(recorded("running"))
    assert (status.phase, status.message) == (Phase.RUNNING, None)
    assert status.started_at is not None


def test_a_job_that_somebody_deleted() -> None:
    status = look(recorded("job-deleted"))
    assert status.phase is Phase.GONE
    assert status.failure is not None
    assert status.failure.reason is Reason.LOST


def test_every_recording_is_tested() -> None:
    named = {*FAILED, *WAITING, "succeeded", "native-sidecar", "plain-sidecar", "running", "job-deleted"}
    assert {path.stem for path in DATA.glob("*.json")} == named


# -- robustness -----------------------------------------------------------------------------------


def size(value: Any, seen: set[int]) -> int:
    """Bytes in memory; what is shared counts once, as decoders share keys."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return sys.getsizeof(value) + sum(size(part, seen) for part in parts)


@pytest.mark.parametrize("name", [*FAILED, *WAITING, "running"])
def test_what_is_kept_of_a_run_is_small_and_enough(name: str) -> None:
    seen = recorded(name)
    kept = [trim_main(seen["main"]), *map(trim_pod, seen["pods"]), *map(trim_event, seen["events"])]
    assert size(kept, set()) / max(len(seen["pods"]), 1) < 15_000  # of 20 KB for all of a run
    again = {
        **seen,
        "main": trim_main(seen["main"]),
        "pods": [*map(trim_pod, seen["pods"])],
        "events": [*map(trim_event, seen["events"])],
    }
    assert look(again) == look(seen)


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 300), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    status=st.dictionaries(st.sampled_from(["phase", "state", "conditions", "message"]), JUNK),
    kind=st.booleans(),
)
def test_whatever_a_stranger_s_controller_writes_is_read(status: dict[str, Any], kind: bool) -> None:
    info = kind_for("example.org/v1", "Thing") if kind else JOB
    main = {"apiVersion": info.api_version, "kind": info.kind, "metadata": {"name": "x"}, "status": status}
    diagnose(Observed(main=trim_main(main), at=0.0, kind=info))


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=300))
def test_what_a_program_writes_into_its_status_is_one_printable_line(text: str) -> None:
    seen = died(3)
    seen["pods"][0]["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = text
    look(seen)
    waits("ImagePullBackOff", text, 400)
