"""The platform's own SDK, unmodified, behind the words of the conformance run."""

import contextlib
import io
import logging

from conformance_world import KEY, World, name
from maximem_synap import ContextNotFoundError, MaximemSynapSDK, SDKConfig
from maximem_synap.transport.proto import synap_service_pb2 as messages

__all__ = ["Session", "messages"]
_TYPES = ("facts", "preferences", "episodes", "emotions", "temporal_events")

logging.disable(logging.CRITICAL)


class Session:
    """One client. ``heard`` has every bundle it was pushed."""

    def __init__(self, world: World, *, key: str = KEY, folder: str | None = None) -> None:
        self.heard = []
        config = SDKConfig(
            api_base_url=world.url,
            grpc_host="127.0.0.1",
            grpc_port=world.grpc_port,
            grpc_use_tls=False,
            storage_path=str(world.folder / (folder or f"sdk-{name()}")),
        )
        self.sdk = MaximemSynapSDK(api_key=key, config=config, _force_new=True)

    async def __aenter__(self):
        await self.sdk.initialize()
        return self

    async def __aexit__(self, *_):
        with contextlib.suppress(Exception):
            await self.sdk.instance.stop_listening()
        await self.sdk.shutdown()

    @property
    def identity(self):
        return {"instance_id": self.sdk.instance_id, "client_id": self.sdk._client_id}

    # --- turns ---------------------------------------------------------------------------------------------------

    async def record(self, conversation, content, *, user, role="user", **more):
        return await self.sdk.conversation.record_message(conversation, role, content, user, **more)

    async def record_surely(self, conversation, content, *, user, event_id):
        """The SDK repeats the call by itself, and has no id to give."""
        return await self.record(conversation, content, user=user)

    async def batch(self, entries):
        return await self.sdk.conversation.record_messages_batch(entries)

    async def prompt(self, conversation, *, user, style="structured"):
        found = await self.sdk.conversation.context.get_context_for_prompt(conversation, style=style)
        return {
            "available": found.available,
            "text": found.formatted_context,
            "recent": [(row.role, row.content, row.message_id) for row in found.recent_messages],
            "total": found.total_message_count,
            "covered": found.compacted_message_count,
        }

    # --- context -------------------------------------------------------------------------------------------------

    async def fetch(self, level, query, *, ranked=False, user=None, customer=None, conversation=None):
        shape = "ranked" if ranked else "by_type"
        more = {"search_query": query and [query], "response_shape": shape}
        calls = {
            "user": lambda: self.sdk.user.context.fetch(user, customer_id=customer, **more),
            "customer": lambda: self.sdk.customer.context.fetch(customer, **more),
            "client": lambda: self.sdk.client.context.fetch(**more),
            "conversation": lambda: self.sdk.conversation.context.fetch(
                conversation, user_id=user, customer_id=customer, **more
            ),
        }
        return _items(await calls[level](), ranked=ranked)

    async def unified(self, query, *, user, conversation, ranked=False):
        shape = "ranked" if ranked else "by_type"
        found = await self.sdk.fetch(
            conversation_id=conversation, user_id=user, search_query=[query], response_shape=shape
        )
        return _items(found, ranked=ranked)

    async def in_short(self, *, user, conversation):
        found = await self.sdk.user.context.fetch(
            user, conversation_id=conversation, search_query=["boiler"], context_mode="conversation-summary"
        )
        return " ".join(told.overview_text() for told in found.conversations)

    async def use(self, query, *, user, conversation):
        """Be served from what was pushed; the SDK reports that by itself. The contents."""
        found = await self.sdk.user.context.fetch(user, search_query=[query], response_shape="ranked")
        assert found.metadata.source == "anticipation", found.metadata.source
        return [item["content"] for item in _items(found, ranked=True)]

    async def profile(self, user):
        try:
            return str(await self.sdk.user.get_profile(user))
        except ContextNotFoundError:
            return None

    # --- memories ------------------------------------------------------------------------------------------------

    async def create(self, document, **more):
        return (await self.sdk.memories.create(document, **more)).model_dump(mode="json")

    async def create_all(self, documents):
        from maximem_synap.memories.models import CreateMemoryRequest  # noqa: PLC0415 - only here

        requests = [CreateMemoryRequest(**document) for document in documents]
        return (await self.sdk.memories.batch_create(requests)).model_dump(mode="json")

    async def upload(self, *, user, file=None, text=None, **more):
        if file is not None:
            more |= {"filename": file[0], "file": io.BytesIO(file[1])}
        return (await self.sdk.memories.create_from_file(user, text=text, **more)).model_dump(mode="json")

    async def status(self, ingestion_id):
        return (await self.sdk.memories.wait_for_completion(ingestion_id)).model_dump(mode="json")

    async def memory(self, memory_id):
        return (await self.sdk.memories.get(memory_id)).model_dump(mode="json")

    async def update(self, memory_id, document, strategy):
        return (await self.sdk.memories.update(memory_id, document, merge_strategy=strategy)).model_dump(mode="json")

    async def delete(self, memory_id):
        answer = await self.sdk.memories.delete(memory_id)
        return {key: str(value) for key, value in answer.items()}

    async def forget(self, description, *, user, mode):
        return (await self.sdk.memories.forget(description, user_id=user, mode=mode)).model_dump(mode="json")

    async def delete_data(self, scope, **more):
        return (await self.sdk.data.delete(scope, **more)).model_dump(mode="json")

    async def deletion(self, deletion_id):
        return (await self.sdk.data.status(deletion_id)).model_dump(mode="json")

    # --- whole conversations -------------------------------------------------------------------------------------

    async def ingest(self, conversation, transcript, *, user):
        return (await self.sdk.conversation.ingest_transcript(conversation, user, transcript)).model_dump(mode="json")

    async def compact(self, conversation, **more):
        return (await self.sdk.conversation.context.compact(conversation, **more)).model_dump(mode="json")

    async def compacted(self, conversation):
        found = await self.sdk.conversation.context.get_compacted(conversation)
        return None if found is None else {"text": str(found), "ratio": getattr(found, "compression_ratio", None)}

    async def compaction(self, conversation):
        found = await self.sdk.conversation.context.get_compaction_status(conversation)
        return found.model_dump(mode="json")

    # --- the stream ----------------------------------------------------------------------------------------------

    async def listen(self):
        await self.sdk.instance.listen(on_context=self.heard.append)

    async def stop(self):
        await self.sdk.instance.stop_listening()

    async def say(self, content, *, user, conversation, event_type="user_message", role="user", **more):
        await self.sdk.instance.send_message(
            content, role=role, conversation_id=conversation, user_id=user, event_type=event_type, **more
        )

    async def tool(self, *, user, conversation, arguments, result):
        ids = {"tool_call_id": "t1", "conversation_id": conversation, "user_id": user}
        await self.sdk.instance.record_tool_call("search", arguments, **ids)
        await self.sdk.instance.record_tool_result(result, tool_name="search", **ids)

    async def think(self, thought, *, user, conversation):
        await self.sdk.instance.record_thinking(thought, conversation_id=conversation, user_id=user)

    async def end_session(self, conversation):
        await self.sdk.instance.end_session(conversation)

    @property
    def unacknowledged(self):
        """Events that the client still keeps for a replay."""
        transport = self.sdk._grpc_transport
        return sum(transport.undelivered().values()) if transport else 0


def _items(found, *, ranked):
    """Kind, id and content of what was found."""
    if ranked:
        return [{"kind": item.category, "id": item.id, "content": item.content} for item in (found.items or [])]
    return [
        {"kind": kind, "id": item.id, "content": getattr(item, "content", None) or getattr(item, "summary", None)}
        for kind in _TYPES
        for item in getattr(found, kind)
    ]
