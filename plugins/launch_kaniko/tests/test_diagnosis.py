"""A build that has failed: whose fault, at which step, what to do."""

# ruff: noqa: E501 - the words are as the executor writes them

from __future__ import annotations

import json
from typing import Any

import pytest
from launch_k8s.diagnosis_words import failure as said_by_cluster
from launch_kaniko.diagnosis import Evidence, diagnose
from launch_kaniko.progress import Progress

from launchcore.plugin import Failure, Fault, LaunchError, Reason

IMAGE = "registry.example.com/models:0123"
PUSH = (
    "error checking push permissions -- make sure you entered the correct tag name, and that you are "
    f'authenticated correctly, and try again: checking push permission for "{IMAGE}": '
)
STAGE = "error building image: error building stage: "
RUN = f"{STAGE}failed to execute command: waiting for process to exit: "
USER, INFRASTRUCTURE = Fault.USER, Fault.INFRASTRUCTURE


def info(text: str) -> str:
    return json.dumps({"level": "info", "msg": text, "time": "2026-11-28T00:00:00Z"})


def seen(*lines: str, failure: Failure | None = None, code: int | None = 1) -> LaunchError:
    progress = Progress()
    for line in lines:
        progress.read(line)
    return diagnose(
        Evidence(
            progress=progress,
            failure=failure,
            exit_code=code,
            store="s3://bucket/contexts",
            image=IMAGE,
            deadline_seconds=3600,
        )
    )


BEGUN = (info("active feature flags: FF_KANIKO_COPY_AS_ROOT"), info("Retrieving image manifest base:1"))

TABLE: list[tuple[str, tuple[str, ...], Reason, Fault, str]] = [
    (
        "a step that fails",
        (info("RUN pip install -r x"), "ERROR: no such option", f"{RUN}exit status 2"),
        Reason.BUILD_FAILED,
        USER,
        "RUN pip install -r x: exit code 2 (ERROR: no such option)",
    ),
    (
        "a file that is not in the context",
        (
            info("COPY data.csv /data"),
            f"{STAGE}failed to get fileinfo for /kaniko/buildcontext/data.csv: lstat: no such file or directory",
        ),
        Reason.BUILD_FAILED,
        USER,
        "COPY data.csv /data: failed to get fileinfo",
    ),
    (
        "a Dockerfile that is none",
        (
            "error building image: parsing dockerfile: dockerfile parse error on line 3: unknown instruction: RUM",
        ),
        Reason.BUILD_FAILED,
        USER,
        "unknown instruction: RUM",
    ),
    (
        "a base image that does not exist",
        (
            "error building image: unable to complete operation after 0 attempts, last error: GET "
            "https://index.docker.io/v2/library/base/manifests/1: MANIFEST_UNKNOWN: manifest unknown; unknown tag=1",
        ),
        Reason.BUILD_FAILED,
        USER,
        "base:1 does not exist",
    ),
    (
        "a base image that is refused",
        (
            "error building image: unable to complete operation after 0 attempts, last error: GET "
            "https://r.example.com/v2/base/manifests/1: UNAUTHORIZED: authentication required",
        ),
        Reason.BUILD_FAILED,
        USER,
        "base:1 is refused by its registry",
    ),
    (
        "the base image's registry is away",
        (
            "error building image: unable to complete operation after 3 attempts, last error: Get "
            '"https://index.docker.io/v2/": dial tcp 10.0.0.1:443: i/o timeout',
        ),
        Reason.INFRASTRUCTURE,
        INFRASTRUCTURE,
        "base:1 cannot be had",
    ),
    (
        "a wrong password",
        (
            f"{PUSH}POST https://registry.example.com/v2/models/blobs/uploads/: UNAUTHORIZED: authentication required",
        ),
        Reason.PUSH_FAILED,
        INFRASTRUCTURE,
        "the registry refuses us",
    ),
    (
        "a push that is denied",
        (f"error pushing image: failed to push to destination {IMAGE}: DENIED: requested access is denied",),
        Reason.PUSH_FAILED,
        INFRASTRUCTURE,
        "the registry refuses us",
    ),
    (
        "the registry is away",
        (
            f'{PUSH}Get "https://registry.example.com/v2/": dial tcp 10.0.0.1:443: connect: connection refused',
        ),
        Reason.PUSH_FAILED,
        INFRASTRUCTURE,
        "the registry is away",
    ),
    (
        "an unknown authority",
        (f'{PUSH}Get "https://r/v2/": tls: failed to verify certificate: x509: signed by unknown authority',),
        Reason.PUSH_FAILED,
        INFRASTRUCTURE,
        "certificate is not trusted",
    ),
    (
        "a tag that may not change",
        (
            f"error pushing image: failed to push to destination {IMAGE}: TAG_INVALID: The image tag already exists "
            "and cannot be overwritten because the tag is immutable",
        ),
        Reason.PUSH_FAILED,
        INFRASTRUCTURE,
        "its tag is there already",
    ),
    (
        "a bucket that is not there",
        (
            "Error: error resolving source context: operation error S3: GetObject, https response error "
            "StatusCode: 404, RequestID: 1, NoSuchBucket: ",
            "Usage:",
            "  executor [flags]",
            *(f"      --flag-{number}" for number in range(90)),
        ),
        Reason.CONFIG_ERROR,
        INFRASTRUCTURE,
        "cannot read the build context in s3://bucket/contexts",
    ),
    (
        "no credentials for the bucket",
        (
            "Error: error resolving source context: operation error S3: GetObject, get identity: get credentials: "
            "failed to refresh cached credentials, no EC2 IMDS role found",
        ),
        Reason.CONFIG_ERROR,
        INFRASTRUCTURE,
        "failed to refresh cached credentials",
    ),
    (
        "the store is away",
        (
            "Error: error resolving source context: operation error S3: GetObject, https response error StatusCode: 0,"
            ' request send failed, Get "http://s3/b": dial tcp 10.0.0.9:443: connect: connection refused',
        ),
        Reason.INFRASTRUCTURE,
        INFRASTRUCTURE,
        "does not reach s3://bucket/contexts",
    ),
    (
        "a full disk",
        (info("RUN make"), f"{STAGE}failed to take snapshot: write /kaniko/1.tar: no space left on device"),
        Reason.INFRASTRUCTURE,
        INFRASTRUCTURE,
        "the disk of the build is full at RUN make",
    ),
    (
        "a step that is killed",
        (info("RUN make"), f"{RUN}signal: killed"),
        Reason.OUT_OF_MEMORY,
        USER,
        "ran out of memory at RUN make",
    ),
    (
        "an executor of another version",
        ("Error: unknown flag: --secret",),
        Reason.CONFIG_ERROR,
        INFRASTRUCTURE,
        "does not take its arguments",
    ),
    (
        "another platform",
        (info("RUN true"), f"{STAGE}failed to execute command: starting command: exec format error"),
        Reason.BUILD_FAILED,
        USER,
        "exec format error",
    ),
]


