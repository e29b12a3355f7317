"""schema(): the same classes as JSON Schema; it accepts what structure() accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchcore.config.values import AgentConfig
from launchcore.host.schema import rows, schema
from launchcore.host.settings import SettingsError, structure
from launchcore.plugin import QueueConfig, RunSpec, Secret, setting
from tests.host.test_settings import Mirror, Settings


def test_the_schema_has_types_help_and_defaults() -> None:
    found = schema(Mirror)

    assert found == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "title": "Mirror",
        "properties": {
            "url": {"type": "string", "description": "Where."},
            "weight": {"type": "integer", "description": "How much.", "default": 1},
        },
        "required": ["url"],
        "additionalProperties": False,
    }


def test_a_secret_has_no_default_and_is_write_only() -> None:
    @attrs.frozen(kw_only=True)
    class Login:
        password: Secret = setting("The password.", default=Secret("hunter2"))

    assert "hunter2" not in str(schema(Login))
    assert schema(Login)["properties"]["password"]["writeOnly"] is True


@pytest.mark.parametrize("cls", [Settings, AgentConfig, QueueConfig, RunSpec])
def test_schemas_are_valid_and_their_defaults_fit(cls: type) -> None:
    found = schema(cls)

    jsonschema.Draft202012Validator.check_schema(found)
    for name, shape in found["properties"].items():
        if "default" in shape and shape["default"] is not None:
            jsonschema.validate(shape["default"], shape)
            assert name


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.sampled_from(["a", "fast", "u"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["url", "A"]), inner),
    max_leaves=4,
)
_KEYS = st.sampled_from(
    [field.name for field in attrs.fields(Settings) if field.name not in ("pull", "mode", "idle_seconds")]
    + ["idle-seconds", "build-context-store", "build_context_store", "unknown"]
)


@given(st.dictionaries(_KEYS, _VALUES, max_size=3))
def test_schema_and_structure_agree(raw: dict[str, Any]) -> None:
    folded = [key.replace("-", "_") for key in raw]
    if len(set(folded)) < len(folded) or "cache" in raw or raw.get("idle-seconds", 0) in (None, ""):
        return  # what a schema cannot say: two spellings, an empty path
    if any(isinstance(value, float) and value.is_integer() for value in _flat(raw)):
        return  # JSON has no 1.0 beside 1
    validator = jsonschema.Draft202012Validator(schema(Settings))
    try:
        structure(Settings, raw, path="x")
    except SettingsError as error:
        if any("must be >=" in problem.message for problem in error.problems):
            return  # a validator's word
        assert not validator.is_valid(raw)
    else:
        assert validator.is_valid(raw)


def _flat(value: Any) -> list[Any]:
    match value:
        case dict():
            return [leaf for entry in value.values() for leaf in _flat(entry)]
        case list():
            return [leaf for entry in value for leaf in _flat(entry)]
    return [value]


def test_rows_are_for_people() -> None:
    by_key = {row.key: row for row in rows(Settings)}

    assert by_key["tags"].type == "list of text"
    assert by_key["cache"].type == "path or nothing"
    assert by_key["pull"].type == "always | if-missing"
    assert by_key["pull"].default == "always"
    assert by_key["mirrors"].type == "mapping of mapping"
    assert rows(Mirror)[0].required
    assert by_key["build-context-store"].help == "Where contexts go."


def test_a_class_that_holds_itself_is_refused() -> None:
    with pytest.raises(TypeError, match="Knot holds itself"):
        schema(Knot)


@attrs.frozen(kw_only=True)
class Knot:
    inner: Knot | None = setting("Itself.", default=None)
    path: Path = setting("A path.", default=Path("x"))
