"""LangGraph's store: `SynapStore` keeps what a graph decides to keep, in the memory of the user it is about.

Run:     python examples/08_langgraph_store.py
Prints:  what each user's second run knows, what a search finds, and what is left when a user is forgotten.
"""

import asyncio
import tempfile

from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore

from synap_integrations import Synap, SynapClient
from synap_integrations.langchain import SynapStore


class State(MessagesState):
    """Who is talking, besides the messages."""

    user: str


def note(state: State, *, store: BaseStore) -> dict[str, list[object]]:
    """Keep what was said under the user's namespace, and answer with everything that is known."""
    space = ("users", state["user"], "notes")
    said = state["messages"][-1].content
    store.put(space, key=str(len(store.search(space))), value={"text": str(said)})
    known = [item.value["text"] for item in store.search(space)]
    return {"messages": [("ai", " | ".join(sorted(known)))]}


async def forget(synap: Synap, user: str) -> None:
    async with SynapClient(settings=synap.settings) as client:
        await client.data.delete("user", user_id=user, confirm=user)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Synap(base_url="local", storage_path=folder) as synap,
        SynapStore(synap) as store,
    ):
        graph = StateGraph(State).add_node(note).add_edge(START, "note").compile(store=store)
        for user, text in (
            ("ana", "I fire clay at 1,240 degrees."),
            ("ben", "I keep bees."),
            ("ana", "I live in Porto."),
        ):
            answer = graph.invoke({"messages": [("user", text)], "user": user})
            print(f"{user}: {answer['messages'][-1].content}")
        (best,) = store.search(("users", "ana"), query="At how many degrees does she fire clay?", limit=1)
        print(f"best: {best.value['text']}")
        asyncio.run(forget(synap, "ana"))
        print(f"left: {store.list_namespaces()}")


if __name__ == "__main__":
    main()
