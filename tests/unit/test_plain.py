"""Anything an application hands over has a form that can be kept."""

import datetime as dt
import decimal
import enum
import hashlib
import json
import pathlib
import sys
import threading
import types
import uuid
from collections import ChainMap, OrderedDict, UserDict, deque
from dataclasses import dataclass

import pydantic
import pytest
from pydantic import v1 as pydantic_v1

from synap_integrations.plain import MAX_DEPTH, MAX_NODES, MAX_TEXT, plain, text


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclass
class Point:
    x: int
    y: object = None


@dataclass(slots=True)
class Slotted:
    x: int


class Flight(pydantic.BaseModel):
    to: str
    at: dt.datetime | None = None
    pin: str = pydantic.Field(default="1234", exclude=True)


class OldFlight(pydantic_v1.BaseModel):
    to: str


class Attrs:
    """What attrs leaves on a class, without attrs."""

    __attrs_attrs__ = (types.SimpleNamespace(name="x"), types.SimpleNamespace(name="missing"))

    def __init__(self):
        self.x = 1


class Hostile:
    """Raises, whatever is asked of it."""

    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __repr__(self):
        raise RuntimeError

    __str__ = __iter__ = __len__ = __hash__ = __eq__ = __bool__ = __repr__


class HostileMapping(UserDict):
    def items(self):
        raise KeyboardInterrupt if False else ValueError

    __iter__ = items


class LyingModel:
    """Looks like a pydantic model to whoever asks by name only."""

    def model_dump(self, **_):
        raise AssertionError

    dict = model_dump


class BadModel(pydantic.BaseModel):
    @pydantic.model_serializer
    def dump(self):
        raise RuntimeError


class HostileStr(str):
    __slots__ = ()

    def __str__(self):
        raise RuntimeError


class Endless(list):
    def __iter__(self):
        while True:
            yield 1


UUID = uuid.UUID(int=7)
WHEN = dt.datetime(2026, 5, 16, 12, 0, tzinfo=dt.UTC)
SHA_123 = hashlib.sha256(b"123").hexdigest()

TABLE = [
    (None, None),
    (True, True),
    (1, 1),
    (-0.0, -0.0),
    ("olá", "olá"),
    (2**53, 2**53),
    (2**53 + 1, str(2**53 + 1)),
    (-(2**60), str(-(2**60))),
    (10**6000, "[int of 19932 bits]"),
    (float("nan"), "NaN"),
    (float("inf"), "Infinity"),
    (float("-inf"), "-Infinity"),
    (Level.HIGH, 3),
    (Colour.RED, "red"),
    (HostileStr("kept"), "kept"),
    (b"123", f"[3 bytes, sha256 {SHA_123}]"),
    (bytearray(b"123"), f"[3 bytes, sha256 {SHA_123}]"),
    (memoryview(b"123"), f"[3 bytes, sha256 {SHA_123}]"),
    (memoryview(b"123456")[::2], "[memoryview]"),
    (WHEN, "2026-05-16T12:00:00+00:00"),
    (WHEN.date(), "2026-05-16"),
    (dt.time(9, 30), "09:30:00"),
    (dt.timedelta(days=1), "1 day, 0:00:00"),
    (decimal.Decimal("1.10"), "1.10"),
    (UUID, str(UUID)),
    (pathlib.PurePosixPath("/a/b"), "/a/b"),
    ((1, [2, (3,)]), [1, [2, [3]]]),
    (deque([1, 2]), [1, 2]),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset({"b", "a"}), ["a", "b"]),
    ({1: "int", "1": "str", None: 0, (1, 2): 3}, {"1": "int", "1'": "str", "None": 0, "[1, 2]": 3}),
    (OrderedDict(a=1), {"a": 1}),
    (ChainMap({"a": 1}, {"b": 2}), {"b": 2, "a": 1}),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (Point(1, [Colour.RED]), {"x": 1, "y": ["red"]}),
    (Slotted(1), {"x": 1}),
    (Flight(to="Lisbon", at=WHEN), {"to": "Lisbon", "at": "2026-05-16T12:00:00+00:00"}),
    (OldFlight(to="Lisbon"), {"to": "Lisbon"}),
    (pydantic.SecretStr("hunter2"), "[SecretStr]"),
    (Attrs(), {"x": 1, "missing": None}),
    (ValueError("no such flight"), "ValueError: no such flight"),
    (lambda: 1, "[function]"),
    (Point, "[class Point]"),
    (object(), "[object]"),
    (Hostile(), "[Hostile]"),
    (HostileMapping(a=1), "[HostileMapping]"),
    ({"ok": 1, "bad": Hostile()}, {"ok": 1, "bad": "[Hostile]"}),
    (LyingModel(), "[LyingModel]"),
    (BadModel(), "[BadModel]"),
    ({"a\0b": "c\0"}, {"a\u2400b": "c\u2400"}),
]


