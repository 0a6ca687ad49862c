"""The plain form of any value: what JSON can carry and every platform can store.

Applications put anything into tool arguments and results, and losing the turn because of it is not an option. So each
value has a form that can be kept: text keeps its letters (lone surrogates become U+FFFD, NUL becomes U+2400), bytes
become a description with size and hash, numbers that JSON cannot carry exactly become text, objects become their
fields or their class name, what is too deep or too large becomes a marker. Nothing here raises, consumes a generator
or holds on to what it was given.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import hashlib
import math
import pathlib
import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Set
from typing import Final

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

MAX_DEPTH: Final = 64
MAX_NODES: Final = 100_000
MAX_TEXT: Final = 8_000_000
"""Characters of one text that are kept; the rest is replaced by its length and hash."""
MAX_SECONDS: Final = 0.05
"""Time one value may take before the rest of it becomes a marker."""

_MAX_EXACT_INT: Final = 2**53
_TEXT_LIKE: Final = (decimal.Decimal, uuid.UUID, pathlib.PurePath, dt.timedelta)


def text(value: str, *, limit: int = MAX_TEXT) -> str:
    """The text in a form that can travel; beyond ``limit`` characters it is shortened, with its length and hash."""
    if len(value) > limit:
        digest = hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()
        value = f"{value[:limit]}… [shortened: {len(value)} characters, sha256 {digest}]"
    if not value.isascii():
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value.replace("\0", "\u2400") if "\0" in value else value


def plain(value: object) -> Plain:
    """The JSON form of any value, at most `MAX_DEPTH` deep and `MAX_NODES` large."""
    return _Conversion().of(value, depth=0)


class _Conversion:
    """One value on its way to plain data: counts nodes and time, knows its own ancestors."""

    def __init__(self) -> None:
        self._nodes = 0
        self._ancestors: set[int] = set()
        self._deadline = time.monotonic() + MAX_SECONDS

    def of(self, value: object, *, depth: int) -> Plain:  # noqa: PLR0911 - a table of kinds
        self._nodes += 1
        if value is None or value is True or value is False:
            return value  # type: ignore[return-value] # narrowed by identity
        kind = type(value)
        if kind is str:
            return text(value)  # type: ignore[arg-type] # narrowed by type
        if kind is int or kind is float:
            return _number(value)  # type: ignore[arg-type] # narrowed by type
        if depth >= MAX_DEPTH or self._nodes > MAX_NODES:
            return f"[{_name(value)}: too deep or too large to keep]"
        if id(value) in self._ancestors:
            return f"[{_name(value)}: contains itself]"
        if not self._nodes % 64 and time.monotonic() > self._deadline:
            return f"[{_name(value)}: too slow to keep]"
        self._ancestors.add(id(value))
        try:
            return self._composite(value, depth + 1)
        finally:
            self._ancestors.discard(id(value))

    def _composite(self, value: object, depth: int) -> Plain:  # noqa: PLR0911 - a table of kinds
        if isinstance(value, enum.Enum):
            return self.of(value.value, depth=depth)
        if isinstance(value, str):
            return text(str.__str__(value))
        if isinstance(value, int | float):
            return _number(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return f"[{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()}]"
        if isinstance(value, dt.datetime | dt.date | dt.time):
            return value.isoformat()
        if isinstance(value, _TEXT_LIKE):
            return text(str(value))
        if isinstance(value, Mapping):
            return {_key(k): self.of(v, depth=depth) for k, v in self._affordable(value.items())}
        if isinstance(value, list | tuple | Set | deque):
            return [self.of(item, depth=depth) for item in self._affordable(value)]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
            return self.of(fields, depth=depth)
        if (dumped := _dump(value)) is not None:
            return self.of(dumped, depth=depth)
        return f"[{_name(value)}]"

    def _affordable[T](self, items: Iterable[T]) -> Iterable[T]:
        return items


def _number(value: float) -> Plain:
    """Numbers JSON readers agree on; the others as text."""
    if isinstance(value, int):
        return int(value) if -_MAX_EXACT_INT <= value <= _MAX_EXACT_INT else str(int(value))
    return float(value) if math.isfinite(value) else str(float(value))
