"""The filters of Search, as far as they are of use for training jobs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launch_sagemaker.testing.faults import Refusal, Refused


def fits(record: Mapping[str, Any], expression: Mapping[str, Any]) -> bool:
    """Whether a record (an answer of DescribeTrainingJob, with ``Tags``) is searched for.

    :raises Refused: there is something in it that is not understood here.
    """
    if expression.get("NestedFilters"):
        raise Refused(Refusal("ValidationException", "NestedFilters are not supported here."))
    found = [_filter(record, one) for one in expression.get("Filters") or ()]
    found += [fits(record, one) for one in expression.get("SubExpressions") or ()]
    if not found:
        return True
    return any(found) if expression.get("Operator") == "Or" else all(found)


def _filter(record: Mapping[str, Any], one: Mapping[str, Any]) -> bool:
    operator = one.get("Operator") or ("Equals" if "Value" in one else "Exists")
    value = _value(record, one["Name"])
    wanted: str | None = one.get("Value")
    if operator in ("Exists", "NotExists"):
        return (value is not None) is (operator == "Exists")
    if wanted is None:
        raise Refused(Refusal("ValidationException", f"Value is required for the operator {operator}."))
    if operator == "NotEquals":
        return value != wanted
    if value is None:
        return False
    if operator == "Equals":
        return value == wanted
    if operator == "Contains":
        return wanted in value
    if operator == "In":
        return value in {each.strip() for each in wanted.split(",")}
    raise Refused(Refusal("ValidationException", f"The operator {operator} is not supported here."))


def _value(record: Mapping[str, Any], name: str) -> str | None:
    """What a property's name leads to. All that follows ``Tags.`` is the key."""
    if name.startswith("Tags."):
        tags = {tag["Key"]: str(tag["Value"]) for tag in record.get("Tags") or ()}
        return tags.get(name.removeprefix("Tags."))
    value: Any = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return None if value is None or isinstance(value, dict | list) else str(value)