@pytest.mark.parametrize(
    ("value", "kept"), TABLE, ids=[type(value).__name__ + str(i) for i, (value, _) in enumerate(TABLE)]
)
def test_every_kind_of_value_has_a_form_that_can_be_kept(value, kept):
    """Each row of the table: what is handed over, and what is kept; strict JSON takes it."""
    converted = plain(value)
    assert converted == kept
    assert type(converted) is type(kept)
    json.dumps(converted, allow_nan=False)


def test_halves_of_a_letter_are_joined_and_lone_halves_replaced():
    """A lone surrogate would break every wire; two halves of one letter are that letter."""
    assert text("\ud83d\ude00 \ud800!") == "😀 \ufffd!"
    assert plain({"\udfff": ["\ud800"]}) == {"\ufffd": ["\ufffd"]}


def test_text_that_can_travel_is_not_copied():
    """Persian joiners, emoji and plain letters come back as the same object."""
    for value in ("plain", "می‌خواهم", "👩‍👩‍👧", "हिन्दी"):
        assert text(value) is value
        assert plain(value) is value


def test_fifty_megabytes_are_shortened_with_length_and_hash():
    """What is left out can be recognised later by its length and hash."""
    huge = "é" * 50_000_000
    kept = text(huge)
    assert kept.startswith("é" * 100)
    assert len(kept) < MAX_TEXT + 200
    assert kept.endswith(f"[shortened: 50000000 characters, sha256 {hashlib.sha256(huge.encode()).hexdigest()}]")
    assert len(plain([huge, huge])[1]) < 200


def test_generators_are_not_consumed():
    """The application still gets every item of what it handed over."""
    numbers = (n for n in range(3))
    lines = iter(["a", "b"])
    assert plain({"numbers": numbers, "lines": [lines]}) == {"numbers": "[generator]", "lines": ["[list_iterator]"]}
    assert (list(numbers), list(lines)) == ([0, 1, 2], ["a", "b"])


def test_what_contains_itself_ends():
    """A circle is cut where it closes; the same object twice side by side is no circle."""
    circle: dict = {"name": "a"}
    circle["self"] = [circle]
    shared = {"x": [1]}
    assert plain(circle) == {"name": "a", "self": ["[dict: contains itself]"]}
    assert plain([shared, shared]) == [{"x": [1]}, {"x": [1]}]


def test_a_million_levels_need_no_stack():
    """Depth is limited, so nesting can exhaust neither the stack nor the reader."""
    deep: list = []
    for _ in range(1_000_000):
        deep = [deep]
    kept, levels = plain(deep), 0
    while isinstance(kept, list):
        kept, levels = kept[0], levels + 1
    assert (kept, levels) == ("[list: too deep to keep]", MAX_DEPTH)
    while deep:
        deep = deep.pop()


def test_little_stack_left_is_enough():
    """Deep inside somebody's recursion the value becomes a marker, not a RecursionError."""

    def down(levels):
        return plain([[[[[[1]]]]]]) if levels == 0 else down(levels - 1)

    outcome: list = []
    limit = sys.getrecursionlimit()
    thread = threading.Thread(target=lambda: outcome.append(down(limit - 40)))
    thread.start()
    thread.join()
    assert str(outcome[0]).startswith("[")


def test_size_is_bounded():
    """A million items, or an iterator without end, become as many as can be afforded and a marker."""
    assert len(plain(list(range(1_000_000)))) <= MAX_NODES + 1
    assert plain({str(n): n for n in range(200_000)})["…"] == "[the rest was too large to keep]"
    assert plain(Endless())[-1] == "[the rest was too large to keep]"


def test_the_result_shares_nothing_with_the_original():
    """What is changed after capture was captured as it was."""
    args = {"a": 1, "tags": ["x"]}
    flat = {"a": 1}
    kept, kept_flat = plain(args), plain(flat)
    args["tags"].append("y")
    flat["a"] = 2
    assert (kept, kept_flat) == ({"a": 1, "tags": ["x"]}, {"a": 1})


def test_numpy_is_described_without_being_imported():
    """A scalar is its number, an array its shape and type; numpy itself is recognised by name."""

    def shaped(shape):
        members = {"shape": shape, "dtype": "float32", "item": lambda self: 0.5}
        return type("ndarray", (), {"__module__": "numpy", **members})()

    assert plain(shaped(())) == 0.5
    assert plain({"a": shaped((2, 3))}) == {"a": "[ndarray of shape (2, 3), float32]"}
    assert "numpy" not in plain.__globals__
