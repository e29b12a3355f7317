"""Macros: what is replaced, what is refused, and that no value is ever read as a macro."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchcore.plugin import Fault, LaunchError, Reason
from launchcore.queues import macros
from launchcore.queues.macros import (
    MACROS,
    fill_command,
    inputs_named,
    macro_names,
    macro_problems,
    substitute,
    validate_inputs,
    written,
)

NAMES = {
    "run_id": "r1",
    "attempt": 2,
    "gpus": 4,
    "rate": 0.5,
    "spot": False,
    "image_uri": None,
    "args": ["python", "train.py"],
    "limits": {"cpu": 1},
    "inputs": {"lr": 1e-05, "data-set": "mnist", "tags": ["a"]},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("${run_id}", "r1"),
        ("a-${run_id}-${attempt}", "a-r1-2"),
        ("${gpus}", 4),
        ("${gpus} ", "4 "),
        ("${rate}", 0.5),
        ("${spot}", False),
        ("spot=${spot}", "spot=false"),
        ("${args}", ["python", "train.py"]),
        ("${limits}", {"cpu": 1}),
        ("--lr=${inputs.lr}", "--lr=1e-05"),
        ("${inputs.lr}", 1e-05),
        ("${inputs.data-set}", "mnist"),
        ("$${run_id}", "${run_id}"),
        ("$${", "${"),
        ("$$${run_id}", "$${run_id}"),
        ("$run_id $ $$ {run_id} }", "$run_id $ $$ {run_id} }"),
    ],
)
def test_one_string(text: str, value: object) -> None:
    got = substitute(text, NAMES)

    assert got == value
    assert type(got) is type(value)


def test_strings_at_any_depth_and_nothing_else() -> None:
    config = {"a": [{"b": ("${run_id}", 1, None, True)}], "c": {"d": {"e": "${gpus}"}}, "f": 2.5}

    assert substitute(config, NAMES) == {
        "a": [{"b": ["r1", 1, None, True]}],
        "c": {"d": {"e": 4}},
        "f": 2.5,
    }


def test_two_places_never_share_a_value() -> None:
    got = substitute(["${limits}", "${limits}"], NAMES)
    got[0]["cpu"] = 9

    assert got[1] == {"cpu": 1}
    assert NAMES["limits"] == {"cpu": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${run_di}", "config.a[0]: unknown macro ${run_di} (did you mean 'run_id'?)"),
        ("${HOME}", "config.a[0]: unknown macro ${HOME}"),
        ("${inputs.lr2}", "config.a[0]: this run has no input ${inputs.lr2} (did you mean 'lr'?)"),
        ("${inputs.tags}", "${inputs.tags} is a list or a mapping; an input has to be one value here"),
        ("x${inputs.tags}", "an input has to be one value here"),
        ("${inputs}", "unknown macro ${inputs}"),
        ("${limits.cpu}", "unknown macro ${limits.cpu}"),
        ("${image_uri}", "config.a[0]: ${image_uri} has no value for this run"),
        ("x ${image_uri}", "has no value"),
        ("sh -c ${args}", "${args} is a list or a mapping, and must be the whole string"),
        ("${HOME:-/root}", "config.a[0]: '${HOME:-/root}' is no macro: a literal ${ is written $${"),
        ("${}", "is no macro"),
        ("${run_id", "is no macro"),
        ("${ run_id }", "is no macro"),
        ("${${run_id}}", "is no macro"),
        ("${rün}", "is no macro"),
    ],
)
def test_mistakes_name_their_place_and_the_nearest_name(text: str, problem: str) -> None:
    with pytest.raises(LaunchError) as caught:
        substitute({"a": [text]}, NAMES)

    assert problem in caught.value.detail
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert caught.value.fault is Fault.INFRASTRUCTURE
    assert "launch queue edit" in str(caught.value.hint)


def test_all_mistakes_are_in_one_error() -> None:
    with pytest.raises(LaunchError) as caught:
        substitute({"a": "${x}", "b": ["${y}"], "${run_id}": 1}, NAMES)

    for part in ("config.a: unknown macro ${x}", "config.b[0]: unknown macro ${y}", "a macro in the key"):
        assert part in caught.value.detail


def test_never_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter2")

    with pytest.raises(LaunchError) as caught:
        substitute("${MY_TOKEN}", NAMES)
    assert "hunter2" not in caught.value.detail


def test_a_small_text_cannot_become_huge() -> None:
    with pytest.raises(LaunchError, match="larger than 4194304 characters"):
        substitute(["${big} ${big}"] * 100, {"big": "x" * 50_000})


def test_nesting_is_bounded() -> None:
    deep: Any = "x"
    for _ in range(macros.MAX_DEPTH + 2):
        deep = [deep]

    with pytest.raises(LaunchError, match="nested more than 64 deep"):
        substitute(deep, {})


def test_macro_names_has_every_macro() -> None:
    names = macro_names(run_id="r1", attempt=1, queue="q", args=("a",), variables={"gpus": 2, "queue": "no"})

    assert set(names) == {*MACROS, "gpus", "inputs"}
    assert names["run_name"] == "r1", "a run without a name is called by its id"
    assert names["queue"] == "q", "no variable can pass for a macro"
    assert names["args"] == ["a"]


def test_macro_problems_are_those_of_substitution() -> None:
    assert macro_problems({"a": "${args} is fine when it has a value", "b": "${x}"}, ["args"]) == [
        "config.b: unknown macro ${x} (there are: args)"
    ]
    assert macro_problems("${inputs.anything} ${inputs.x}", []) == []
    assert inputs_named(["${inputs.a}", {"b": "x${inputs.b-c} $${inputs.d} ${run_id}"}]) == {"a", "b-c"}


# --- inputs ------------------------------------------------------------------------------------


def test_inputs_fill_a_command_and_leave_the_shell_its_own() -> None:
    command = ("sh", "-c", "echo ${HOME} ${inputs.lr}", "--n=${inputs.n}", "$${inputs.lr}", "${inputs.tags}")
    inputs = {"lr": 0.1, "n": 3, "tags": ["a", "b"]}

    assert fill_command(command, inputs) == (
        "sh",
        "-c",
        "echo ${HOME} 0.1",
        "--n=3",
        "${inputs.lr}",
        '["a","b"]',
    )


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("${inputs.l}", "unknown input 'l' in the command (did you mean 'lr'?)"),
        ("${inputs.}", "unknown input ''"),
        ("${inputs.zzzzz}", "(there are: lr, none)"),
        ("${inputs.none}", "the input 'none' in the command is null"),
    ],
)
def test_inputs_that_are_not_there(word: str, problem: str) -> None:
    with pytest.raises(LaunchError) as caught:
        fill_command([word], {"lr": 1, "none": None})

    assert problem in caught.value.detail
    assert caught.value.fault is Fault.USER


def test_inputs_are_checked_and_get_their_defaults() -> None:
    schemas = {"lr": {"type": "number", "default": 0.1}, "epochs": {"type": "integer", "minimum": 1}}

    assert validate_inputs(schemas, {"epochs": 3}) == {"lr": 0.1, "epochs": 3}
    with pytest.raises(LaunchError) as caught:
        validate_inputs(schemas, {"lR": 1, "lr": "fast"})
    for part in ("unknown input 'lR'", "'fast' is not of type 'number'", "epochs is missing"):
        assert part in caught.value.detail


# --- no value is ever read as a macro ----------------------------------------------------------

HOSTILE = st.one_of(
    st.text(),
    st.text(alphabet="$${}inputs.abrun_d\\\"'\n", max_size=30),
    st.sampled_from(["${run_id}", "$${run_id}", "${x}", "${", "}", "$", "${inputs.a}", "$", "{run_id}"]),
)
VALUES = st.recursive(
    st.one_of(HOSTILE, st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_a_whole_value_arrives_as_it_is(value: Any) -> None:
    assert substitute({"k": ["${v}"]}, {"v": value}) == {"k": [value]}


@given(HOSTILE, HOSTILE)
def test_a_value_within_a_text_stays_data(first: str, second: str) -> None:
    names = {"a": first, "b": second, "run_id": "REAL", "x": "REAL"}

    got = substitute({"cmd": ["<${a}|${b}>", "${run_id}"], "n": {"m": "-${b}"}}, names)

    assert got == {"cmd": [f"<{first}|{second}>", "REAL"], "n": {"m": f"-{second}"}}


@given(st.text(alphabet="ab ${}$_", max_size=40), st.dictionaries(st.sampled_from(["a", "b", "ab"]), HOSTILE))
def test_any_text_is_replaced_once_or_refused(text: str, values: dict[str, str]) -> None:
    """Against the plainest description of the rule that there is."""
    wanted, at, refused = "", 0, False
    while at < len(text):
        macro = re.match(r"\$\{([a-z_]+)\}", text[at:])
        if text.startswith("$${", at):
            wanted, at = wanted + "${", at + 3
        elif macro and macro[1] in values:
            wanted, at = wanted + values[macro[1]], at + macro.end()
        elif text.startswith("${", at):
            refused, at = True, at + 2
        else:
            wanted, at = wanted + text[at], at + 1

    if refused:
        with pytest.raises(LaunchError):
            substitute(text, values)
    else:
        assert substitute(text, values) == wanted


@given(st.dictionaries(st.sampled_from(["a", "b"]), VALUES, min_size=2))
def test_a_word_of_a_command_stays_one_word(inputs: dict[str, Any]) -> None:
    words = fill_command(["${inputs.a}", "x=${inputs.b} ${HOME}", "$${inputs.a}"], inputs)

    assert words == (written(inputs["a"]), f"x={written(inputs['b'])} ${{HOME}}", "${inputs.a}")


@given(VALUES)
def test_written_values_are_json_or_the_text_itself(value: Any) -> None:
    assert (value if isinstance(value, str) else json.loads(written(value))) == value
