"""The same calls without a socket: the embedded Synap, reached in the bytes of the wire."""

import asyncio
import logging
import subprocess
import sys

import pytest

from synap_integrations import errors
from synap_integrations.client import SynapClient
from synap_integrations.model import Ack, ContextBundle, Signal

ANA = {"conversation_id": "chat", "user_id": "ana"}


@pytest.fixture(params=[True, False], ids=["inline", "thread"])
async def client(request):
    """A client of the embedded Synap, on the loop's own thread or on others."""
    async with SynapClient(inline=request.param) as client:
        yield client


async def until(condition):
    """Wait until the condition holds."""
    async with asyncio.timeout(10):
        while not (outcome := condition()):  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.002)
    return outcome


async def test_without_key_and_address_it_is_embedded(client, own_storage, caplog):
    """Nothing to sign up for: the file is below the storage path, and the log says so once."""
    caplog.set_level(logging.INFO, "synap_integrations")
    assert repr(client) == "SynapClient(embedded)"
    assert (await client.initialize()).user_context_isolation == "optional"
    for n in range(3):
        await client.conversation.record_message("chat", "user", str(n), "ana")
    ours = [record.message for record in caplog.records if record.name.startswith("synap_integrations")]
    said = [message for message in ours if "embedded" in message]
    assert len(said) == 1
    assert str(own_storage) in said[0]


async def test_what_was_recorded_is_found(client):
    """Recorded under a name of one's own, fetched by the user, read as a conversation."""
    first = await client.conversation.record_message("monday", "user", "My dog is called Bruno", "ana", event_id="e1")
    again = await client.conversation.record_message("monday", "user", "My dog is called Bruno", "ana", event_id="e1")
    assert first["message_id"] == again["message_id"]
    assert first["conversation_id"] == "monday"
    assert "Bruno" in str(await client.fetch(user_id="ana", search_query="what is my dog called?"))
    assert "Bruno" not in str(await client.fetch(user_id="ben", search_query="what is my dog called?"))
    assert "Bruno" in str(await client.conversation.context_for_prompt("monday"))


async def test_the_stream_acknowledges_and_pushes(client):
    """Every event is acknowledged by its id, and context comes under the caller's name of the conversation."""
    await client.conversation.record_message("monday", "user", "My dog is called Bruno", "ana")
    heard, contexts = [], []
    await client.instance.listen(on_context=contexts.append, on_inbound=heard.append)
    await client.instance.send_message("What is my dog called?", **ANA, event_id="e1")
    await until(lambda: any(isinstance(ack, Ack) and "e1" in ack.event_ids for ack in heard))
    await client.instance.send_message(
        "", "user", **ANA, event_type="context_request", search_queries=["dog"], event_id="e2"
    )
    bundle = await until(lambda: next((b for b in heard if isinstance(b, ContextBundle) and b.answers == "e2"), None))
    assert bundle.scope.user_id == "ana"
    assert "Bruno" in str(bundle.items)
    assert contexts
    await client.instance.stop_listening()
    assert Signal("connected") in heard


async def test_errors_are_the_same(client):
    """What a remote platform refuses is refused here, under the same names."""
    with pytest.raises(errors.InvalidInputError):
        await client.conversation.record_message("chat", "robot", "x", "ana")
    with pytest.raises(errors.ListeningNotActiveError):
        await client.instance.send_message("x", **ANA)
    assert not (await client.conversation.context_for_prompt("never", user_id="ana")).available


async def test_a_client_can_be_used_again_after_close(own_storage):
    """Close lets go of the file; the next call opens it again."""
    client = SynapClient(base_url="local")
    for n in range(2):
        await client.conversation.record_message("chat", "user", f"turn {n}", "ana")
        await client.close()
    await client.close()
    async with SynapClient() as other:
        assert "turn 1" in str(await other.conversation.context_for_prompt("chat", user_id="ana"))


def test_grpc_is_not_loaded_for_it(own_storage):
    """A process that keeps its memory to itself pays for no network stack below httpx."""
    code = """
import asyncio, sys
from synap_integrations import SynapClient
async def main():
    async with SynapClient() as client:
        await client.instance.listen()
        await client.instance.send_message("hi", conversation_id="c", user_id="u")
asyncio.run(main())
assert "grpc" not in sys.modules
"""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
