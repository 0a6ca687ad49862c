"""Events become the platform's words, its messages ours; what is malformed is refused message by message."""

import json
import math
import re
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from synap_integrations.model import (
    Ack,
    AssistantMessage,
    ContextRequest,
    ContextUsed,
    ConversationState,
    Envelope,
    Scope,
    Signal,
    Thinking,
    ToolCall,
    ToolResult,
    UserMessage,
)
from synap_integrations.wire import grpc_codec
from synap_integrations.wire.bundles import MAX_ITEMS, bundle_from_dict
from synap_integrations.wire.items import fetched_item, item_of, moment
from synap_integrations.wire.proto import (
    ContextBundleProto,
    ContextItemList,
    ContextItemProto,
    ConversationContextProto,
    EventAck,
    HeartbeatPong,
    RecentTurnProto,
    StreamEvent,
    StreamResponse,
    StreamSignal,
)
from synap_integrations.wire.proto import ConversationState as StateMessage
from synap_integrations.wire.report import MAX_METADATA_KEYS, describe, provenance, string_map

NOW = datetime(2026, 5, 16, 12, 0, tzinfo=UTC)
EARLIER = datetime(2026, 5, 16, 11, 0, tzinfo=UTC)
SCOPE = Scope("c", "u", customer_id="acme", session_id="s")

DOCUMENTED_KEYS = {
    "bundle_id", "decision_id", "items_by_type", "total_tokens", "token_budget", "budget_exceeded", "retrieval_mode",
    "sources_queried", "degradation_level", "warnings", "created_at", "retrieval_time_ms", "cache_hit",
    "search_queries", "search_keywords", "_anticipation_user_id", "_anticipation_customer_id",
    "_anticipation_conversation_id", "_anticipation_scope_rung", "_bundle_type", "conversation_context",
    "_bundle_confidence", "_origin_pattern_id", "_ttl_hint_seconds",
}  # fmt: skip
ITEM_KEYS = {
    "item_id", "content", "context_type", "source", "similarity_score", "relevance_score", "confidence", "scope",
    "entity_id", "created_at", "event_date", "said_at", "valid_until", "temporal_category", "temporal_confidence",
    "rank_score", "questions", "date_prefix",
}  # fmt: skip


def on_the_wire(event):
    """The event as it arrives at the platform."""
    sent = grpc_codec.conversation_event(
        describe(event), event_id="e", scope=SCOPE, sent_at=EARLIER, now=NOW, metadata={"channel": "web"}
    )
    return StreamEvent.FromString(sent.SerializeToString()).conversation_event


EVENTS = [
    (UserMessage("hi"), {"event_type": "user_message", "role": "user", "content": "hi"}, {}),
    (
        UserMessage("look", attachments=("image_url", "file"), edited=True),
        {"event_type": "user_message", "content": "look"},
        {"attachments": "image_url, file", "edited": "true"},
    ),
    (
        AssistantMessage("well", incomplete=True),
        {"event_type": "assistant_message", "role": "assistant", "content": "well"},
        {"incomplete": "true"},
    ),
    (
        ToolCall("fly", {"to": "Lisboa", "n": math.nan}, "t1", search_queries=("q",), context_types=("facts",)),
        {
            "event_type": "tool_call",
            "role": "assistant",
            "tool_name": "fly",
            "tool_args_json": '{"to":"Lisboa","n":"NaN"}',
            "tool_call_id": "t1",
            "search_queries": ["q"],
            "context_types": ["facts"],
        },
        {},
    ),
    (
        ToolResult("fly", "booked", "t1"),
        {"event_type": "tool_result", "role": "tool", "tool_result_json": "booked", "tool_call_id": "t1"},
        {},
    ),
    (ToolResult("fly", {"ok": [1]}, "t1", is_error=True), {"tool_result_json": '{"ok":[1]}'}, {"is_error": "true"}),
    (
        Thinking("hm", step_index=0, thought_type="plan"),
        {"event_type": "agent_thinking", "role": "", "content": "hm"},
        {"step_index": "0", "thought_type": "plan"},
    ),
    (ContextRequest(("q1", "q2"), context_types=("facts",)), {"search_queries": ["q1", "q2"]}, {}),
]


@pytest.mark.parametrize(("event", "fields", "metadata"), EVENTS, ids=lambda value: type(value).__name__)
def test_every_event_has_its_form_on_the_stream(event, fields, metadata):
    """Each kind of event under the platform's field names, with ids, both times and metadata."""
    arrived = on_the_wire(event)
    for name, value in fields.items():
        found = getattr(arrived, name)
        assert (found if isinstance(found, str) else list(found)) == value
    assert dict(arrived.metadata) == {**metadata, "channel": "web"}
    assert (arrived.event_id, arrived.conversation_id, arrived.user_id) == ("e", "c", "u")
    assert (arrived.customer_id, arrived.session_id) == ("acme", "s")
    assert (arrived.timestamp_ms, arrived.sent_at_ms) == (1_778_932_800_000, 1_778_929_200_000)


