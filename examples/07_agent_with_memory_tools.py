"""Look up: an agent searches memory itself, and a chain retrieves from memory and documents together.

Needs:   pip install langchain-classic, for one of the two retrievers
Run:     python examples/07_agent_with_memory_tools.py
Prints:  what the tool found, the agent's answer, and what the two retrievers found together.
"""

import tempfile
from collections.abc import Sequence
from typing import Any, Self

from langchain.agents import create_agent
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda

from synap_integrations import Scope, Synap, context
from synap_integrations.langchain import SynapForgetTool, SynapRetriever, SynapSearchTool, SynapStoreTool
from synap_integrations.model import UserMessage


class ScriptedModel(GenericFakeChatModel):
    """Says what the script says, tool calls included. Put your own model here."""

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Self:
        return self


SCRIPT = [
    AIMessage("", tool_calls=[{"name": "search_memory", "args": {"query": "allergic"}, "id": "call-1"}]),
    AIMessage("Not the stew: there are mussels in it."),
]
MENU = [Document("The stew has mussels in it."), Document("The rice is all vegetables.")]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Synap(base_url="local", storage_path=folder) as synap:
        synap.record(UserMessage("I'm allergic to shellfish."), scope=Scope("monday", "ana"))
        synap.flush()  # only so that this short program finds it at once
        tools = [SynapSearchTool(synap), SynapStoreTool(synap), SynapForgetTool(synap)]
        agent = create_agent(ScriptedModel(messages=iter(SCRIPT)), tools=tools)
        config = {"metadata": {"user_id": "ana", "thread_id": "tuesday"}}  # whose memory: from the run, not the model
        result = agent.invoke({"messages": "Shall I have the stew?"}, config=config)
        print(f"tool  {result['messages'][2].text.splitlines()[2]}")
        print(f"agent {result['messages'][-1].text}")
        both = EnsembleRetriever(retrievers=[SynapRetriever(synap), RunnableLambda(lambda _: MENU)], weights=[0.6, 0.4])
        with context(user_id="ana"):
            for document in both.invoke("Am I allergic to anything in the stew?"):
                print(f"found {document.page_content}")


if __name__ == "__main__":
    main()
