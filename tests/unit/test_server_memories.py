"""Documents, memories, transcripts, excerpts and deletions over REST."""

import httpx
import pytest
from local_synap import Caller

from synap_integrations.errors import InvalidInputError
from synap_integrations.server.compaction import HEADING
from synap_integrations.server.documents.pieces import MOST_CHARS, Piece, pieces_of
from synap_integrations.server.rest.uploads import uploaded

CALL = "call-2026-03-01"
MANUAL = "The pump starts with the green button.\n\nThe pump stops with the red lever. Never pull it twice."
TALK = [
    {"role": "user", "content": "I live in Lisbon.", "timestamp": "2026-02-01T10:00:00Z", "speaker": "Ana"},
    {"role": "assistant", "content": "Lovely city.", "timestamp": "2026-02-01T10:00:05Z"},
]


@pytest.fixture
def synap():
    """A local Synap in memory."""
    caller = Caller()
    yield caller
    caller.platform.close()


def created(synap, document, **more):
    """Take a document of ana's; the answer."""
    body = {"document": document, "document_type": "document", "user_id": "ana"} | more
    status, answer = synap.call("POST", "/api/v1/memories/create", body)
    assert status == 200, answer
    return answer


def ids_of(synap, ingestion_id):
    """The memories that became of a document."""
    status, answer = synap.call("GET", f"/api/v1/memories/status/{ingestion_id}")
    assert (status, answer["status"]) == (200, "completed")
    assert answer["memories_created"] == len(answer["memory_ids"])
    return answer["memory_ids"]


# --- forms -----------------------------------------------------------------------------------------------------


def form(**parts):
    """Content type and body of a form, as the platform's SDK makes it."""
    request = httpx.Request("POST", "http://localhost/", **parts)
    return request.headers["content-type"], request.read()


def test_an_uploaded_file_is_taken_word_for_word() -> None:
    """Name and text of a file survive the form, whatever letters and line ends they have."""
    fields = {"user_id": "ana", "metadata": '{"team": "garden"}'}
    taken = uploaded(*form(data=fields, files={"file": ("pümpe.txt", "Grüße\r\n\n--x\n".encode())}))
    assert taken == {
        "document_type": "document",
        "user_id": "ana",
        "document": "Grüße\r\n\n--x\n",
        "metadata": {"team": "garden", "synap_file_name": "pümpe.txt"},
    }
    assert uploaded(*form(files={"file": ("a.eml", b"Hello")}))["document_type"] == "email"
    assert uploaded(*form(data={"document_type": "transcript"}, files={"file": ("a.eml", b"A: b")}))[
        "document_type"
    ] == ("transcript")


def test_text_without_a_file_comes_as_fields() -> None:
    """The SDK sends no parts where there is no file."""
    assert uploaded(*form(data={"user_id": "ana", "text": "Grüße & so = weiter"})) == {
        "document_type": "document",
        "user_id": "ana",
        "document": "Grüße & so = weiter",
    }


NO_UPLOADS = {
    "a picture": {"files": {"file": ("a.png", b"\x89PNG\xff")}},
    "neither": {"data": {"user_id": "ana"}},
    "both": {"data": {"text": "b"}, "files": {"file": ("a.txt", b"a")}},
    "metadata": {"data": {"metadata": "[1]", "text": "b"}},
    "bytes": {"content": b"text=%ff", "headers": {"content-type": "application/x-www-form-urlencoded"}},
    "json": {"json": {"text": "b"}},
    "no parts": {"content": b"junk", "headers": {"content-type": "multipart/form-data; boundary=x"}},
    "no boundary": {"content": b"junk", "headers": {"content-type": "multipart/form-data"}},
    "no name": {
        "content": b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n",
        "headers": {"content-type": "multipart/form-data; boundary=x"},
    },
    "parts in parts": {
        "content": b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\na\r\n--y--\r\n--x--\r\n",
        "headers": {"content-type": "multipart/form-data; boundary=x"},
    },
}