def test_context_used_and_sessions_have_messages_of_their_own():
    """What was shown to a model, and where a session begins and ends."""
    used = grpc_codec.context_used(ContextUsed(("b1", "b2"), ("i1",)), scope=SCOPE, now=NOW).context_used
    assert (used.bundle_id, list(used.source_bundle_ids), list(used.served_item_ids)) == ("b1", ["b1", "b2"], ["i1"])
    start = grpc_codec.session_control("start", scope=SCOPE).session_control
    end = grpc_codec.session_control("end", scope=SCOPE).session_control
    assert (start.action, start.session_id, start.user_id, start.customer_id) == ("start", "s", "u", "acme")
    assert (end.action, end.session_id, end.user_id, end.customer_id) == ("end", "s", "", "")


def test_what_protobuf_cannot_carry_is_replaced():
    """A lone surrogate anywhere would make the whole event unsendable."""
    arrived = on_the_wire(ToolCall("f\ud800", {"\ud800": "\udfff"}, "t\ud800", search_queries=("q\ud800",)))
    assert arrived.tool_name == "f\ufffd"
    assert json.loads(arrived.tool_args_json) == {"\ufffd": "\ufffd"}
    assert list(arrived.search_queries) == ["q\ufffd"]


def test_metadata_is_a_bounded_map_of_text():
    """At most 64 entries of at most 1,024 characters; what is no text becomes JSON, None is left out."""
    kept = string_map({"n": 1, "l": [1], "none": None, "long": "x" * 5000})
    assert (kept["n"], kept["l"], "none" in kept) == ("1", "[1]", False)
    assert len(kept["long"]) < 1200
    many = string_map({str(n): "v" for n in range(10_000)})
    assert len(many) == MAX_METADATA_KEYS + 1
    assert many["synap_metadata_dropped"] == str(10_000 - MAX_METADATA_KEYS)


def test_every_event_carries_its_id_and_time_as_metadata():
    """Repeats can be found in any store, and a late delivery does not change when it was said."""
    envelope = Envelope("e1", SCOPE, event=UserMessage("x"), occurred_at=NOW, framework="langchain")
    assert provenance(envelope) == {
        "synap_event_id": "e1",
        "synap_occurred_at": "2026-05-16T12:00:00+00:00",
        "synap_framework": "langchain",
    }
    placed = provenance(replace(envelope, place=("0a1b", -3)))
    assert (placed["synap_origin"], placed["synap_seq"]) == ("0a1b", "-3")


