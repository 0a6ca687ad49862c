"""Questions put to any client with the documented surface: ours, or the platform's own SDK object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, assert_never

from synap_integrations.errors import ContextNotFoundError, SynapError, SynapPermanentError
from synap_integrations.model import ContextItem, RecentTurn, Scope, new_id
from synap_integrations.plain import text
from synap_integrations.ports import Answer, Erase, Forget, PreviewForget, Question, ReadConversation, Remember, Search
from synap_integrations.wire.conversation_ids import platform_id
from synap_integrations.wire.items import candidate, fetched_item, moment
from synap_integrations.wire.report import CONTEXT_TYPES

from .conversation import Conversation

Ask = Callable[..., Awaitable[Any]]
"""Calls a verb of the client; what it raises comes out as a `SynapError`."""

_AS_TEXT: Final = "document"
"""A note is no conversation: nobody in it said anything."""


async def answered(client: Any, question: Question, scope: Scope, *, ask: Ask) -> Answer:  # noqa: ANN401 - any client
    """What the platform answers on behalf of the scope, whose conversation has the name that the client takes.

    Raises: SynapError.
    """
    whose = {"user_id": scope.user_id, "customer_id": scope.customer_id}
    match question:
        case Search():
            found = await ask(
                client.fetch,
                conversation_id=scope.conversation_id,
                **whose,
                search_query=[question.query],
                max_results=question.limit,
                types=list(question.types) or None,
                mode=question.mode,
                scopes=list(question.levels) or None,
                include_conversation_context=False,
                response_shape="ranked",
            )
            return Answer(items=_found(found, question.limit), source="fetched")
        case ReadConversation():
            return await _read(client, question, scope, ask)
        case Remember():
            metadata = {"source": question.source, "synap_conversation_id": scope.conversation_id}
            taken = await ask(
                client.memories.create,
                document=question.text,
                document_type=_AS_TEXT,
                document_id=new_id(),
                **whose,
                mode="fast",
                metadata={name: value for name, value in metadata.items() if value},
            )
            return Answer(ids=(str(taken.document_id),), source="fetched")
        case PreviewForget():
            shown = await ask(client.memories.forget, description=question.description, **whose, mode="preview")
            return Answer(items=tuple(_candidates(shown.candidates)), source="fetched")
        case Forget():
            return await _forgotten(client, question, ask)
        case Erase():
            return await _erased(client, scope, ask)
        case _:
            assert_never(question)


async def _read(client: Any, question: ReadConversation, scope: Scope, ask: Ask) -> Answer:  # noqa: ANN401 - see above
    """A conversation that nobody names, or that the platform does not know, is empty."""
    if scope.conversation_id is None:
        return Answer()
    words: dict[str, Any] = {"conversation_id": scope.conversation_id, "style": question.style}
    if isinstance(client.conversation, Conversation):
        verb = client.conversation.context_for_prompt
        whose = {"user_id": scope.user_id, "customer_id": scope.customer_id}
        if scope.user_id is not None:
            # Exactly theirs: a user of no customer is not the user of the same id that some customer has.
            words["conversation_id"] = platform_id(scope.conversation_id, **whose)
        words |= whose
    else:
        verb = client.conversation.context.get_context_for_prompt
    try:
        told = await ask(verb, **words)
    except ContextNotFoundError:
        return Answer(source="fetched")
    turns = [_plain(turn) for turn in getattr(told, "recent_messages", None) or ()]
    return Answer(
        turns=tuple(
            RecentTurn(str(turn["role"]), text(turn["content"]), moment(turn.get("timestamp")))
            for turn in turns
            if turn.get("role") in {"user", "assistant"} and isinstance(turn.get("content"), str)
        ),
        text="" if question.turns_only else text(told.formatted_context or ""),
        source="fetched",
    )


async def _erased(client: Any, scope: Scope, ask: Ask) -> Answer:  # noqa: ANN401 - see above
    """What is still there afterwards is left, also where the platform only says that it has not finished."""
    verb = getattr(getattr(client, "data", None), "delete", None)
    if verb is None:
        message = f"a {type(client).__name__} cannot delete: ask the platform itself"
        raise SynapPermanentError(message)
    levels = (("conversation", scope.conversation_id), ("user", scope.user_id), ("customer", scope.customer_id))
    kind, named = next(level for level in levels if level[1] is not None)
    ids = {"conversation_id": scope.conversation_id, "user_id": scope.user_id, "customer_id": scope.customer_id}
    try:
        done = await ask(verb, scope=kind, **ids, confirm=named)
    except ContextNotFoundError:
        return Answer()
    counts = {name: number for name, number in (done.counts or {}).items() if isinstance(number, int)}
    left = () if done.fully_removed or not done.found else tuple(done.still_present_in) or (str(done.status),)
    return Answer(counts=counts, left=left, source="fetched" if done.found else "none")


async def _forgotten(client: Any, question: Forget, ask: Ask) -> Answer:  # noqa: ANN401 - see above
    gone: list[str] = []
    left: list[str] = []
    fault: SynapError | None = None
    for memory_id in question.memory_ids:
        try:
            await ask(client.memories.delete, memory_id=memory_id)
        except ContextNotFoundError:  # somebody else was faster
            gone.append(memory_id)
        except SynapError as error:
            fault = error
            left.append(memory_id)
        else:
            gone.append(memory_id)
    if fault is not None and not gone:
        raise fault
    return Answer(ids=tuple(gone), left=tuple(left), source="fetched")


# --- what was found, as items ------------------------------------------------------------------------------------


def _found(context: object, limit: int) -> tuple[ContextItem, ...]:
    """The items of all levels that were asked, best first; a platform that cannot rank gives them by type."""
    ranked = [_plain(entry) for entry in getattr(context, "items", None) or ()]
    if not ranked:
        by_type = {kind: getattr(context, kind, None) or () for kind in CONTEXT_TYPES}
        ranked = [{"category": kind, **_plain(entry)} for kind, held in by_type.items() for entry in held]
    items = {item.item_id: item for raw in ranked if (item := fetched_item(raw)) is not None}
    return tuple(sorted(items.values(), key=lambda item: -item.score)[:limit])


def _candidates(shown: object) -> Iterator[ContextItem]:
    for entry in shown if isinstance(shown, list | tuple) else ():
        if (item := candidate(_plain(entry))) is not None:
            yield item


def _plain(entry: object) -> dict[str, Any]:
    """An entry of ours is a mapping, one of the SDK's a model."""
    if isinstance(entry, Mapping):
        return dict(entry)
    dump = getattr(entry, "model_dump", None)
    return dict(dump()) if callable(dump) else {}
