"""``client.memories`` and ``client.data``: documents go in; memories are read, changed and forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from synap_integrations.errors import (
    AuthenticationError,
    ContextNotFoundError,
    InsufficientCreditsError,
    InvalidInputError,
    SynapPermanentError,
)
from synap_integrations.wire import memory_schema as wire

from .calls import Call
from .connection import Connection, identified


class Memories:
    """The documented calls on documents and memories."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(  # noqa: PLR0913 - the documented signature
        self,
        document: str | Mapping[str, Any],
        *,
        document_type: str = "ai-chat-conversation",
        document_id: str | None = None,
        document_created_at: str | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        mode: Literal["fast", "long-range"] = "long-range",
        metadata: Mapping[str, Any] | None = None,
    ) -> wire.DocumentTaken:
        """Hand over a document. Without a user it is about the customer, without either about everybody.

        Raises: InvalidInputError; ConflictError, if there is another document under this id.
        """
        scope = identified(required=(), user_id=user_id, customer_id=customer_id)
        await self._connection.admitted(scope, must_name_customer=False)
        body = {
            "document": document,
            "document_type": document_type,
            "document_id": document_id,
            "document_created_at": document_created_at,
            "user_id": user_id,
            "customer_id": customer_id,
            "scope": None,
            "mode": mode,
            "metadata": dict(metadata or {}),
        }
        call = Call(
            "POST", f"{wire.MEMORIES}/create", wire.DocumentTaken, body=body, repeatable=document_id is not None
        )
        return await self._connection.rest.send(call)

    async def batch_create(
        self, documents: Sequence[Mapping[str, Any]], *, fail_fast: bool = False
    ) -> wire.DocumentsTaken:
        """Hand over several documents, each with the arguments of `create`; the answer says what became of each."""
        body = {"documents": [dict(document) for document in documents], "fail_fast": fail_fast}
        call = Call("POST", f"{wire.MEMORIES}/batch", wire.DocumentsTaken, body=body, repeatable=False)
        return await self._connection.rest.send(call)

    async def status(self, ingestion_id: str) -> wire.IngestionStatus:
        """What became of a document. Raises: ContextNotFoundError."""
        path = f"{wire.MEMORIES}/status/{_segment(ingestion_id)}"
        return await self._connection.rest.send(Call("GET", path, wire.IngestionStatus))

    async def get(self, memory_id: str) -> wire.Memory:
        """One memory. Raises: ContextNotFoundError."""
        return await self._connection.rest.send(Call("GET", _memory(memory_id), wire.Memory))

    async def update(
        self,
        memory_id: str,
        document: str | Mapping[str, Any],
        *,
        merge_strategy: Literal["replace", "append", "smart-merge"] = "smart-merge",
        metadata: Mapping[str, Any] | None = None,
    ) -> wire.Memory:
        """Change a memory. Raises: ContextNotFoundError; InvalidInputError, if it is one that cannot be changed."""
        body: dict[str, Any] = {"document": document, "merge_strategy": merge_strategy}
        if metadata is not None:
            body["metadata"] = dict(metadata)
        call = Call("PATCH", _memory(memory_id), wire.Memory, body=body, repeatable=merge_strategy == "replace")
        return await self._connection.rest.send(call)

    async def delete(self, memory_id: str) -> wire.MemoryDeleted:
        """Forget one memory. Raises: ContextNotFoundError."""
        return await self._connection.rest.send(Call("DELETE", _memory(memory_id), wire.MemoryDeleted))

    async def delete_all(self, memory_ids: Sequence[str]) -> wire.MemoriesForgotten:
        """Forget several memories at once; ``failed_ids`` are those that are not there.

        A platform that cannot do this at once is asked one by one. Raises: a `SynapError`, if it cannot be had.
        """
        call = Call("POST", f"{wire.MEMORIES}/delete", wire.MemoriesForgotten, body={"memory_ids": list(memory_ids)})
        try:
            return await self._connection.rest.send(call)
        except SynapPermanentError as error:
            if isinstance(error, AuthenticationError | InsufficientCreditsError):
                raise
        done = wire.MemoriesForgotten(status="deleted")
        for memory_id in memory_ids:
            try:
                await self.delete(memory_id)
            except (ContextNotFoundError, InvalidInputError):
                done.failed_ids.append(memory_id)
            else:
                done.deleted_ids.append(memory_id)
        return done

    async def forget(
        self,
        description: str,
        *,
        user_id: str,
        customer_id: str | None = None,
        mode: Literal["preview", "direct"] = "preview",
    ) -> wire.MemoriesForgotten:
        """Forget what the description (3 to 500 characters) matches, or only show it. Raises: InvalidInputError."""
        scope = identified(required=("user_id",), user_id=user_id, customer_id=customer_id)
        await self._connection.admitted(scope, must_name_customer=False)
        ids = {"user_id": user_id, "customer_id": customer_id, "scope": None}
        body = {"description": description, "mode": mode, **ids}
        call = Call("POST", f"{wire.MEMORIES}/forget", wire.MemoriesForgotten, body=body, repeatable=mode == "preview")
        return await self._connection.rest.send(call)


class Data:
    """The documented calls that delete everything of somebody."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def delete(  # noqa: PLR0913 - the documented signature
        self,
        scope: Literal["user", "conversation", "customer"],
        *,
        user_id: str | None = None,
        customer_id: str | None = None,
        conversation_id: str | None = None,
        dry_run: bool = False,
        confirm: str | None = None,
    ) -> wire.DataDeleted:
        """Delete a user's, a conversation's or a customer's data, or count it.

        ``confirm`` repeats the id of what is deleted; it is needed unless ``dry_run``. Raises: InvalidInputError.
        """
        named = {"user": user_id, "conversation": conversation_id, "customer": customer_id}.get(scope)
        if named is None or not (dry_run or confirm == named):
            message = f"pass {scope}_id, and the same as confirm: nothing is deleted by a slip"
            raise InvalidInputError(message, details={"argument": "confirm"})
        ids = {"conversation_id": conversation_id, "user_id": user_id, "customer_id": customer_id}
        sent, _ = self._connection.addressed(self._connection.owned(identified(required=(), **ids)))
        if scope == "conversation":
            ids["conversation_id"] = named = sent.conversation_id
        whoami = await self._connection.whoami()
        body = {
            "scope": scope,
            "instance_id": whoami.instance_id,
            **ids,
            "dry_run": dry_run,
            "confirm": None if dry_run else named,
        }
        return await self._connection.rest.send(Call("POST", wire.DATA_DELETE, wire.DataDeleted, body=body))

    async def status(self, deletion_id: str) -> wire.DataDeleted:
        """What a deletion did. Raises: ContextNotFoundError."""
        path = f"{wire.DATA_DELETE}/{_segment(deletion_id)}"
        return await self._connection.rest.send(Call("GET", path, wire.DataDeleted))


def _memory(memory_id: str) -> str:
    return f"{wire.MEMORIES}/{_segment(memory_id)}"


def _segment(given: str) -> str:
    """An id as one part of a path.

    Raises: InvalidInputError, if it is empty.
    """
    if not isinstance(given, str) or not given:
        message = "an id must be a non-empty string"
        raise InvalidInputError(message, details={"argument": "id"})
    return quote(given, safe="")
