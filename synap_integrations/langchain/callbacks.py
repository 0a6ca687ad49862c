"""The handler that LangChain calls, one method per hook, and what each hook means.

One call of the application into LangChain is a root, and a turn: LangChain reports it as a tree of runs. Of all that
is reported only this is recorded, once, in whatever way it was run or streamed:

- ``on_chain_start`` opens a root, unless a known run of the same people is around it; its inputs are the user's turn.
- ``on_chat_model_start``, ``on_llm_start`` open one, too. If no input has told the user's words, the prompt does; tool
  results in it that no tool has reported are recorded.
- ``on_llm_new_token`` is kept for an answer that is cut off.
- ``on_llm_end``: reasoning is recorded. Words without tool calls are the candidate answer, words with them narration.
- ``on_agent_action``: what an agent that thinks in text thought first, as narration.
- ``on_tool_start`` records the call, paired with what the model asked for; ``on_tool_end`` its result.
- ``on_tool_error`` is a result only if no other attempt succeeds by the end of the root.
- ``on_retriever_start``, ``on_retriever_end`` fence off what runs inside: nothing of it is the conversation's.
- ``on_chain_end`` of the root records the answer: what its outputs say, else the candidate. Streamed inputs come now.
- ``on_chain_error``, ``on_llm_error`` of the root: what was shown is an incomplete answer, an interrupt a question.
- ``on_interrupt``: a graph that stopped without an error has not answered. ``on_resume`` means nothing.

Every hook hands over to the method of `capture.tracker` that is named after it; the picture of all that a root goes
through stands there. A hook never raises into the application.
"""
# ruff: noqa: ARG002, PLR0913 - the signatures are the framework's

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import contained
from synap_integrations.import_strings import no_attribute
from synap_integrations.langchain import graph
from synap_integrations.langchain.options import NARRATIONS, Key, Narration, Options, Start
from synap_integrations.model import Scope, new_id
from synap_integrations.ports import Memory, checked_memory
from synap_integrations.scoping import NOWHERE, checked

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from synap_integrations.langchain.capture.tracker import RunTracker

_DOOR: Final = contained("callbacks")
_OF_LLAMAINDEX: Final = frozenset({"event_starts_to_ignore", "event_ends_to_ignore", "start_trace", "on_event_start"})
_IN_LLAMAINDEX: Final = "this is the handler for LangChain; use synap_integrations.llamaindex.SynapCallbackHandler"


@cache
def _tracker() -> RunTracker:
    """Loaded with the first event: making a handler needs none of it."""
    from synap_integrations.langchain.capture.tracker import TRACKER  # noqa: PLC0415 - see above

    return TRACKER


def _memory_over(sdk: object) -> Memory | None:
    from synap_integrations.runtime import memory_over  # noqa: PLC0415 - only for those who hold an SDK object

    return memory_over(sdk)


def _check_settings() -> None:
    from synap_integrations.runtime import check_settings  # noqa: PLC0415 - only for those who bring no Synap

    check_settings()


def _start(
    run_id: UUID, parent_run_id: UUID | None, tags: list[str] | None, metadata: dict[str, Any] | None, name: str | None
) -> Start:
    return Start(run_id.int, None if parent_run_id is None else parent_run_id.int, tags, metadata, name)


