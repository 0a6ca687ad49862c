"""Identity: LangGraph's own `thread_id` is the conversation, `user_id` the person; one handler serves them all.

Run:     python examples/03_langgraph_thread_id.py
Prints:  each conversation as the embedded Synap holds it.
"""

import asyncio
import tempfile

from langchain_core.language_models import FakeListChatModel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from synap_integrations import Synap, SynapClient
from synap_integrations.langchain import SynapCallbackHandler

model = FakeListChatModel(responses=["Noted: Tuesday at six.", "Noted: no nuts.", "Tuesday at six."])  # or yours


async def answer(state: MessagesState) -> dict[str, list[object]]:
    return {"messages": [await model.ainvoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile(checkpointer=InMemorySaver())


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Synap(base_url="local", storage_path=folder) as synap:
        handler = SynapCallbackHandler(synap)
        for user, thread, text in (
            ("ana", "thread-a", "My piano lesson is on Tuesday at six."),
            ("ben", "thread-b", "I don't eat nuts."),
            ("ana", "thread-a", "When is my lesson?"),
        ):
            await graph.ainvoke(
                {"messages": [("user", text)]},
                config={
                    "callbacks": [handler],
                    "configurable": {"thread_id": thread},
                    "metadata": {"user_id": user},
                },
            )
        await asyncio.to_thread(synap.flush)

        async with SynapClient(settings=synap.settings) as client:
            for user, thread in (("ana", "thread-a"), ("ben", "thread-b")):
                held = await client.conversation.context_for_prompt(thread, user_id=user)
                print(f"{thread} of {user}:")
                for turn in held.recent_messages:
                    print(f"  {turn['role']:<10}{turn['content']}")


if __name__ == "__main__":
    asyncio.run(main())
