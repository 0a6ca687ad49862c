"""Made by protos/generate.py from protos/synap_stream.proto: edit that one."""

from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence
from typing import Final, Self

class DecodeError(Exception): ...

class Message:
    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...
    def ByteSize(self) -> int: ...
    @classmethod
    def FromString(cls, data: bytes) -> Self: ...
    def CopyFrom(self, other: Self) -> None: ...
    def HasField(self, field_name: str) -> bool: ...
    def WhichOneof(self, oneof_group: str) -> str | None: ...
    def Clear(self) -> None: ...

class StreamEvent(Message):
    conversation_event: ConversationEvent
    heartbeat_ping: HeartbeatPing
    session_control: SessionControl
    context_used: ContextUsedEvent
    context_assembled: ContextAssembledEvent
    def __init__(
        self,
        *,
        conversation_event: ConversationEvent | None = ...,
        heartbeat_ping: HeartbeatPing | None = ...,
        session_control: SessionControl | None = ...,
        context_used: ContextUsedEvent | None = ...,
        context_assembled: ContextAssembledEvent | None = ...,
    ) -> None: ...

class ConversationEvent(Message):
    event_type: str
    conversation_id: str
    user_id: str
    role: str
    content: str
    customer_id: str
    session_id: str
    metadata: MutableMapping[str, str]
    timestamp_ms: int
    tool_name: str
    tool_args_json: str
    search_queries: MutableSequence[str]
    context_types: MutableSequence[str]
    scope: MutableMapping[str, str]
    tool_result_json: str
    tool_call_id: str
    event_id: str
    sent_at_ms: int
    def __init__(
        self,
        *,
        event_type: str | None = ...,
        conversation_id: str | None = ...,
        user_id: str | None = ...,
        role: str | None = ...,
        content: str | None = ...,
        customer_id: str | None = ...,
        session_id: str | None = ...,
        metadata: Mapping[str, str] | None = ...,
        timestamp_ms: int | None = ...,
        tool_name: str | None = ...,
        tool_args_json: str | None = ...,
        search_queries: Iterable[str] | None = ...,
        context_types: Iterable[str] | None = ...,
        scope: Mapping[str, str] | None = ...,
        tool_result_json: str | None = ...,
        tool_call_id: str | None = ...,
        event_id: str | None = ...,
        sent_at_ms: int | None = ...,
    ) -> None: ...

class HeartbeatPing(Message):
    timestamp_ms: int
    def __init__(
        self,
        *,
        timestamp_ms: int | None = ...,
    ) -> None: ...

class SessionControl(Message):
    action: str
    session_id: str
    conversation_id: str
    user_id: str
    customer_id: str
    def __init__(
        self,
        *,
        action: str | None = ...,
        session_id: str | None = ...,
        conversation_id: str | None = ...,
        user_id: str | None = ...,
        customer_id: str | None = ...,
    ) -> None: ...

class ContextUsedEvent(Message):
    bundle_id: str
    conversation_id: str
    user_id: str
    customer_id: str
    served_item_ids: MutableSequence[str]
    timestamp_ms: int
    scope: str
    source_bundle_ids: MutableSequence[str]
    query_count: int
    def __init__(
        self,
        *,
        bundle_id: str | None = ...,
        conversation_id: str | None = ...,
        user_id: str | None = ...,
        customer_id: str | None = ...,
        served_item_ids: Iterable[str] | None = ...,
        timestamp_ms: int | None = ...,
        scope: str | None = ...,
        source_bundle_ids: Iterable[str] | None = ...,
        query_count: int | None = ...,
    ) -> None: ...

class ContextAssembledEvent(Message):
    correlation_id: str
    conversation_id: str
    user_id: str
    customer_id: str
    final_item_ids: MutableSequence[str]
    final_total_tokens: int
    compaction_id: str
    recent_turn_count: int
    compaction_end_timestamp: str
    assembly_source: str
    assembly_duration_ms: int
    cache_hit: bool
    timestamp_ms: int
    sdk_version: str
    def __init__(
        self,
        *,
        correlation_id: str | None = ...,
        conversation_id: str | None = ...,
        user_id: str | None = ...,
        customer_id: str | None = ...,
        final_item_ids: Iterable[str] | None = ...,
        final_total_tokens: int | None = ...,
        compaction_id: str | None = ...,
        recent_turn_count: int | None = ...,
        compaction_end_timestamp: str | None = ...,
        assembly_source: str | None = ...,
        assembly_duration_ms: int | None = ...,
        cache_hit: bool | None = ...,
        timestamp_ms: int | None = ...,
        sdk_version: str | None = ...,
    ) -> None: ...

class StreamResponse(Message):
    context_bundle: ContextBundleProto
    heartbeat_pong: HeartbeatPong
    signal: StreamSignal
    event_ack: EventAck
    conversation_state: ConversationState
    def __init__(
        self,
        *,
        context_bundle: ContextBundleProto | None = ...,
        heartbeat_pong: HeartbeatPong | None = ...,
        signal: StreamSignal | None = ...,
        event_ack: EventAck | None = ...,
        conversation_state: ConversationState | None = ...,
    ) -> None: ...

class HeartbeatPong(Message):
    timestamp_ms: int
    def __init__(
        self,
        *,
        timestamp_ms: int | None = ...,
    ) -> None: ...

