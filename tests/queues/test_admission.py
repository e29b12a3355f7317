"""Admission: a run may only set what its queue opens, and nothing absurd reaches the store."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchcore.plugin import (
    Fault,
    LaunchError,
    Limits,
    QueueConfig,
    Reason,
    RetryPolicy,
    RunSpec,
    Secret,
    SourceRef,
)
from launchcore.queues.admission import admit, check_job, check_name, check_queue
from launchcore.queues.base import JobDefinition
from launchcore.queues.schemas import fill_defaults, schema_problems

SOURCE = SourceRef(type="git", fields={"url": "https://git.example.com/a.git", "ref": "main"})
QUEUE = QueueConfig(
    type="process",
    config={"label": "${run_id}", "gpus": "${gpus}"},
    variables={
        "gpus": {"type": "integer", "minimum": 0, "maximum": 8, "default": 1},
        "zone": {"enum": ["a", "b"]},
    },
    limits=Limits(run_seconds=3600, memory_bytes=2**30, grace_seconds=30),
    secrets=("HF_TOKEN", "DB_PASSWORD"),
)
ASK: dict[str, Any] = {"source": SOURCE, "variables": {"zone": "a"}}


def run(**fields: Any) -> RunSpec:
    return RunSpec(**{**ASK, **fields})


def refusal(config: QueueConfig, spec: RunSpec) -> str:
    with pytest.raises(LaunchError) as caught:
        admit("gpu", config, spec)
    error = caught.value
    assert error.reason is Reason.CONFIG_ERROR
    assert error.fault is Fault.USER
    assert error.detail.startswith("queue gpu does not take this run: ")
    assert "launch queue show gpu" in str(error.hint)
    assert "\n" not in error.detail
    assert "\x1b" not in error.detail
    return error.detail


def queue_refusal(**changes: Any) -> str:
    with pytest.raises(LaunchError) as caught:
        check_queue(attrs.evolve(QUEUE, **changes))
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert caught.value.fault is Fault.USER
    return caught.value.detail


# --- what a run gets ---------------------------------------------------------------------------


def test_a_run_gets_the_queues_defaults() -> None:
    admitted = admit("gpu", QUEUE, run())

    assert admitted.variables == {"gpus": 1, "zone": "a"}
    assert admitted.limits == Limits(run_seconds=3600, memory_bytes=2**30, grace_seconds=30)
    assert attrs.evolve(admitted, variables=ASK["variables"], limits=Limits()) == run()


def test_admission_twice_is_admission_once() -> None:
    once = admit("gpu", QUEUE, run(limits=Limits(run_seconds=60)))

    assert admit("gpu", QUEUE, once) == once


def test_a_run_may_ask_for_less() -> None:
    asked = Limits(run_seconds=60, start_seconds=5, memory_bytes=2**28, grace_seconds=1)

    assert admit("gpu", QUEUE, run(limits=asked)).limits == asked


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (Limits(run_seconds=3601), "limits.run_seconds: 3601 is more than the queue allows (3600)"),
        (Limits(memory_bytes=2**30 + 1), "limits.memory_bytes: "),
        (Limits(grace_seconds=31), "limits.grace_seconds: 31 is more than the queue allows (30)"),
        (Limits(run_seconds=-1), "limits.run_seconds: -1 is not more than 0"),
        (Limits(run_seconds=0), "limits.run_seconds: 0 is not more than 0"),
        (Limits(run_seconds=float("nan")), "limits.run_seconds: nan"),
        (Limits(start_seconds=float("inf")), "limits.start_seconds: inf"),
        (Limits(run_seconds=1e300), "10 years"),
        (Limits(memory_bytes=512), "limits.memory_bytes: 512 is not between 1048576 (1 MiB)"),
        (Limits(memory_bytes=-(2**70)), "limits.memory_bytes: -1180591620717411303424 is not"),
        (Limits(grace_seconds=-1), "limits.grace_seconds: -1"),
        (Limits(run_seconds="60"), "limits.run_seconds"),  # type: ignore[arg-type]
        (Limits(run_seconds=True), "limits.run_seconds"),
    ],
)
def test_a_run_may_not_ask_for_more_or_for_nonsense(asked: Limits, problem: str) -> None:
    assert problem in refusal(QUEUE, run(limits=asked))


# --- variables ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({}, "variable zone is missing, and has no default (enum ['a', 'b'])"),
        ({"zone": "a", "gpu": 1}, "unknown variable 'gpu' (did you mean 'gpus'?)"),
        ({"zone": "c"}, "variable zone: 'c' is not one of ['a', 'b']"),
        ({"zone": "a", "gpus": 9}, "variable gpus: 9 is greater than the maximum of 8"),
        ({"zone": "a", "gpus": "8"}, "variable gpus: '8' is not of type 'integer'"),
        ({"zone": "a", "gpus": True}, "variable gpus: True is not of type 'integer'"),
        ({"zone": "a", "gpus": 2**64}, "an integer of more than 64 bits"),
        ({"zone": "a", "gpus": float("nan")}, "nan is not a number in JSON"),
        ({"zone": "a\0"}, "NUL"),
        ({"zone": "a", "\x1b[31m": 1}, "variables: the key "),
    ],
)
def test_variables_are_checked(variables: dict[str, Any], problem: str) -> None:
    assert problem in refusal(QUEUE, run(variables=variables))


def test_a_pattern_ends_where_the_text_ends() -> None:
    """Python's ``$`` would let a line end through."""
    schemas = {"v": {"type": "string", "pattern": r"^[a-z$]+$|^\$$"}}

    assert fill_defaults("variable", schemas, {"v": "ab$"})[1] == []
    assert fill_defaults("variable", schemas, {"v": "$"})[1] == []
    assert fill_defaults("variable", schemas, {"v": "ab\n"})[1] != []


