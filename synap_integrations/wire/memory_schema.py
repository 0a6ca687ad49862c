"""The answers about documents, memories, transcripts, excerpts and deletions.

Source: maximem-synap 0.6.9, memories/models.py, data/models.py, models/conversations.py and models/context.py.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from .rest_schema import Objects, Shape

MEMORIES: Final = "/api/v1/memories"
DATA_DELETE: Final = "/v1/data/delete"
INGEST: Final = "/v1/conversations/ingest"
COMPACT: Final = "/v1/conversations/compact"


class DocumentTaken(Shape):
    """A document was taken, or is being: ``status`` is queued, processing, completed, failed or partial_success."""

    ingestion_id: str | None = None
    document_id: str | None = None
    status: str | None = None
    queued_at: str | None = None
    error_message: str | None = None


class DocumentsTaken(Shape):
    """What became of each document, in their order."""

    batch_id: str | None = None
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    results: list[DocumentTaken] = Field(default_factory=list)


class IngestionStatus(DocumentTaken):
    """What became of a document: the ids of its memories, when it is ``completed``."""

    memories_created: int = 0
    memory_ids: list[str] = Field(default_factory=list)


class Memory(Shape):
    """One remembered thing."""

    memory_id: str | None = None
    memory_type: str | None = None
    content: str = ""
    confidence: float | None = None
    category: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    source_document_id: str | None = None


class MemoryDeleted(Shape):
    """A memory is gone."""

    memory_id: str | None = None
    deleted_at: str | None = None


class MemoriesForgotten(Shape):
    """What a description matched. ``status``: nothing_matches, preview, deleted or partial."""

    status: str | None = None
    candidates: Objects = Field(default_factory=list)
    deleted_ids: list[str] = Field(default_factory=list)
    failed_ids: list[str] = Field(default_factory=list)
    still_present_in: list[str] = Field(default_factory=list)
    may_be_incomplete: bool = False


class DataDeleted(Shape):
    """What a deletion did. Trust ``fully_removed`` and not the status alone."""

    deletion_id: str | None = None
    status: str | None = None
    found: bool = False
    counts: dict[str, Any] = Field(default_factory=dict)
    still_present_in: list[str] = Field(default_factory=list)
    fully_removed: bool = False
    unfinished: bool = Field(default=False, alias="continue")


class TranscriptTaken(Shape):
    """A transcript was taken; ``status`` is queued or duplicate."""

    conversation_id: str | None = None
    ingestion_id: str | None = None
    status: str | None = None
    turns_recorded: int = 0
    warnings: list[str] = Field(default_factory=list)


class CompactionStatus(Shape):
    """How far a compaction is."""

    conversation_id: str | None = None
    status: str | None = None
    compaction_id: str | None = None


class Compacted(Shape):
    """What stands for the first turns of a conversation."""

    formatted_context: str | None = None
    original_token_count: int | None = None
    compacted_token_count: int | None = None
    compression_ratio: float | None = None
    strategy_used: str | None = None
    compaction_id: str | None = None
    quality_warning: bool = False


class UserProfile(Shape):
    """What is known of a user as a person."""

    profile: dict[str, Any] = Field(default_factory=dict)


class Recap(Shape):
    """What is told to an application that begins a conversation: the profile, and earlier conversations in short."""

    profile: dict[str, Any] | None = None
    conversations: Objects = Field(default_factory=list)
