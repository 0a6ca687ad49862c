"""Models without a network for LlamaIndex: they answer from a script and keep what they were asked."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
    TextBlock,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection

ThinkingBlock = None
with contextlib.suppress(ImportError):
    from llama_index.core.base.llms.types import ThinkingBlock


@dataclass
class Say:
    """One answer of a scripted model, in pieces or ``at_once``; ``fails_after`` pieces of it the model breaks down."""

    text: str | None = ""
    thinking: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    fails_after: int | None = None
    pause_s: float = 0.0
    at_once: bool = False


def pieces(text):
    """The text in pieces of a word and its space."""
    words = (text or "").split(" ")
    return [word + (" " if at < len(words) - 1 else "") for at, word in enumerate(words) if word]


class ScriptedLLM(FunctionCallingLLM):
    """Says what the script says, in order; beyond its end it says the last thing again.

    An entry is a text, a `Say`, or a function of the messages that returns one.
    """

    _script: tuple = PrivateAttr(default=())
    _asked: list = PrivateAttr(default_factory=list)
    _calling: bool = PrivateAttr(default=True)
    _chatting: bool = PrivateAttr(default=True)

    def __init__(self, *script, calling=True, chatting=True, **data):
        super().__init__(**data)
        self._script = script
        self._asked = []
        self._calling = calling
        self._chatting = chatting

    @property
    def asked(self):
        """For each call the messages it was made with, as (role, content)."""
        return self._asked

    @property
    def metadata(self):
        chat, calling = self._chatting, self._calling
        return LLMMetadata(is_chat_model=chat, is_function_calling_model=calling, context_window=100_000)

    def _next(self, messages) -> Say:
        self._asked.append([(str(m.role.value), m.content) for m in messages])
        say = self._script[min(len(self._asked), len(self._script)) - 1]
        say = say(messages) if callable(say) else say
        return Say(say) if isinstance(say, str) else say

    def _message(self, say: Say, text, *, whole: bool):
        blocks, carried = [], {}
        if whole and say.thinking:
            if ThinkingBlock is not None:
                blocks.append(ThinkingBlock(content=say.thinking))
            else:
                carried["thinking"] = say.thinking
        if text is not None:
            blocks.append(TextBlock(text=text))
        if whole and say.calls:
            carried["tool_calls"] = [
                ToolSelection.model_construct(tool_id=i, tool_name=n, tool_kwargs=a) for i, n, a in say.calls
            ]
        return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=carried)

    @llm_chat_callback()
    def chat(self, messages, **kwargs):
        say = self._next(messages)
        if say.fails_after is not None:
            raise RuntimeError("model broke down")
        return ChatResponse(message=self._message(say, say.text, whole=True))

    @llm_chat_callback()
    async def achat(self, messages, **kwargs):
        say = self._next(messages)
        await asyncio.sleep(say.pause_s)
        if say.fails_after is not None:
            raise RuntimeError("model broke down")
        return ChatResponse(message=self._message(say, say.text, whole=True))

    def _streamed(self, say):
        parts, said = [say.text] if say.at_once else pieces(say.text), ""
        for at, part in enumerate(parts):
            if say.fails_after == at:
                raise RuntimeError("model broke down")
            said += part
            last = at == len(parts) - 1
            yield ChatResponse(message=self._message(say, said, whole=last), delta=part)
        if say.fails_after is not None:
            raise RuntimeError("model broke down")
        if not parts:
            yield ChatResponse(message=self._message(say, say.text, whole=True), delta=say.text or "")

    @llm_chat_callback()
    def stream_chat(self, messages, **kwargs):
        say = self._next(messages)
        return (response for response in self._streamed(say))

    @llm_chat_callback()
    async def astream_chat(self, messages, **kwargs):
        say = self._next(messages)

        async def stream():
            for response in self._streamed(say):
                await asyncio.sleep(say.pause_s)
                yield response

        return stream()

    @llm_completion_callback()
    def complete(self, prompt, formatted=False, **kwargs):
        return CompletionResponse(text=self.chat([ChatMessage(content=prompt)]).message.content or "")

    @llm_completion_callback()
    async def acomplete(self, prompt, formatted=False, **kwargs):
        return CompletionResponse(text=(await self.achat([ChatMessage(content=prompt)])).message.content or "")

    @llm_completion_callback()
    def stream_complete(self, prompt, formatted=False, **kwargs):
        return (
            CompletionResponse(text=r.message.content or "", delta=r.delta)
            for r in self.stream_chat([ChatMessage(content=prompt)])
        )

    @llm_completion_callback()
    async def astream_complete(self, prompt, formatted=False, **kwargs):
        raise RuntimeError("not in any script")

    def _prepare_chat_with_tools(self, tools, user_msg=None, chat_history=None, **kwargs):
        messages = list(chat_history or [])
        if user_msg is not None:
            messages.append(ChatMessage(content=user_msg) if isinstance(user_msg, str) else user_msg)
        return {"messages": messages}

    def get_tool_calls_from_response(self, response, error_on_no_tool_call=True, **kwargs):
        return response.message.additional_kwargs.get("tool_calls", [])
