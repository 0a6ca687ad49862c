"""Our own client against a real `synap dev` process, over sockets, unchanged."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from dev_server import dev_server

from synap_integrations import Scope, Synap, SynapClient
from synap_integrations.model import UserMessage


@pytest.fixture
def server(tmp_path):
    """A server over a file."""
    with dev_server(tmp_path / "dev.db") as served:
        yield served


async def test_a_recorded_turn_is_found_again(server) -> None:
    """What `record_message` stores, a fetch finds, and the conversation lists."""
    async with SynapClient(**server.address) as client:
        await client.conversation.record_message("chat", "user", "I moved to Lisbon", user_id="ana")
        found = await client.fetch(user_id="ana", search_query=["where did I move"])
    assert "Lisbon" in str(found)
    assert server.found("Lisbon") == ["I moved to Lisbon"]


async def test_a_streamed_turn_is_stored_acknowledged_and_answered_with_a_bundle(server) -> None:
    """A user message on the stream is stored once, and what helps comes back without being asked for."""
    server.say("I am allergic to shellfish", conversation="an earlier one")
    bundles: asyncio.Queue = asyncio.Queue()
    async with SynapClient(**server.address) as client:
        await client.instance.listen(on_context=bundles.put_nowait)
        await client.instance.send_message("What am I allergic to?", conversation_id="chat", user_id="ana")
        bundle = await asyncio.wait_for(bundles.get(), 5)
        await client.instance.stop_listening()
    assert "shellfish" in str(bundle["items_by_type"])


def test_an_agent_is_captured_there_and_reminded_of_it_later(tmp_path, monkeypatch) -> None:
    """Two variables lead a LangChain agent to the server: what it said once is in its prompt another time."""
    agents = pytest.importorskip("langchain.agents")
    from langchain_models import WholeModel, asking, call  # noqa: PLC0415 - needs LangChain

    from synap_integrations.langchain import SynapMiddleware  # noqa: PLC0415 - needs LangChain

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    path = tmp_path / "dev.db"
    with dev_server(path) as server:
        monkeypatch.setenv("SYNAP_BASE_URL", server.url)
        monkeypatch.setenv("SYNAP_API_KEY", server.key)
        monkeypatch.setenv("SYNAP_RECALL_TIMEOUT_S", "10")  # the machine may be busy with other tests
        with Synap() as synap:
            first = WholeModel(answers=[asking("", call("add", {"a": 1, "b": 2}, "call-1")), "Noted, and it is 3."])
            agent = agents.create_agent(first, [add], middleware=[SynapMiddleware(synap)])
            said = "I am allergic to shellfish. And what is 1+2?"
            agent.invoke({"messages": said}, config={"metadata": {"user_id": "ana", "thread_id": "monday"}})
            assert synap.flush(10)
            assert synap.status().waiting == 0
        with Synap() as synap:
            second = WholeModel(answers=["No oysters."])
            agent = agents.create_agent(second, [], middleware=[SynapMiddleware(synap)])
            asked = {"messages": "What am I allergic to?"}
            answer = agent.invoke(asked, config={"metadata": {"user_id": "ana", "thread_id": "friday"}})
            assert synap.flush(10)
        assert "allergic to shellfish" in str(second.seen[-1])
        assert "shellfish" not in str(answer["messages"])
        turns = {said, "Noted, and it is 3.", "What am I allergic to?", "No oysters."}
        assert set(server.found("allergic to shellfish oysters")) == turns
    with closing(sqlite3.connect(path)) as held:
        kinds = {kind for (kind,) in held.execute("SELECT kind FROM event")}
        assert {"tool_call", "tool_result"} <= kinds
        assert held.execute("SELECT count(*) FROM turn").fetchone() == (4,)


def test_what_was_said_while_the_server_was_down_arrives_when_it_is_back(tmp_path, monkeypatch) -> None:
    """The application notices nothing, and nothing is lost: the outbox waits for the next server on the same port."""
    path = tmp_path / "dev.db"
    with dev_server(path) as first:
        first.say("the first one")
    monkeypatch.setenv("SYNAP_BASE_URL", first.url)
    monkeypatch.setenv("SYNAP_API_KEY", first.key)
    with Synap() as synap:
        for number in range(20):
            synap.record(UserMessage(f"turn {number}"), scope=Scope("while down", "ana"))
        assert not synap.flush(0.5)
        with dev_server(path, "--port", str(first.http_port), "--grpc-port", str(first.grpc_port)) as second:
            assert synap.flush(20)
            with closing(sqlite3.connect(path)) as held:
                turns = [text for (text,) in held.execute("SELECT content FROM turn ORDER BY id")]
            assert turns == ["the first one", *(f"turn {number}" for number in range(20))]
            assert second.found("turn 7")


def test_a_wrong_key_delivers_nothing_and_loses_nothing(tmp_path, monkeypatch) -> None:
    """Turns wait until the key is right; they are never sent with another key than the one they were captured under."""
    with dev_server(tmp_path / "dev.db") as server:
        monkeypatch.setenv("SYNAP_BASE_URL", server.url)
        monkeypatch.setenv("SYNAP_API_KEY", "synap_another_key")
        with Synap() as synap:
            synap.record(UserMessage("not for everybody"), scope=Scope("c", "ana"))
            assert not synap.flush(1.0)
            assert synap.status().waiting == 1
        assert server.found("everybody") == []
