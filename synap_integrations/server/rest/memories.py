"""Documents in, memories out, changed, and forgotten, by REST.

A memory is a turn, a piece of a document, or something known from a turn; its id is theirs. Documents are taken while
the caller waits, so that there is never anything queued.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from synap_integrations.errors import ConflictError, InvalidInputError
from synap_integrations.server.documents.intake import Intake, Intakes, Offered
from synap_integrations.server.documents.pieces import KINDS, pieces_of
from synap_integrations.server.engine import Engine
from synap_integrations.server.records import Owner, Statement, Turn
from synap_integrations.server.retrieval.ranking import coverage, terms
from synap_integrations.server.store.forgetting import Forgotten
from synap_integrations.wire.items import moment

from .answers import Json
from .bodies import Request, choice_of, missing, object_of, refuse, scope_of, text_of
from .uploads import uploaded

_MATCHES: Final = 0.5
"""Least share of a description's words that a memory must hold to be what it describes."""
_MOST_MATCHES: Final = 50
_NAME_CHARS: Final = 512
_CATEGORIES: Final = {"facts": "fact", "preferences": "preference", "temporal_events": "temporal_event"}
_UNCHANGED: Final = (
    "what somebody said stays as it was said: delete the memory, or record what is true now; "
    "only pieces of documents can be changed"
)