def test_problems_inside_a_variable_have_a_path() -> None:
    schemas = {"v": {"properties": {"ports": {"items": {"type": "integer"}}}}}

    assert fill_defaults("variable", schemas, {"v": {"ports": [1, "x"]}})[1] == [
        "variable v.ports[1]: 'x' is not of type 'integer'"
    ]


def test_one_default_is_not_shared_by_two_runs() -> None:
    schemas: dict[str, dict[str, Any]] = {"v": {"type": "array", "default": []}}
    fill_defaults("variable", schemas, {})[0]["v"].append(1)

    assert schemas["v"]["default"] == []


@pytest.mark.parametrize(
    "values", [{"v": 10**18}, {"v": 1e308}, {"v": -0.0}, {"v": "x" * 1000}, {"v": [[]] * 99}]
)
def test_odd_numbers_do_not_break_a_schema(values: dict[str, Any]) -> None:
    fill_defaults("variable", {"v": {"multipleOf": 1e-300}}, values)


def test_inputs_that_the_queue_needs() -> None:
    queue = attrs.evolve(QUEUE, config={"rate": "${inputs.lr}"})
    check_queue(queue)

    admit("gpu", queue, run(inputs={"lr": 0.1, "other": [1]}))
    assert "input lr is missing, and the queue's configuration needs it" in refusal(queue, run())
    assert "input lr: the queue's configuration needs one value" in refusal(
        queue, run(inputs={"lr": {"a": 1}})
    )


# --- environment, secrets ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("LD_PRELOAD", "env LD_PRELOAD: closed by the queue (it closes LD_*, "),
        ("PATH", "env PATH: closed by the queue"),
        ("DYLD_INSERT_LIBRARIES", "closed by the queue"),
        ("LAUNCH_INPUTS", "env LAUNCH_INPUTS: LAUNCH_* and LAUNCHCORE_* are launchcore's own"),
        ("LAUNCHCORE_OWNER", "launchcore's own"),
        ("A B", "env: 'A B' is not a variable's name"),
        ("A=B", "is not a variable's name"),
        ("", "is not a variable's name"),
        ("1A", "is not a variable's name"),
        ("Ä", "is not a variable's name"),
        ("A\n", "is not a variable's name"),
        ("A" * 129, "is not a variable's name"),
    ],
)
def test_closed_and_impossible_variables(name: str, problem: str) -> None:
    assert problem in refusal(QUEUE, run(env={name: "x"}))


def test_only_open_variables_can_be_set() -> None:
    queue = attrs.evolve(QUEUE, open_env=("OMP_*", "SEED"))

    admit("gpu", queue, run(env={"OMP_NUM_THREADS": "2", "SEED": "1"}))
    assert "env SEEDS: not opened by the queue (it opens OMP_*, SEED)" in refusal(
        queue, run(env={"SEEDS": "1"})
    )
    assert "it opens none" in refusal(attrs.evolve(QUEUE, open_env=()), run(env={"A": "1"}))


