"""Whatever a body holds, the local Synap answers it with a refusal or an answer, and never with a fault of its own."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_synap import Caller

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANY = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=8), PLAIN, max_size=2)
VALID = {
    "conversation_id": "chat",
    "user_id": "ana",
    "role": "user",
    "content": "hello",
    "search_query": ["Lisbon"],
    "document": "text",
    "document_type": "document",
    "documents": [{"document": "text", "document_type": "document"}],
    "messages": [{"conversation_id": "chat", "user_id": "ana", "role": "user", "content": "hello"}],
    "description": "the city",
    "scope": "user",
    "confirm": "ana",
    "transcript": "User: hello",
}
NAMES = (*VALID, "customer_id", "metadata", "types", "max_results", "max_results_per_query", "response_shape",
         "document_id", "document_created_at", "merge_strategy", "mode", "strategy", "target_tokens", "force",
         "analysis", "conversation_type", "started_at", "dry_run", "fail_fast")  # fmt: skip
WRITES = (
    ("POST", "/v1/conversations/messages"),
    ("POST", "/v1/conversations/messages/batch"),
    ("POST", "/v1/conversations/ingest"),
    ("POST", "/v1/conversations/compact"),
    ("POST", "/v1/context/user/fetch"),
    ("POST", "/v1/context/customer/fetch"),
    ("POST", "/api/v1/memories/create"),
    ("POST", "/api/v1/memories/batch"),
    ("POST", "/api/v1/memories/forget"),
    ("PATCH", "/api/v1/memories/{piece}"),
    ("POST", "/v1/data/delete"),
)


@pytest.fixture
def synap():
    """A local Synap in memory that knows a turn and a document."""
    caller = Caller()
    caller.say("I live in Lisbon.")
    body = {"document": "a piece", "document_type": "document", "user_id": "ana"}
    _, taken = caller.call("POST", "/api/v1/memories/create", body)
    _, status = caller.call("GET", f"/api/v1/memories/status/{taken['ingestion_id']}")
    caller.piece = status["memory_ids"][0]
    yield caller
    caller.platform.close()


@pytest.mark.parametrize(("method", "path"), WRITES, ids=[path for _, path in WRITES])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(NAMES), ANY, min_size=1, max_size=3))
def test_no_body_is_a_fault(synap, method, path, changes) -> None:
    """Every answer is 200, or 4xx with the whole envelope; JSON that cannot be is refused like any other."""
    raw = json.dumps(VALID | changes).encode()
    status, answer = synap.call(method, path.format(piece=synap.piece), raw)
    assert status in {200, 404, 409, 422}, (status, answer)
    if status != 200:
        assert set(answer) == {"detail", "error", "code", "details"}