class MemoriesApi:
    """Handlers for ``/api/v1/memories``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._intakes = Intakes(engine)

    def create(self, request: Request) -> Json:
        """A document is taken."""
        return _taken(self._take(request.json()))

    def upload(self, request: Request) -> Json:
        """A text file, or text, is taken from a form."""
        return _taken(self._take(uploaded(request.headers.get("content-type", ""), request.body)))

    def create_batch(self, request: Request) -> Json:
        """Documents are taken one by one; with ``fail_fast`` none behind the first that cannot be."""
        body = request.json()
        documents = body.get("documents")
        if not isinstance(documents, list):
            refuse("documents", "must be a list")
        results: list[Json] = []
        for document in documents:
            results.append(self._taken_or_not(document))
            if results[-1]["status"] == "failed" and body.get("fail_fast"):
                break
        failed = sum(result["status"] == "failed" for result in results)
        return {
            "batch_id": self._engine.new_id(),
            "total": len(documents),
            "succeeded": len(results) - failed,
            "failed": failed,
            "results": results,
        }

    def status(self, request: Request) -> Json:
        """What became of a document: it is there, in these memories."""
        intake = self._intakes.found(request.named["ingestion"])
        if intake is None:
            missing("nothing was taken under this id")
        memory_ids = [turn.message_id for turn in self._intakes.turns(intake)]
        at = intake.taken_at.isoformat()
        return {
            **_taken(intake),
            "started_at": at,
            "completed_at": at,
            "memories_created": len(memory_ids),
            "memory_ids": memory_ids,
            "error_message": None,
        }

    def get(self, request: Request) -> Json:
        """One memory."""
        return _memory(self._memory(request))

    def update(self, request: Request) -> Json:
        """A piece of a document is changed."""
        body, held = request.json(), self._memory(request)
        if isinstance(held, Statement) or self._intakes.of(held) is None:
            refuse("memory_id", f"cannot be changed: {_UNCHANGED}")
        strategy = choice_of(body, "merge_strategy", ("replace", "append", "smart-merge"), "smart-merge")
        document = body.get("document")
        if not isinstance(document, str | Mapping) or not document:
            refuse("document", "must be text or an object")
        text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
        now = self._engine.now().isoformat()
        metadata = {**held.metadata, **object_of(body, "metadata"), "synap_updated_at": now}
        self._engine.store.rewrite(
            held.owner, held.message_id, content=_merged(held.content, text, strategy), metadata=metadata
        )
        return self.get(request)

    def delete(self, request: Request) -> Json:
        """One memory is forgotten."""
        held = self._memory(request)
        if isinstance(held, Statement):
            self._engine.forgetting.forget_statements(held.owner, [held.statement_id])
        else:
            self._engine.forgetting.forget_turns(held.owner, [held.message_id])
        return {"memory_id": request.named["memory"], "deleted_at": self._engine.now().isoformat()}

    def delete_all(self, request: Request) -> Json:
        """Memories are forgotten together: the file is rewritten once, and not for each of them."""
        memory_ids = request.json().get("memory_ids")
        if not isinstance(memory_ids, list) or not all(isinstance(named, str) for named in memory_ids):
            refuse("memory_ids", "must be a list of strings")
        turns: dict[Owner, list[str]] = {}
        for memory_id in memory_ids:
            if (turn := self._engine.store.said(memory_id)) is not None:
                turns.setdefault(turn.owner, []).append(memory_id)
        for owner, named in turns.items():
            self._engine.forgetting.forget_turns(owner, named)
        gone = {memory_id for named in turns.values() for memory_id in named}
        return {
            "status": "deleted" if gone else "nothing_matches",
            "deleted_ids": sorted(gone),
            "failed_ids": sorted(set(memory_ids) - gone),
        }

    def forget(self, request: Request) -> Json:
        """What a description describes is shown, or forgotten. Words decide, so that more may be there."""
        body = request.json()
        description = text_of(body, "description", limit=500)
        if description is None or len(description.strip()) < 3:
            refuse("description", "must be a string of 3 to 500 characters")
        scope = scope_of(body, need=("user_id",))
        assert scope.user_id is not None
        owner = Owner(scope.customer_id or "", scope.user_id)
        mode = choice_of(body, "mode", ("preview", "direct"), "preview")
        turns, statements = self._described(owner, description)
        forgotten = Forgotten()
        if mode == "direct":
            self._engine.forgetting.forget_statements(owner, [known.statement_id for known in statements])
            forgotten = self._engine.forgetting.forget_turns(owner, [turn.message_id for turn in turns])
        found: list[Turn | Statement] = [*turns, *statements]
        ids = [_id_of(held) for held in found]
        done = "partial" if forgotten.still_present_in else "deleted"
        return {
            "status": "nothing_matches" if not found else "preview" if mode == "preview" else done,
            "request_id": self._engine.new_id(),
            "candidates": [
                {
                    "memory_id": _id_of(held),
                    "content": held.content,
                    "memory_type": _memory(held)["memory_type"],
                    "store": "memory",
                }
                for held in found
            ],
            "deleted_ids": ids if mode == "direct" else [],
            "failed_ids": [],
            "still_present_in": list(forgotten.still_present_in),
            "may_be_incomplete": True,
        }

    # --- one by one ------------------------------------------------------------------------------------------

    def _take(self, given: object) -> Intake:
        if not isinstance(given, dict):
            refuse("document", "must be an object")
        kind = choice_of(given, "document_type", sorted(KINDS), "ai-chat-conversation")
        document = given.get("document")
        if not isinstance(document, str | Mapping | list):
            refuse("document", "must be text or an object")
        scope = scope_of(given)
        return self._intakes.take(
            Offered(
                # Without a user it is the customer's, without either everybody's.
                owner=Owner(scope.customer_id or "", scope.user_id or ""),
                kind=kind,
                name=text_of(given, "document_id", limit=_NAME_CHARS) or self._engine.new_id(),
                pieces=pieces_of(document, kind),
                said_at=moment(given.get("document_created_at")),
                metadata=object_of(given, "metadata"),
            )
        )

    def _taken_or_not(self, document: object) -> Json:
        try:
            return _taken(self._take(document))
        except (InvalidInputError, ConflictError) as error:
            name = document.get("document_id") if isinstance(document, dict) else None
            return {
                "ingestion_id": self._engine.new_id(),
                "document_id": str(name or ""),
                "status": "failed",
                "queued_at": self._engine.now().isoformat(),
                "error_message": error.message,
            }

    def _memory(self, request: Request) -> Turn | Statement:
        memory_id = request.named["memory"]
        held = self._engine.store.said(memory_id) or self._engine.known.called(memory_id)
        if held is None:
            missing("there is no such memory")
        return held

    def _described(self, owner: Owner, description: str) -> tuple[list[Turn], list[Statement]]:
        words = terms(description)
        found = self._engine.search(owner, [description], limit=_MOST_MATCHES)
        stated = self._engine.statements(owner, [description], limit=_MOST_MATCHES)
        return (
            [entry.turn for entry in found if coverage(words, entry.turn.content) >= _MATCHES],
            [entry.statement for entry in stated if coverage(words, entry.statement.content) >= _MATCHES],
        )


def _taken(intake: Intake) -> Json:
    return {
        "ingestion_id": intake.ingestion_id,
        "document_id": intake.name,
        "status": "completed",
        "queued_at": intake.taken_at.isoformat(),
    }


def _id_of(held: Turn | Statement) -> str:
    return held.message_id if isinstance(held, Turn) else held.statement_id


def _memory(held: Turn | Statement) -> Json:
    """A memory, with what kind it is and where it comes from."""
    known = held if isinstance(held, Statement) else None
    metadata: Mapping[str, Any] = held.metadata if isinstance(held, Turn) else {}
    return {
        "memory_id": _id_of(held),
        "memory_type": _CATEGORIES[known.kind] if known else "episode",
        "content": held.content,
        "confidence": known.confidence if known else 1.0,
        "category": known.kind if known else "episodes",
        "subcategory": held.slot if isinstance(held, Statement) else held.role,
        "created_at": held.recorded_at.isoformat(),
        "updated_at": metadata.get("synap_updated_at"),
        "source_document_id": metadata.get("synap_document_id"),
    }


def _merged(old: str, new: str, strategy: str) -> str:
    """The text after an update. To merge without a model is to append what is not there yet."""
    if strategy == "replace" or (strategy == "smart-merge" and old in new):
        return new
    return old if strategy == "smart-merge" and new in old else f"{old}\n{new}"