class SynapCallbackHandler(BaseCallbackHandler):
    """Records what is said, thought and done in every run it is given to. One instance serves a whole application.

    Works with no arguments: who is talking is found out per run, from ``with synap_integrations.context(…)``, the run's
    metadata, its configurable, LangGraph's runtime context, the environment. What is named here goes first.

    ``synap`` is where events go, by default the process-wide `Synap`; ``sdk``, the platform's SDK object, puts one over
    itself. ``input_key`` and ``output_key`` name the user's
    words and the answer among a run's inputs and outputs, or are functions from them to text or messages.
    ``nested_tools`` also records the tools that run inside tools. ``narration`` is what words beside tool calls are:
    ``"thinking"``, ``"assistant"`` or ``"drop"``. ``partial_answers`` keeps an answer that was cut off, marked
    incomplete. ``interrupts`` takes the text of an interrupt for a question of the assistant. ``dedupe_retries`` takes
    the same words after a failed run for the same turn.

    ``metadata={"synap": "off"}`` keeps one run out, ``SYNAP_CAPTURE=0`` all of them.

    Raises: InvalidInputError, from the constructor only: for an argument, or a setting that the process-wide `Synap`
    could not be made with.
    """

    # On the caller's thread, also under asyncio: a hook costs microseconds, a thread pool a hundred times that.
    run_inline = True
    raise_error = False

    def __init__(
        self,
        synap: Memory | None = None,
        *,
        sdk: object | None = None,
        conversation_id: str | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        session_id: str | None = None,
        input_key: Key | None = None,
        output_key: Key | None = None,
        nested_tools: bool = False,
        narration: Narration = "thinking",
        partial_answers: bool = True,
        interrupts: bool = True,
        dedupe_retries: bool = True,
    ) -> None:
        synap = _memory_over(sdk) if synap is None and sdk is not None else checked_memory(synap)
        if synap is None:
            _check_settings()
        if narration not in NARRATIONS:
            message = f"narration must be one of {', '.join(NARRATIONS)}"
            raise InvalidInputError(message, details={"argument": "narration"})
        scope = checked(Scope(conversation_id, user_id, customer_id=customer_id, session_id=session_id))
        self.options = Options(
            synap,
            NOWHERE if scope == NOWHERE else scope,
            input_key=input_key,
            output_key=output_key,
            nested_tools=nested_tools,
            narration=narration,
            partial_answers=partial_answers,
            interrupts=interrupts,
            dedupe_retries=dedupe_retries,
        )
        self._token = new_id()
        _alive[self._token] = self

    # --- chains, graphs, agents --------------------------------------------------------------------------------------

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: object,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: object,
    ) -> None:
        """A chain, graph, prompt, parser or function starts."""
        with _DOOR:
            _tracker().chain_started(self.options, _start(run_id, parent_run_id, tags, metadata, name), inputs)

    def on_chain_end(self, outputs: object, *, run_id: UUID, inputs: object = None, **kwargs: object) -> None:
        """It ends; ``inputs`` are there if they were not known at its start."""
        with _DOOR:
            _tracker().chain_ended(run_id.int, outputs, inputs)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        """It fails, is cancelled, or is left by LangGraph's control flow."""
        with _DOOR:
            _tracker().failed(run_id.int, error)

    def on_agent_action(self, action: object, *, run_id: UUID, **kwargs: object) -> None:
        """An agent of the classic kind has decided what to do."""
        with _DOOR:
            _tracker().agent_acted(run_id.int, action)

    # --- models ------------------------------------------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: dict[str, Any] | None,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: object,
    ) -> None:
        """A chat model gets a list of messages."""
        with _DOOR:
            start = _start(run_id, parent_run_id, tags, metadata, name)
            _tracker().model_started(self.options, start, messages[0] if messages else ())

    def on_llm_start(
        self,
        serialized: dict[str, Any] | None,
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: object,
    ) -> None:
        """A completion model gets a text."""
        with _DOOR:
            start = _start(run_id, parent_run_id, tags, metadata, name)
            _tracker().model_started(self.options, start, [("user", prompt) for prompt in prompts[:1]])

    def on_llm_new_token(
        self,
        token: object,
        *,
        chunk: object = None,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: object,
    ) -> None:
        """A piece of the answer was streamed."""
        # Tokens are many: all names are spelt out, so that none makes a dictionary, and the door is further in.
        _tracker().token(run_id.int, token)

    def on_llm_end(self, response: object, *, run_id: UUID, **kwargs: object) -> None:
        """The model has answered."""
        with _DOOR:
            _tracker().model_ended(run_id.int, response)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, response: object = None, **kwargs: object) -> None:
        """The model failed; ``response`` is what it had said by then."""
        with _DOOR:
            _tracker().failed(run_id.int, error, response)

    # --- tools and retrievers ----------------------------------------------------------------------------------------

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: Mapping[str, object] | None = None,
        name: str | None = None,
        tool_call_id: str | None = None,
        **kwargs: object,
    ) -> None:
        """A tool starts, with named ``inputs`` or with one text."""
        with _DOOR:
            name = name or (serialized or {}).get("name")
            start = _start(run_id, parent_run_id, tags, metadata, name)
            _tracker().tool_started(self.options, start, input_str if inputs is None else inputs, tool_call_id)

    def on_tool_end(self, output: object, *, run_id: UUID, **kwargs: object) -> None:
        """The tool has a result."""
        with _DOOR:
            _tracker().tool_ended(run_id.int, output)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        """The tool failed; a retry or a message about it may follow."""
        with _DOOR:
            _tracker().failed(run_id.int, error)

    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: object,
    ) -> None:
        """A retriever starts; models it asks are not part of the conversation."""
        with _DOOR:
            _tracker().retriever_started(self.options, _start(run_id, parent_run_id, tags, metadata, name))

    def on_retriever_end(self, documents: Sequence[object], *, run_id: UUID, **kwargs: object) -> None:
        """The retriever has found what it found."""
        with _DOOR:
            _tracker().retriever_ended(run_id.int)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> None:
        """The retriever failed."""
        with _DOOR:
            _tracker().retriever_ended(run_id.int)

    # --- LangGraph ---------------------------------------------------------------------------------------------------

    def on_interrupt(self, event: object) -> None:
        """A graph stopped where it was told to stop. Versions that know this hook call it on lifecycle handlers."""
        with _DOOR:
            if isinstance(run_id := getattr(event, "run_id", None), UUID):
                _tracker().interrupted(run_id.int)

    def on_resume(self, event: object) -> None:
        """A graph goes on; its inputs say so as well."""

    @property  # type: ignore[misc] # what isinstance asks when the type itself does not fit
    def __class__(self) -> type:
        """Also a LangGraph lifecycle handler, once LangGraph is there.

        LangGraph reports interrupts only to instances of its own class, which to inherit would import LangGraph here.

        Source: langgraph 1.2.22, callbacks.py, GraphCallbackHandler
        """
        kind: type = type(self)
        return _with_lifecycle(kind) if graph.LIFECYCLE in sys.modules else kind

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute

        def __getattr__(self, name: str) -> object:
            """For names that only the other framework asks for, with what to use there."""
            raise no_attribute(self, name, elsewhere=_OF_LLAMAINDEX, instead=_IN_LLAMAINDEX)

    # --- one object, wherever it is copied to ------------------------------------------------------------------------

    # Frameworks copy handlers with the models and configs that hold them, and would take a copy for a second handler;
    # a Synap cannot be pickled, so a pickle holds the options, and the token under which `_alive` knows the handler.

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return _revived, (self._token, replace(self.options, synap=None))


_alive: Final[weakref.WeakValueDictionary[str, SynapCallbackHandler]] = weakref.WeakValueDictionary()


def _revived(token: str, options: Options) -> SynapCallbackHandler:
    """The handler itself where it lives; in another process one with the same options and that process's Synap."""
    handler = _alive.get(token)
    if handler is None:
        # Not by the constructor, which raises where the settings of that process cannot be used.
        handler = SynapCallbackHandler.__new__(SynapCallbackHandler)
        handler.options, handler._token = options, new_id()  # noqa: SLF001 - our own
        _alive[handler._token] = handler  # noqa: SLF001 - our own
    return handler


@cache
def _with_lifecycle(kind: type) -> type:
    return type(kind.__name__, (kind, graph.lifecycle_handler_class()), {})