def test_no_queue_can_open_what_is_ours() -> None:
    queue = attrs.evolve(QUEUE, open_env=("*",), closed_env=())

    admit("gpu", queue, run(env={"LD_PRELOAD": "x"}))
    assert "launchcore's own" in refusal(queue, run(env={"LAUNCHCORE_ATTEMPT": "x"}))


@pytest.mark.parametrize("value", ["x\0y", "x\x1b[2Jy", "\ud800", "x\x9b31m", "x" * 140_000])
def test_values_of_variables(value: str) -> None:
    refusal(QUEUE, run(env={"A": value}))
    refusal(QUEUE, run(command=("echo", value)))
    refusal(QUEUE, run(build_args={"A": value}))


def test_lines_and_tabs_are_text() -> None:
    admit("gpu", QUEUE, run(env={"KEY": "a\tb\r\nc ü €"}, command=("sh", "-c", "a\nb")))


def test_secrets_that_the_queue_opens() -> None:
    assert admit("gpu", QUEUE, run(secrets=("HF_TOKEN",))).secrets == ("HF_TOKEN",)
    assert "secret HF_TOKN: not opened by the queue (did you mean 'HF_TOKEN'?)" in refusal(
        QUEUE, run(secrets=("HF_TOKN",))
    )


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"secrets": ("HF_TOKEN", "HF_TOKEN")}, "secret 'HF_TOKEN': named twice"),
        ({"secrets": ("HF_TOKEN",), "env": {"HF_TOKEN": "x"}}, "secret HF_TOKEN: also set as a variable"),
        ({"secrets": ("../x",)}, "secret '../x': not a name"),
    ],
)
def test_secrets_that_cannot_be(fields: dict[str, Any], problem: str) -> None:
    assert problem in refusal(QUEUE, run(**fields))


def test_a_secret_cannot_open_a_closed_variable() -> None:
    every = attrs.evolve(QUEUE, secrets=None)

    admit("gpu", every, run(secrets=("ANYTHING",)))
    assert "no run can have a variable of this name here" in refusal(every, run(secrets=("LD_PRELOAD",)))
    assert "no run can have" in refusal(every, run(secrets=("LAUNCHCORE_OWNER",)))
    admit("gpu", attrs.evolve(QUEUE, secrets=("LD_PRELOAD",)), run(secrets=("LD_PRELOAD",)))


# --- everything else that a stranger can send --------------------------------------------------


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"k": value}
    return value


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": "x" * 129}, "name: must have 1 to 128 characters"),
        ({"name": ""}, "name: must have"),
        ({"name": "a\nb"}, "name: has a character that cannot be printed"),
        ({"name": "a\u202eb"}, "cannot be printed"),
        ({"name": " a"}, "begins or ends with a space"),
        ({"job": "train"}, "job: 'train' is not NAME:VERSION"),
        ({"job": "../x:1"}, "is not NAME:VERSION"),
        ({"dockerfile": "/etc/passwd"}, "dockerfile: '/etc/passwd' is not a path inside the source"),
        ({"dockerfile": "a/../../b"}, "is not a path inside the source"),
        ({"dockerfile": "..\\b"}, "is not a path inside the source"),
        ({"build_context": "/etc"}, "build_context: '/etc' is not a path inside the source"),
        ({"build_context": "services/../.."}, "is not a path inside the source"),
        ({"build_args": {"A B": "x"}}, "build_args: 'A B' is not a variable's name"),
        ({"command": ("", "x")}, "command: its first word is empty"),
        ({"command": ("x",) * 5000}, "command: 5000 are too many (at most 4096)"),
        ({"env": {f"V{n}": "" for n in range(600)}}, "env: 600 are too many (at most 512)"),
        ({"command": ("x" * 100_000,) * 3}, "bytes as JSON, and may be 262144"),
        ({"command": "rm -rf"}, "Expected array, got str - at command"),
        ({"env": {"A": 1}}, "Expected str, got int - at env"),
        ({"env": {"A": Secret("hunter2")}}, "Secret"),
        ({"inputs": {"lr": deep(40)}}, "nested more than 32 deep"),
        ({"inputs": {"lr": deep(4000)}}, "nested more than 32 deep"),
        ({"inputs": {"lr": [0] * 20_000}}, "more than 10000 values"),
        ({"inputs": {"lr": {1: 2}}}, "is not a short text"),
        ({"inputs": {"lr": {"a", "b"}}}, "a set is not JSON"),
        ({"inputs": {}, "command": ("${inputs.lr}",)}, "unknown input 'lr' in the command"),
        ({"source": SourceRef(type="Git")}, "source.type: 'Git' is not a name"),
        ({"source": SourceRef(type="git", fields=deep(50))}, "source: nested more than 32 deep"),
        ({"source": SourceRef(type="git", fields={"url": "a\0b"})}, "source.url: has a NUL character"),
        ({"source": SourceRef(type="git", fields={"url": Secret("hunter2")})}, "a Secret is not JSON"),
        ({"source": SourceRef(type="git", fields={str(n): 1 for n in range(100)})}, "it has 100 fields"),
    ],
)
def test_shapes_and_sizes(fields: dict[str, Any], problem: str) -> None:
    detail = refusal(QUEUE, run(**fields))

    assert problem in detail
    assert "hunter2" not in detail
    assert len(detail) < 4000