@pytest.mark.parametrize("parts", NO_UPLOADS.values(), ids=NO_UPLOADS)
def test_a_form_that_cannot_be_taken_is_refused_with_the_reason(parts) -> None:
    """What is no text is not guessed at, and nothing of a broken form is stored."""
    with pytest.raises(InvalidInputError):
        uploaded(*form(**parts))


# --- pieces ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "kind", "expected"),
    [
        ("one\n\ntwo", "document", [Piece("document", "one"), Piece("document", "two")]),
        ("", "document", []),
        ("  \n\n ", "email", []),
        ("User: hi\nAssistant: hello", "transcript", [Piece("user", "hi"), Piece("assistant", "hello")]),
        (
            "Ana: hi\nall\nBo: yes",
            "transcript",
            [Piece("assistant", "hi\nall", "Ana"), Piece("assistant", "yes", "Bo")],
        ),
        ("Intro\nUser: hi", "transcript", [Piece("document", "Intro"), Piece("user", "hi")]),
        ("no labels at all", "transcript", [Piece("document", "no labels at all")]),
        ("User: hi", "document", [Piece("document", "User: hi")]),
        ({"messages": [{"role": "human", "content": "hi"}]}, "ai-chat-conversation", [Piece("user", "hi")]),
        ([{"role": "user"}, "junk", {"content": ""}], "transcript", []),
        ({"a": "ü"}, "document", [Piece("document", '{"a": "ü"}')]),
    ],
    ids=["paragraphs", "nothing", "blank", "roles", "names", "opening", "plain", "kept", "messages", "junk", "object"],
)
def test_a_document_is_taken_to_pieces_word_for_word(document, kind, expected) -> None:
    """Speakers make turns only where a conversation is said to be one; nobody is taken for the user by guessing."""
    assert pieces_of(document, kind) == expected


def test_long_text_comes_in_passages_that_hold_all_of_it() -> None:
    """A passage fits into a prompt, and no word is lost, with sentences or without."""
    sentences = " ".join(f"Sentence {number} is about pumps." for number in range(300))
    passages = [piece.content for piece in pieces_of(sentences, "document")]
    assert " ".join(passages) == sentences
    assert max(map(len, passages)) <= MOST_CHARS
    solid = "x" * (5 * MOST_CHARS)
    assert "".join(piece.content for piece in pieces_of(solid, "document")) == solid


# --- memories --------------------------------------------------------------------------------------------------


def test_a_document_is_found_by_its_words(synap) -> None:
    """What was handed over comes back word for word, as what it is."""
    taken = created(synap, MANUAL, document_id="manual", metadata={"shelf": "3"})
    assert set(taken) == {"ingestion_id", "document_id", "status", "queued_at"}
    found = synap.found("how does the pump stop")[0]
    assert found["content"].startswith("The pump stops")
    assert found["source"] == "document"
    assert found["metadata"]["shelf"] == "3"
    first, second = ids_of(synap, taken["ingestion_id"])
    _, memory = synap.call("GET", f"/api/v1/memories/{second}")
    assert memory["source_document_id"] == "manual"
    assert memory["confidence"] == 1.0
    assert memory["content"] == found["content"]
    assert first != second


def test_the_same_document_again_is_the_same_and_another_is_a_conflict(synap) -> None:
    """A repeated create does nothing twice; a name does not change its meaning behind anybody's back."""
    first, again = (created(synap, MANUAL, document_id="manual") for _ in range(2))
    assert again == first
    assert synap.engine.stats()["turns"] == 2
    body = {"document": "other", "document_type": "document", "user_id": "ana", "document_id": "manual"}
    status, answer = synap.call("POST", "/api/v1/memories/create", body)
    assert (status, answer["code"]) == (409, "CONFLICT")


