"""A scripted turn through real LlamaIndex, without network: what contract tests and ``synap doctor`` run."""
# ruff: noqa: ANN401, ARG002 - the signatures of the model are the framework's

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.bridge.pydantic import ConfigDict
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection

from synap_integrations import scoping

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

    ``stream`` streams the model's words. With ``fail`` the model cannot be reached. Works on a running event loop too:
    the agent gets a thread and a loop of its own.

    Raises: ConnectionError, if the model was to fail.
    """
    with scoping.context(conversation_id=conversation_id, user_id=user_id):
        surroundings = contextvars.copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="synap-probe") as own:
        turn = _turn(_ScriptedModel(fails=fail), stream=stream)
        return own.submit(surroundings.run, asyncio.run, turn).result()


async def _turn(model: _ScriptedModel, *, stream: bool) -> str:
    agent = FunctionAgent(llm=model, tools=[flights])
    if "streaming" in FunctionAgent.model_fields:
        agent.streaming = stream
    [outcome] = await asyncio.gather(agent.run(QUESTION), return_exceptions=True)
    if model.refused is not None:
        raise model.refused  # some versions wrap what a step has raised
    if isinstance(outcome, BaseException):
        raise outcome
    return str(outcome)


def flights(query: str) -> str:
    """Look up flights."""
    return f"LIS 09:40 ({query})"


class _ScriptedModel(FunctionCallingLLM):
    """Asks for the tool, then answers; or fails."""

    fails: bool = False
    refused: ConnectionError | None = None

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @property
    def metadata(self) -> LLMMetadata:
        """A chat model that can call functions."""
        return LLMMetadata(is_chat_model=True, is_function_calling_model=True)

    def _next(self, messages: Sequence[ChatMessage]) -> ChatMessage:
        if self.fails:
            message = "the scripted model cannot be reached"
            self.refused = ConnectionError(message)
            raise self.refused
        if messages[-1].role == MessageRole.TOOL:
            return ChatMessage(role=MessageRole.ASSISTANT, content=ANSWER)
        call = ToolSelection(tool_id="call-1", tool_name=TOOL, tool_kwargs={"query": "my flight"})
        return ChatMessage(role=MessageRole.ASSISTANT, content="", additional_kwargs={"tool_calls": [call]})

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The next message of the script."""
        return ChatResponse(message=self._next(messages))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The next message of the script."""
        return ChatResponse(message=self._next(messages))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """The next message of the script, in one piece."""
        said = self._next(messages)
        return (ChatResponse(message=said, delta=said.content or "") for _ in range(1))

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """The next message of the script, word by word."""
        said = self._next(messages)

        async def words() -> AsyncGenerator[ChatResponse, None]:
            so_far = ""
            for word in (said.content or "").split(" "):
                delta = f" {word}" if so_far else word
                so_far += delta
                part = ChatMessage(role=said.role, content=so_far, additional_kwargs=said.additional_kwargs)
                yield ChatResponse(message=part, delta=delta)

        return words()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The next message of the script."""
        return CompletionResponse(text=self._next([ChatMessage(content=prompt)]).content or "")

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The next message of the script."""
        return self.complete(prompt)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """The next message of the script, in one piece."""
        return (part for part in [self.complete(prompt)])

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """The next message of the script, in one piece."""
        whole = self.complete(prompt)

        async def pieces() -> AsyncGenerator[CompletionResponse, None]:
            yield whole

        return pieces()

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[Any],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        asked = [ChatMessage(content=user_msg)] if isinstance(user_msg, str) else [user_msg] if user_msg else []
        return {"messages": [*(chat_history or []), *asked]}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The calls that the script put into the message."""
        return list(response.message.additional_kwargs.get("tool_calls", []))
