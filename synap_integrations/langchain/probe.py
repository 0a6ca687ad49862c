"""A scripted turn through real LangChain, without network: what contract tests and ``synap doctor`` run."""
# ruff: noqa: ARG002 - the signatures of the model are the framework's

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Any, Final

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool

QUESTION: Final = "When does my flight leave?"
ANSWER: Final = "Your flight leaves at 09:40."
TOOL: Final = "flights"


def run_one_turn(
    *,
    stream: bool = False,
    fail: bool = False,
    conversation_id: str | None = None,
    user_id: str | None = None,
) -> str:
    """Ask an agent `QUESTION`; it uses one tool and says `ANSWER`, which is returned.

    ``stream`` streams the same turn. With ``fail`` the model cannot be reached.

    Raises: ConnectionError, if the model was to fail.
    """
    identity = {"conversation_id": conversation_id, "user_id": user_id}
    config: RunnableConfig = {"metadata": {name: value for name, value in identity.items() if value is not None}}
    agent = RunnableLambda(_Agent(_ScriptedModel(fails=fail), stream=stream).answer)
    if stream:
        return "".join(agent.stream(QUESTION, config))
    return agent.invoke(QUESTION, config)


class _Agent:
    """The loop that every agent is: model, tool, model."""

    def __init__(self, model: BaseChatModel, *, stream: bool) -> None:
        self._model = model
        self._stream = stream

    def answer(self, question: str) -> str:
        """Work until the model asks for no more tools."""
        history: list[BaseMessage] = [HumanMessage(question)]
        while True:
            said = reduce(add, self._model.stream(history)) if self._stream else self._model.invoke(history)
            history.append(said)
            calls = said.tool_calls if isinstance(said, AIMessage) else []
            if not calls:
                return str(said.content)
            history.extend([flights.invoke(call) for call in calls])


@tool(TOOL)
def flights(query: str) -> str:
    """Look up flights."""
    return f"LIS 09:40 ({query})"


class _ScriptedModel(BaseChatModel):
    """Asks for the tool, then answers; or fails."""

    fails: bool = False

    @property
    def _llm_type(self) -> str:
        return "synap-probe"

    def _next(self, history: list[BaseMessage]) -> tuple[str, list[ToolCall]]:
        if self.fails:
            message = "the scripted model cannot be reached"
            raise ConnectionError(message)
        if isinstance(history[-1], ToolMessage):
            return ANSWER, []
        return "", [ToolCall(name=TOOL, args={"query": "my flight"}, id="call-1", type="tool_call")]

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ANN401 - the framework's signature
    ) -> ChatResult:
        text, calls = self._next(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text, tool_calls=calls))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ANN401 - the framework's signature
    ) -> Iterator[ChatGenerationChunk]:
        text, calls = self._next(messages)
        for call in calls:
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_calls=[call]))
        for word in text.split():
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word if text.startswith(word) else f" {word}"))
            if run_manager is not None:
                run_manager.on_llm_new_token(str(chunk.message.content), chunk=chunk)
            yield chunk
