"""`SynapClient` behind the words of the conformance run."""

import json

import httpx
from conformance_world import KEY, World

from synap_integrations import SynapClient
from synap_integrations.errors import InvalidInputError, NetworkError
from synap_integrations.model import ContextUsed, Scope
from synap_integrations.wire import proto as messages

__all__ = ["Session", "messages"]
_TYPES = ("facts", "preferences", "episodes", "emotions", "temporal_events")


class Session:
    """One client. ``heard`` has every bundle it was pushed."""

    def __init__(self, world: World, *, key: str = KEY, folder: str | None = None) -> None:
        self.heard = []
        self._url = world.url
        self.client = SynapClient(
            key,
            base_url=world.url,
            grpc_host="127.0.0.1",
            grpc_port=world.grpc_port,
            grpc_use_tls=False,
            storage_path=world.folder / "own",
        )

    async def __aenter__(self):
        self._whoami = await self.client.initialize()
        return self

    async def __aexit__(self, *_):
        await self.client.close()

    @property
    def identity(self):
        return {"instance_id": self._whoami.instance_id, "client_id": self._whoami.client_id}

    # --- turns ---------------------------------------------------------------------------------------------------

    async def record(self, conversation, content, *, user, role="user", **more):
        return await self.client.conversation.record_message(conversation, role, content, user, **more)

    async def record_surely(self, conversation, content, *, user, event_id):
        """Our client says that the answer is lost; whoever has the event sends it again under its id."""
        try:
            return await self.record(conversation, content, user=user, event_id=event_id)
        except NetworkError:
            return await self.record(conversation, content, user=user, event_id=event_id)

    async def batch(self, entries):
        return await self.client.conversation.record_messages_batch(entries)

    async def prompt(self, conversation, *, user, style="structured"):
        found = await self.client.conversation.context_for_prompt(conversation, style, user_id=user)
        return {
            "available": found.available,
            "text": found.formatted_context,
            "recent": [(row["role"], row["content"], row["message_id"]) for row in found.recent_messages],
            "total": found.total_message_count,
            "covered": found.compacted_message_count,
        }

    # --- context -------------------------------------------------------------------------------------------------

    async def fetch(self, level, query, *, ranked=False, user=None, customer=None, conversation=None):
        ids = {"user_id": user, "customer_id": customer, "conversation_id": conversation}
        named = {"user": ("user_id", "customer_id"), "customer": ("customer_id",), "client": ()}
        asked = {key: value for key, value in ids.items() if key in named.get(level, ids)}
        shape = "ranked" if ranked else "by_type"
        return _items(await self.client.fetch(**asked, search_query=query, response_shape=shape), ranked=ranked)

    async def unified(self, query, *, user, conversation, ranked=False):
        return await self.fetch("all", query, ranked=ranked, user=user, conversation=conversation)

    async def in_short(self, *, user, conversation):
        found = await self.client.recap(user, conversation_id=conversation)
        return " ".join(told["summary"]["overview"] for told in found.conversations)

    async def use(self, query, *, user, conversation):
        """Show a model what was pushed, and report it. The contents."""
        bundle = [bundle for bundle in self.heard if any(bundle["items_by_type"].values())][-1]
        items = [item for held in bundle["items_by_type"].values() for item in held]
        used = ContextUsed((bundle["bundle_id"],), tuple(item["item_id"] for item in items))
        await self.client.instance.report_context_used(used, scope=Scope(conversation, user))
        return [item["content"] for item in items]

    async def profile(self, user):
        found = await self.client.profile(user)
        return None if found is None else str(found)

    # --- memories ------------------------------------------------------------------------------------------------

    async def create(self, document, **more):
        return (await self.client.memories.create(document, **more)).model_dump()

    async def create_all(self, documents):
        return (await self.client.memories.batch_create(documents)).model_dump()

    async def upload(self, *, user, file=None, text=None, metadata=None):
        """Our client has no such call: the form as the platform's SDK sends it."""
        fields = {"user_id": user} | ({"text": text} if text else {})
        fields |= {"metadata": json.dumps(metadata)} if metadata else {}
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=self._url, headers=headers) as line:
            answer = await line.post("/api/v1/memories/upload", data=fields, files={"file": file} if file else None)
        if answer.status_code == 422:
            raise InvalidInputError(answer.json()["detail"])
        return answer.raise_for_status().json()

    async def status(self, ingestion_id):
        return (await self.client.memories.status(ingestion_id)).model_dump()

    async def memory(self, memory_id):
        return (await self.client.memories.get(memory_id)).model_dump()

    async def update(self, memory_id, document, strategy):
        return (await self.client.memories.update(memory_id, document, merge_strategy=strategy)).model_dump()

    async def delete(self, memory_id):
        return (await self.client.memories.delete(memory_id)).model_dump()

    async def forget(self, description, *, user, mode):
        return (await self.client.memories.forget(description, user_id=user, mode=mode)).model_dump()

    async def delete_data(self, scope, **more):
        return (await self.client.data.delete(scope, **more)).model_dump()

    async def deletion(self, deletion_id):
        return (await self.client.data.status(deletion_id)).model_dump()

    # --- whole conversations -------------------------------------------------------------------------------------

    async def ingest(self, conversation, transcript, *, user):
        return (await self.client.conversation.ingest_transcript(conversation, user, transcript)).model_dump()

    async def compact(self, conversation, **more):
        return (await self.client.conversation.compact(conversation, **more)).model_dump()

    async def compacted(self, conversation):
        found = await self.client.conversation.compacted(conversation)
        return None if found is None else {"text": found.formatted_context, "ratio": found.compression_ratio}

    async def compaction(self, conversation):
        return (await self.client.conversation.compaction_status(conversation)).model_dump()

    # --- the stream ----------------------------------------------------------------------------------------------

    async def listen(self):
        await self.client.instance.listen(on_context=self.heard.append)

    async def stop(self):
        await self.client.instance.stop_listening()

    async def say(self, content, *, user, conversation, event_type="user_message", role="user", **more):
        await self.client.instance.send_message(
            content, role=role, conversation_id=conversation, user_id=user, event_type=event_type, **more
        )

    async def tool(self, *, user, conversation, arguments, result):
        ids = {"user": user, "conversation": conversation, "tool_name": "search", "tool_call_id": "t1"}
        await self.say("", event_type="tool_call", role="assistant", tool_args=arguments, **ids)
        await self.say("", event_type="tool_result", role="tool", tool_result=result, **ids)

    async def think(self, thought, *, user, conversation):
        await self.say(thought, event_type="agent_thinking", role="", user=user, conversation=conversation)

    async def end_session(self, conversation):
        await self.client.instance.end_session(conversation)

    @property
    def unacknowledged(self):
        """Events that the client still keeps for a repeat."""
        stream = self.client.instance._stream
        return len(stream._unacknowledged) if stream else 0


def _items(found, *, ranked):
    """Kind, id and content of what was found."""
    if ranked:
        return [{"kind": item["category"], "id": item["id"], "content": item["content"]} for item in found.items]
    return [
        {"kind": kind, "id": item["id"], "content": item["content"]} for kind in _TYPES for item in getattr(found, kind)
    ]