@pytest.mark.parametrize(
    ("message", "decoded"),
    [
        (StreamResponse(event_ack=EventAck(event_ids=["a", "b"])), Ack(("a", "b"))),
        (
            StreamResponse(conversation_state=StateMessage(conversation_id="c", message_count=3)),
            ConversationState("c", 3),
        ),
        (
            StreamResponse(signal=StreamSignal(signal_type="throttle", reason="r", metadata={"code": "x"})),
            Signal("throttle", "r", metadata={"code": "x"}),
        ),
        (StreamResponse(heartbeat_pong=HeartbeatPong()), grpc_codec.PONG),
        (StreamResponse(), grpc_codec.UNKNOWN),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_platform_says_is_read(message, decoded):
    """Acknowledgements, states, signals, pongs, and whatever is newer than us."""
    assert grpc_codec.decode(message.SerializeToString()) == decoded


@pytest.mark.parametrize("data", [b"\xff" * 20, b"\x0a\xff", b"\x0a\x02\x0a\xff", b"\x2a\x05abc"])
def test_bytes_that_are_no_message_are_refused(data):
    """ValueError for these bytes; the stream goes on."""
    with pytest.raises(ValueError, match="no StreamResponse"):
        grpc_codec.decode(data)


def a_bundle() -> ContextBundleProto:
    """A bundle with an item of two kinds and a conversation."""
    items = [
        ContextItemProto(item_id="i1", content="lives in Lisbon", confidence=0.9, said_at="2026-05-16", scope="user"),
        ContextItemProto(item_id="i2", content="likes tea", rank_score=0.5, valid_until="2027-01-01T00:00:00Z"),
        ContextItemProto(item_id="", content="nobody's"),
    ]
    return ContextBundleProto(
        bundle_id="b",
        decision_id="event-1",
        items_by_type={"facts": ContextItemList(items=items), "riddles": ContextItemList(items=items)},
        anticipation_user_id="u",
        anticipation_conversation_id="c",
        created_at="2026-05-16T12:00:00Z",
        ttl_hint_seconds=60,
        search_queries=["where"],
        conversation_context=ConversationContextProto(
            summary="a chat",
            current_state_json="[not an object",
            key_extractions_json='{"facts": []}',
            recent_turns=[RecentTurnProto(role="user", content="hi", timestamp="2026-05-16T11:00:00Z")],
        ),
    )


def test_a_bundle_has_exactly_the_documented_keys():
    """As the platform's own SDK hands it out; a broken note in it does not cost the items."""
    bundle = grpc_codec.decode(StreamResponse(context_bundle=a_bundle()).SerializeToString())
    assert set(bundle) == DOCUMENTED_KEYS
    assert {*bundle["items_by_type"]["facts"][0]} == ITEM_KEYS
    assert [item["rank_score"] for item in bundle["items_by_type"]["facts"]] == [None, 0.5, None]
    assert bundle["_anticipation_customer_id"] is None
    assert bundle["_bundle_type"] == "anticipation"
    assert bundle["conversation_context"]["current_state"] == {}
    assert bundle["conversation_context"]["key_extractions"] == {"facts": []}
    assert bundle["conversation_context"]["context_block"] is None


def test_the_platforms_sdk_makes_the_same_dict():
    """The same bytes through its code and ours give the same bundle."""
    client = pytest.importorskip("maximem_synap.transport.grpc_client")
    synap_service_pb2 = pytest.importorskip("maximem_synap.transport.proto.synap_service_pb2")
    sent = a_bundle()
    sent.conversation_context.current_state_json = '{"topic": "travel"}'
    data = sent.SerializeToString()
    convert = next(
        (
            getattr(client.GRPCTransport, name)
            for name in dir(client.GRPCTransport)
            if "bundle" in name and "dict" in name
        ),
        None,
    )
    if convert is None:
        pytest.skip("this release of the SDK converts elsewhere")
    theirs = convert(
        client.GRPCTransport.__new__(client.GRPCTransport), synap_service_pb2.ContextBundleProto.FromString(data)
    )
    assert grpc_codec.decode(StreamResponse(context_bundle=sent).SerializeToString()) == theirs


def test_a_bundle_is_read_into_our_words():
    """Owner, items with score and dates, the conversation, and the event it answers."""
    bundle = bundle_from_dict(grpc_codec.decode(StreamResponse(context_bundle=a_bundle()).SerializeToString()))
    assert bundle.scope == Scope("c", "u")
    assert (bundle.bundle_id, bundle.answers, bundle.ttl_s, bundle.rung) == ("b", "event-1", 60.0, "")
    assert [(item.item_id, item.kind, item.level) for item in bundle.items] == [
        ("i1", "facts", "user"),
        ("i2", "facts", None),
    ]
    assert [round(item.score, 3) for item in bundle.items] == [0.9, 0.5]
    assert bundle.items[0].said_at == datetime(2026, 5, 16, tzinfo=UTC)
    assert bundle.items[1].valid_until == datetime(2027, 1, 1, tzinfo=UTC)
    assert bundle.conversation.summary == "a chat"
    assert bundle.conversation.recent_turns[0].content == "hi"


@pytest.mark.parametrize(
    "bundle",
    [
        {},
        {"items_by_type": None, "conversation_context": [], "_ttl_hint_seconds": "soon"},
        {"items_by_type": {"facts": [None, 1, {"item_id": 1, "content": "x"}, {"item_id": "i"}]}},
        {"conversation_context": {"recent_turns": [None, {"role": 1}]}, "created_at": 7},
    ],
)
def test_a_broken_bundle_is_an_empty_one(bundle):
    """Missing keys, nulls and wrong types are absent; nothing raises."""
    assert bundle_from_dict(bundle).items == ()


def test_a_huge_bundle_is_bounded():
    """Ten thousand items become five hundred, and a score outside of 0..1 comes inside."""
    items = [{"item_id": str(n), "content": "x", "confidence": 1e9} for n in range(10_000)]
    bundle = bundle_from_dict({"items_by_type": {"facts": items}})
    assert len(bundle.items) == MAX_ITEMS
    assert bundle.items[0].score == 1.0
    nan = {"item_id": "n", "content": "x", "rank_score": math.nan, "confidence": 0.25}
    assert bundle_from_dict({"items_by_type": {"facts": [nan]}}).items[0].score == 0.25


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("2026-05-16T12:00:00Z", NOW),
        ("2026-05-16T12:00:00", NOW),
        ("2026-05-16T14:00:00+02:00", NOW),
        ("2026-05-16", datetime(2026, 5, 16, tzinfo=UTC)),
        ("next week", None),
        ("", None),
        (None, None),
        (17, None),
    ],
)
def test_times_are_read_as_aware_times(raw, read):
    """Without a zone it is UTC; what cannot be read is absent."""
    assert moment(raw) == read


