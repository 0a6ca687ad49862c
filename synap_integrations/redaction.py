"""What leaves an event before it reaches the disk: hidden parts, masked texts. When in doubt, all of it.

A mask is the application's own function from text to text. It is called for every text of an event, in a thread of its
own and for at most a second: a mask that raises, hangs, or returns something else leaves a stub, never the raw text.
Data that an application keeps on purpose has no stub: then it is not kept, and that is an error.
"""

from __future__ import annotations

import os
import queue
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, assert_never, cast

from .errors import InvalidInputError
from .guard import contained, quiet
from .import_strings import is_name, named
from .model import (
    AssistantMessage,
    ContextRequest,
    ContextUsed,
    Event,
    Thinking,
    ToolCall,
    ToolResult,
    UserMessage,
)
from .plain import plain

if TYPE_CHECKING:
    from .settings import Settings

T = TypeVar("T")
Data = TypeVar("Data", str, dict[str, Any])
Mask = Callable[[str], str]

HIDDEN: Final = "[hidden]"
FAILED: Final = "[masked: the mask failed]"
LIMIT_S: Final = 1.0
_MASK: Final = contained("mask")


@dataclass(frozen=True, slots=True)
class Hidden:
    """Parts of a conversation that are not kept at all."""

    inputs: bool = False
    outputs: bool = False
    tools: bool = False

    def hides(self, event: Event) -> bool:
        """True if this event keeps its place and its ids, but none of its words."""
        match event:
            case UserMessage() | ContextRequest():
                return self.inputs
            case AssistantMessage() | Thinking():
                return self.outputs
            case ToolCall() | ToolResult():
                return self.tools
            case ContextUsed():
                return False
            case _:
                assert_never(event)


class Redaction:
    """Takes out of an event what must not be kept. Thread-safe; never raises."""

    def __init__(self, *, hidden: Hidden, mask: Mask | str | None = None, sample_rate: float = 1.0) -> None:
        self._hidden = hidden
        self._sample_rate = sample_rate
        self._worker = _Worker(mask) if mask else None

    @classmethod
    def of(cls, settings: Settings, mask: Mask | str | None) -> Redaction:
        """The redaction that an application asked for; a mask that it passes wins over the one that a setting names."""
        hidden = Hidden(settings.hide_inputs, settings.hide_outputs, settings.hide_tools)
        return cls(hidden=hidden, mask=mask or settings.mask, sample_rate=settings.sample_rate)

    def keeps(self, conversation_id: str) -> bool:
        """True for the conversations that are in the sample: whole ones, the same in every process."""
        if self._sample_rate >= 1.0:
            return True
        return zlib.crc32(conversation_id.encode("utf-8", "replace")) < self._sample_rate * 2**32

    def __call__(self, event: Event) -> Event:
        """The event as it may be kept."""
        if self._hidden.hides(event):
            return stub(event, HIDDEN)
        if self._worker is None:
            return event
        kept = self._worker.done(lambda mask: rewritten(event, mask))
        return stub(event, FAILED) if kept is None else kept

    def data(self, value: Data) -> Data:
        """What an application keeps on purpose, with every text in it masked. What is hidden, and samples, are of
        conversations and say nothing about it.

        Raises: InvalidInputError, if the mask fails: a stub would be taken for what was kept.
        """
        if self._worker is None:
            return value
        kept = self._worker.done(lambda mask: _changed(value, mask))
        if kept is None:
            message = "the mask failed, and nothing is kept that it has not seen: mend the mask and keep it again"
            raise InvalidInputError(message, details={"argument": "mask"})
        return cast("Data", kept)


def rewritten(event: Event, change: Mask) -> Event:
    """The event with every text in it changed. Numbers are shown to ``change`` too, as text."""
    match event:
        case UserMessage() | AssistantMessage() | Thinking():
            return replace(event, content=change(event.content))
        case ToolCall():
            arguments = _changed(plain(event.tool_args), change)
            queries = tuple(change(query) for query in event.search_queries)
            return replace(event, tool_args=arguments if isinstance(arguments, Mapping) else {}, search_queries=queries)
        case ToolResult():
            return replace(event, tool_result=_changed(plain(event.tool_result), change))
        case ContextRequest():
            return replace(event, search_queries=tuple(change(query) for query in event.search_queries))
        case ContextUsed():
            return event
        case _:
            assert_never(event)


def stub(event: Event, words: str) -> Event:
    """The event with its place and its ids, and ``words`` instead of all that was said."""
    match event:
        case UserMessage() | AssistantMessage() | Thinking():
            return replace(event, content=words)
        case ToolCall():
            return replace(event, tool_args={}, search_queries=())
        case ToolResult():
            return replace(event, tool_result=words)
        case ContextRequest():
            return replace(event, search_queries=())
        case ContextUsed():
            return event
        case _:
            assert_never(event)


def _changed(value: object, change: Mask) -> Any:  # noqa: ANN401 - the kind of data that it was
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(name): _changed(part, change) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(part, change) for part in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        seen = change(str(value))
        return value if seen == str(value) else seen
    return value


@dataclass(slots=True)
class _Job:
    work: Callable[[Mask], Any]
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None


class _Worker:
    """The thread in which the mask runs. A mask that hangs keeps it busy, and all the work behind it fails."""

    def __init__(self, mask: Mask | str) -> None:
        self._mask = mask
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._pid = 0
        self._stuck = False

    def done(self, work: Callable[[Mask], T]) -> T | None:
        """What the work with the mask returns; None if it fails."""
        if not self._stuck:
            job = _Job(work)
            try:
                self._start()
            except RuntimeError:  # the process is ending and no thread can be had: nobody else is kept waiting
                with quiet():
                    self._do(job)
            else:
                self._jobs.put(job)
            if not job.done.wait(LIMIT_S):
                self._stuck = True
                with _MASK:
                    message = f"the mask took longer than {LIMIT_S:g} s"
                    raise TimeoutError(message)
            result: T | None = job.result
            return result
        return None

    def _start(self) -> None:
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid != os.getpid():
                # After a fork there is no thread, and nobody waits for what the parent had queued.
                self._jobs, self._stuck = queue.SimpleQueue(), False
                threading.Thread(target=self._run, args=(self._jobs,), name="synap-mask", daemon=True).start()
                self._pid = os.getpid()

    def _run(self, jobs: queue.SimpleQueue[_Job]) -> None:
        with quiet():
            while True:
                self._do(jobs.get())
                self._stuck = False

    def _do(self, job: _Job) -> None:
        with _MASK:
            job.result = job.work(self._checked)
        job.done.set()

    def _checked(self, text: str) -> str:
        if isinstance(self._mask, str):
            self._mask = mask_named(self._mask)
        seen = self._mask(text)
        if not isinstance(seen, str):
            message = f"the mask returned {type(seen).__name__}, not str"
            raise TypeError(message)
        return seen


def mask_named(name: str) -> Mask:
    """The function of this name. Raises: InvalidInputError, if there is none; whatever its module raises."""
    try:
        found = named(name) if is_name(name) else None
    except AttributeError:
        found = None
    if not callable(found):
        message = f"SYNAP_MASK: {name!r} is no module:function that can be called"
        raise InvalidInputError(message, details={"argument": "mask"})
    mask: Mask = found
    return mask
