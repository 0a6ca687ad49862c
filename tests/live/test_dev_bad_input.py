"""Whatever a request says, the answer is one that the wire knows: never a 500, never somebody else's data."""

import asyncio
import json
import random
import string

import pytest
from dev_server import server_in_process

from synap_integrations.guard import incidents
from synap_integrations.server.database import Database
from synap_integrations.server.embedded import LocalSynap

CANARY = "canary5f3a9c"
TURN = {"conversation_id": "c", "user_id": "ana", "role": "user", "content": "hello"}
FETCH = "/v1/context/user/fetch"
RECORD = "/v1/conversations/messages"


@pytest.fixture(scope="module")
def server():
    """A server on which somebody else has said something that nobody may see."""
    with server_in_process() as reached:
        reached.say(f"my secret is {CANARY}", user="somebody else", conversation="theirs")
        yield reached


BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"1",
    "a string": b'"x"',
    "null": b"null",
    "NaN": b"NaN",
    "two objects": b"{}{}",
    "no UTF-8": b'{"conversation_id": "\xff\xfe"}',
    "half of a surrogate pair": rb'{"conversation_id": "\ud800", "user_id": "ana", "role": "user", "content": 1}',
    "a NUL in an id": json.dumps(TURN | {"user_id": "a\x00b"}).encode(),
    "deep": b"[" * 100_000,
    "a deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "no fields": b"{}",
    "a role nobody has": json.dumps(TURN | {"role": "root"}).encode(),
    "a role that is a list": json.dumps(TURN | {"role": ["user"]}).encode(),
    "content that is a number": json.dumps(TURN | {"content": 7}).encode(),
    "content that is null": json.dumps(TURN | {"content": None}).encode(),
    "an id that is a number": json.dumps(TURN | {"user_id": 7}).encode(),
    "an id that is an object": json.dumps(TURN | {"user_id": {}}).encode(),
    "an id of 5,000 letters": json.dumps(TURN | {"user_id": "u" * 5000}).encode(),
    "metadata that is a list": json.dumps(TURN | {"metadata": []}).encode(),
    "a session that is a number": json.dumps(TURN | {"session_id": 1}).encode(),
    "an empty user": json.dumps(TURN | {"user_id": ""}).encode(),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_turn_that_is_none_is_refused_by_name_and_not_stored(server, body) -> None:
    """4xx with the documented envelope and `detail`, which the platform's SDK reads; nothing is kept."""
    refused(server.post(RECORD, body))
    assert server.turns(conversation="c") == []


FETCHES = {
    "a query that is a number": {"search_query": 7},
    "a query of numbers": {"search_query": [1, 2]},
    "a query that is an object": {"search_query": {"a": 1}},
    "types that are a string": {"types": "all"},
    "types that are numbers": {"types": [1]},
    "a shape nobody knows": {"response_shape": "triangle"},
    "a shape that is a list": {"response_shape": ["ranked"]},
    "less than nothing": {"max_results": -1},
    "results by the letter": {"max_results": "ten"},
    "results that are a truth": {"max_results": True},
    "a fraction of a result": {"max_results": 1.5},
    "no user": {"user_id": None},
    "a user that is a list": {"user_id": ["ana"]},
    "a customer that is a number": {"customer_id": 1},
    "a conversation that is an object": {"conversation_id": {}},
    "per query less than nothing": {"max_results_per_query": -3},
}


@pytest.mark.parametrize("fields", FETCHES.values(), ids=FETCHES)
def test_a_fetch_that_makes_no_sense_is_refused_by_name(server, fields) -> None:
    """4xx with the field that is wrong, and no item of anybody."""
    answer = refused(server.post(FETCH, {"user_id": "ana", "search_query": ["hello"]} | fields))
    assert next(iter(fields)) in answer["detail"]


PLACES = {
    "another path": ("GET", "/v1/nowhere"),
    "another version": ("GET", "/v2/conversations/c/messages"),
    "the root of the API": ("GET", "/v1/"),
    "a method that is not there": ("DELETE", RECORD),
    "a fetch to read": ("GET", FETCH),
    "a level nobody knows": ("POST", "/v1/context/galaxy/fetch"),
    "a page before the first": ("GET", "/v1/conversations/c/messages?user_id=ana&start=-1"),
    "a page by the letter": ("GET", "/v1/conversations/c/messages?user_id=ana&start=one"),
    "so many that no number holds them": ("GET", f"/v1/conversations/c/messages?user_id=ana&limit={'9' * 40}"),
    "digits of another script": ("GET", "/v1/conversations/c/messages?user_id=ana&start=%D9%A3"),
    "a style nobody knows": ("GET", "/v1/conversations/c/context-for-prompt?style=haiku"),
}


@pytest.mark.parametrize(("method", "path"), PLACES.values(), ids=PLACES)
def test_what_is_not_there_says_so(server, method, path) -> None:
    """404, 405 or 422 with the envelope."""
    assert refused(server.call(method, path, {} if method == "POST" else None))["detail"]


@pytest.mark.parametrize(
    "path",
    ["/v1/conversations/%FF%FE/messages", "/v1/conversations/%00/messages", "/v1/conversations/c/messages?user_id=%FF"],
    ids=["no UTF-8", "a NUL", "no UTF-8 in a query"],
)
def test_a_path_that_is_no_text_finds_nothing(server, path) -> None:
    """Bytes that are no letters are an id that nobody has, or none at all."""
    status, answer = server.get(path)
    assert status in {200, 404, 422}
    assert CANARY not in json.dumps(answer)