LARGE = {
    "arguments": ToolCall("scrape", {"pages": ["é" * 3_000_000]}, "call-1"),
    "a text result": ToolResult("scrape", "x" * 5_000_000, "call-1"),
    "a result with quotes": ToolResult("scrape", {"html": '"' * 4_000_000}, "call-1"),
    "a thought": Thinking("\N{THOUGHT BALLOON}" * 2_000_000),
}


@pytest.mark.parametrize("event", LARGE.values(), ids=LARGE)
def test_what_only_the_stream_can_take_is_shortened_to_what_it_takes(event) -> None:
    """Nobody else can deliver it: its beginning goes, with the length and the hash of the whole."""
    message = grpc_codec.conversation_event(describe(event), event_id="e", scope=Scope("c", "u"), sent_at=NOW, now=NOW)
    assert message.ByteSize() <= grpc_codec.MAX_SENT_BYTES
    said = message.conversation_event
    words = said.content + said.tool_result_json + said.tool_args_json
    assert re.search(r"shortened: \d{7,} characters, sha256 [0-9a-f]{64}", words)
    assert isinstance(json.loads(said.tool_args_json or "{}"), dict)


def test_a_moment_that_has_no_place_in_utc_is_no_moment() -> None:
    """The first and last days of the calendar cannot be moved into another zone; a good date is kept."""
    assert [moment(raw) for raw in ("0001-01-01T00:00:00+05:30", "9999-12-31T23:00:00-05:00")] == [None, None]
    assert moment("2026-05-16") == datetime(2026, 5, 16, tzinfo=UTC)


FIELDS = {
    "a fact": ({"id": "i", "content": "likes tea", "confidence": 0.5, "extracted_at": "2026-05-01"}, "likes tea", 0.5),
    "an episode": (
        {"id": "i", "summary": "went home", "significance": 0.4, "occurred_at": "2026-05-01"},
        "went home",
        0.4,
    ),
    "an emotion": ({"id": "i", "context": "was glad", "intensity": 0.3, "detected_at": "2026-05-01"}, "was glad", 0.3),
    "as pushed": ({"item_id": "i", "content": "x", "relevance_score": 0.2, "created_at": "2026-05-01"}, "x", 0.2),
    "as the SDK reads it": ({"id": "i", "content": "x", "strength": 2, "event_date": date(2026, 5, 1)}, "x", 1.0),
    "nothing but a rank": ({"id": "i", "content": "x", "rank_score": float("nan"), "said_at": "2026-05-01"}, "x", 0.0),
}


@pytest.mark.parametrize("what", FIELDS)
def test_pushed_and_fetched_items_are_read_alike(what) -> None:
    """The same text, rank and time, whichever way an item came and whichever kind it is."""
    raw, text, score = FIELDS[what]
    for found in (item_of(raw, "facts"), fetched_item(raw)):
        assert found is not None
        assert (found.item_id, found.text, found.score) == ("i", text, score)
        assert found.said_at == datetime(2026, 5, 1, tzinfo=UTC)


def test_what_is_fetched_keeps_its_metadata_and_what_is_pushed_its_owner() -> None:
    """A pushed item is held against who asks; a fetched one was asked for on a level; its rank may be in there."""
    raw = {"id": "i", "content": "x", "scope": "user", "entity_id": "ana", "category": "preferences"}
    raw |= {"metadata": {"key": "v", "rank_score": 0.7, "content": "not this", "said_at": "2020-01-01"}}
    pushed, fetched = item_of(raw, "facts"), fetched_item(raw)
    assert pushed is not None
    assert fetched is not None
    assert (pushed.level, pushed.entity_id, pushed.metadata, pushed.score) == ("user", "ana", None, 0.0)
    assert (fetched.level, fetched.entity_id, fetched.metadata["key"], fetched.score) == (None, None, "v", 0.7)
    assert (fetched.kind, fetched.text, fetched.said_at) == ("preferences", "x", None)


@pytest.mark.parametrize(
    "raw", [{}, {"id": "i"}, {"content": "x"}, {"id": 7, "content": "x"}, {"id": "i", "content": 7}]
)
def test_an_item_without_id_or_text_is_none(raw) -> None:
    """Whatever it has instead."""
    assert item_of(raw, "facts") is None
    assert fetched_item(raw) is None
