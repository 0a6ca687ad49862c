"""Remember: an agent with a tool and `SynapMiddleware` answers from what was said in another conversation.

Run:     python examples/02_agent_with_middleware.py
Prints:  the prompt of the second conversation as the model received it, with what was said in the first.
"""

import tempfile
from collections.abc import Sequence
from typing import Any, Self

from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult

from synap_integrations import Synap
from synap_integrations.langchain import SynapMiddleware


class ScriptedModel(GenericFakeChatModel):
    """Says what the script says, tool calls included, and shows the prompt it was given. Put your own model here."""

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Self:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        print(f"--- prompt: {messages[-1].type}\n{messages[-1].text}")
        return super()._generate(messages, *args, **kwargs)


def flight_of(name: str) -> str:
    """Look up a booking."""
    return f"{name}: TP 1363, 14 June, 6:40"


SCRIPT = [
    AIMessage("", tool_calls=[{"name": "flight_of", "args": {"name": "Ana"}, "id": "call-1", "type": "tool_call"}]),
    AIMessage("You fly on 14 June at 6:40, and I'll keep in mind that shellfish is out."),
    AIMessage("Not the shellfish stew: you are allergic. The vegetable rice is good there."),
]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Synap(base_url="local", storage_path=folder) as synap:
        model = ScriptedModel(messages=iter(SCRIPT))
        agent = create_agent(model, tools=[flight_of], middleware=[SynapMiddleware(synap)])
        for thread, text in (
            ("monday", "When is my flight? And remember that I'm allergic to shellfish."),
            ("tuesday", "I'm at the harbour. Is the shellfish stew a good idea?"),
        ):
            result = agent.invoke({"messages": text}, config={"metadata": {"user_id": "ana", "thread_id": thread}})
            print(f"--- answer\n{result['messages'][-1].text}")
            synap.flush()  # only so that this short program shows Monday on Tuesday; an application need not


if __name__ == "__main__":
    main()
