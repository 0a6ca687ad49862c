"""Listen to every run of this process, without a line in the application."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Final

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers import context as tracing
from langchain_core.version import VERSION

from synap_integrations import after_fork
from synap_integrations.langchain.callbacks import SynapCallbackHandler
from synap_integrations.ports import Detach, Memory
from synap_integrations.supported import refuse_unsupported

_lock: Final = after_fork.Lock()


class _Attachment:
    """One handler in LangChain's registry."""

    current: _Attachment | None = None

    def __init__(self, memory: Memory | None) -> None:
        self.memory = memory
        self.holders = 0
        handler = SynapCallbackHandler(memory)
        handler.options = replace(handler.options, automatic=True)
        # The default of the variable, not a value: one handler, seen in all threads and loops.
        self._variable: ContextVar[BaseCallbackHandler | None] = ContextVar("synap_langchain", default=handler)
        # The class keeps it away from runs that have a handler of ours already.
        tracing.register_configure_hook(self._variable, inheritable=True, handle_class=SynapCallbackHandler)

    def let_go(self) -> None:
        """Nobody listens any more when the last holder has let go. Runs under way are recorded to their end."""
        with _lock:
            self.holders -= 1
            if self.holders == 0:
                self.remove()

    def remove(self) -> None:
        """Take the handler out of the registry, unless it is out."""
        if _Attachment.current is self:
            _Attachment.current = None
        hooks = tracing._configure_hooks  # noqa: SLF001 - there is no public way to unregister
        with suppress(StopIteration):
            hooks.remove(next(hook for hook in hooks if hook[0] is self._variable))


def attach(memory: Memory | None) -> Detach:
    """Record every run of this process that brings no handler of its own; call the result to let go.

    Without a memory, turns go to the process-wide Synap of the moment. Attaching the same memory again records once,
    until everybody has let go; another memory takes the place of the one before.

    Source: langchain_core 1.7.2, tracers/context.py, register_configure_hook; callbacks/manager.py, _configure

    Raises: InvalidInputError, if this version of langchain-core is not supported.
    """
    refuse_unsupported("langchain", VERSION)
    with _lock:
        attachment = _Attachment.current
        if attachment is None or attachment.memory is not memory:
            if attachment is not None:
                attachment.remove()
            attachment = _Attachment.current = _Attachment(memory)
        attachment.holders += 1
    held = [attachment]

    def detach() -> None:
        while held:
            held.pop().let_go()

    return detach
