"""Whole transcripts in, and long conversations cut short, by REST."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, cast, get_args

from synap_integrations.errors import ConflictError
from synap_integrations.server.compaction import Compaction, Compactions, Excerpt, Strategy
from synap_integrations.server.documents.intake import Intake, Intakes, Offered
from synap_integrations.server.documents.pieces import pieces_of
from synap_integrations.server.engine import Engine
from synap_integrations.server.records import Owner
from synap_integrations.server.turns_wire import owner_of
from synap_integrations.wire.conversation_ids import platform_id
from synap_integrations.wire.items import moment

from .answers import NOT_CACHED, Json
from .bodies import Request, choice_of, count_of, missing, object_of, refuse, scope_of, text_of

_KIND_CHARS: Final = 64
_MOST_BYTES: Final = 64 << 10
_NO_TIMES: Final = "no times were given: the turns count as said when they were taken"
_NO_ANALYSIS: Final = "analysis was not kept: the local Synap reads turns only"


class TranscriptsApi:
    """Handler for ``/v1/conversations/ingest``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._intakes = Intakes(engine)

    def ingest(self, request: Request) -> Json:
        """A transcript is taken as a conversation; the same again is a duplicate, another under its id a conflict."""
        body = request.json()
        scope = scope_of(body, need=("conversation_id", "user_id"))
        assert scope.conversation_id is not None
        owner = owner_of(scope)
        transcript = body.get("transcript")
        if not isinstance(transcript, str | list) or not transcript:
            refuse("transcript", "must be text or a list of turns")
        kind = text_of(body, "conversation_type", limit=_KIND_CHARS)
        metadata = object_of(body, "metadata") | ({"conversation_type": kind} if kind else {})
        for name in ("analysis", "metadata"):
            if len(json.dumps(body.get(name), ensure_ascii=False).encode()) > _MOST_BYTES:
                refuse(name, f"must be at most {_MOST_BYTES} bytes")
        conversation_id = platform_id(scope.conversation_id, user_id=scope.user_id, customer_id=scope.customer_id)
        before = self._engine.store.extent(owner, conversation_id)
        intake = self._taken(body, owner, scope.conversation_id, conversation_id, metadata)
        end = self._engine.store.extent(owner, conversation_id)
        there, now = (place.position if place else 0 for place in (before, end))
        return {
            "conversation_id": conversation_id,
            "external_conversation_id": scope.conversation_id,
            "ingestion_id": intake.ingestion_id,
            "status": "duplicate" if intake.again else "queued",
            "turns_recorded": now - there,
            "summary_status": "skipped",
            "queued_at": intake.taken_at.isoformat(),
            "warnings": [] if intake.again else _warnings(body, there),
        }

    def _taken(
        self, body: Mapping[str, Any], owner: Owner, name: str, conversation_id: str, metadata: Mapping[str, object]
    ) -> Intake:
        offered = Offered(
            owner=owner,
            kind="transcript",
            name=name,
            pieces=pieces_of(body["transcript"], "transcript"),
            conversation_id=conversation_id,
            said_at=moment(body.get("started_at")) or moment(body.get("ended_at")),
            metadata=metadata,
        )
        try:
            return self._intakes.take(offered)
        except ConflictError as error:
            message = "this conversation has another transcript already: a new call needs a new conversation_id"
            raise ConflictError(message, details={"code": "transcript_conflict"}) from error


