"""One call of a chat model, below LangChain's tracing, with context put in front of the provider's own code.

The methods here stand for those that LangChain calls there: whole and streamed, sync and async. ``whose`` says which
`Injector` is asked for a model, if any.

Source: langchain_core 1.7.2, language_models/chat_models.py, BaseChatModel._generate, _should_stream, _iter_v2_events
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from synap_integrations.guard import contained, is_quiet
from synap_integrations.langchain.internal import in_internal_run, is_internal
from synap_integrations.langchain.prompts.injection import SETTLED, Injector

if TYPE_CHECKING:
    from langchain_core.callbacks.manager import BaseRunManager
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig

    _Messages = list[BaseMessage]
    _Stop = list[str] | None
    _Run = BaseRunManager | None

Method = Callable[..., Any]
Whose = Callable[["BaseChatModel"], Injector | None]
_RECALL: Final = contained("recall")


def method_over(name: str, inner: Method, whose: Whose) -> Method:
    """The method to call instead of ``inner``, which has this name on a chat model. Raises: KeyError for others."""
    return MAKERS[name](inner, whose)


def _sync(inner: Method, whose: Whose) -> Method:
    hears = _hears(inner)

    def method(
        self: BaseChatModel, messages: _Messages, stop: _Stop = None, run_manager: _Run = None, **kwargs: object
    ) -> object:
        messages = _into(whose, self, messages, run_manager)
        token = SETTLED.set(True)
        try:
            return inner(self, messages, stop=stop, **hears(run_manager), **kwargs)
        finally:
            SETTLED.reset(token)

    return method


def _async(inner: Method, whose: Whose) -> Method:
    hears = _hears(inner)

    async def method(
        self: BaseChatModel, messages: _Messages, stop: _Stop = None, run_manager: _Run = None, **kwargs: object
    ) -> object:
        messages = await _ainto(whose, self, messages, run_manager)
        token = SETTLED.set(True)
        try:
            return await inner(self, messages, stop=stop, **hears(run_manager), **kwargs)
        finally:
            SETTLED.reset(token)

    return method


def _sync_stream(inner: Method, whose: Whose) -> Method:
    hears = _hears(inner)

    def method(
        self: BaseChatModel, messages: _Messages, stop: _Stop = None, run_manager: _Run = None, **kwargs: object
    ) -> Iterator[object]:
        messages = _into(whose, self, messages, run_manager)
        yield from inner(self, messages, stop=stop, **hears(run_manager), **kwargs)

    return method


def _async_stream(inner: Method, whose: Whose) -> Method:
    hears = _hears(inner)

    async def method(
        self: BaseChatModel, messages: _Messages, stop: _Stop = None, run_manager: _Run = None, **kwargs: object
    ) -> AsyncIterator[object]:
        messages = await _ainto(whose, self, messages, run_manager)
        async for chunk in inner(self, messages, stop=stop, **hears(run_manager), **kwargs):
            yield chunk

    return method


MAKERS: Final = {
    "_generate": _sync,
    "_generate_with_cache": _sync,
    "_agenerate": _async,
    "_agenerate_with_cache": _async,
    "_stream": _sync_stream,
    "_astream": _async_stream,
    "_stream_chat_model_events": _sync_stream,
    "_astream_chat_model_events": _async_stream,
}
"""Every method of a chat model that messages go through below tracing."""
WHOLE: Final = tuple(name for name, maker in MAKERS.items() if maker in (_sync, _async))
STREAMED: Final = tuple(name for name in MAKERS if name not in WHOLE)
"""Those of which LangChain looks whether a class has them, to decide whether its models can stream."""


def _hears(inner: Method) -> Callable[[_Run], dict[str, _Run]]:
    """The run manager as an argument of the methods that take it; LangChain asks their signature, too."""
    parameters = inspect.signature(inner).parameters.values()
    takes = any(one.name == "run_manager" or one.kind is one.VAR_KEYWORD for one in parameters)
    return (lambda run_manager: {"run_manager": run_manager}) if takes else (lambda _: {})


# --- whose call it is ------------------------------------------------------------------------------------------------


def _into(whose: Whose, model: BaseChatModel, messages: _Messages, run_manager: _Run) -> _Messages:
    with _RECALL:
        injector, config = _asked(whose, model, run_manager)
        if injector is not None:
            return cast("_Messages", injector.into(messages, injector.scope_for(config)))
    return messages


async def _ainto(whose: Whose, model: BaseChatModel, messages: _Messages, run_manager: _Run) -> _Messages:
    with _RECALL:
        injector, config = _asked(whose, model, run_manager)
        if injector is not None:
            return cast("_Messages", await injector.ainto(messages, injector.scope_for(config)))
    return messages


def _asked(whose: Whose, model: BaseChatModel, run_manager: _Run) -> tuple[Injector | None, RunnableConfig | None]:
    """The injector, unless it was asked further up or the call is not for the user; and what the run says of itself.

    Not for the user are our own calls, too: an extractor's, a mask's.

    Streams are not told their run; what they know is the run around them.
    """
    if SETTLED.get() or is_quiet():
        return None, None
    injector = whose(model)
    if injector is None or run_manager is None:
        return (None if in_internal_run() else injector), None
    if is_internal(run_manager.tags, run_manager.metadata):
        return None, None
    own = {"metadata": run_manager.metadata or {}, "callbacks": SimpleNamespace(parent_run_id=run_manager.run_id)}
    return injector, cast("RunnableConfig", own)
