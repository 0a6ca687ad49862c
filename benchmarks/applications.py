"""The applications that are measured: a chain, and an agent with three tools, around models that think for 0 ms."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from langchain_core.tools import tool

QUESTION = {"question": "When is my flight?"}
ANSWER = "The flight to Lisbon leaves on Friday at ten from gate B22; check-in opens two hours before."
TOKENS = 200


def chain(answer: str = ANSWER) -> Runnable[dict[str, str], str]:
    """``prompt | model | parser``; takes ``{"question": …}``."""
    prompt = ChatPromptTemplate([("system", "You are a travel assistant."), ("human", "{question}")])
    return prompt | FakeListChatModel(responses=[answer]) | StrOutputParser()


def streaming_chain() -> Runnable[dict[str, str], str]:
    """The same, with an answer of 200 tokens: the fake model streams one character at a time."""
    return chain((ANSWER * 3)[:TOKENS])


@tool
def find_flight(city: str) -> str:
    """Find the next flight to a city."""
    return f"TP 123 to {city}, Friday 10:00"


@tool
def find_gate(flight: str) -> str:
    """Find the gate of a flight."""
    return f"{flight} leaves from gate B22"


@tool
def find_hotel(city: str) -> str:
    """Find a hotel in a city."""
    return f"Hotel Avenida, {city}, two nights"


TOOLS = (find_flight, find_gate, find_hotel)
CALLS = (
    ToolCall(name="find_flight", args={"city": "Lisbon"}, id="call-1"),
    ToolCall(name="find_gate", args={"flight": "TP 123"}, id="call-2"),
    ToolCall(name="find_hotel", args={"city": "Lisbon"}, id="call-3"),
)


class ToolCallingModel(BaseChatModel):
    """Asks for the three tools one after the other, then answers."""

    @property
    def _llm_type(self) -> str:
        return "tool-calling-fake"

    def bind_tools(self, tools: Any, **_: Any) -> Runnable[Any, AIMessage]:  # noqa: ANN401, ARG002 - LangChain's own
        """Itself: it knows what to ask for."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002 - LangChain's own
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - LangChain's own
        **_: Any,  # noqa: ANN401 - LangChain's own
    ) -> ChatResult:
        done = sum(isinstance(message, ToolMessage) for message in messages)
        asked = [CALLS[done]] if done < len(CALLS) else []
        message = AIMessage("" if asked else ANSWER, tool_calls=asked)
        return ChatResult(generations=[ChatGeneration(message=message)])


def agent() -> Runnable[Any, Any]:
    """A ``create_agent`` agent that calls three tools in a turn; takes ``{"messages": […]}``."""
    from langchain.agents import create_agent

    return create_agent(ToolCallingModel(), list(TOOLS))