class CompactionsApi:
    """Handlers for the compaction of conversations: an excerpt, made at once and labelled as one."""

    def __init__(self, engine: Engine, on_compaction: Callable[[Owner, Compaction], None]) -> None:
        self._engine = engine
        self._on_compaction = on_compaction
        self.compactions = Compactions(engine)

    def compact(self, request: Request) -> Json:
        """All but the newest turns are quoted in an excerpt from now on, if the conversation is long enough."""
        body = request.json()
        scope = scope_of(body, need=("conversation_id",))
        assert scope.conversation_id is not None
        strategy = cast("Strategy", choice_of(body, "strategy", get_args(Strategy), "adaptive"))
        owner = owner_of(scope) if scope.user_id else self._owner(scope.conversation_id)
        before = self.compactions.latest(owner, scope.conversation_id)
        made = self.compactions.compact(
            owner,
            scope.conversation_id,
            strategy=strategy,
            target_tokens=count_of(body, "target_tokens", None),
            force=body.get("force") is True,
        )
        if made is not None:
            self._on_compaction(owner, made)
        return {
            "compaction_id": made.compaction_id if made else "",
            "conversation_id": scope.conversation_id,
            "status": "completed" if made else "skipped",
            "trigger_type": "manual",
            "initiated_at": self._engine.now().isoformat(),
            "estimated_completion_seconds": 0,
            "previous_context": None,
            "previous_context_age_seconds": None,
            "previous_compaction_id": before.compaction_id if before else None,
        }

    def compacted(self, request: Request) -> Json:
        """The excerpt."""
        owner, conversation_id = self._named(request)
        version = request.query.get("version", "")
        if version and not (version.isascii() and version.isdigit() and len(version) < 10):
            refuse("version", "must be a whole number from 1 up")
        found = self.compactions.latest(owner, conversation_id, version=int(version) if version else None)
        if found is None:
            missing("this conversation was not compacted")
        return _compacted(found, self.compactions.excerpt(owner, found))

    def status(self, request: Request) -> Json:
        """Whether there is an excerpt; there is never one on its way."""
        owner, conversation_id = self._named(request)
        found = self.compactions.latest(owner, conversation_id)
        at = found.made_at.isoformat() if found else None
        return {
            "conversation_id": conversation_id,
            "status": "completed" if found else "none",
            "compaction_id": found.compaction_id if found else None,
            "completed_at": at,
            "compression_ratio": self.compactions.excerpt(owner, found).ratio if found else None,
            "validation_score": None,
            "estimated_completion_seconds": None,
            "error_message": None,
            "latest_version": found.version if found else None,
            "latest_created_at": at,
        }

    def _named(self, request: Request) -> tuple[Owner, str]:
        scope = scope_of({**request.query, "conversation_id": request.named["conversation"]})
        assert scope.conversation_id is not None
        return owner_of(scope) if scope.user_id else self._owner(scope.conversation_id), scope.conversation_id

    def _owner(self, conversation_id: str) -> Owner:
        owner = self._engine.owner_of(conversation_id)
        if owner is None:
            missing("there is no such conversation")
        return owner


def _compacted(found: Compaction, excerpt: Excerpt) -> Json:
    facts, preferences = (
        [
            {"id": statement.statement_id, "content": statement.content, "confidence": statement.confidence}
            for statement in excerpt.statements
            if statement.kind == kind
        ]
        for kind in ("facts", "preferences")
    )
    return {
        "formatted_context": excerpt.text,
        "original_token_count": excerpt.tokens_before,
        "compacted_token_count": excerpt.tokens,
        "compression_ratio": excerpt.ratio,
        "strategy_used": found.strategy,
        "compaction_id": found.compaction_id,
        "validation_score": None,
        "validation_passed": None,
        "facts": facts,
        "decisions": [],
        "preferences": preferences,
        "current_state": {"method": "excerpt", "covered_turns": found.position, "version": found.version},
        "quality_warning": True,
        "ttl_seconds": NOT_CACHED,
    }


def _warnings(body: Mapping[str, Any], there: int) -> list[str]:
    transcript = body["transcript"]
    times = [body.get("started_at"), body.get("ended_at")]
    times += [turn.get("timestamp") for turn in transcript if isinstance(turn, dict)]
    timed = any(moment(time) for time in times)
    return [
        *([] if timed else [_NO_TIMES]),
        *([f"the conversation had {there} turns already, and they were kept"] if there else []),
        *([_NO_ANALYSIS] if body.get("analysis") else []),
    ]
