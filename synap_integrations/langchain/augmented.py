"""A chat model with memory: the same model, of a subclass that puts context in front of the provider's own code.

The subclass overrides what LangChain calls below its tracing, so handlers, caches of the framework, tools, structured
output and streaming see the model they know.

Source: langchain_core 1.7.2, language_models/chat_models.py, BaseChatModel._generate, _should_stream, _iter_v2_events
"""

from __future__ import annotations

import inspect
import types
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast

from langchain_core.language_models import BaseChatModel
from pydantic import PrivateAttr

from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import contained
from synap_integrations.langchain.injection import Injector, in_internal_run, is_internal
from synap_integrations.model import Scope

if TYPE_CHECKING:
    from langchain_core.callbacks.manager import BaseRunManager
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig

    from synap_integrations.ports import Memory

    _Messages = list[BaseMessage]
    _Stop = list[str] | None
    _Run = BaseRunManager | None
    _Method = Callable[..., Any]

M = TypeVar("M", bound=BaseChatModel)
_RECALL: Final = contained("recall")
_PRIVATE: Final = "_synap_injector"
_DECIDED: Final = ContextVar("synap_context_decided", default=False)
"""Set below the method that was told the run: whether there is context, and whose, is settled."""


def with_synap_memory(  # noqa: PLR0913 - whose conversation it is, by name
    model: M,
    synap: Memory | None = None,
    *,
    conversation_id: str | None = None,
    user_id: str | None = None,
    customer_id: str | None = None,
    session_id: str | None = None,
) -> M:
    """The same chat model, shown what helps with the user's turn in every call; ``model`` itself is not changed.

    Tools, structured output, batches, streams and agents work as before. LangChain's response cache is switched off
    for it: an answer shaped by one user's memory must not be given to another who asks the same.

    Raises: InvalidInputError, if ``model`` is not a chat model: wrap the model itself, before ``bind_tools`` and the
    like, and for ``init_chat_model(configurable_fields=…)`` use ``SynapMiddleware`` or wrap what it resolves to.
    """
    if not isinstance(model, BaseChatModel):
        message = (
            f"model must be a chat model, not {type(model).__name__}: wrap the model itself before bind_tools, "
            "with_config or configurable_fields, or use SynapMiddleware"
        )
        raise InvalidInputError(message, details={"argument": "model"})
    scope = Scope(conversation_id, user_id, customer_id=customer_id, session_id=session_id)
    return _dressed(model, Injector(synap, scope))


def _dressed(model: M, injector: Injector) -> M:
    plain = getattr(type(model), "_synap_plain", type(model))
    clone = model.model_copy(update={"cache": False})
    object.__setattr__(clone, "__class__", _with_memory(plain))
    private = {**(clone.__pydantic_private__ or {}), _PRIVATE: injector}
    object.__setattr__(clone, "__pydantic_private__", private)
    return clone


def _undressed(model: BaseChatModel) -> BaseChatModel:
    clone = model.model_copy()
    object.__setattr__(clone, "__class__", type(model)._synap_plain)  # type: ignore[attr-defined] # ours  # noqa: SLF001
    private = {name: value for name, value in (clone.__pydantic_private__ or {}).items() if name != _PRIVATE}
    object.__setattr__(clone, "__pydantic_private__", private or None)
    return clone


@cache
def _with_memory(plain: type[BaseChatModel]) -> type[BaseChatModel]:
    """The subclass for a model class. Of streams it overrides what the class implements itself: LangChain looks at that
    to decide whether a model can stream.
    """
    members: dict[str, object] = {
        "__module__": plain.__module__,
        "__qualname__": plain.__qualname__,
        "__doc__": plain.__doc__,
        "__annotations__": {_PRIVATE: Any, "_synap_plain": ClassVar[type]},
        _PRIVATE: PrivateAttr(default=None),
        "_synap_plain": plain,
        "__reduce_ex__": lambda self, _: (_dressed, (_undressed(self), self.__pydantic_private__[_PRIVATE])),
    }
    for name in ("_generate", "_generate_with_cache"):
        members[name] = _sync(plain, name)
    for name in ("_agenerate", "_agenerate_with_cache"):
        members[name] = _async(plain, name)
    for name, made in (
        ("_stream", _sync_stream),
        ("_astream", _async_stream),
        ("_stream_chat_model_events", _sync_stream),
        ("_astream_chat_model_events", _async_stream),
    ):
        if getattr(plain, name, None) is not getattr(BaseChatModel, name, None):
            members[name] = made(plain, name)
    return types.new_class(plain.__name__, (plain,), exec_body=lambda namespace: namespace.update(members))


