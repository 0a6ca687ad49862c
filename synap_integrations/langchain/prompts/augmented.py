"""A chat model with memory: the same model, of a subclass that puts context in front of the provider's own code.

The subclass overrides what LangChain calls below its tracing, so handlers, caches of the framework, tools, structured
output and streaming see the model they know.
"""

from __future__ import annotations

import types
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from langchain_core.language_models import BaseChatModel
from pydantic import PrivateAttr

from synap_integrations.errors import InvalidInputError
from synap_integrations.langchain.prompts.injection import Injector
from synap_integrations.langchain.prompts.model_methods import STREAMED, WHOLE, method_over
from synap_integrations.model import Scope

if TYPE_CHECKING:
    from synap_integrations.ports import Memory

M = TypeVar("M", bound=BaseChatModel)
_PRIVATE: Final = "_synap_injector"


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
    streamed = [name for name in STREAMED if getattr(plain, name, None) is not getattr(BaseChatModel, name, None)]
    for name in (*WHOLE, *streamed):
        members[name] = method_over(name, getattr(plain, name), own_injector)
    return types.new_class(plain.__name__, (plain,), exec_body=lambda namespace: namespace.update(members))


def own_injector(model: BaseChatModel) -> Injector | None:
    """The injector of a model that was given memory; None for any other."""
    injector: Injector | None = (model.__pydantic_private__ or {}).get(_PRIVATE)
    return injector
