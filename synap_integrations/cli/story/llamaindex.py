"""The same user in LlamaIndex: a chat engine over documents, and an agent with a tool, both with `SynapMemory`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.chat_engine import CondensePlusContextChatEngine
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import BaseTool

from synap_integrations.llamaindex import SynapMemory
from synap_integrations.runtime import Synap

from .choosing import known_questions
from .dialogue import CUSTOMER, Dialogue, Question
from .findings import Asked
from .library import Passages
from .measure import bare
from .question import asked
from .witness import Witness

TURNS: Final = 6
"""Turns that are said here: three of the user's, three of the agent's."""

_DOCUMENTS: Final = "Answer from these documents:\n\n{context_str}"
_OFFLINE: Final = (
    "What happens to my turns when the network is down?",
    "They wait in a file on this machine, and go out in order when it is back.",
)
_LEAVING: Final = ("And does that leave this machine?", "And no, nothing leaves it without a key.")
_LEAVING_CONDENSED: Final = "What leaves the machine?"
_OFF: Final = ("And how do I turn you off?", "And SYNAP_CAPTURE=0 turns me off.")
_OFF_SEARCHED: Final = "how to turn it off"
_UNTOLD: Final = "I was not told."
_MOST_SHOWN: Final = 300

Prompt = list[tuple[str, str]]
"""Messages as (role, text)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Two sentences of the script; the first one is said only by a model that was told ``needs``, all of them."""

    knowing: str
    needs: tuple[str, ...]
    anyway: str

    def to(self, prompt: Prompt) -> str:
        """What is said to this prompt."""
        told = bare(" ".join(text for _, text in prompt))
        knows = all(bare(words) in told for words in self.needs)
        return f"{self.knowing if knows else _UNTOLD} {self.anyway}"


class ScriptedModel(CustomLLM, FunctionCallingLLM):
    """Says the next line of its script, whatever it is asked, and keeps what it was asked."""

    _lines: deque[str | Answer | ToolSelection] = PrivateAttr(default_factory=deque)
    _prompts: list[Prompt] = PrivateAttr(default_factory=list)

    def learn(self, *lines: str | Answer | ToolSelection) -> None:
        """Say these next; a tool selection is a call."""
        self._lines.extend(lines)

    @property
    def prompts(self) -> list[Prompt]:
        """What it was asked, call by call."""
        return self._prompts

    @property
    def metadata(self) -> LLMMetadata:
        """It chats, and it calls tools."""
        return LLMMetadata(is_chat_model=True, is_function_calling_model=True, model_name="scripted")

    def chat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponse:  # noqa: ANN401 - LlamaIndex's signature
        """The next line of the script."""
        prompt = [(str(message.role.value), message.content or "") for message in messages]
        self._prompts.append(prompt)
        match self._lines.popleft():
            case ToolSelection() as call:
                said = ChatMessage(role="assistant", additional_kwargs={"tool_calls": [call]})
            case Answer() as answer:
                said = ChatMessage(role="assistant", content=answer.to(prompt))
            case str(text):
                said = ChatMessage(role="assistant", content=text)
        return ChatResponse(message=said)

    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:  # noqa: ANN401, ARG002 - LlamaIndex's signature
        """The next line of the script, for whoever asks with text."""
        return CompletionResponse(text=self.chat([ChatMessage(content=prompt)]).message.content or "")

    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponseGen:  # noqa: ANN401 - LlamaIndex's signature
        """The same, in one piece."""
        yield self.complete(prompt, formatted)

    def _prepare_chat_with_tools(  # noqa: PLR0913, PLR0917 - LlamaIndex's signature
        self,
        tools: Sequence[BaseTool],  # noqa: ARG002 - the script knows the tools already
        user_msg: str | ChatMessage | None = None,  # noqa: ARG002 - agents give the whole history
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: ARG002
        allow_parallel_tool_calls: bool = False,  # noqa: ARG002
        tool_required: bool = False,  # noqa: ARG002
        **_: Any,  # noqa: ANN401 - LlamaIndex's signature
    ) -> dict[str, Any]:
        return {"messages": list(chat_history or [])}

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,  # noqa: ARG002 - an answer without calls is no error
        **_: Any,  # noqa: ANN401 - LlamaIndex's signature
    ) -> list[ToolSelection]:
        """The calls in a line of the script."""
        return list(response.message.additional_kwargs.get("tool_calls", []))


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of both: the chat engine's question, the agent's conversation, and all prompts as (role, text)."""

    asked: Asked
    agents_conversation: str
    prompts: list[Prompt]


def ask_in_llamaindex(dialogue: Dialogue, synap: Synap, passages: Passages) -> Heard:
    """The user of this dialogue, known by the id that LangChain's part used, talks to LlamaIndex for the first time."""
    of_engine, of_agent = known_questions(dialogue, Witness(synap, keeping=False), _LEAVING[0], _OFF[0])
    visit = _Visit(dialogue, synap, passages)
    engines, agents = (f"{dialogue.user_id}-{place}" for place in ("reads-documents", "has-a-tool"))
    first = visit.ask_engine(of_engine, engines)
    asyncio.run(visit.ask_agent(of_agent, agents))
    return Heard(first, agents, visit.model.prompts)


class _Visit:
    """One user, who talks to an engine and to an agent that share the documents, the model and the Synap."""

    def __init__(self, dialogue: Dialogue, synap: Synap, passages: Passages) -> None:
        self._dialogue = dialogue
        self._witness = Witness(synap)
        self._passages = passages
        self.model = ScriptedModel()

    def ask_engine(self, question: Question, conversation_id: str) -> Asked:
        """Two questions about the documents; the second one is about the user as well."""
        engine = CondensePlusContextChatEngine.from_defaults(
            self._passages, llm=self.model, memory=self._memory(conversation_id), context_prompt=_DOCUMENTS
        )
        about_documents, answer = _OFFLINE
        self.model.learn(answer)
        engine.chat(about_documents)
        and_asked, and_answered = _LEAVING
        self.model.learn(_LEAVING_CONDENSED, self._answer(question, and_answered))
        said = f"{question.text} {and_asked}"
        answer = str(engine.chat(said))
        return asked(
            self._dialogue,
            question,
            conversation_id,
            said=said,
            context=self._witness.context,
            prompt=self.model.prompts[-1],
            answer=answer,
        )

    async def ask_agent(self, question: Question, conversation_id: str) -> None:
        """A question about the user and about the documents, which takes a tool."""

        def read_documents(words: str) -> str:
            """Find the passage of the documents with these words."""
            found = self._passages.retrieve(words)
            return " ".join(found[0].get_content().split())[:_MOST_SHOWN] if found else "nothing found"

        and_asked, and_answered = _OFF
        call = ToolSelection(tool_id="call-1", tool_name="read_documents", tool_kwargs={"words": _OFF_SEARCHED})
        self.model.learn(call, self._answer(question, and_answered))
        agent = FunctionAgent(llm=self.model, tools=[read_documents], streaming=False)
        await agent.run(f"{question.text} {and_asked}", memory=self._memory(conversation_id))

    def _memory(self, conversation_id: str) -> SynapMemory:
        user_id = self._dialogue.user_id
        return SynapMemory(self._witness, user_id=user_id, customer_id=CUSTOMER, conversation_id=conversation_id)

    def _answer(self, question: Question, anyway: str) -> Answer:
        texts = self._dialogue.turn_texts()
        answer = question.answer or _UNTOLD
        knowing = f"{answer[0].upper()}{answer[1:].rstrip('.')}."
        return Answer(knowing, tuple(texts[turn_id] for turn_id in question.evidence), anyway)