def test_documents_of_a_customer_and_of_everybody_are_no_users(synap) -> None:
    """Each level finds its own: a user's fetch does not show the customer's papers, nor the other way round."""
    created(synap, "rates of acme", user_id=None, customer_id="acme")
    created(synap, "rates of everybody", user_id=None)
    created(synap, "rates of ana", user_id="ana", customer_id="acme")

    def told(level, **ids):
        body = {"search_query": ["rates"], "response_shape": "ranked"} | ids
        _, answer = synap.call("POST", f"/v1/context/{level}/fetch", body)
        return [item["content"] for item in answer["context"]["items"]]

    assert told("customer", customer_id="acme") == ["rates of acme"]
    assert told("client") == ["rates of everybody"]
    assert told("user", user_id="ana", customer_id="acme") == ["rates of ana"]
    assert told("user", user_id="ana") == []


def test_a_batch_says_what_became_of_each_document(synap) -> None:
    """With ``fail_fast`` nothing behind the first bad one is taken."""
    documents = [
        {"document": "good one", "document_type": "document", "user_id": "ana", "document_id": "a"},
        {"document": 7, "document_id": "b"},
        {"document": "good two", "document_type": "document", "user_id": "ana", "document_id": "c"},
    ]
    _, fast = synap.call("POST", "/api/v1/memories/batch", {"documents": documents, "fail_fast": True})
    assert [result["status"] for result in fast["results"]] == ["completed", "failed"]
    _, answer = synap.call("POST", "/api/v1/memories/batch", {"documents": documents})
    assert (answer["total"], answer["succeeded"], answer["failed"]) == (3, 2, 1)
    assert "document" in answer["results"][1]["error_message"]


@pytest.mark.parametrize(
    ("strategy", "text", "expected"),
    [
        ("replace", "blue", "blue"),
        ("append", "blue", "The button is green\nblue"),
        ("smart-merge", "The button is green now", "The button is green now"),
        ("smart-merge", "green", "The button is green"),
        ("smart-merge", "blue", "The button is green\nblue"),
    ],
)
def test_a_piece_of_a_document_can_be_changed(synap, strategy, text, expected) -> None:
    """The new text is found, and the words that are gone are not."""
    (memory_id,) = ids_of(synap, created(synap, "The button is green")["ingestion_id"])
    status, memory = synap.call(
        "PATCH", f"/api/v1/memories/{memory_id}", {"document": text, "merge_strategy": strategy}
    )
    assert (status, memory["content"]) == (200, expected)
    assert memory["updated_at"]
    assert [item["content"] for item in synap.found(expected)] == [expected]
    if strategy == "replace":
        assert synap.found("green") == []


def test_what_was_said_is_not_rewritten(synap) -> None:
    """A turn of a conversation is evidence; it can be forgotten and not altered."""
    message_id = synap.say("I live in Lisbon")["message_id"]
    status, answer = synap.call("PATCH", f"/api/v1/memories/{message_id}", {"document": "I live in Rome"})
    assert status == 422
    assert "stays as it was said" in answer["detail"]


def test_a_memory_is_deleted_with_200_and_its_id(synap) -> None:
    """204 would leave a client without the keys it reads."""
    message_id = synap.say("the secret is 1234")["message_id"]
    status, answer = synap.call("DELETE", f"/api/v1/memories/{message_id}")
    assert (status, answer["memory_id"]) == (200, message_id)
    assert answer["deleted_at"]
    assert synap.call("DELETE", f"/api/v1/memories/{message_id}")[0] == 404
    assert synap.found("secret") == []


def test_something_known_is_a_memory_too(synap) -> None:
    """A fact can be read and forgotten by its id; the turn it was taken from stays."""
    synap.say("I live in Lisbon.")
    _, answer = synap.call("POST", "/v1/context/user/fetch", {"user_id": "ana", "search_query": ["where I live"]})
    (fact,) = answer["context"]["facts"]
    _, memory = synap.call("GET", f"/api/v1/memories/{fact['id']}")
    assert memory["memory_type"] == "fact"
    assert synap.call("DELETE", f"/api/v1/memories/{fact['id']}")[0] == 200
    assert synap.call("GET", f"/api/v1/memories/{fact['id']}")[0] == 404
    assert synap.engine.stats()["turns"] == 1


