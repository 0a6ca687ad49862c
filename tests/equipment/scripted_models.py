"""Chat models that need no network, and the transcript that was captured from them, written short.

``U`` user, ``A`` assistant, ``T`` reasoning or narration, ``C`` tool call, ``R`` tool result; ``~`` marks an answer
that was cut off, ``!`` a result that is an error, ``*`` an edited message. One line for each event, in order.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field, PrivateAttr

from synap_integrations.model import (
    AssistantMessage,
    ContextRequest,
    ContextUsed,
    Event,
    Thinking,
    ToolCall,
    ToolResult,
    UserMessage,
)
from synap_integrations.testing import FakeMemory

MODES = ("invoke", "ainvoke", "stream", "astream")


class Scripted(BaseChatModel):
    """Gives its answers one after another; without any left, and without any at all, it answers ``re: <last message>``.

    An answer is a text, a message, or an exception to raise. ``seen`` holds each prompt as the model received it.
    """

    answers: list[Any] = Field(default_factory=list)
    name_tag: str = "scripted"
    _given: int = PrivateAttr(default=0)
    _seen: list[list[BaseMessage]] = PrivateAttr(default_factory=list)

    @property
    def seen(self) -> list[list[BaseMessage]]:
        return self._seen

    @property
    def _llm_type(self) -> str:
        return self.name_tag

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Self:
        return self.bind(tools=list(tools), **kwargs)  # type: ignore[return-value]

    def _next(self, messages: list[BaseMessage]) -> AIMessage:
        self._seen.append(list(messages))
        answer: Any = f"re: {_text(messages[-1])}"
        if self._given < len(self.answers):
            answer = self.answers[self._given]
            self._given += 1
        if isinstance(answer, BaseException):
            raise answer
        return AIMessage(content=answer) if isinstance(answer, str) else answer.model_copy(deep=True)

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])


class Streamed(Scripted):
    """The same, word by word."""

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        run_manager = kwargs.get("run_manager") or next((a for a in args if hasattr(a, "on_llm_new_token")), None)
        for chunk in _pieces(self._next(messages)):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text if isinstance(chunk.text, str) else "", chunk=chunk)
            yield chunk

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        run_manager = kwargs.get("run_manager") or next((a for a in args if hasattr(a, "on_llm_new_token")), None)
        for chunk in _pieces(self._next(messages)):
            await asyncio.sleep(0)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text if isinstance(chunk.text, str) else "", chunk=chunk)
            yield chunk


def _pieces(message: AIMessage) -> Iterator[ChatGenerationChunk]:
    if isinstance(message.content, str) and message.content:
        words = message.content.split(" ")
        for n, word in enumerate(words):
            piece = word if n == len(words) - 1 else word + " "
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece, id=message.id))
    elif message.content:
        yield ChatGenerationChunk(message=AIMessageChunk(content=message.content, id=message.id))
    for index, call in enumerate(message.tool_calls):
        part = {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": index}
        yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[part]))
    if not message.content and not message.tool_calls:
        yield ChatGenerationChunk(message=AIMessageChunk(content=""))


def _text(message: BaseMessage) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    return " ".join(block if isinstance(block, str) else str(block.get("text", "")) for block in content).strip()


def calls(*wanted: tuple[str, dict[str, Any], str | None], text: str = "") -> AIMessage:
    """A model's answer that asks for tools: ``(name, args, id)`` each."""
    return AIMessage(content=text, tool_calls=[{"name": n, "args": a, "id": i} for n, a, i in wanted])


def transcript(memory: FakeMemory, conversation: str | None = None) -> list[str]:
    """What was captured, one line for each event."""
    return [
        line(entry.event)
        for entry in memory.recorded
        if conversation is None or entry.scope.conversation_id == conversation
    ]


def conversations(memory: FakeMemory) -> list[list[str]]:
    """The transcript of each conversation, in order of first appearance."""
    order = dict.fromkeys(entry.scope.conversation_id for entry in memory.recorded)
    return [transcript(memory, name) for name in order]


def line(event: Event) -> str:
    """One event, written short."""
    match event:
        case UserMessage():
            return f"U{'*' * event.edited} {event.content}"
        case AssistantMessage():
            return f"A{'~' * event.incomplete} {event.content}"
        case Thinking():
            return f"T {event.content}"
        case ToolCall():
            return f"C {event.tool_name}({json.dumps(dict(event.tool_args), separators=(',', ':'), default=str)})"
        case ToolResult():
            result = event.tool_result if isinstance(event.tool_result, str) else json.dumps(event.tool_result)
            return f"R{'!' * event.is_error} {event.tool_name}={result}"
        case ContextRequest() | ContextUsed():
            return type(event).__name__


def run(runnable: Any, given: Any, mode: str, **config: Any) -> Any:
    """Run it in one of `MODES`; a stream is consumed to its end and its chunks are given back."""
    match mode:
        case "invoke":
            return runnable.invoke(given, config=config)
        case "stream":
            return list(runnable.stream(given, config=config))
        case "ainvoke":
            return asyncio.run(runnable.ainvoke(given, config=config))
        case "astream":

            async def consume() -> list[Any]:
                return [chunk async for chunk in runnable.astream(given, config=config)]

            return asyncio.run(consume())
    raise ValueError(mode)
