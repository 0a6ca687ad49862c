"""Which items the filter of a search means. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synap_integrations.errors import InvalidInputError


def matches(value: object, wanted: object) -> bool:
    """True if a value is as a filter wants it: equal, field by field in objects, or as the operators say.

    Source: langgraph-checkpoint 4.3, store/base, SearchOp.filter; store/memory compares nested objects in the same way.
    Raises: InvalidInputError for an operator that nobody knows.
    """
    if isinstance(wanted, Mapping):
        if any(str(name).startswith("$") for name in wanted):
            return all(_holds(str(name), value, operand) for name, operand in wanted.items())
        return isinstance(value, Mapping) and all(matches(value.get(name), part) for name, part in wanted.items())
    if isinstance(wanted, list | tuple):
        alike = isinstance(value, list | tuple) and len(value) == len(wanted)
        return alike and all(matches(*pair) for pair in zip(_list(value), wanted, strict=True))
    return value == wanted


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _holds(operator: str, value: object, operand: object) -> bool:
    match operator:
        case "$eq":
            return value == operand
        case "$ne":
            return value != operand
        case "$gt" | "$gte" | "$lt" | "$lte":
            return _compared(operator, value, operand)
    message = f"filter: {operator} is none of $eq, $ne, $gt, $gte, $lt, $lte"
    raise InvalidInputError(message, details={"argument": "filter"})


def _compared(operator: str, value: object, operand: object) -> bool:
    """Numbers among themselves, and texts among themselves; what cannot be compared is not as it was wanted."""
    numbers = _number(value), _number(operand)
    if numbers[0] is not None and numbers[1] is not None:
        order = (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])
    elif isinstance(value, str) and isinstance(operand, str):
        order = (value > operand) - (value < operand)
    else:
        return False
    return order in {"$gt": (1,), "$gte": (0, 1), "$lt": (-1,), "$lte": (-1, 0)}[operator]


def _number(value: object) -> float | None:
    """The number that a value is, or says, as in LangGraph's own stores."""
    try:
        return float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None