def test_names_in_any_language() -> None:
    assert admit("gpu", QUEUE, run(name="Übung 3: 学習")).name == "Übung 3: 学習"


def test_everything_wrong_is_in_one_error() -> None:
    detail = refusal(
        QUEUE,
        run(
            variables={"zon": 1},
            env={"PATH": "x", "LAUNCH_X": "y"},
            name="",
            secrets=("OTHER",),
            limits=Limits(run_seconds=9999),
        ),
    )

    for part in (
        "'zon'",
        "zone is missing",
        "env PATH",
        "env LAUNCH_X",
        "secret OTHER",
        "limits.run_seconds",
    ):
        assert part in detail


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.text(), st.text(), max_size=3),
    st.lists(st.text(), max_size=4),
    st.dictionaries(st.text() | st.just("zone"), ANY_JSON, max_size=3),
    st.dictionaries(st.text(), ANY_JSON, max_size=3),
    st.none() | st.text(),
    st.builds(Limits, run_seconds=st.none() | st.floats(), memory_bytes=st.none() | st.integers()),
)
def test_any_run_is_admitted_or_refused_in_words(  # noqa: PLR0917
    env: dict[str, str],
    command: list[str],
    variables: dict[str, Any],
    fields: dict[str, Any],
    name: str | None,
    limits: Limits,
) -> None:
    source = SourceRef(type="git", fields=fields)
    spec = RunSpec(
        source=source, env=env, command=tuple(command), variables=variables, name=name, limits=limits
    )
    try:
        admitted = admit("gpu", QUEUE, spec)
    except LaunchError as error:
        refused = error.detail
    else:
        json.dumps(attrs.asdict(admitted), allow_nan=False).encode()
        refused = ""

    assert refused.isprintable()
    assert refused or not any("\0" in text for text in [*env.values(), *command])


# --- queues ------------------------------------------------------------------------------------


