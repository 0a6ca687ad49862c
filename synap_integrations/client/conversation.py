"""``client.conversation``: turns go in, the conversation comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from synap_integrations.errors import ContextNotFoundError, InvalidInputError
from synap_integrations.plain import plain, text
from synap_integrations.wire.memory_schema import Compacted, CompactionStatus, TranscriptTaken
from synap_integrations.wire.report import ROLES
from synap_integrations.wire.rest_schema import ContextForPrompt, ListedTurn, RecordMessage, Style

from . import calls
from .connection import Connection, identified


class Conversation:
    """The documented calls on conversations. Any non-empty name of up to 512 characters can be a conversation id."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def record_message(  # noqa: PLR0913, PLR0917 - the documented signature
        self,
        conversation_id: str,
        role: str,
        content: str,
        user_id: str,
        customer_id: str | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        *,
        event_id: str | None = None,
    ) -> dict[str, Any]:
        """Store one turn; ``role`` is user or assistant.

        With an ``event_id`` it can be sent again without being stored twice, where the platform supports that.

        Returns: ``message_id``, ``conversation_id`` (yours), ``session_id``, ``recorded_at`` and what else it says.
        Raises: InvalidInputError before anything is sent; AuthenticationError, NetworkError, RateLimitError,
        ServiceUnavailableError, InsufficientCreditsError.
        """
        given = {
            "conversation_id": conversation_id,
            "role": role,
            "content": content,
            "user_id": user_id,
            "customer_id": customer_id,
            "session_id": session_id,
            "metadata": metadata,
        }
        body = await self._prepared(given)
        answer = await self._connection.rest.send(calls.record_message(body, event_id=_ascii(event_id)))
        return answer.model_dump() | {"conversation_id": conversation_id}

    async def record_messages(self, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Store several turns; each entry has the arguments of `record_message`.

        Returns: ``total``, ``succeeded``, ``failed``, ``results`` (the stored ones, in order), ``errors`` (with the
        ``index`` of each that was not). Raises: as `record_message`; nothing is sent if one entry is wrong.
        """
        if not messages:
            return {"total": 0, "succeeded": 0, "failed": 0, "results": [], "errors": []}
        bodies = [await self._prepared(entry, index=index) for index, entry in enumerate(messages)]
        entries = [body.model_dump(exclude_unset=True) | {"metadata": body.metadata} for body in bodies]
        answer = (await self._connection.rest.send(calls.record_messages(entries))).model_dump()
        for result in answer["results"]:
            if isinstance(result.get("conversation_id"), str):
                result["conversation_id"] = self._connection.ids.to_caller(result["conversation_id"])
        return answer

    record_messages_batch = record_messages

    async def turns(
        self,
        conversation_id: str,
        *,
        user_id: str | None = None,
        customer_id: str | None = None,
        start: int = 1,
        limit: int = 500,
    ) -> list[ListedTurn]:
        """The stored turns, in order, from position ``start`` (from 1); whose conversation, as `context_for_prompt`."""
        ids = {"conversation_id": conversation_id, "user_id": user_id, "customer_id": customer_id}
        scope = self._connection.owned(identified(required=("conversation_id",), **ids))
        sent, _ = self._connection.addressed(scope)
        call = calls.list_turns(sent.conversation_id or "", start=start, limit=limit)
        return (await self._connection.rest.send(call)).turns

    async def context_for_prompt(
        self,
        conversation_id: str,
        style: Style = "structured",
        *,
        user_id: str | None = None,
        customer_id: str | None = None,
    ) -> ContextForPrompt:
        """The conversation so far, ready for a prompt, in the style structured, narrative or bullet_points.

        A conversation id that is no UUID is known from the turns recorded by this client; else name the user (and the
        customer) it belongs to. Raises: ContextNotFoundError, if there is no such conversation; InvalidInputError.
        """
        if style not in get_args(Style):
            message = f"style must be one of {', '.join(get_args(Style))}"
            raise InvalidInputError(message, details={"argument": "style"})
        ids = {"conversation_id": conversation_id, "user_id": user_id, "customer_id": customer_id}
        scope = self._connection.owned(identified(required=("conversation_id",), **ids))
        sent, _ = self._connection.addressed(scope)
        call = calls.context_for_prompt(
            sent.conversation_id or "", style, user_id=user_id, customer_id=scope.customer_id
        )
        return await self._connection.rest.send(call)

    async def ingest_transcript(  # noqa: PLR0913 - the documented signature
        self,
        conversation_id: str,
        user_id: str,
        transcript: str | Sequence[Mapping[str, Any]],
        *,
        customer_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        started_at: str | None = None,
    ) -> TranscriptTaken:
        """Hand over a whole conversation: text with ``Name: …`` lines, or turns with ``role`` and ``content``.

        The same again is a duplicate. Raises: ConflictError, if the conversation has another transcript.
        """
        ids = {"conversation_id": conversation_id, "user_id": user_id, "customer_id": customer_id}
        scope = identified(required=("conversation_id", "user_id"), **ids)
        await self._connection.admitted(scope, must_name_customer=True)
        self._connection.addressed(scope)  # so that the name is known from now on
        body = {
            **ids,
            "transcript": transcript if isinstance(transcript, str) else [dict(turn) for turn in transcript],
            "metadata": dict(metadata or {}),
            "started_at": started_at,
        }
        return await self._connection.rest.send(calls.ingest_transcript(body))

    async def compact(
        self,
        conversation_id: str,
        strategy: Literal["aggressive", "balanced", "conservative", "adaptive"] | None = None,
        *,
        target_tokens: int | None = None,
        force: bool = False,
    ) -> CompactionStatus:
        """Have the first turns of a long conversation replaced by something shorter in prompts."""
        body = {"strategy": strategy, "target_tokens": target_tokens, "force": force}
        return await self._connection.rest.send(
            calls.compact({"conversation_id": self._sent_as(conversation_id), **body})
        )

    async def compacted(self, conversation_id: str) -> Compacted | None:
        """What stands for the first turns of the conversation, None if it was not compacted."""
        try:
            return await self._connection.rest.send(calls.compacted(self._sent_as(conversation_id)))
        except ContextNotFoundError:
            return None

    async def compaction_status(self, conversation_id: str) -> CompactionStatus:
        """How far a compaction is. Raises: ContextNotFoundError, if there is no such conversation."""
        return await self._connection.rest.send(calls.compaction_status(self._sent_as(conversation_id)))

    def _sent_as(self, conversation_id: str) -> str:
        scope = self._connection.owned(identified(required=("conversation_id",), conversation_id=conversation_id))
        sent, _ = self._connection.addressed(scope)
        return sent.conversation_id or ""

    async def _prepared(self, entry: Mapping[str, Any], *, index: int | None = None) -> RecordMessage:
        """The body of one turn, checked and in the form that can travel."""
        where = "" if index is None else f"messages[{index}]: "
        if (role := entry.get("role")) not in ROLES:
            message = f"{where}role must be 'user' or 'assistant', not {role!r}"
            raise InvalidInputError(message, details={"argument": "role"})
        if not isinstance(content := entry.get("content"), str):
            message = f"{where}content must be a string, not {type(content).__name__}"
            raise InvalidInputError(message, details={"argument": "content"})
        names = ("conversation_id", "user_id", "customer_id", "session_id")
        scope = identified(required=("conversation_id", "user_id"), **{name: entry.get(name) for name in names})
        if not isinstance(metadata := entry.get("metadata") or {}, Mapping):
            message = f"{where}metadata must be a mapping, not {type(metadata).__name__}"
            raise InvalidInputError(message, details={"argument": "metadata"})
        await self._connection.admitted(scope, must_name_customer=True)
        sent, original = self._connection.addressed(scope)
        kept = plain(metadata)
        body = {
            "conversation_id": sent.conversation_id,
            "role": role,
            "content": text(content),
            "user_id": scope.user_id,
            "customer_id": scope.customer_id,
            "metadata": (kept if isinstance(kept, dict) else {}) | original,
        }
        if scope.session_id is not None:
            body["session_id"] = scope.session_id
        return RecordMessage.model_validate(body)


def _ascii(event_id: str | None) -> str | None:
    if event_id is not None and not (event_id.isascii() and event_id.isprintable()):
        message = "event_id must be printable ASCII: pass a UUID"
        raise InvalidInputError(message, details={"argument": "event_id"})
    return event_id
