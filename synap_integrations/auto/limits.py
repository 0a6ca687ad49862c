"""Recall within the limits for prompts of an application that did not ask for context itself."""

from __future__ import annotations

from dataclasses import replace

from synap_integrations import runtime
from synap_integrations.context.render import item_lines
from synap_integrations.context.selection import estimate_tokens
from synap_integrations.model import Context, ContextItem, Event, Scope
from synap_integrations.ports import Memory
from synap_integrations.runtime.origin import record_from
from synap_integrations.settings import Settings

_NOTHING = Context()


class Limited:
    """A `Memory` that gives at most ``inject_max_tokens`` of context, after at most ``inject_timeout_ms``.

    Without a memory it is the process-wide `Synap` of the moment. One of the application's own knows its own timeout.
    While ``SYNAP_CAPTURE=0`` it knows nothing.
    """

    def __init__(self, memory: Memory | None, settings: Settings, framework: str) -> None:
        self._given = memory
        self._framework = framework
        self._max_tokens = settings.inject_max_tokens
        self._timeout_s = None if settings.inject_timeout_ms is None else settings.inject_timeout_ms / 1_000

    def record(self, event: Event, *, scope: Scope) -> None:
        """Hand it on, as an event of the framework in whose prompts it happened."""
        record_from(self._framework, self._memory(), event, scope)

    def recall(self, query: str | None, *, scope: Scope) -> Context:
        """What the memory knows, within the limits."""
        if not runtime.capturing():
            return _NOTHING
        memory = self._memory()
        if isinstance(memory, runtime.Synap):
            return self._cut(memory.recall(query, scope=scope, timeout_s=self._timeout_s))
        return self._cut(memory.recall(query, scope=scope))

    async def arecall(self, query: str | None, *, scope: Scope) -> Context:
        """`recall` that waits without blocking the event loop."""
        if not runtime.capturing():
            return _NOTHING
        memory = self._memory()
        if isinstance(memory, runtime.Synap):
            return self._cut(await memory.arecall(query, scope=scope, timeout_s=self._timeout_s))
        return self._cut(await memory.arecall(query, scope=scope))

    def _memory(self) -> Memory:
        return runtime.default_synap() if self._given is None else self._given

    def _cut(self, context: Context) -> Context:
        if self._max_tokens is None or not context.items:
            return context
        return replace(context, items=within(context.items, self._max_tokens))


def within(items: tuple[ContextItem, ...], max_tokens: int) -> tuple[ContextItem, ...]:
    """The items with the highest scores that fit together, in the order they came in."""
    left = max_tokens
    kept: set[int] = set()
    for at in sorted(range(len(items)), key=lambda at: items[at].score, reverse=True):
        tokens = estimate_tokens(item_lines(items[at]))
        if tokens <= left:
            left -= tokens
            kept.add(at)
    return tuple([item for at, item in enumerate(items) if at in kept])