class EventAck(Message):
    event_ids: MutableSequence[str]
    timestamp_ms: int
    def __init__(
        self,
        *,
        event_ids: Iterable[str] | None = ...,
        timestamp_ms: int | None = ...,
    ) -> None: ...

class ConversationState(Message):
    conversation_id: str
    message_count: int
    def __init__(
        self,
        *,
        conversation_id: str | None = ...,
        message_count: int | None = ...,
    ) -> None: ...

class StreamSignal(Message):
    signal_type: str
    reason: str
    metadata: MutableMapping[str, str]
    def __init__(
        self,
        *,
        signal_type: str | None = ...,
        reason: str | None = ...,
        metadata: Mapping[str, str] | None = ...,
    ) -> None: ...

class ContextBundleProto(Message):
    bundle_id: str
    decision_id: str
    items_by_type: MutableMapping[str, ContextItemList]
    total_tokens: int
    token_budget: int
    budget_exceeded: bool
    retrieval_mode: str
    sources_queried: MutableSequence[str]
    degradation_level: str
    warnings: MutableSequence[str]
    created_at: str
    retrieval_time_ms: int
    cache_hit: bool
    search_queries: MutableSequence[str]
    anticipation_user_id: str
    anticipation_customer_id: str
    anticipation_conversation_id: str
    search_keywords: MutableSequence[str]
    bundle_type: str
    conversation_context: ConversationContextProto
    bundle_confidence: float
    origin_pattern_id: str
    ttl_hint_seconds: int
    anticipation_scope_rung: str
    def __init__(
        self,
        *,
        bundle_id: str | None = ...,
        decision_id: str | None = ...,
        items_by_type: Mapping[str, ContextItemList] | None = ...,
        total_tokens: int | None = ...,
        token_budget: int | None = ...,
        budget_exceeded: bool | None = ...,
        retrieval_mode: str | None = ...,
        sources_queried: Iterable[str] | None = ...,
        degradation_level: str | None = ...,
        warnings: Iterable[str] | None = ...,
        created_at: str | None = ...,
        retrieval_time_ms: int | None = ...,
        cache_hit: bool | None = ...,
        search_queries: Iterable[str] | None = ...,
        anticipation_user_id: str | None = ...,
        anticipation_customer_id: str | None = ...,
        anticipation_conversation_id: str | None = ...,
        search_keywords: Iterable[str] | None = ...,
        bundle_type: str | None = ...,
        conversation_context: ConversationContextProto | None = ...,
        bundle_confidence: float | None = ...,
        origin_pattern_id: str | None = ...,
        ttl_hint_seconds: int | None = ...,
        anticipation_scope_rung: str | None = ...,
    ) -> None: ...

class ContextItemList(Message):
    items: MutableSequence[ContextItemProto]
    def __init__(
        self,
        *,
        items: Iterable[ContextItemProto] | None = ...,
    ) -> None: ...

class ContextItemProto(Message):
    item_id: str
    content: str
    context_type: str
    source: str
    similarity_score: float
    relevance_score: float
    confidence: float
    scope: str
    entity_id: str
    created_at: str
    event_date: str
    valid_until: str
    temporal_category: str
    temporal_confidence: float
    said_at: str
    rank_score: float
    questions: MutableSequence[str]
    date_prefix: str
    def __init__(
        self,
        *,
        item_id: str | None = ...,
        content: str | None = ...,
        context_type: str | None = ...,
        source: str | None = ...,
        similarity_score: float | None = ...,
        relevance_score: float | None = ...,
        confidence: float | None = ...,
        scope: str | None = ...,
        entity_id: str | None = ...,
        created_at: str | None = ...,
        event_date: str | None = ...,
        valid_until: str | None = ...,
        temporal_category: str | None = ...,
        temporal_confidence: float | None = ...,
        said_at: str | None = ...,
        rank_score: float | None = ...,
        questions: Iterable[str] | None = ...,
        date_prefix: str | None = ...,
    ) -> None: ...

class ConversationContextProto(Message):
    summary: str
    current_state_json: str
    key_extractions_json: str
    recent_turns: MutableSequence[RecentTurnProto]
    compaction_id: str
    compacted_at: str
    conversation_id: str
    compacted_message_count: int
    total_message_count: int
    context_block: str
    def __init__(
        self,
        *,
        summary: str | None = ...,
        current_state_json: str | None = ...,
        key_extractions_json: str | None = ...,
        recent_turns: Iterable[RecentTurnProto] | None = ...,
        compaction_id: str | None = ...,
        compacted_at: str | None = ...,
        conversation_id: str | None = ...,
        compacted_message_count: int | None = ...,
        total_message_count: int | None = ...,
        context_block: str | None = ...,
    ) -> None: ...

class RecentTurnProto(Message):
    role: str
    content: str
    timestamp: str
    def __init__(
        self,
        *,
        role: str | None = ...,
        content: str | None = ...,
        timestamp: str | None = ...,
    ) -> None: ...

MESSAGES: Final = ("ContextAssembledEvent", "ContextBundleProto", "ContextItemList", "ContextItemProto", "ContextUsedEvent", "ConversationContextProto", "ConversationEvent", "ConversationState", "EventAck", "HeartbeatPing", "HeartbeatPong", "RecentTurnProto", "SessionControl", "StreamEvent", "StreamResponse", "StreamSignal")
