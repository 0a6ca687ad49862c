"""Which result answers which tool call.

A model declares calls; tools start, fail, start again and end; results also arrive as messages without any tool having
run. The model's ``tool_call_id`` is the key to all of it. Some models reuse ids every turn, so the newest declaration
of an id wins.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from synap_integrations.model import new_id

MAX_CALLS: Final = 256


class ToolRequest(NamedTuple):
    """A tool call as a model wrote it; ``id`` is ``""`` where the provider gives none."""

    id: str
    name: str
    args: Mapping[str, object]


class Call:
    """One tool call of a model.

    ``started``: a tool runs for it. ``recorded``: the call is. ``answered``: its result is. ``error``: what the last
    attempt failed with, in case no result follows.
    """

    __slots__ = ("answered", "args", "error", "id", "name", "recorded", "started")

    def __init__(self, call_id: str, name: str, args: Mapping[str, object]) -> None:
        self.id = call_id
        self.name = name
        self.args = args
        self.started = self.recorded = self.answered = False
        self.error: str | None = None


class ToolCallIndex:
    """The calls of one conversation: the latest `MAX_CALLS`, in order of declaration."""

    __slots__ = ("_calls", "open")

    def __init__(self) -> None:
        self._calls: OrderedDict[str, Call] = OrderedDict()
        self.open: dict[str, Call] = {}
        """Those without a result."""

    def declare(self, call_id: str, name: str, args: Mapping[str, object]) -> Call:
        """A model asked for this call."""
        call = Call(call_id, name, args)
        self._calls.pop(call_id, None)
        self._calls[call_id] = self.open[call_id] = call
        if len(self._calls) > MAX_CALLS:
            forgotten, _ = self._calls.popitem(last=False)
            self.open.pop(forgotten, None)
        return call

    def declare_all(self, requests: Iterable[ToolRequest]) -> list[Call]:
        """A model asked for these calls."""
        return [self.declare(request.id or new_id(), request.name, request.args) for request in requests]

    def get(self, call_id: object) -> Call | None:
        """The call of this id, None if no model asked for it lately."""
        return self._calls.get(call_id) if isinstance(call_id, str) else None

    def start(self, run_id: str, call_id: str | None, name: str, inputs: Mapping[str, object] | str) -> Call:
        """A tool starts: the call it works on, by its id, else by name and arguments, else a call of its own.

        ``inputs`` are the arguments, or the one text that a single-input tool gets.
        """
        fields = {} if isinstance(inputs, str) else inputs
        call = self.get(call_id) if call_id else self._waiting(name, fields)
        if call is None:
            call = self.declare(call_id or run_id, name, {})
            call.args = {"input": inputs} if isinstance(inputs, str) else _without_injected(inputs, call.id)
        elif not isinstance(inputs, str) and not _holds(inputs, call.args):
            # A human changed the arguments before they were used.
            call.args = _without_injected(inputs, call.id)
        call.started = True
        return call

    def end(self, call: Call, call_id: object) -> Call:
        """A tool ends, naming the call it answers: that call, which was paired by guess until now."""
        named = self.get(call_id)
        if named is None or named is call:
            return call
        if named.recorded:
            return named
        if (named.name, named.args) == (call.name, call.args):
            # One of two calls that look the same was taken for the other, whose own tool has still to start.
            call.started, named.started = False, True
            return named
        # Recorded under the other id already; the one that was named needs no answer any more.
        self.answer(named)
        return call

    def answer(self, call: Call) -> None:
        """The result of the call is recorded."""
        call.answered = True
        call.error = None
        if self.open.get(call.id) is call:
            del self.open[call.id]

    def failed(self) -> Iterator[Call]:
        """Calls whose last attempt failed and that got no result."""
        yield from [call for call in self.open.values() if call.error is not None]

    def _waiting(self, name: str, inputs: Mapping[str, object]) -> Call | None:
        same_name = [call for call in self.open.values() if call.name == name and not call.started]
        exact = (call for call in same_name if _holds(inputs, call.args))
        return next(exact, same_name[0] if len(same_name) == 1 else None)


def _holds(inputs: Mapping[str, object], args: Mapping[str, object]) -> bool:
    """True if everything the model wrote is among the inputs: frameworks add to them, and fill in defaults."""
    return all(name in inputs and inputs[name] == value for name, value in args.items())


def _without_injected(inputs: Mapping[str, object], call_id: str) -> dict[str, object]:
    """Inputs less what the framework put in: graph state, stores, runtimes, the call's own id.

    Source: langchain_core 0.3.86, tools/base.py: injected arguments reach ``on_tool_start(inputs=…)``
    """
    return {name: value for name, value in inputs.items() if value != call_id and _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(item) for name, item in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, str | int | float | bool)
