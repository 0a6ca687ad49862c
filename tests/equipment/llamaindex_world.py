"""A small LlamaIndex world: every chat engine with one document, and transcripts short enough to compare."""

import contextlib
import functools
import gc
import time
from importlib.metadata import version

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.tools import FunctionTool

from synap_integrations.llamaindex.listener import capture
from synap_integrations.model import (
    AssistantMessage,
    Context,
    ContextItem,
    ContextUsed,
    Thinking,
    ToolCall,
    ToolResult,
    UserMessage,
)

CORE = tuple(int(part) for part in version("llama-index-core").split(".")[:3])
WORKFLOWS = tuple(int(part) for part in version("llama-index-workflows").split(".")[:2])
STREAMS_HAVE_A_WRITER = CORE >= (0, 14, 17)
STREAMS_MAY_THINK = CORE >= (0, 14, 24)


class OneDocument(BaseRetriever):
    """Finds the same document whatever is asked."""

    def _retrieve(self, query_bundle):
        return [NodeWithScore(node=TextNode(text="The office opens at nine."), score=1.0)]


def simple(llm, memory, **given):
    return SimpleChatEngine.from_defaults(llm=llm, memory=memory, **given)


def context(llm, memory, **given):
    return ContextChatEngine.from_defaults(OneDocument(), llm=llm, memory=memory, **given)


def condense_plus_context(llm, memory, **given):
    return CondensePlusContextChatEngine.from_defaults(OneDocument(), llm=llm, memory=memory, **given)


def condense_question(llm, memory, *, streaming=False, **given):
    documents = RetrieverQueryEngine.from_args(OneDocument(), llm=llm, streaming=streaming)
    return CondenseQuestionChatEngine.from_defaults(documents, llm=llm, memory=memory, **given)


ENGINES = {
    "simple": simple,
    "context": context,
    "condense_plus_context": condense_plus_context,
    "condense_question": condense_question,
    "condense_question_streaming": functools.partial(condense_question, streaming=True),
}
with contextlib.suppress(ImportError):
    from llama_index.core.chat_engine.multi_modal_context import MultiModalContextChatEngine

    def multi_modal_context(llm, memory, **given):
        return MultiModalContextChatEngine.from_defaults(OneDocument(), multi_modal_llm=llm, memory=memory, **given)

    ENGINES["multi_modal_context"] = multi_modal_context
with contextlib.suppress(ImportError):
    from llama_index.core.chat_engine.multi_modal_condense_plus_context import MultiModalCondensePlusContextChatEngine

    def multi_modal_condense_plus_context(llm, memory, **given):
        return MultiModalCondensePlusContextChatEngine.from_defaults(
            OneDocument(), multi_modal_llm=llm, memory=memory, **given
        )

    ENGINES["multi_modal_condense_plus_context"] = multi_modal_condense_plus_context

CONDENSING = {name for name in ENGINES if "condense" in name}
WITH_DOCUMENTS = [name for name in ENGINES if name != "simple" and not name.startswith("condense_question")]


def line(event) -> str:
    """One event as one line: U user, A answer, P part of an answer, R reasoning, N narration, C call, T result."""
    match event:
        case UserMessage(content):
            return f"U {content}"
        case AssistantMessage(content, incomplete=incomplete):
            return f"{'P' if incomplete else 'A'} {content}"
        case Thinking(content, thought_type=kind):
            return f"{'N' if kind == 'narration' else 'R'} {content}"
        case ToolCall(name, arguments, call_id):
            return f"C {call_id} {name} {dict(arguments)}"
        case ToolResult(_, result, call_id, is_error=failed):
            return f"T {call_id} {result}{' !' if failed else ''}"
        case _:
            return type(event).__name__


def transcript(memory, conversation_id=None):
    """What was recorded, in order, without the notes about context that was shown."""
    events = memory.events if conversation_id is None else memory.events_of(conversation_id)
    return [line(event) for event in events if not isinstance(event, ContextUsed)]


def conversations(memory):
    """The conversations something was recorded for, in order of first appearance."""
    return list(dict.fromkeys(entry.scope.conversation_id for entry in memory.recorded))


def known(*texts):
    """A context that holds these facts."""
    items = tuple(ContextItem(f"m{at}", "facts", text=text) for at, text in enumerate(texts))
    return Context(items, source="pushed")


def settled(open_turns=0, *, within_s=5.0):
    """Wait until the background threads of streams are done and their turns closed."""
    deadline = time.monotonic() + within_s
    while capture.open_turns > open_turns and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.005)
    return capture.open_turns == open_turns


def read(response) -> str:
    """A stream, read to its end."""
    return "".join(response.response_gen)


async def aread(response) -> str:
    """A stream, read to its end without blocking."""
    return "".join([token async for token in response.async_response_gen()])


async def ask(engine, how, message, **given):
    """Ask in one of the four ways, and read the answer to its end."""
    match how:
        case "chat":
            return engine.chat(message, **given).response
        case "achat":
            return (await engine.achat(message, **given)).response
        case "stream_chat":
            return read(engine.stream_chat(message, **given))
        case "astream_chat":
            return await aread(await engine.astream_chat(message, **given))


def tool(ask, aask, *, asynchronous):
    """A tool that asks somebody else, blocking or not."""

    async def arun() -> str:
        """Ask."""
        return str(await aask())

    def run() -> str:
        """Ask."""
        return str(ask())

    if asynchronous:
        return FunctionTool.from_defaults(async_fn=arun, name="inner")
    return FunctionTool.from_defaults(run, name="inner")
