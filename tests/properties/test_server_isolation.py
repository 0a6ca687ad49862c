"""Nobody's memory is ever shown to anybody else, whatever the ids and whatever is asked."""

import json
from collections import defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_synap import Caller

from synap_integrations.server.records import Owner
from synap_integrations.server.retrieval.ranking import terms

SYNTAX = [
    '"',
    "'",
    "*",
    "-x",
    "AND",
    "OR",
    "NOT",
    "NEAR(",
    ")",
    "owner:1",
    "speaker:a",
    "{body}:",
    "^",
    ":",
    "%",
    "_",
    "--",
    ";",
    "\0",
]
CUSTOMERS = st.sampled_from([None, "", "a", "A", "a ", "ab", "_any", "1", "á", "a\u0301", "%", "a:b", "'", '"'])
USERS = st.sampled_from(
    ["a", "b", "A", "ab", "a b", "_any", "1", "2", "á", "a\u0301", "%", "a:b", "'", '"', "None", "null"]
)
CONVERSATIONS = st.sampled_from(["c", "C", "1", "a", "%", "c/messages", "c\u200b"])
WORDS = st.sampled_from(["puppy", "guitar", "lisbon", "1", "a"])
QUERIES = st.lists(st.one_of(WORDS, st.sampled_from(SYNTAX), st.text(max_size=8)), max_size=6).map(" ".join)
ALPHABET = "abz AZ019'\"*^-:(){}.,áñß東京ねこ가\n"
TURNS = st.lists(st.tuples(CUSTOMERS, USERS, CONVERSATIONS, WORDS), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(told=TURNS, query=QUERIES, customer=CUSTOMERS, user=USERS, conversation=CONVERSATIONS)
def test_every_answer_holds_the_askers_own_turns_alone(told, query, customer, user, conversation) -> None:
    """A naive model knows whose each turn is; no way in gives a turn of anybody else, and none is an error."""
    synap = Caller()
    line = synap.listen()
    owned = defaultdict(set)
    for number, (whose, who, where, word) in enumerate(told):
        canary = f"canary{number}x"
        synap.say(f"{word} {canary}", user=who, conversation=where, customer_id=whose, key=f"k{number % 3}{who}")
        owned[whose or "", who].add(canary)
    mine = owned[customer or "", user]
    others = set().union(*owned.values()) - mine
    assert synap.platform.drain()
    del line.heard[:]

    ids = {"user_id": user, "customer_id": customer, "conversation_id": conversation}
    answers = [
        synap.call("POST", f"/v1/context/{level}/fetch", ids | {"search_query": [query], "response_shape": "ranked"})
        for level in ("user", "conversation")
    ]
    answers += [synap.call("POST", "/v1/context/user/fetch", ids | {"search_query": None})]
    assert {status for status, _ in answers} == {200}
    stream = {"user_id": user, "customer_id": customer or "", "conversation_id": conversation}
    line.event("context_request", search_queries=[query.replace("\0", "")], event_id="ask", **stream)
    line.event("user_message", content=query, event_id="say", **stream)
    line.start(user=user, customer=customer or "", conversation="new")

    told_back = json.dumps(answers) + "".join(map(str, line.heard))
    assert not [canary for canary in others if canary in told_back and canary not in query]
    synap.platform.close()


@settings(max_examples=300, deadline=None)
@given(query=QUERIES)
def test_no_query_is_an_error(query) -> None:
    """Whatever is typed, its words are looked up and nothing of it is syntax."""
    words = terms(query)
    found = SHARED.engine.store.search(Owner("", "ana"), words)
    assert len(found) <= 1
    assert found or not {"puppy", "lisbon"} & set(words)


@settings(max_examples=100, deadline=None)
@given(query=st.text(ALPHABET, max_size=30))
def test_what_was_said_is_found_by_its_own_words(query) -> None:
    """If a text has words, the text itself is among what those words find."""
    synap = Caller()
    synap.say(query)
    if any(word.isascii() and word.isalnum() for word in terms(query)):
        assert [item["content"] for item in synap.found(query)] == [query]
    synap.platform.close()


SHARED = Caller()
SHARED.say("a puppy in Lisbon")