def test_forget_shows_first_and_then_forgets_what_is_described(synap) -> None:
    """A preview changes nothing; what shares a mere word with the description stays; other users are not touched."""
    synap.say("my credit card number is 4111")
    synap.say("the number of the bus is 28")
    synap.say("my credit card number is 5500", user="bob")
    asked = {"description": "credit card number", "user_id": "ana"}
    _, preview = synap.call("POST", "/api/v1/memories/forget", asked | {"mode": "preview"})
    assert preview["status"] == "preview"
    assert [entry["content"] for entry in preview["candidates"]] == ["my credit card number is 4111"]
    assert synap.engine.stats()["turns"] == 3
    _, done = synap.call("POST", "/api/v1/memories/forget", asked | {"mode": "direct"})
    assert done["status"] == "deleted"
    assert done["deleted_ids"] == [entry["memory_id"] for entry in preview["candidates"]]
    assert synap.engine.stats()["turns"] == 2
    assert synap.call("POST", "/api/v1/memories/forget", asked)[1]["status"] == "nothing_matches"


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/api/v1/memories/forget", {"description": "all of it"}, "user_id"),
        ("/api/v1/memories/forget", {"description": "xy", "user_id": "ana"}, "description"),
        ("/api/v1/memories/forget", {"description": "xyz", "user_id": "ana", "mode": "now"}, "mode"),
        ("/api/v1/memories/create", {"document": 7}, "document"),
        ("/api/v1/memories/create", {"document": " "}, "document"),
        ("/api/v1/memories/create", {"document": "x", "document_type": "spell"}, "document_type"),
        ("/api/v1/memories/create", {"document": "x", "document_id": "y" * 513}, "document_id"),
        ("/api/v1/memories/batch", {}, "documents"),
        ("/v1/data/delete", {"scope": "everything"}, "scope"),
        ("/v1/data/delete", {"scope": "user"}, "user_id"),
        ("/v1/data/delete", {"scope": "user", "user_id": "ana"}, "confirm"),
        ("/v1/data/delete", {"scope": "user", "user_id": "ana", "confirm": "bob"}, "confirm"),
        ("/v1/conversations/ingest", {"conversation_id": "c", "transcript": "x"}, "user_id"),
        ("/v1/conversations/ingest", {"conversation_id": "c", "user_id": "ana", "transcript": 7}, "transcript"),
        (
            "/v1/conversations/ingest",
            {"conversation_id": "c", "user_id": "ana", "transcript": "x", "metadata": {"a": "b" * 70_000}},
            "metadata",
        ),
        ("/v1/conversations/compact", {"conversation_id": "c", "strategy": "wild"}, "strategy"),
        ("/v1/conversations/compact", {"conversation_id": "c", "target_tokens": "x"}, "target_tokens"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else None,
)
def test_bad_input_is_refused_by_name(synap, path, body, named) -> None:
    """Nothing is stored or forgotten by a request that is wrong."""
    synap.say("hello", conversation="c")
    status, answer = synap.call("POST", path, body)
    assert status == 422
    assert answer["details"]["argument"] == named
    assert synap.engine.stats()["turns"] == 1


# --- data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({"scope": "user", "user_id": "ana", "confirm": "ana"}, 2),
        ({"scope": "conversation", "conversation_id": "one", "user_id": "ana", "confirm": "one"}, 3),
        ({"scope": "conversation", "conversation_id": "one", "confirm": "one"}, 3),
        ({"scope": "customer", "customer_id": "acme", "confirm": "acme"}, 3),
        ({"scope": "user", "user_id": "ana", "dry_run": True}, 4),
        ({"scope": "user", "user_id": "nobody", "confirm": "nobody"}, 4),
    ],
    ids=["user", "conversation", "unowned", "customer", "dry run", "nobody"],
)
def test_data_of_a_level_is_deleted_and_the_report_is_kept(synap, asked, left) -> None:
    """The report says what went, can be read again, and holds no id and no word of it."""
    synap.say("one", conversation="one")
    synap.say("two", conversation="two")
    synap.say("three", user="bob")
    synap.say("four", user="ana", customer_id="acme", conversation="four")
    status, report = synap.call("POST", "/v1/data/delete", asked)
    assert status == 200
    assert synap.engine.stats()["turns"] == left
    assert report["fully_removed"] is not asked.get("dry_run", False)
    assert report["continue"] is False
    assert report["found"] is (left < 4 or "dry_run" in asked)
    assert synap.call("GET", f"/v1/data/delete/{report['deletion_id']}") == (200, report)
    assert "ana" not in str(report)