def test_good_queues() -> None:
    check_queue(QUEUE)
    check_queue(QueueConfig(type="process"))
    check_queue(attrs.evolve(QUEUE, builder={"type": "none"}, registry=None, max_running=1, secrets=()))
    check_queue(attrs.evolve(QUEUE, config={"text": "$${HOME}", "all": "${args}"}))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"type": "Process!"}, "type: 'Process!' is not a runner's name"),
        ({"config": {"a": "${gpu}"}}, "config.a: unknown macro ${gpu} (did you mean 'gpus'?)"),
        ({"config": {"a": "${HOME:-x}"}}, "a literal ${ is written $${"),
        ({"config": {"a": "${inputs}"}}, "unknown macro ${inputs}"),
        ({"config": {"${gpus}": 1}}, "a macro in the key"),
        ({"config": deep(40)}, "nested more than 32 deep"),
        ({"config": {"a": float("inf")}}, "config.a: inf is not a number in JSON"),
        ({"config": {"a": "x" * 120_000, **{str(n): "x" * 120_000 for n in range(9)}}}, "may be 1048576"),
        ({"config": []}, "config"),
        ({"variables": {"inputs": {}}}, "variables.inputs: ${inputs} is a macro already"),
        ({"variables": {"queue": {}}}, "variables.queue: ${queue} is a macro already"),
        ({"variables": {"a-b": {}}}, "variables: 'a-b' is not a name"),
        ({"variables": {"v": 3}}, "variables"),
        ({"variables": {"gpus": {"type": "intger"}}}, "variables.gpus.type: 'intger' is not valid"),
        ({"variables": {"gpus": {"type": "integer", "default": "x"}}}, "variables.gpus.default: 'x' is not"),
        ({"variables": {"gpus": {"default": None}}}, "null stands for no value"),
        ({"variables": {"gpus": {"pattern": "("}}}, "variables.gpus.pattern"),
        ({"variables": {"gpus": {"$ref": "https://example.com/schema"}}}, "$ref cannot be used here"),
        ({"variables": {"gpus": {"allOf": [{"$ref": "#"}]}}}, "$ref cannot be used here"),
        (
            {"variables": {"gpus": {"$schema": "http://json-schema.org/draft-07/schema#"}}},
            "only draft 2020-12",
        ),
        ({"builder": {}}, "builder.type: a name is needed"),
        ({"registry": {"type": 3}}, "registry.type: a name is needed"),
        ({"max_running": 0}, "max_running: 0 is less than 1; to take no runs, pause the queue"),
        ({"max_running": True}, "max_running"),
        ({"open_env": ("[A-Z]*",)}, "open_env: '[A-Z]*' is not letters"),
        ({"closed_env": ("",)}, "closed_env: '' is not letters"),
        ({"open_env": "A*"}, "open_env"),
        ({"secrets": ("a b",)}, "secrets: 'a b' is not a variable's name"),
        ({"limits": Limits(run_seconds=-5)}, "limits.run_seconds: -5"),
        ({"retry": RetryPolicy(max_lost=0)}, "retry.max_lost: 0 is not between 1 and 100"),
        ({"retry": RetryPolicy(max_retries=-1)}, "retry.max_retries: -1"),
        ({"retry": RetryPolicy(delay_seconds=float("nan"))}, "retry.delay_seconds: nan"),
        ({"description": "a\x1b[2J"}, "description: has the control character"),
        ({"description": "x" * 5000}, "description: is longer than 4096 characters"),
    ],
)
def test_queues_that_cannot_be(changes: dict[str, Any], problem: str) -> None:
    assert problem in queue_refusal(**changes)


def test_all_mistakes_of_a_queue_are_in_one_error() -> None:
    detail = queue_refusal(type="X", config={"a": "${b}"}, max_running=-1, open_env=("*]",))

    for part in ("type:", "config.a:", "max_running:", "open_env:"):
        assert part in detail


@pytest.mark.parametrize("name", ["default", "gpu-a100.v2_x", "Q", "7", "x" * 63])
def test_good_names(name: str) -> None:
    check_name("queue", name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a/b", "..", "ä", "x" * 64, "a\n", "\x1b"])
def test_bad_names(name: str) -> None:
    with pytest.raises(LaunchError, match="cannot be the name of a queue"):
        check_name("queue", name)


# --- jobs --------------------------------------------------------------------------------------


def test_good_job() -> None:
    check_job(
        "train",
        JobDefinition(
            source=SOURCE,
            command=("python", "train.py", "--lr=${inputs.lr}"),
            env={"SEED": "1"},
            inputs={"lr": {"type": "number", "default": 0.1}, "data-set": {"type": "string"}},
        ),
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"command": ("${inputs.lr}",)}, "unknown input 'lr' in the command"),
        ({"inputs": {"a b": {}}}, "inputs: 'a b' is not a name"),
        ({"inputs": {"a": {"type": "x"}}}, "inputs.a.type"),
        ({"inputs": {"a": {"pattern": "(a+)+$"}}}, "inputs.a: pattern cannot be used here"),
        ({"inputs": {"a": {"items": {"patternProperties": {}}}}}, "patternProperties cannot be used here"),
        ({"inputs": {"a": deep(50)}}, "nested more than 32 deep"),
        ({"env": {"A B": ""}}, "env: 'A B' is not a variable's name"),
        ({"dockerfile": "../Dockerfile"}, "dockerfile: "),
        ({"build_context": ".."}, "build_context: "),
        ({"description": "\0"}, "description: has a NUL character"),
    ],
)
def test_jobs_that_cannot_be(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(LaunchError) as caught:
        check_job("train", attrs.evolve(JobDefinition(source=SOURCE), **changes))

    assert problem in caught.value.detail
    assert caught.value.fault is Fault.USER


def test_an_owners_pattern_is_fine_and_a_strangers_is_not() -> None:
    assert schema_problems({"pattern": "^a$"}, "v", trusted=True) == []
    assert schema_problems({"pattern": "^a$"}, "v", trusted=False) != []
