"""The agent of the story: LangChain's own ``create_agent`` with tools, and a chat model that follows a script."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, Self

from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import PrivateAttr

from synap_integrations.langchain import SynapCallbackHandler, SynapMiddleware
from synap_integrations.model import AssistantMessage, Context, Scope
from synap_integrations.runtime import Synap

from .dialogue import CUSTOMER, Dialogue, Exchange, Session
from .witness import Witness

_NOTHING_TO_SAY: Final = "(the scripted model has no answer of its own; run with --model to hear a real one)"


class ScriptedModel(BaseChatModel):
    """Says the next line of its script, whatever it is asked; tools are called when the line says so."""

    _lines: deque[AIMessage] = PrivateAttr(default_factory=deque)

    def learn(self, *lines: AIMessage) -> None:
        """Say these next."""
        self._lines.extend(lines)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Self:  # noqa: ANN401, ARG002 - LangChain's signature
        """The script knows the tools already."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],  # noqa: ARG002 - the script does not listen
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **_: Any,  # noqa: ANN401 - LangChain's signature
    ) -> ChatResult:
        line = self._lines.popleft() if self._lines else AIMessage(_NOTHING_TO_SAY)
        return ChatResult(generations=[ChatGeneration(message=line)])


class Prompt(BaseCallbackHandler):
    """The exact prompt, as it goes to the model."""

    run_inline = True

    def __init__(self) -> None:
        self.messages: list[BaseMessage] = []

    def on_chat_model_start(self, serialized: dict[str, Any], messages: list[list[BaseMessage]], **_: Any) -> None:  # noqa: ANN401, ARG002 - LangChain's signature
        """Here it goes."""
        self.messages = messages[0]


class StoryAgent:
    """One user's agent. ``model`` None is the script; else any chat model that can call tools."""

    def __init__(
        self, dialogue: Dialogue, synap: Synap, *, model: BaseChatModel | None = None, keeping: bool = True
    ) -> None:
        self._dialogue = dialogue
        self._script = ScriptedModel()
        self.witness = Witness(synap, keeping=keeping)
        self._prompt = Prompt()
        self._callbacks: list[BaseCallbackHandler] = [self._prompt]
        if keeping:
            self._callbacks.append(SynapCallbackHandler(self.witness))
        self._agent = create_agent(
            model or self._script,
            tools=_album(dialogue),
            system_prompt=f"You are {dialogue.agent_name}, and you talk with {dialogue.user_name}.",
            middleware=[SynapMiddleware(self.witness)],
            checkpointer=InMemorySaver() if keeping else None,
        )

    @property
    def prompt(self) -> list[tuple[str, str]]:
        """The messages that the model was given last, as (role, text)."""
        return [(message.type, message.text) for message in self._prompt.messages]

    def hold(self, session: Session) -> Iterator[int]:
        """Hold this conversation as it was held, on its day; yields the number of turns after each exchange."""
        self.witness.set_day(session.at)
        if session.opening:
            # The agent speaks first: no run of the framework brings this about, so the application records it.
            scope = Scope(session.name, self._dialogue.user_id, customer_id=CUSTOMER)
            self.witness.record(AssistantMessage(session.opening.text), scope=scope)
            yield 1
        for exchange in session.exchanges:
            self._script.learn(*_lines(exchange))
            self._say(exchange.said.text, session.name)
            yield 1 if exchange.answered is None else 2

    def ask(self, question: str, conversation_id: str) -> str:
        """Ask in a conversation of its own; the answer's text. `prompt` is what the model was given."""
        self.witness.context = Context()
        return self._say(question, conversation_id)

    def _say(self, text: str, conversation_id: str) -> str:
        state = self._agent.invoke(
            {"messages": [HumanMessage(text)]},
            config={
                "callbacks": list(self._callbacks),
                "configurable": {"thread_id": conversation_id},
                "metadata": {"user_id": self._dialogue.user_id, "customer_id": CUSTOMER},
            },
        )
        return str(state["messages"][-1].text)


def _lines(exchange: Exchange) -> Iterator[AIMessage]:
    """What the model says in this exchange: tool calls for its photos, then the answer, which may be empty."""
    said, answered = exchange.said, exchange.answered
    calls = [("look_at_photo", {"photo": f"{said.turn_ids[0]}/{place}"}) for place, _ in enumerate(said.photos)]
    if answered:
        calls += [("find_photo", {"query": photo.query}) for photo in answered.photos if photo.query]
    if calls:
        tool_calls = [
            ToolCall(name=name, args=args, id=f"call-{said.turn_ids[0]}-{place}", type="tool_call")
            for place, (name, args) in enumerate(calls)
        ]
        yield AIMessage("", tool_calls=tool_calls)
    yield AIMessage(answered.text if answered else "")


def _album(dialogue: Dialogue) -> list[BaseTool]:
    """The agent's tools: what the photos of this dialogue show."""
    shown: dict[str, str] = {}
    found: dict[str, str] = {}
    for session in dialogue.sessions:
        for _, said in session.utterances():
            for place, photo in enumerate(said.photos):
                shown[f"{said.turn_ids[0]}/{place}"] = photo.caption
                if photo.query:
                    found[photo.query] = photo.caption

    @tool
    def look_at_photo(photo: str) -> str:
        """Describe a photo that the user has shared."""
        return shown.get(photo, "there is no such photo")

    @tool
    def find_photo(query: str) -> str:
        """Find a photo to show to the user, and describe it."""
        return found.get(query, "no photo found")

    return [look_at_photo, find_photo]
