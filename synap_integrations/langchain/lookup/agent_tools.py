"""Memory as tools, for agents that decide themselves when to look something up, keep it, or have it forgotten."""
# ruff: noqa: ANN401 - what is passed on to pydantic, and what a model passes, may be anything

from __future__ import annotations

from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from pydantic import BaseModel, PrivateAttr, ValidationError

from synap_integrations.guard import contained
from synap_integrations.langchain.lookup.lookup_scope import scope_for
from synap_integrations.langchain.recording import FRAMEWORK
from synap_integrations.runtime.lookup_scope import Asker
from synap_integrations.runtime.tool_actions import BROKEN, Told, ToolAction, adone, done, unusable
from synap_integrations.runtime.tools import ForgetTool, SearchTool, StoreTool

_TOOL: Final = contained("tool")


def _unfit(error: object) -> str:
    return unusable(error).text if isinstance(error, ValidationError) else BROKEN.text


class _MemoryTool(BaseTool):
    """A action as a tool. What goes wrong is the tool's result, never an exception in the agent.

    Source: langchain_core 1.7.2, tools/base.py, BaseTool.run
    """

    name: str = ""
    description: str = ""
    conversation_id: str | None = None
    user_id: str | None = None
    customer_id: str | None = None
    session_id: str | None = None
    handle_tool_error: Any = True
    handle_validation_error: Any = _unfit

    _asker: Asker = PrivateAttr()
    _deed: ToolAction = PrivateAttr()

    def __init__(self, action: ToolAction, synap: object | None, **fields: Any) -> None:
        given = {"name": action.name, "description": action.description, "args_schema": action.schema}
        super().__init__(**(given | {name: value for name, value in fields.items() if value is not None}))
        self._asker = Asker(
            synap,
            conversation_id=self.conversation_id,
            user_id=self.user_id,
            customer_id=self.customer_id,
            session_id=self.session_id,
        )
        self._deed = action

    def _run(self, *words: str, config: RunnableConfig, **passed: Any) -> str:
        told = BROKEN
        with _TOOL:
            scope = scope_for(self._asker.stated, config)
            told = done(FRAMEWORK, self._deed, self._arguments(words, passed), self._asker, scope)
        return _result(told)

    async def _arun(self, *words: str, config: RunnableConfig, **passed: Any) -> str:
        told = BROKEN
        with _TOOL:
            scope = scope_for(self._asker.stated, config)
            told = await adone(FRAMEWORK, self._deed, self._arguments(words, passed), self._asker, scope)
        return _result(told)

    def _arguments(self, words: tuple[str, ...], passed: dict[str, Any]) -> BaseModel:
        """What was passed by name; words without a name are the first argument."""
        unnamed = dict(zip(self._deed.schema.model_fields, words, strict=False))
        return self._deed.schema.model_validate(unnamed | passed)


def _result(told: Told) -> str:
    if told.failed:
        raise ToolException(told.text)  # `handle_tool_error` makes it a result that is marked as an error
    return told.text


class SynapSearchTool(SearchTool, _MemoryTool):
    """Lets an agent search the memory of the user it is talking to: see `SearchTool`."""


class SynapStoreTool(StoreTool, _MemoryTool):
    """Lets an agent have something remembered about the user it is talking to: see `StoreTool`."""


class SynapForgetTool(ForgetTool, _MemoryTool):
    """Lets an agent have something forgotten, in two steps: see `ForgetTool`."""