@pytest.mark.parametrize(
    ("lines", "reason", "fault", "words"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_what_the_executor_says(lines: tuple[str, ...], reason: Reason, fault: Fault, words: str) -> None:
    error = seen(*BEGUN, *lines)
    assert (error.reason, error.fault) == (reason, fault), error.detail
    assert words in error.detail
    assert "\n" not in error.detail
    assert "make sure you entered" not in error.detail
    assert error.hint


def test_an_image_that_is_no_executor() -> None:
    error = seen("sh: /kaniko/executor: not found", code=127)
    assert (error.reason, error.fault) == (Reason.CONFIG_ERROR, INFRASTRUCTURE)
    assert "osscontainertools/kaniko" in str(error.hint)


CLUSTER: list[tuple[Reason, dict[str, Any], Reason, str]] = [
    (Reason.RUN_TIMEOUT, {}, Reason.BUILD_FAILED, "longer than 3600 s at RUN make"),
    (Reason.OUT_OF_MEMORY, {}, Reason.OUT_OF_MEMORY, "ran out of memory at RUN make"),
    (Reason.IMAGE_PULL, {}, Reason.CONFIG_ERROR, "the executor's image: it says so"),
    (Reason.UNSCHEDULABLE, {"fault": INFRASTRUCTURE}, Reason.UNSCHEDULABLE, "it says so"),
    (Reason.EVICTED, {"fault": INFRASTRUCTURE}, Reason.EVICTED, "stopped at RUN make: it says so"),
    (Reason.CONFIG_ERROR, {}, Reason.CONFIG_ERROR, "the build cannot run: it says so"),
]


@pytest.mark.parametrize(
    ("said", "more", "reason", "words"), CLUSTER, ids=[each[0].value for each in CLUSTER]
)
def test_what_the_cluster_says(said: Reason, more: dict[str, Any], reason: Reason, words: str) -> None:
    failure = said_by_cluster(said, "it says so", "a hint", **more)
    error = seen(*BEGUN, info("RUN make"), failure=failure, code=None)
    assert error.reason is reason
    assert words in error.detail
    assert error.hint


def test_a_build_that_was_evicted_may_be_tried_again() -> None:
    failure = said_by_cluster(Reason.EVICTED, "the node was drained", None, INFRASTRUCTURE)
    assert seen(*BEGUN, failure=failure).retryable


# -- the log -----------------------------------------------------------------------------------------


def test_the_executors_words_become_lines_for_people() -> None:
    progress = Progress()
    assert progress.read(info("RUN make  all")) == "RUN make  all"
    assert progress.step == "RUN make all"
    assert progress.read("gcc -c x.c") == "gcc -c x.c"
    assert progress.read(info("Cmd: /bin/sh")) is None
    warning = json.dumps({"level": "warning", "msg": "unknown feature flags", "time": ""})
    assert progress.read(warning) == "warning: unknown feature flags"


def test_how_it_is_called_is_nobodys_business() -> None:
    progress = Progress()
    lines = ["Error: error resolving source context: x", "Usage:", "  executor [flags]", "  --force"]
    assert [progress.read(line) for line in lines] == [lines[0], None, None, None]


def test_a_step_that_prints_a_usage_is_shown() -> None:
    progress = Progress()
    progress.read(info("RUN train --bad"))
    assert [progress.read(line) for line in ("Error: bad", "Usage:", "  train")] == [
        "Error: bad",
        "Usage:",
        "  train",
    ]


@pytest.mark.parametrize("line", ['{"msg"', '{"level": 1}', '["msg"]', "{}", "\x00", '{"level":{},"msg":[]}'])
def test_odd_lines_are_output(line: str) -> None:
    assert Progress().read(line) is not None
