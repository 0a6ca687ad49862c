"""Memory as tools, for agents that decide themselves when to look something up, keep it, or have it forgotten."""
# ruff: noqa: ANN401 - what a model passes may be anything

from __future__ import annotations

from typing import Any, Final

from llama_index.core.tools import AsyncBaseTool, ToolMetadata, ToolOutput
from pydantic import BaseModel, ValidationError

from synap_integrations.guard import contained
from synap_integrations.llamaindex.lookup_scope import scope_here
from synap_integrations.llamaindex.recording import FRAMEWORK
from synap_integrations.runtime.lookup_scope import Asker
from synap_integrations.runtime.tool_actions import BROKEN, Told, ToolAction, adone, done, unusable
from synap_integrations.runtime.tools import ForgetTool, SearchTool, StoreTool

_TOOL: Final = contained("tool")


class _MemoryTool(AsyncBaseTool):
    """A action as a tool. What goes wrong is the tool's result, marked as an error, never an exception in the agent.

    Source: llama_index.core 0.14.25, tools/types.py, AsyncBaseTool
    """

    def __init__(  # noqa: PLR0913 - each by name
        self,
        action: ToolAction,
        synap: object | None,
        *,
        conversation_id: str | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        session_id: str | None = None,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        self._deed = action
        self._metadata = ToolMetadata(
            name=name or action.name, description=description or action.description, fn_schema=action.schema
        )
        self._asker = Asker(
            synap, conversation_id=conversation_id, user_id=user_id, customer_id=customer_id, session_id=session_id
        )

    @property
    def metadata(self) -> ToolMetadata:
        """Name, description and arguments, as the model sees them."""
        return self._metadata

    def call(self, *words: Any, **passed: Any) -> ToolOutput:
        """Do it; words without a name are the first argument."""
        told = BROKEN
        with _TOOL:
            arguments = self._arguments(words, passed)
            if isinstance(arguments, Told):
                told = arguments
            else:
                told = done(FRAMEWORK, self._deed, arguments, self._asker, scope_here(self._asker.stated))
        return self._output(told, words, passed)

    async def acall(self, *words: Any, **passed: Any) -> ToolOutput:
        """`call` that waits without blocking the event loop."""
        told = BROKEN
        with _TOOL:
            arguments = self._arguments(words, passed)
            if isinstance(arguments, Told):
                told = arguments
            else:
                told = await adone(FRAMEWORK, self._deed, arguments, self._asker, scope_here(self._asker.stated))
        return self._output(told, words, passed)

    def _arguments(self, words: tuple[Any, ...], passed: dict[str, Any]) -> BaseModel | Told:
        # Agents that call by text pass it under this one name.
        words = words or tuple(passed[name] for name in ("input",) if name in passed)
        unnamed = dict(zip(self._deed.schema.model_fields, words, strict=False))
        try:
            return self._deed.schema.model_validate(unnamed | passed)
        except ValidationError as error:
            return unusable(error)

    def _output(self, told: Told, words: tuple[Any, ...], passed: dict[str, Any]) -> ToolOutput:
        return ToolOutput(
            content=told.text,
            tool_name=self._metadata.name or self._deed.name,
            raw_input={"args": words, "kwargs": passed},
            raw_output=told.text,
            is_error=told.failed,
        )


class SynapSearchTool(SearchTool, _MemoryTool):
    """Lets an agent search the memory of the user it is talking to: see `SearchTool`."""


class SynapStoreTool(StoreTool, _MemoryTool):
    """Lets an agent have something remembered about the user it is talking to: see `StoreTool`."""


class SynapForgetTool(ForgetTool, _MemoryTool):
    """Lets an agent have something forgotten, in two steps: see `ForgetTool`."""
