"""The REST surface: what a client of the platform gets, and the traps it must not fall into."""

import json

import pytest
from local_synap import Caller, Clock, engine_of

CONVERSATION = "4f2c2f0e-0b58-4a5e-9a0e-0d5f6a1f5c11"


@pytest.fixture
def synap():
    """A local Synap in memory."""
    caller = Caller()
    yield caller
    caller.platform.close()


def test_whoami_says_that_it_is_local_and_a_customer_is_optional(synap) -> None:
    """A client learns whom it must name, and everybody that this is not the cloud."""
    status, answer = synap.call("GET", "/api/v1/auth/whoami")
    assert status == 200
    assert answer["user_context_isolation"] == "optional"
    assert answer["environment"] == "local"
    assert answer["client_id"].startswith("cli_")
    assert answer["instance_id"].startswith("inst_")


def test_a_write_is_answered_with_200_and_all_that_a_client_reads(synap) -> None:
    """201 would make the platform's SDK send the message three times."""
    first = synap.say("I live in Lisbon", conversation=CONVERSATION, session_id="s1", customer_id=None, metadata={})
    second = synap.say("Nice", conversation=CONVERSATION, role="assistant")
    assert first["conversation_id"] == CONVERSATION
    assert first["session_id"] == second["session_id"] == "s1"
    assert [first["conversation_message_count"], second["conversation_message_count"]] == [1, 2]
    assert first["message_id"] != second["message_id"]
    assert first["recorded_at"] == "2026-03-01T12:00:00+00:00"


def test_a_repeated_idempotency_key_stores_nothing_and_answers_the_same(synap) -> None:
    """A client that lost the answer may send again."""
    first, again = (synap.say("I live in Lisbon", key="k1") for _ in range(2))
    assert again == first
    assert synap.engine.stats()["turns"] == 1


def test_the_id_in_the_metadata_is_an_idempotency_key_too(synap) -> None:
    """A client without the header is understood, also when the turn came over the stream before."""
    synap.listen().event("user_message", content="I live in Lisbon", event_id="e1")
    synap.say("I live in Lisbon", metadata={"synap_event_id": "e1"})
    assert synap.engine.stats()["turns"] == 1


def test_the_repetitions_of_one_call_are_one_turn(synap) -> None:
    """A client without keys repeats its correlation id; the same words in another call are another turn."""
    body = {"conversation_id": "chat", "user_id": "ana", "role": "user", "content": "yes"}
    for correlation_id in ("syn_1", "syn_1", "syn_2"):
        synap.call("POST", "/v1/conversations/messages", body, X_Correlation_ID=correlation_id)
    assert synap.engine.stats()["turns"] == 2


def test_the_same_key_of_another_user_is_another_turn(synap) -> None:
    """Nobody can make somebody else's turn vanish, or read it by its key."""
    synap.say("mine", user="ana", key="k1")
    answer = synap.say("mine as well", user="bob", key="k1")
    assert answer["conversation_message_count"] == 1
    assert synap.engine.stats()["turns"] == 2


@pytest.mark.parametrize(
    "content", ["", "  spaces \n", "null\0byte", "👩‍👩‍👧 e\u0301", "'; DROP TABLE turn; --", "x" * 100_000]
)
def test_content_comes_back_byte_for_byte(synap, content) -> None:
    """What was said is kept as it was said."""
    synap.say(content)
    _, answer = synap.call("GET", "/v1/conversations/chat/messages")
    assert answer["turns"][0]["content"] == content


def test_half_a_letter_is_replaced_rather_than_refused(synap) -> None:
    """JSON can escape text that no encoding carries; the turn is kept all the same."""
    body = b'{"conversation_id":"chat","user_id":"ana","role":"user","content":"a\\ud83d b","metadata":{"k\\udc00":1}}'
    assert synap.call("POST", "/v1/conversations/messages", body)[0] == 200
    assert synap.engine.transcript("chat")[0].content == "a\ufffd b"