# --- transcripts -----------------------------------------------------------------------------------------------


def test_a_transcript_is_taken_once(synap) -> None:
    """The same again is a duplicate, another under the same id a conflict that the SDK knows by its code."""
    body = {"conversation_id": CALL, "user_id": "ana", "transcript": TALK, "conversation_type": "voice"}
    _, first = synap.call("POST", "/v1/conversations/ingest", body)
    assert (first["status"], first["turns_recorded"], first["warnings"]) == ("queued", 2, [])
    assert first["external_conversation_id"] == CALL
    _, again = synap.call("POST", "/v1/conversations/ingest", body)
    assert (again["status"], again["ingestion_id"]) == ("duplicate", first["ingestion_id"])
    status, conflict = synap.call("POST", "/v1/conversations/ingest", body | {"transcript": "User: other"})
    assert (status, conflict["detail"]["code"]) == (409, "transcript_conflict")
    turns = synap.engine.transcript(CALL)
    assert [(turn.role, turn.content, turn.speaker) for turn in turns] == [
        ("user", "I live in Lisbon.", "Ana"),
        ("assistant", "Lovely city.", None),
    ]
    assert turns[0].said_at.isoformat() == "2026-02-01T10:00:00+00:00"
    assert turns[0].metadata["conversation_type"] == "voice"
    assert len(ids_of(synap, first["ingestion_id"])) == 2


def test_a_transcript_says_what_could_not_be_done(synap) -> None:
    """No times, turns that were there before, an analysis that nobody reads: each is said."""
    uuid = "4f2c2f0e-0b58-4a5e-9a0e-0d5f6a1f5c11"
    synap.say("before", conversation=uuid)
    body = {"conversation_id": uuid, "user_id": "ana", "transcript": "User: hi", "analysis": {"mood": "good"}}
    _, answer = synap.call("POST", "/v1/conversations/ingest", body)
    assert answer["conversation_id"] == uuid
    assert [warning.split()[0] for warning in answer["warnings"]] == ["no", "the", "analysis"]
    assert [turn.content for turn in synap.engine.transcript(uuid)] == ["before", "hi"]


# --- compaction ------------------------------------------------------------------------------------------------


def talk(synap, turns=30):
    """A long conversation."""
    synap.say("Good morning. I live in Lisbon.")
    for number in range(1, turns):
        synap.say(f"turn number {number}", role="assistant" if number % 2 else "user")


def test_a_long_conversation_is_cut_short_and_says_so(synap) -> None:
    """The excerpt is labelled, quotes word for word, and the newest turns stay as they are."""
    talk(synap)
    assert synap.call("GET", "/v1/conversations/chat/compacted")[0] == 404
    _, made = synap.call("POST", "/v1/conversations/compact", {"conversation_id": "chat", "strategy": "balanced"})
    assert (made["status"], made["previous_compaction_id"]) == ("completed", None)
    _, excerpt = synap.call("GET", "/v1/conversations/chat/compacted", query="format=structured")
    assert excerpt["formatted_context"].startswith(HEADING)
    assert "Good morning." in excerpt["formatted_context"]
    assert excerpt["quality_warning"] is True
    assert excerpt["strategy_used"] == "balanced"
    assert [fact["content"] for fact in excerpt["facts"]]
    assert 0 < excerpt["compression_ratio"] <= 1
    _, context = synap.call("GET", "/v1/conversations/chat/context-for-prompt")
    assert context["context_block"] == excerpt["formatted_context"]
    assert context["compacted_message_count"] == 20
    assert context["recent_message_count"] == 10
    assert context["total_message_count"] == 30
    assert context["formatted_context"].startswith(HEADING)
    assert context["formatted_context"].endswith("turn number 29")
    _, status = synap.call("GET", "/v1/conversations/chat/compaction/status")
    assert (status["status"], status["latest_version"]) == ("completed", 1)