WRONG = {
    "no key": ({"Authorization": ""}, 401),
    "another key": ({"Authorization": "Bearer other"}, 401),
    "another host": ({"Host": "evil.example"}, 421),
    "another origin": ({"Origin": "http://evil.example"}, 403),
    "another site": ({"Sec-Fetch-Site": "cross-site"}, 403),
    "a form": ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
}


@pytest.mark.parametrize(("headers", "expected"), WRONG.values(), ids=WRONG)
def test_whoever_may_not_ask_gets_the_same_envelope(server, headers, expected) -> None:
    """The refusals of the gate read like all others, and nothing is stored."""
    status, answer = server.post(RECORD, TURN, **{name.replace("-", "_"): value for name, value in headers.items()})
    assert status == expected
    refused((status, answer))
    assert server.turns(conversation="c") == []


WORDS = [
    '"', "'", '""', "''", "-", "--", "*", "^", ":", "(", ")", "{", "}", "+", ",", ";", "\\", "/*", "*/", "%", "_",
    "AND", "OR", "NOT", "NEAR", "NEAR(", "NEAR(a b, 5)", "body:", "owner:", "{body owner}:", "- owner:1", "owner : 1",
    'owner:"1" OR body:secret', "rank MATCH 'bm25(1)'", "a*", '"a" *', "^secret", "secret + my", "' OR 1=1 --",
    "'; DROP TABLE turn; --", '") OR owner:("1', "1) UNION SELECT content FROM turn --", "?1", ":owner", "@x", "$y",
    "\x00", "\x1a", "\ufeff", "\u202e", "\u0000secret", "🦊", "é", "日本語", "ﬀ", "İ", "ß", "\ud7ff", "\U0010ffff",
    CANARY, f'"{CANARY}"', f"body:{CANARY}", "somebody else", "my secret", "x" * 3000, "a " * 500, "1", "2", "10",
]  # fmt: skip


def hostile(seed: int) -> str:
    """A query made of what query languages are made of."""
    chance = random.Random(seed)
    pieces = [
        chance.choice(WORDS) if chance.random() < 0.8 else "".join(chance.choices(string.printable, k=5))
        for _ in range(chance.randint(1, 7))
    ]
    return chance.choice(["", " "]).join(pieces)


def assert_nothing_is_an_expression(seeds: range) -> None:
    """Every hostile string as a query, as an id and as content: 200 or 4xx, and nothing of the neighbour."""
    incidents.clear()
    synap = LocalSynap(Database(None), "fuzz")
    try:
        secret = {"conversation_id": "theirs", "user_id": "somebody else", "role": "user"}
        asked(synap, RECORD, secret | {"content": f"my secret is {CANARY}, and the fox is here"})
        asked(synap, RECORD, TURN)
        for seed in seeds:
            text = hostile(seed)
            user = text if seed % 5 == 0 and text.strip() != "somebody else" else "ana"
            body = {"user_id": user, "search_query": [text], "response_shape": "ranked" if seed % 2 else "by_type"}
            status, answer = asked(synap, FETCH, body)
            assert status in {200, 422}, (seed, text, answer)
            assert "is here" not in answer, (seed, text)
            if seed % 10 == 0:
                status, answer = asked(synap, "/v1/context/conversation/fetch", body | {"conversation_id": text})
                assert status in {200, 422}, (seed, text, answer)
                assert "is here" not in answer or text == "theirs", (seed, text)
            if seed % 50 == 0:
                status, answer = asked(synap, RECORD, TURN | {"content": text, "conversation_id": text or "c"})
                assert status in {200, 422}, (seed, text, answer)
        status, answer = asked(synap, FETCH, {"user_id": "somebody else", "search_query": ["secret"]})
        assert CANARY in answer
        assert incidents.counts() == {}
    finally:
        synap.close()


def test_no_query_is_an_expression_and_no_id_is_a_pattern() -> None:
    """Two thousand strings of SQL and FTS syntax: no fault, no row of another user, nothing damaged."""
    assert_nothing_is_an_expression(range(2_000))


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("start", range(2_000, 102_000, 10_000))
def test_no_query_of_a_hundred_thousand_is_an_expression(start: int) -> None:
    """The same with 10^5 strings, 10,000 to a memory."""
    assert_nothing_is_an_expression(range(start, start + 10_000))


async def test_hostile_queries_over_sockets_are_answered_like_any_other(server) -> None:
    """Many at a time, through HTTP: 200 or 422, and nothing of the neighbour."""

    def ask(seed: int) -> tuple[int, dict]:
        return server.post(FETCH, {"user_id": "ana", "search_query": [hostile(seed)]})

    for status, answer in await asyncio.gather(*(asyncio.to_thread(ask, seed) for seed in range(60))):
        assert status in {200, 422}, answer
        assert "my secret is" not in json.dumps(answer)


def asked(synap: LocalSynap, path: str, body: dict) -> tuple[int, str]:
    """Status and answer of a POST without a socket, as text."""
    status, _, answer = synap.answer(
        "POST", path, query="", headers={}, body=json.dumps(body).encode("utf-8", "surrogatepass")
    )
    return status, answer.decode()


def refused(answered: tuple[int, dict]) -> dict:
    """A refusal as the documentation has it: 4xx, `error`, `code`, `details`, and `detail` for the SDK."""
    status, answer = answered
    assert 400 <= status < 500, answer
    assert {"error", "code", "details", "detail"} <= answer.keys()
    assert answer["code"].isupper()
    assert isinstance(answer["detail"], str)
    assert answer["detail"]
    assert isinstance(answer["details"], dict)
    assert CANARY not in json.dumps(answer)
    return answer
