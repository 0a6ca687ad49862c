"""Memory for ``create_agent``: capture and injection in one object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, cast

from langchain_core.tracers.context import register_configure_hook

try:
    from langchain.agents.middleware import AgentMiddleware
except ImportError as error:
    _message = "SynapMiddleware needs langchain 1.0 or newer: pip install 'langchain>=1.0'"
    raise ImportError(_message, name="langchain", path=error.path) from error

from synap_integrations import scoping
from synap_integrations.guard import contained
from synap_integrations.langchain.callbacks import SynapCallbackHandler
from synap_integrations.langchain.capture.tracker import captured_scope
from synap_integrations.langchain.internal import in_internal_run
from synap_integrations.langchain.prompts.injection import SETTLED, Injector
from synap_integrations.model import Scope
from synap_integrations.ports import Memory

if TYPE_CHECKING:
    from langchain.agents.middleware.types import ModelRequest, ModelResponse

_ATTACH: Final = contained("attach")
_RECALL: Final = contained("recall")
_ACTIVE: Final[ContextVar[SynapCallbackHandler | None]] = ContextVar("synap_middleware_handler", default=None)

# LangChain adds what this variable holds to the handlers of every run that is started while it is set.
# Source: langchain_core 1.7.2, tracers/context.py, register_configure_hook
register_configure_hook(_ACTIVE, inheritable=True, handle_class=SynapCallbackHandler)


class SynapMiddleware(AgentMiddleware[Any, Any, Any]):
    """Shows the agent's model what helps with the user's turn, and captures the turn if nobody else does.

    ``synap`` is anything with `Memory`'s methods, by default the process-wide Synap. The ids say whose conversation it
    is; what is not given is found as `SynapCallbackHandler` finds it. With a handler in the agent's callbacks, the
    handler captures; without one, the middleware lets one listen to the agent's model calls, which carry the turn, its
    tool calls and its answer. ``capture=False`` leaves it at injection.

    State, history and checkpoints hold no trace of the context: it goes into a copy of the request.

    Source: langchain 1.4.7, agents/middleware/types.py, AgentMiddleware.wrap_model_call and ModelRequest.override
    """

    def __init__(  # noqa: PLR0913 - whose conversation it is, by name
        self,
        synap: Memory | None = None,
        *,
        conversation_id: str | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        session_id: str | None = None,
        capture: bool = True,
    ) -> None:
        super().__init__()
        scope = Scope(conversation_id, user_id, customer_id=customer_id, session_id=session_id)
        self._injector = Injector(synap, scope)
        self._handler = SynapCallbackHandler(synap) if capture else None

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """The model call, prepared, and captured if nobody else captures it."""
        if in_internal_run():
            return handler(request)
        scope = self._scope(request)
        with _RECALL:
            request = self._prepared(request, scope)
        with self._captured(scope):
            return handler(request)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """The async model call, prepared, and captured if nobody else captures it."""
        if in_internal_run():
            return await handler(request)
        scope = self._scope(request)
        with _RECALL:
            request = await self._aprepared(request, scope)
        with self._captured(scope):
            return await handler(request)

    def _prepared(self, request: ModelRequest[Any], scope: Scope) -> ModelRequest[Any]:
        """What the model is shown instead of this request."""
        return with_messages(request, self._injector.into(request.messages, scope))

    async def _aprepared(self, request: ModelRequest[Any], scope: Scope) -> ModelRequest[Any]:
        """`_prepared` that waits without blocking the event loop."""
        return with_messages(request, await self._injector.ainto(request.messages, scope))

    def _scope(self, request: ModelRequest[Any]) -> Scope:
        """Whose turn it is. One that names no conversation is a conversation of its own, the same in all its calls."""
        with _ATTACH:
            scope = self._injector.scope_for()
            first = next((message.id for message in request.messages if message.id), None)
            if scope.conversation_id is None and first is not None:
                scope = scoping.merged(scope, Scope(f"conversation-{first}"))
            return scope
        return Scope()

    @contextmanager
    def _captured(self, scope: Scope) -> Iterator[None]:
        """Inside, a handler listens: the one that captures the run already, or ours under this scope. And nobody else
        puts context into the request.
        """
        settled = SETTLED.set(True)
        try:
            if self._handler is None or captured_scope() is not None:
                yield
                return
            token = _ACTIVE.set(self._handler)
            try:
                with scoping.context(**cast("dict[str, str | None]", asdict(scope))):
                    yield
            finally:
                _ACTIVE.reset(token)
        finally:
            SETTLED.reset(settled)


def with_messages(request: ModelRequest[Any], messages: object) -> ModelRequest[Any]:
    """The request itself if the messages are its own."""
    if messages is request.messages:
        return request
    return request.override(messages=cast("list[Any]", messages))