def test_every_compaction_is_a_version(synap) -> None:
    """The newest is read unless another is named; one that never was is not there."""
    talk(synap)
    for strategy in ("conservative", "aggressive"):
        synap.call("POST", "/v1/conversations/compact", {"conversation_id": "chat", "strategy": strategy})
    used = [
        synap.call("GET", "/v1/conversations/chat/compacted", query=query)[1].get("strategy_used")
        for query in ("", "version=1", "version=2", "version=3")
    ]
    assert used == ["aggressive", "conservative", "aggressive", None]


def test_a_short_conversation_is_left_alone_unless_forced(synap) -> None:
    """There is nothing to cut from five turns; who insists gets half of them quoted."""
    talk(synap, turns=5)
    _, left = synap.call("POST", "/v1/conversations/compact", {"conversation_id": "chat"})
    assert left["status"] == "skipped"
    assert synap.call("GET", "/v1/conversations/chat/compaction/status")[1]["status"] == "none"
    _, forced = synap.call("POST", "/v1/conversations/compact", {"conversation_id": "chat", "force": True})
    assert forced["status"] == "completed"
    assert synap.call("POST", "/v1/conversations/compact", {"conversation_id": "never"})[0] == 404


def test_an_excerpt_keeps_within_its_budget(synap) -> None:
    """``target_tokens`` cuts lines off the end; the label stays."""
    talk(synap)
    synap.call("POST", "/v1/conversations/compact", {"conversation_id": "chat", "target_tokens": 60})
    _, excerpt = synap.call("GET", "/v1/conversations/chat/compacted")
    assert excerpt["compacted_token_count"] <= 60
    assert excerpt["formatted_context"].startswith(HEADING)


def test_what_is_forgotten_is_in_no_excerpt(synap) -> None:
    """Excerpts are made when they are read."""
    talk(synap)
    synap.call("POST", "/v1/conversations/compact", {"conversation_id": "chat"})
    message_id = synap.engine.transcript("chat")[0].message_id
    synap.call("DELETE", f"/api/v1/memories/{message_id}")
    _, excerpt = synap.call("GET", "/v1/conversations/chat/compacted")
    assert "Lisbon" not in str(excerpt)


def test_earlier_conversations_are_told_in_short_when_a_new_one_begins(synap) -> None:
    """Excerpts of the last conversations, newest first, beside the profile; the one that begins is not among them."""
    synap.say("I live in Lisbon. It is sunny.", conversation="first")
    synap.say("The boiler is loud.", conversation="second", metadata={"conversation_type": "voice"})
    synap.say("hello", conversation="now")
    body = {"user_id": "ana", "conversation_id": "now", "context_mode": "conversation-summary"}
    _, answer = synap.call("POST", "/v1/context/user/fetch", body | {"last_n_conversations": 5})
    assert [told["conversation_id"] for told in answer["conversations"]] == ["second", "first"]
    assert [told["conversation_type"] for told in answer["conversations"]] == ["voice", None]
    assert "The boiler is loud." in answer["conversations"][0]["summary"]["overview"]
    assert answer["conversations"][0]["summary"]["method"] == "excerpt"
    assert "Lisbon" in answer["profile"]["overview"]
    _, bare = synap.call("POST", "/v1/context/user/fetch", body | {"include_profile": False})
    assert "profile" not in bare
    assert len(bare["conversations"]) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("mode", "wild"), ("precision_level", "low"), ("context_mode", "all"), ("types", ["spells"]), ("types", "facts")],
)
def test_an_unknown_word_is_refused_by_name(synap, field, value) -> None:
    """A word that means nothing here is not taken for one that does."""
    status, answer = synap.call("POST", "/v1/context/user/fetch", {"user_id": "ana", field: value})
    assert (status, answer["details"]["argument"]) == (422, field)
