"""The plain form of any value: what JSON can carry and every platform can store.

Applications put anything into tool arguments and results, and losing the turn because of it is not an option. So each
value has a form that can be kept: text keeps its letters (lone surrogates become U+FFFD, NUL becomes U+2400), bytes
become a description with size and hash, numbers that JSON cannot carry exactly become text, objects become their
fields or their class name, what is too deep or too large becomes a marker. Nothing here raises, consumes a generator
or holds on to what it was given.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import hashlib
import math
import pathlib
import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from itertools import islice
from typing import Final, TypeVar, cast

T = TypeVar("T")
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

MAX_DEPTH: Final = 64
MAX_NODES: Final = 100_000
MAX_TEXT: Final = 8_000_000
"""Characters of one value that are kept; the rest is replaced by its length and hash."""
MAX_SECONDS: Final = 0.05
"""Computing time one value may take before the rest of it becomes a marker."""

_MAX_EXACT_INT: Final = 2**53
_MAX_PRINTED_BITS: Final = 10_000
_NODES_PER_LOOK_AT_THE_CLOCK: Final = 64
_AT_A_GLANCE: Final = 16
_TEXT_LIKE: Final = (decimal.Decimal, uuid.UUID, pathlib.PurePath, dt.timedelta, dt.tzinfo)
_REST: Final = "[the rest was too large to keep]"
_class_name: Final = type.__dict__["__name__"].__get__
"""The name of a class even if its metaclass has other ideas."""


def text(value: str, *, limit: int = MAX_TEXT) -> str:
    """The text in a form that can travel; beyond ``limit`` characters it is shortened, with its length and hash.

    Text that can travel as it is comes back as the same object.
    """
    if len(value) > limit:
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        note = f"… [shortened: {len(value)} characters, sha256 {digest}]"
        value = value[: max(limit - len(note), 0)] + note  # within the limit, or the next one shortens it again
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            # By way of UTF-16, where two halves of one letter become that letter again.
            value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value.replace("\0", "\u2400") if "\0" in value else value


def attachment(kind: str, data: bytes, *, base64: bool) -> str:
    """What is kept of an attachment: ``[image/png, 150 bytes, sha256 …]``; the kind alone if there is no data.

    ``base64`` says how the data is written: the size is that of what it stands for, the hash that of what was given.
    """
    if not data:
        return f"[{kind}]"
    size = len(data.rstrip(b"=")) * 3 // 4 if base64 else len(data)
    return f"[{kind}, {size} bytes, sha256 {hashlib.sha256(data).hexdigest()[:16]}]"


def plain(value: object) -> Plain:
    """The JSON form of any value, at most `MAX_DEPTH` deep and `MAX_NODES` large."""
    if type(value) is dict and len(value) <= _AT_A_GLANCE:
        for key, item in value.items():
            if type(key) is not str or not _is_plain(key) or not _is_plain(item):
                return _Conversion().of(value, depth=0)
        return value.copy()
    return cast("Plain", value) if _is_plain(value) else _Conversion().of(value, depth=0)


def _is_plain(value: object) -> bool:
    """True for a value that can be kept as it is, as far as a glance can tell."""
    kind = type(value)
    if kind is str:
        return len(value) <= MAX_TEXT and value.isascii() and "\0" not in value  # type: ignore[arg-type,attr-defined,operator] # narrowed by type
    if kind is int:
        return -_MAX_EXACT_INT <= value <= _MAX_EXACT_INT  # type: ignore[operator] # narrowed by type
    return value is None or value is True or value is False


class _Conversion:
    """One value on its way to plain data: counts nodes, letters and time, knows its own ancestors."""

    def __init__(self) -> None:
        self._nodes = 0
        self._letters = MAX_TEXT
        self._deadline: float | None = None
        self._spent = False
        self._ancestors: set[int] = set()

    def of(self, value: object, *, depth: int) -> Plain:
        """The plain form of a value; a marker, if it cannot be had."""
        self._nodes += 1
        if _is_plain(value) and type(value) is not str:
            return cast("Plain", value)
        identity = id(value)
        if identity in self._ancestors:
            return f"[{_name(value)}: contains itself]"
        self._ancestors.add(identity)
        try:
            # The value's own code may run here and raise anything; that is no fault of ours to be counted.
            with suppress(Exception):
                return self._any(value, depth + 1) if depth < MAX_DEPTH else self._scalar(value, deep=True)
        finally:
            self._ancestors.discard(identity)
        return f"[{_name(value)}]"

    def _any(self, value: object, depth: int) -> Plain:
        kind = type(value)
        if issubclass(kind, dict):
            return self._mapping(dict.items(cast("dict[object, object]", value)), depth)
        if issubclass(kind, list | tuple | deque):
            return self._sequence(cast("Iterable[object]", value), depth)
        if issubclass(kind, AbstractSet):
            return sorted(self._sequence(cast("AbstractSet[object]", value), depth), key=repr)
        if issubclass(kind, Mapping):
            return self._mapping(cast("Mapping[object, object]", value).items(), depth)
        if (fields := _fields(value, kind)) is not None:
            return self._mapping(fields.items(), depth)
        return self._scalar(value)

    def _scalar(self, value: object, *, deep: bool = False) -> Plain:  # noqa: PLR0911 - a table of kinds
        kind = type(value)
        if issubclass(kind, enum.Enum):
            return self.of(cast("enum.Enum", value).value, depth=MAX_DEPTH)
        if issubclass(kind, str):
            return self._text(str.__str__(cast("str", value)))
        if issubclass(kind, int | float):
            return _number(cast("float", value))
        if issubclass(kind, bytes | bytearray | memoryview):
            view = memoryview(cast("bytes", value))
            return f"[{view.nbytes} bytes, sha256 {hashlib.sha256(view).hexdigest()}]"
        if issubclass(kind, dt.date | dt.time):
            return cast("dt.date", value).isoformat()
        if issubclass(kind, _TEXT_LIKE):
            return self._text(str(value))
        if issubclass(kind, BaseException):
            return self._text(f"{_name(value)}: {value}")
        if kind.__module__ == "numpy":
            return _numpy(value)
        if issubclass(kind, type):
            return f"[class {_class_name(value)}]"
        return f"[{_name(value)}: too deep to keep]" if deep else f"[{_name(value)}]"

    def _text(self, value: str) -> str:
        kept = text(value, limit=max(self._letters, 0))
        self._letters -= len(value)
        return kept

    def _sequence(self, items: Iterable[object], depth: int) -> list[Plain]:
        out: list[Plain] = []
        for item in self._snapshot(items):
            if self._exhausted():
                out.append(_REST)
                break
            out.append(self.of(item, depth=depth))
        return out

    def _mapping(self, items: Iterable[tuple[object, object]], depth: int) -> dict[str, Plain]:
        out: dict[str, Plain] = {}
        for key, item in self._snapshot(items):
            if self._exhausted():
                out["…"] = _REST
                break
            name = self._key(key)
            while name in out:
                name += "'"  # 1 and "1" are two keys
            out[name] = self.of(item, depth=depth)
        return out

    def _snapshot(self, items: Iterable[T]) -> list[T]:
        """What can be afforded of the items and one more, taken at once: another thread may be changing them."""
        return list(islice(items, max(MAX_NODES - self._nodes, 0) + 2))

    def _key(self, key: object) -> str:
        if type(key) is str:
            return self._text(key)
        converted = self.of(key, depth=MAX_DEPTH - 1)
        return converted if isinstance(converted, str) else str(converted)

    def _exhausted(self) -> bool:
        """True once the value has used up its share of nodes or time."""
        if self._nodes > MAX_NODES:
            return True
        if not self._spent and not self._nodes % _NODES_PER_LOOK_AT_THE_CLOCK:
            # Computing time of this thread: a busy machine must not shorten what an idle one keeps.
            now = time.thread_time()
            self._deadline = self._deadline or now + MAX_SECONDS
            self._spent = now > self._deadline
        return self._spent


def _fields(value: object, kind: type) -> Mapping[str, object] | None:
    """What an object of a record-like class holds, by name; None for any other object."""
    if any(base.__name__ == "BaseModel" and base.__module__.startswith("pydantic.") for base in kind.__mro__):
        # The model's own way out, which honours what its author excluded.
        dumped = value.model_dump(warnings=False) if hasattr(kind, "model_dump") else value.dict()  # type: ignore[attr-defined] # pydantic
        return cast("Mapping[str, object]", dumped)
    if hasattr(kind, "__dataclass_fields__"):
        return {name: getattr(value, name, None) for name in kind.__dataclass_fields__}
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name, None) for field in kind.__attrs_attrs__}
    return None


def _number(value: float) -> Plain:
    """Numbers JSON readers agree on; the others as text."""
    if isinstance(value, int):
        if value.bit_length() > _MAX_PRINTED_BITS:
            return f"[int of {value.bit_length()} bits]"
        return int(value) if -_MAX_EXACT_INT <= value <= _MAX_EXACT_INT else str(int(value))
    if math.isnan(value):
        return "NaN"
    return float(value) if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _numpy(value: object) -> Plain:
    """A numpy scalar as a number, an array as its shape and type."""
    if hasattr(value, "shape") and value.shape:
        return f"[{_name(value)} of shape {value.shape}, {getattr(value, 'dtype', 'unknown')}]"
    return plain(value.item())  # type: ignore[attr-defined] # numpy.generic, ndarray


def _name(value: object) -> str:
    return cast("str", _class_name(type(value)))
