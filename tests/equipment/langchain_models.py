"""Scripted chat models and tools for LangChain, and how to read what was recorded of them. Needs no LangGraph."""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.llms import LLM
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from pydantic import PrivateAttr

from synap_integrations.model import (
    AssistantMessage,
    ContextRequest,
    ContextUsed,
    Thinking,
    ToolCall,
    ToolResult,
    UserMessage,
)
from synap_integrations.testing import FakeMemory

# --- models ----------------------------------------------------------------------------------------------------------


class WholeModel(BaseChatModel):
    """Answers with ``reply(messages)``, or with the next of ``answers``; without both, with ``re: <last message>``.

    An answer is a text, a message, or an exception to raise. It comes in one piece. ``seen`` holds each prompt as the
    model was given it. What changes from call to call is no field, so that a cache of answers takes it for the same
    model.
    """

    reply: Callable[[list[BaseMessage]], AIMessage | str] | None = None
    answers: list[Any] | None = None
    _given: int = PrivateAttr(default=0)
    _seen: list[list[BaseMessage]] = PrivateAttr(default_factory=list)

    @property
    def seen(self) -> list[list[BaseMessage]]:
        return self._seen

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools, **kwargs):
        return self.bind(**{name: kwargs[name] for name in ("ls_structured_output_format",) if name in kwargs})

    def _next(self, messages: list[BaseMessage]) -> AIMessage:
        self._seen.append(list(messages))
        found = self._answer(messages)
        if isinstance(found, BaseException):
            raise found
        return AIMessage(found) if isinstance(found, str) else found.model_copy(deep=True)

    def _answer(self, messages: list[BaseMessage]) -> Any:
        if self.reply is not None:
            return self.reply(messages)
        if self.answers is None:
            return f"re: {words_of(messages[-1])}"
        self._given += 1
        return self.answers[self._given - 1]

    def _generate(self, messages, stop=None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])


class ScriptedModel(WholeModel):
    """The same, streamed word by word; calls tools in the last chunk."""

    break_after: int | None = None
    """The stream fails after this many chunks."""

    def _stream(self, messages, stop=None, run_manager: CallbackManagerForLLMRun | None = None, **kwargs):
        message = self._next(messages)
        for number, chunk in enumerate(_chunks(message)):
            if number == self.break_after:
                raise ConnectionError("the stream broke")
            generation = ChatGenerationChunk(message=chunk)
            if run_manager:
                run_manager.on_llm_new_token(words_of(chunk), chunk=generation)
            yield generation


class AsyncModel(ScriptedModel):
    """The same with an asynchronous stream of its own; other models stream in a thread there."""

    async def _astream(self, messages, stop=None, run_manager: AsyncCallbackManagerForLLMRun | None = None, **kwargs):
        for chunk in _chunks(self._next(messages)):
            await asyncio.sleep(0)
            generation = ChatGenerationChunk(message=chunk)
            if run_manager:
                await run_manager.on_llm_new_token(words_of(chunk), chunk=generation)
            yield generation


def _chunks(message: AIMessage) -> Iterator[AIMessageChunk]:
    extra = {"additional_kwargs": message.additional_kwargs, "id": message.id or f"run-{uuid.uuid4()}"}
    if isinstance(message.content, list):
        for index, block in enumerate(message.content):
            yield AIMessageChunk([{**block, "index": index} if isinstance(block, dict) else block], id=extra["id"])
    else:
        words = message.content.split(" ") if message.content else []
        for index, word in enumerate(words):
            yield AIMessageChunk(f" {word}" if index else word, id=extra["id"])
    calls = [
        {
            "name": call["name"],
            "args": json.dumps(call["args"]),
            "id": call["id"],
            "index": index,
            "type": "tool_call_chunk",
        }
        for index, call in enumerate(message.tool_calls)
    ]
    if calls or message.additional_kwargs or not message.content:
        yield AIMessageChunk("" if isinstance(message.content, str) else [], tool_call_chunks=calls, **extra)


def echo() -> ScriptedModel:
    """Answers ``re: <last human text>``."""
    return ScriptedModel(reply=lambda messages: f"re: {last_human(messages)}")