# --- one call, sync and async, whole and streamed --------------------------------------------------------------------


def _sync(plain: type, name: str) -> _Method:
    inner, hears = getattr(plain, name), _hears(plain, name)

    def method(
        self: BaseChatModel, messages: _Messages, stop: _Stop = None, run_manager: _Run = None, **kwargs: object
    ) -> object:
        messages = _into(self, messages, run_manager)
        token = _DECIDED.set(True)
        try:
            return inner(self, messages, stop=stop, **hears(run_manager), **kwargs)
        finally:
            _DECIDED.reset(token)

    return method


def _async(plain: type, name: str) -> _Method:
    inner, hears = getattr(plain, name), _hears(plain, name)

    async def method(
        self: BaseChatModel, messages: _Messages, stop: _Stop = None, run_manager: _Run = None, **kwargs: object
    ) -> object:
        messages = await _ainto(self, messages, run_manager)
        token = _DECIDED.set(True)
        try:
            return await inner(self, messages, stop=stop, **hears(run_manager), **kwargs)
        finally:
            _DECIDED.reset(token)

    return method


def _sync_stream(plain: type, name: str) -> _Method:
    inner, hears = getattr(plain, name), _hears(plain, name)

    def method(
        self: BaseChatModel, messages: _Messages, stop: _Stop = None, run_manager: _Run = None, **kwargs: object
    ) -> Iterator[object]:
        messages = _into(self, messages, run_manager)
        yield from inner(self, messages, stop=stop, **hears(run_manager), **kwargs)

    return method


def _async_stream(plain: type, name: str) -> _Method:
    inner, hears = getattr(plain, name), _hears(plain, name)

    async def method(
        self: BaseChatModel, messages: _Messages, stop: _Stop = None, run_manager: _Run = None, **kwargs: object
    ) -> AsyncIterator[object]:
        messages = await _ainto(self, messages, run_manager)
        async for chunk in inner(self, messages, stop=stop, **hears(run_manager), **kwargs):
            yield chunk

    return method


def _hears(plain: type, name: str) -> Callable[[_Run], dict[str, _Run]]:
    """The run manager as an argument of the methods that take it; LangChain asks their signature, too."""
    parameters = inspect.signature(getattr(plain, name)).parameters.values()
    takes = any(one.name == "run_manager" or one.kind is one.VAR_KEYWORD for one in parameters)
    return (lambda run_manager: {"run_manager": run_manager}) if takes else (lambda _: {})


# --- whose call it is ------------------------------------------------------------------------------------------------


def _into(model: BaseChatModel, messages: _Messages, run_manager: _Run) -> _Messages:
    with _RECALL:
        injector, config = _asked(model, run_manager)
        if injector is not None:
            return cast("_Messages", injector.into(messages, injector.scope_for(config)))
    return messages


async def _ainto(model: BaseChatModel, messages: _Messages, run_manager: _Run) -> _Messages:
    with _RECALL:
        injector, config = _asked(model, run_manager)
        if injector is not None:
            return cast("_Messages", await injector.ainto(messages, injector.scope_for(config)))
    return messages


def _asked(model: BaseChatModel, run_manager: _Run) -> tuple[Injector | None, RunnableConfig | None]:
    """The injector, unless it was asked further up or the call is not for the user; and what the run says of itself.

    Streams are not told their run; what they know is the run around them.
    """
    if _DECIDED.get():
        return None, None
    injector = (model.__pydantic_private__ or {}).get(_PRIVATE)
    if run_manager is None:
        return (None if in_internal_run() else injector), None
    if is_internal(run_manager.tags, run_manager.metadata):
        return None, None
    own = {"metadata": run_manager.metadata or {}, "callbacks": SimpleNamespace(parent_run_id=run_manager.run_id)}
    return injector, cast("RunnableConfig", own)
