"""SynapClient's documents, memories and whole conversations, against the embedded Synap; over sockets: conformance."""

import pytest

from synap_integrations import SynapClient
from synap_integrations.errors import ConflictError, ContextNotFoundError, InvalidInputError


@pytest.fixture
async def client():
    """A client of the embedded Synap."""
    async with SynapClient() as opened:
        yield opened


async def test_a_document_goes_in_and_is_changed_and_forgotten(client) -> None:
    """The whole life of a memory, with no server anywhere."""
    taken = await client.memories.create("The pump is green.", document_type="document", user_id="ana")
    (memory_id,) = (await client.memories.status(taken.ingestion_id)).memory_ids
    assert (await client.memories.update(memory_id, "The pump is red.", merge_strategy="replace")).content.endswith(
        "red."
    )
    found = await client.fetch(user_id="ana", search_query="which pump")
    assert [item["content"] for item in found.episodes] == ["The pump is red."]
    assert (await client.memories.delete(memory_id)).memory_id == memory_id
    with pytest.raises(ContextNotFoundError):
        await client.memories.get(memory_id)


async def test_what_is_said_is_forgotten_by_description_or_altogether(client) -> None:
    """A preview shows, direct forgets, and a user can go as a whole."""
    await client.conversation.record_message("c-1", "user", "my locker code is 9731", user_id="ana")
    await client.conversation.record_message("c-1", "user", "I live in Lisbon.", user_id="ana")
    preview = await client.memories.forget("locker code", user_id="ana")
    assert [entry["content"] for entry in preview.candidates] == ["my locker code is 9731"]
    assert (await client.memories.forget("locker code", user_id="ana", mode="direct")).status == "deleted"
    assert (await client.profile("ana"))["attributes"]
    done = await client.data.delete("user", user_id="ana", confirm="ana")
    assert done.fully_removed
    assert (await client.data.status(done.deletion_id)).counts["turns"] == 1
    assert await client.profile("ana") is None


async def test_a_conversation_of_any_name_is_deleted_by_that_name(client) -> None:
    """Conversation ids travel as UUIDs; whoever deletes uses their own."""
    await client.conversation.record_message("support-7", "user", "hello", user_id="ana")
    done = await client.data.delete("conversation", conversation_id="support-7", user_id="ana", confirm="support-7")
    assert done.counts["turns"] == 1
    assert await client.conversation.turns("support-7", user_id="ana") == []


async def test_a_slip_deletes_nothing(client) -> None:
    """Without the id twice, no request is made."""
    for slip in ({}, {"user_id": "ana"}, {"user_id": "ana", "confirm": "bob"}):
        with pytest.raises(InvalidInputError):
            await client.data.delete("user", **slip)


async def test_a_transcript_is_a_conversation_by_its_name(client) -> None:
    """It is read, cut short and asked about under the id it was handed over with."""
    lines = "\n".join(f"{'Agent' if number % 2 else 'User'}: turn {number}" for number in range(40))
    taken = await client.conversation.ingest_transcript("call-9", "ana", lines)
    assert taken.turns_recorded == 40
    with pytest.raises(ConflictError):
        await client.conversation.ingest_transcript("call-9", "ana", "User: something else")
    assert await client.conversation.compacted("call-9") is None
    assert (await client.conversation.compact("call-9", "balanced")).status == "completed"
    assert (await client.conversation.compaction_status("call-9")).status == "completed"
    assert "excerpt" in (await client.conversation.compacted("call-9")).formatted_context
    assert (await client.conversation.context_for_prompt("call-9")).compacted_message_count == 30


@pytest.mark.parametrize("memory_id", ["", None])
async def test_an_id_that_is_none_is_refused_before_anything_is_sent(client, memory_id) -> None:
    """An empty id would name another path."""
    with pytest.raises(InvalidInputError):
        await client.memories.get(memory_id)