def last_human(messages: Iterable[BaseMessage]) -> str:
    """The text of the last human message, whichever class it has."""
    texts = [m for m in messages if isinstance(m, HumanMessage) or getattr(m, "role", None) == "user"]
    return words_of(texts[-1])


def words_of(message: BaseMessage) -> str:
    """The text of a message, also in blocks."""
    content = message.content
    return content if isinstance(content, str) else "".join([b.get("text", "") for b in content if isinstance(b, dict)])


class CompletionModel(LLM):
    """A model that completes a text."""

    @property
    def _llm_type(self) -> str:
        return "completion"

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return "a time"


def call(name: str, args: dict[str, Any], call_id: str | None = "call-1") -> dict[str, Any]:
    """A tool call in a message."""
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


def asking(text: str, *calls: dict[str, Any], **fields: Any) -> AIMessage:
    """A message that asks for tools."""
    return AIMessage(text, tool_calls=list(calls), **fields)


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def boom(x: int = 0) -> str:
    """Fail."""
    raise ValueError("kaput now")


def calculator(*, text: str = "Let me add.") -> ScriptedModel:
    """A model that adds once and then says the sum; stateless, so that many threads can share it."""

    def reply(messages: list[BaseMessage]) -> AIMessage:
        if isinstance(messages[-1], ToolMessage):
            return AIMessage(f"sum is {messages[-1].content}")
        return asking(text, call("add", {"a": 1, "b": 2}))

    return ScriptedModel(reply=reply)


# --- running ---------------------------------------------------------------------------------------------------------

MODES = ("invoke", "ainvoke", "stream", "astream")


def run(mode: str, runnable: Any, inputs: Any, config: Any = None, **options: Any) -> Any:
    """Run it to the end in this mode; ``"stream updates"`` names a stream mode of a graph."""
    name, _, detail = mode.partition(" ")
    if name in ("stream", "astream") and detail:
        options["stream_mode"] = detail
    if name.endswith("_events"):
        options["version"] = detail
    if name in ("invoke", "stream"):
        result = getattr(runnable, name)(inputs, config, **options)
        return list(result) if name == "stream" else result
    return asyncio.run(_arun(name, runnable, inputs, config, options))


async def _arun(name: str, runnable: Any, inputs: Any, config: Any, options: dict[str, Any]) -> Any:
    if name == "ainvoke":
        return await runnable.ainvoke(inputs, config, **options)
    result = getattr(runnable, name)(inputs, config, **options)
    if asyncio.iscoroutine(result):
        result = await result
    return [item async for item in result]


# --- reading ---------------------------------------------------------------------------------------------------------


def transcript(memory: FakeMemory, conversation: str | None = None) -> list[str]:
    """What was recorded, one line per event: ``U hi``, ``T hm``, ``C add({"a": 1})``, ``R add=3``, ``A re: hi``.

    ``!`` behind the letter marks an incomplete answer or a failed tool, ``*`` an edited message.
    """
    events = memory.events if conversation is None else memory.events_of(conversation)
    return [_line(event) for event in events]


def _line(event: Any) -> str:
    match event:
        case UserMessage():
            return f"U{'*' if event.edited else ''} {event.content}"
        case AssistantMessage():
            return f"A{'!' if event.incomplete else ''} {event.content}"
        case Thinking():
            return f"T {event.content}"
        case ToolCall():
            return f"C {event.tool_name}({json.dumps(event.tool_args)})"
        case ToolResult():
            return f"R{'!' if event.is_error else ''} {event.tool_name}={event.tool_result}"
        case ContextRequest() | ContextUsed():
            return type(event).__name__
    raise AssertionError(event)


def conversations(memory: FakeMemory) -> list[list[str]]:
    """The transcript of each conversation, in order of first appearance."""
    order = dict.fromkeys(entry.scope.conversation_id for entry in memory.recorded)
    return [transcript(memory, name) for name in order]


def pairs(memory: FakeMemory) -> list[tuple[str, str]]:
    """Ids of tool calls and of results, in the order they were recorded: ``("C", id)`` and ``("R", id)``."""
    return [
        ("C" if isinstance(event, ToolCall) else "R", event.tool_call_id)
        for event in memory.events
        if isinstance(event, ToolCall | ToolResult)
    ]