def test_people_see_their_own_conversation_ids(synap) -> None:
    """A mapped conversation keeps the name that the application gave it."""
    synap.say("hello", conversation=CONVERSATION, metadata={"synap_conversation_id": "support-7"})
    assert [turn.content for turn in synap.engine.transcript("support-7")] == ["hello"]
    assert synap.found("hello")[0]["metadata"]["synap_conversation_id"] == "support-7"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"role": "system"}, "role"),
        ({"role": None}, "role"),
        ({"content": None}, "content"),
        ({"content": 7}, "content"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"user_id": "a\nb"}, "user_id"),
        ({"conversation_id": None}, "conversation_id"),
        ({"conversation_id": "x" * 513}, "conversation_id"),
        ({"customer_id": []}, "customer_id"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_a_bad_message_is_refused_by_name(synap, changes, named) -> None:
    """A refusal carries ``detail`` for the SDK and ``error`` and ``code`` for readers, and names the field."""
    body = {"conversation_id": "chat", "user_id": "ana", "role": "user", "content": "hi"} | changes
    status, answer = synap.call("POST", "/v1/conversations/messages", body)
    assert status == 422
    assert named in answer["detail"]
    assert answer["error"]
    assert answer["code"] == "INVALID_INPUT"
    assert answer["details"]["argument"] == named
    assert synap.engine.stats()["turns"] == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'"text"'])
def test_a_body_that_is_no_object_is_refused(synap, body) -> None:
    """Whatever arrives, the answer is a refusal and not a fault."""
    assert synap.call("POST", "/v1/conversations/messages", body)[0] == 422
    assert synap.call("POST", "/v1/context/user/fetch", body)[0] == 422


def test_a_batch_keeps_the_good_and_names_the_bad(synap) -> None:
    """``results`` holds only stored turns in input order, ``errors`` the index of each other one."""
    good = {"conversation_id": "chat", "user_id": "ana", "role": "user", "content": "one"}
    messages = [good, good | {"role": "robot"}, good | {"content": "two"}, "three"]
    for _ in range(2):
        status, answer = synap.call(
            "POST", "/v1/conversations/messages/batch", {"messages": messages}, Idempotency_Key="b"
        )
        assert status == 200
        assert (answer["total"], answer["succeeded"], answer["failed"]) == (4, 2, 2)
        assert [row["conversation_message_count"] for row in answer["results"]][-1] == 2
        assert [row["index"] for row in answer["errors"]] == [1, 3]
    assert [turn.content for turn in synap.engine.transcript("chat")] == ["one", "two"]


def test_turns_are_listed_by_position_in_pages(synap) -> None:
    """``start`` counts from 1; a page that is not full is the last one."""
    for number in range(5):
        synap.say(f"turn {number}", role="assistant" if number % 2 else "user")
    _, answer = synap.call("GET", "/v1/conversations/chat/messages", query="start=2&limit=3")
    assert [row["position"] for row in answer["turns"]] == [2, 3, 4]
    assert set(answer["turns"][0]) == {"role", "content", "timestamp", "message_id", "position"}
    assert synap.call("GET", "/v1/conversations/nobody/messages") == (200, {"turns": []})
    assert synap.call("GET", "/v1/conversations/chat/messages", query="start=x")[0] == 422


@pytest.mark.parametrize("style", ["structured", "narrative", "bullet_points"])
def test_context_for_a_prompt_has_every_field_in_every_style(synap, style) -> None:
    """Rows of ``recent_messages`` have all four typed fields; counts add up."""
    synap.say("I live in Lisbon")
    synap.say("Lovely", role="assistant")
    status, answer = synap.call("GET", "/v1/conversations/chat/context-for-prompt", query=f"style={style}")
    assert status == 200
    assert answer["available"] is True
    assert "I live in Lisbon" in answer["formatted_context"]
    assert answer["total_message_count"] == answer["recent_message_count"] == 2
    assert all(
        isinstance(row[name], str)
        for row in answer["recent_messages"]
        for name in ("role", "content", "timestamp", "message_id")
    )


def test_an_unknown_conversation_has_no_context_and_no_nulls_for_lists(synap) -> None:
    """Nothing is known, which is no error."""
    _, answer = synap.call("GET", "/v1/conversations/never/context-for-prompt")
    assert (answer["available"], answer["recent_messages"], answer["formatted_context"]) == (False, [], None)
    assert synap.call("GET", "/v1/conversations/never/context-for-prompt", query="style=loud")[0] == 422


@pytest.mark.parametrize("name", ["a/b", "a b?", "ü/messages", "%2F"])
def test_a_conversation_may_have_any_name_in_a_path(synap, name) -> None:
    """Clients put ids into paths as they are."""
    synap.say("hello", conversation=name)
    assert len(synap.call("GET", f"/v1/conversations/{name}/messages")[1]["turns"]) == 1


