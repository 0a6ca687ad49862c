"""Our own client against a real `synap dev` process, over sockets, unchanged."""

import asyncio

import pytest
from dev_server import dev_server

from synap_integrations import SynapClient


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