def test_a_conversation_of_two_users_is_shown_to_whoever_names_themselves(synap) -> None:
    """Where a call does not say whose conversation it means and two have it, it gets nothing."""
    synap.say("ana's secret", user="ana", conversation=CONVERSATION)
    assert len(synap.call("GET", f"/v1/conversations/{CONVERSATION}/messages")[1]["turns"]) == 1
    synap.say("bob's secret", user="bob", conversation=CONVERSATION)
    for what in ("messages", "context-for-prompt"):
        _, answer = synap.call("GET", f"/v1/conversations/{CONVERSATION}/{what}")
        assert "secret" not in json.dumps(answer)
        _, answer = synap.call("GET", f"/v1/conversations/{CONVERSATION}/{what}", query="user_id=bob")
        assert "bob's secret" in json.dumps(answer)
        assert "ana's secret" not in json.dumps(answer)


def test_a_fetch_finds_the_turn_and_its_neighbour(synap) -> None:
    """The answer shares no word with the question, the turn before it does."""
    synap.say("Where did you adopt your puppy?", role="assistant")
    synap.say("At the shelter in Porto")
    for number in range(6):
        synap.say(f"something else, number {number}", conversation="other")
    contents = [item["content"] for item in synap.found("adopt puppy")]
    assert contents[:2] == ["Where did you adopt your puppy?", "At the shelter in Porto"]


def test_what_a_fetch_gives_does_not_break_a_client(synap) -> None:
    """Five lists, none null; ``confidence`` within 0..1; ids are message ids; nothing is cached by the client."""
    recorded = synap.say("I adopted a puppy", metadata={"dia_id": "D1:1"})
    body = {"user_id": "ana", "customer_id": None, "search_query": ["puppy"], "types": ["all"], "mode": "fast"}
    status, answer = synap.call("POST", "/v1/context/user/fetch", body)
    assert status == 200
    assert answer["ttl_seconds"] < 0
    context = answer["context"]
    assert set(context) == {"facts", "preferences", "episodes", "emotions", "temporal_events"}
    assert all(isinstance(held, list) for held in context.values())
    (item,) = context["episodes"]
    assert item["id"] == recorded["message_id"]
    assert 0 <= item["confidence"] <= 1
    assert item["metadata"]["dia_id"] == "D1:1"
    assert item["matched_queries"] == ["puppy"]
    assert None not in (item["metadata"], item["source"], item["extracted_at"])


def test_a_ranked_fetch_is_one_list_in_order(synap) -> None:
    """``rank`` 1 is best, and as many come as were asked for."""
    for number in range(8):
        synap.say(f"puppy number {number}")
    items = synap.found("puppy", max_results=3)
    assert [item["rank"] for item in items] == [1, 2, 3]
    assert {item["category"] for item in items} == {"episodes"}
    assert synap.found("puppy", max_results=0) == []


def test_several_queries_share_the_answer(synap) -> None:
    """Each query has its turn, and an item says which of them it answers."""
    for number in range(4):
        synap.say(f"puppy {number}", conversation=f"p{number}")
        synap.say(f"guitar {number}", conversation=f"g{number}")
    _, answer = synap.call(
        "POST",
        "/v1/context/user/fetch",
        {"user_id": "ana", "search_query": ["puppy", "guitar"], "max_results_per_query": 1, "response_shape": "ranked"},
    )
    assert [item["matched_queries"] for item in answer["context"]["items"]] == [["puppy"], ["guitar"]]


def test_without_a_query_the_newest_comes_first(synap) -> None:
    """A cold read gives what was said last."""
    for number in range(3):
        synap.say(f"turn {number}")
    assert [item["content"] for item in synap.found(None, max_results=2)] == ["turn 2", "turn 1"]


def test_only_the_kinds_that_were_asked_for_come(synap) -> None:
    """Turns are episodes; the local Synap makes up no facts."""
    synap.say("I adopted a puppy")
    assert synap.found("puppy", types=["facts"]) == []
    assert synap.found("puppy", types=["episode"])
    assert synap.found("puppy", types=[])


def test_a_conversation_fetch_stays_in_its_conversation(synap) -> None:
    """It brings that conversation's turns, and its recent ones beside them unless they are not wanted."""
    synap.say("puppy here", conversation="one")
    synap.say("puppy there", conversation="two")
    body = {"conversation_id": "one", "user_id": "ana", "search_query": ["puppy"]}
    _, answer = synap.call("POST", "/v1/context/conversation/fetch", body)
    assert [item["content"] for item in answer["context"]["episodes"]] == ["puppy here"]
    assert answer["conversation_context"]["recent_turns"][0]["content"] == "puppy here"
    _, answer = synap.call("POST", "/v1/context/conversation/fetch", body | {"include_conversation_context": False})
    assert "conversation_context" not in answer
    _, answer = synap.call("POST", "/v1/context/conversation/fetch", body | {"user_id": "bob"})
    assert answer["context"]["episodes"] == []


@pytest.mark.parametrize(("level", "ids"), [("customer", {"customer_id": "acme"}), ("client", {})])
def test_nothing_is_known_of_customers_and_clients_as_a_whole(synap, level, ids) -> None:
    """What one user said is not what their company knows."""
    synap.say("I adopted a puppy", customer_id="acme")
    status, answer = synap.call("POST", f"/v1/context/{level}/fetch", {"search_query": ["puppy"], **ids})
    assert (status, answer["context"]["episodes"]) == (200, [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"user_id": None},
        {"search_query": 7},
        {"search_query": [7]},
        {"max_results": -1},
        {"max_results": True},
        {"max_results": "10"},
        {"types": "all"},
        {"response_shape": "round"},
    ],
)
def test_a_bad_fetch_is_refused(synap, wrong) -> None:
    """A request nobody can understand is refused by name."""
    assert synap.call("POST", "/v1/context/user/fetch", {"user_id": "ana"} | wrong)[0] == 422


def test_customers_do_not_see_each_other(synap) -> None:
    """No customer is a customer of its own: the same user id under two customers are two people."""
    synap.say("puppy of nobody")
    synap.say("puppy of acme", customer_id="acme")
    assert [item["content"] for item in synap.found("puppy")] == ["puppy of nobody"]
    assert [item["content"] for item in synap.found("puppy", customer_id="acme")] == ["puppy of acme"]
    assert [item["content"] for item in synap.found("puppy", customer_id="")] == ["puppy of nobody"]
    assert synap.found("puppy", customer_id="ACME") == []


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/health", 200),
        ("POST", "/v1/telemetry/batch", 200),
        ("GET", "/v1/credits/balance", 200),
        ("GET", "/v1/credits/ledger", 200),
        ("POST", "/v1/credits/estimate", 200),
        ("GET", "/v1/users/ana/profile", 404),
        ("POST", "/v1/credits/redeem", 200),
        ("POST", "/api/v1/memories/create", 422),
        ("GET", "/api/v1/memories/nothing", 404),
        ("POST", "/v1/conversations/compact", 422),
        ("POST", "/v1/migrations", 404),
        ("GET", "/", 404),
        ("DELETE", "/health", 405),
        ("GET", "/v1/context/user/fetch", 405),
    ],
)
def test_the_rest_of_the_surface_is_answered_too(synap, method, path, expected) -> None:
    """Telemetry is taken, so that a client shuts down at once; what is not here says so in the platform's words."""
    status, answer = synap.call(method, path)
    assert status == expected
    if status != 200:
        assert {"detail", "error", "code"} <= set(answer)


def test_a_store_that_cannot_be_used_asks_to_come_back() -> None:
    """``Retry-After`` is an integer: a client of the platform cannot read anything else."""
    caller = Caller()
    caller.platform.close()
    status, headers, body = caller.platform.answer(
        "POST",
        "/v1/conversations/messages",
        query="",
        headers={},
        body=b'{"conversation_id":"c","user_id":"u","role":"user","content":"x"}',
    )
    assert status == 503
    assert headers["retry-after"].isdigit()
    assert json.loads(body)["code"] == "UNAVAILABLE"


def test_when_it_was_said_is_when_it_was_captured() -> None:
    """A turn that waited in an outbox keeps its time, and counts as old when it is old."""
    clock = Clock()
    synap = Caller(engine_of(clock=clock))
    synap.say("puppy", conversation="new")
    synap.say("puppy", conversation="old", metadata={"synap_occurred_at": "2024-01-02T03:04:05+00:00"})
    items = synap.found("puppy")
    assert [item["said_at"] for item in items] == ["2026-03-01T12:00:00+00:00", "2024-01-02T03:04:05+00:00"]
    synap.platform.close()
