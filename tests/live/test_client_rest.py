"""The documented REST calls against a platform on real sockets: what is sent, what comes back, what is repeated."""

import asyncio
import gc
import gzip
import json
import logging
import pickle
import socket
import sys
import traceback
import uuid

import pytest
from socket_platform import CUT, HANG, KEY, LOSE, Answer

from synap_integrations import errors
from synap_integrations.client import Backoff, SynapClient
from synap_integrations.settings import Settings

CONVERSATION = str(uuid.UUID(int=1))
AT_ONCE = Backoff(0.0, 0.0)
TURN = {"conversation_id": CONVERSATION, "role": "user", "content": "hi", "user_id": "ana"}


@pytest.fixture
async def client(synap_platform):
    """A client of the platform that waits for nothing before it tries again."""
    async with SynapClient(**synap_platform.address) as client:
        client._connection.rest._backoff = AT_ONCE
        yield client


async def test_a_turn_is_recorded_as_documented(client, synap_platform):
    """Path, key, body and answer; customer and metadata are always there, the session only if it is given."""
    answer = await client.conversation.record_message(CONVERSATION, "user", "I live in Lisbon", "ana")
    (_, request) = synap_platform.requests
    assert (request.method, request.path) == ("POST", "/v1/conversations/messages")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-correlation-id"].startswith("syn_")
    assert "idempotency-key" not in request.headers
    assert request.body == {
        "conversation_id": CONVERSATION,
        "role": "user",
        "content": "I live in Lisbon",
        "user_id": "ana",
        "customer_id": None,
        "metadata": {},
    }
    assert {*answer} >= {"message_id", "conversation_id", "session_id", "recorded_at", "conversation_message_count"}
    assert answer["conversation_id"] == CONVERSATION


async def test_a_conversation_may_have_any_name(client, synap_platform):
    """The platform gets a UUID of its own per user, the caller's name in metadata; the caller gets his name back."""
    for user in ("ana", "ben", "ana"):
        answer = await client.conversation.record_message(
            "conv_2026_05_16", "assistant", "hello", user, "acme", "s1", {"channel": "web", "n": 1}
        )
        assert answer["conversation_id"] == "conv_2026_05_16"
    bodies = [request.body for request in synap_platform.requests[1:]]
    assert [uuid.UUID(body["conversation_id"]).version for body in bodies] == [5, 5, 5]
    assert bodies[0]["conversation_id"] == bodies[2]["conversation_id"] != bodies[1]["conversation_id"]
    assert bodies[0]["metadata"] == {"channel": "web", "n": 1, "synap_conversation_id": "conv_2026_05_16"}
    assert (bodies[0]["session_id"], bodies[0]["customer_id"]) == ("s1", "acme")


async def test_several_turns_go_together(client, synap_platform):
    """One request, in order, under the callers' names; none at all for none."""
    turns = [TURN | {"content": str(n), "conversation_id": "chat"} for n in range(3)]
    answer = await client.conversation.record_messages(turns)
    assert (answer["total"], answer["succeeded"], answer["failed"]) == (3, 3, 0)
    assert [result["conversation_id"] for result in answer["results"]] == ["chat"] * 3
    assert synap_platform.contents() == ["0", "1", "2"]
    assert (await client.conversation.record_messages_batch([]))["total"] == 0
    assert len(synap_platform.paths()) == 1


WRONG = [
    ({"role": "robot"}, "role"),
    ({"role": None}, "role"),
    ({"content": None}, "content"),
    ({"content": b"bytes"}, "content"),
    ({"conversation_id": None}, "conversation_id"),
    ({"conversation_id": ""}, "conversation_id"),
    ({"conversation_id": "x" * 513}, "conversation_id"),
    ({"conversation_id": "a\nb"}, "conversation_id"),
    ({"conversation_id": 7}, "conversation_id"),
    ({"user_id": None}, "user_id"),
    ({"user_id": ""}, "user_id"),
    ({"customer_id": ""}, "customer_id"),
    ({"session_id": "\ud800"}, "session_id"),
    ({"metadata": ["no", "mapping"]}, "metadata"),
    ({"event_id": "é"}, "event_id"),
]


@pytest.mark.parametrize(("change", "argument"), WRONG)
async def test_a_wrong_argument_is_named_before_anything_is_sent(client, synap_platform, change, argument):
    """The message begins with the argument's name, and the turn's request never leaves."""
    with pytest.raises(errors.InvalidInputError) as refused:
        await client.conversation.record_message(**(TURN | change))
    assert argument in str(refused.value)
    assert refused.value.details["argument"] == argument
    assert synap_platform.paths() == []


async def test_one_wrong_turn_of_a_batch_is_named(client, synap_platform):
    """Its index is in the message, and none of them is sent."""
    with pytest.raises(errors.InvalidInputError, match=r"messages\[1\]: role"):
        await client.conversation.record_messages([TURN, TURN | {"role": "tool"}])
    assert synap_platform.paths() == []


@pytest.mark.parametrize(
    ("isolation", "customer", "fault"),
    [
        ("equals_customer", "acme", "is not accepted"),
        ("equals_customer", None, None),
        ("optional", None, None),
        ("optional", "acme", None),
        (None, "acme", None),
        (None, None, "is missing"),
        ("strict", None, "is missing"),
    ],
)
async def test_the_platform_says_whether_a_customer_is_named(client, synap_platform, isolation, customer, fault):
    """Where the user is the whole identity a customer is refused, elsewhere one is required, unless it is optional."""
    synap_platform.isolation = isolation
    if fault is None:
        await client.conversation.record_message(**TURN, customer_id=customer)
        assert synap_platform.contents() == ["hi"]
        return
    with pytest.raises(errors.InvalidInputError, match=f"customer_id {fault}"):
        await client.conversation.record_message(**TURN, customer_id=customer)
    assert synap_platform.paths() == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(400, body={"detail": "bad"}), errors.InvalidInputError),
        (Answer(401), errors.AuthenticationError),
        (Answer(402), errors.InsufficientCreditsError),
        (Answer(404), errors.ContextNotFoundError),
        (Answer(409), errors.ConflictError),
        (Answer(500), errors.ServiceUnavailableError),
        (Answer(302, {"location": "http://127.0.0.1:9/steal"}), errors.ServiceUnavailableError),
        (Answer(200, {"content-type": "text/html"}, b"<html>log in</html>"), errors.ServiceUnavailableError),
        (CUT, errors.NetworkError),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
async def test_a_refusal_is_raised_once(client, synap_platform, answer, error):
    """A write that may have happened is not repeated; the error has the correlation id of the request."""
    synap_platform.rest_script += [answer]
    with pytest.raises(error) as raised:
        await client.conversation.record_message(**TURN)
    assert raised.value.correlation_id == synap_platform.requests[-1].headers["x-correlation-id"]
    assert len(synap_platform.paths()) == 1


@pytest.mark.parametrize(
    "answer", [Answer(201), Answer(202), Answer(204, body=b""), Answer(200, body=b"null"), Answer(200, body=b"ok")]
)
async def test_any_success_is_a_success(client, synap_platform, answer):
    """Whatever the platform says beside it, the turn is stored and is not sent again."""
    synap_platform.rest_script += [answer]
    answer = await client.conversation.record_message(**TURN)
    assert answer["conversation_id"] == CONVERSATION
    assert len(synap_platform.paths()) == 1


async def test_what_was_refused_for_now_is_sent_again(client, synap_platform):
    """A platform that says "not now" has stored nothing; the same request goes again."""
    synap_platform.rest_script += [Answer(503), Answer(503)]
    await client.conversation.record_message(**TURN)
    assert synap_platform.contents() == ["hi"]
    assert len({request.headers["x-correlation-id"] for request in synap_platform.requests[1:]}) == 1


async def test_a_lost_answer_is_not_sent_again_by_itself(client, synap_platform):
    """The turn may be stored; whoever has an event id can send it again, and it is stored once."""
    synap_platform.rest_script += [LOSE]
    with pytest.raises(errors.NetworkError):
        await client.conversation.record_message(**TURN, event_id="e1")
    await client.conversation.record_message(**TURN, event_id="e1")
    assert [request.headers["idempotency-key"] for request in synap_platform.requests[1:]] == ["e1", "e1"]


async def test_reading_is_tried_again(client, synap_platform):
    """A read does no harm twice."""
    synap_platform.rest_script += [CUT, Answer(500)]
    found = await client.conversation.context_for_prompt(CONVERSATION)
    assert found.formatted_context == "User: hello"
    assert len(synap_platform.paths()) == 3


async def test_an_answer_that_never_comes_is_a_timeout(synap_platform):
    """One deadline over everything, however the time was spent."""
    settings = Settings.read(**synap_platform.address).but(request_timeout_s=0.2)
    synap_platform.rest_script += [HANG]
    async with SynapClient(settings=settings) as client:
        with pytest.raises(errors.NetworkTimeoutError):
            await client.conversation.record_message(**TURN)


async def test_a_platform_that_is_not_there_is_a_network_error():
    """Connection refused, by name, after a few attempts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with SynapClient(KEY, base_url=url) as client:
            client._connection.rest._backoff = AT_ONCE
            with pytest.raises(errors.NetworkError) as raised:
                await client.conversation.record_message(**TURN)
    assert raised.value.retryable
    assert raised.value.details["sent"] is False


async def test_an_answer_without_end_is_refused(client, synap_platform):
    """A small compressed answer that unfolds to hundreds of megabytes is not read to its end."""
    bomb = gzip.compress(b" " * 200_000_000, compresslevel=1)
    synap_platform.rest_script += [Answer(200, {"content-encoding": "gzip"}, bomb)] * 3
    with pytest.raises(errors.ServiceUnavailableError, match="larger than"):
        await client.conversation.context_for_prompt(CONVERSATION)


async def test_a_wrong_key_is_refused(synap_platform):
    """By name, when the client introduces itself and on every call after."""
    async with SynapClient(**(synap_platform.address | {"api_key": "synap_wrong"})) as client:
        with pytest.raises(errors.AuthenticationError):
            await client.initialize()
        with pytest.raises(errors.AuthenticationError):
            await client.conversation.record_message(**TURN)


async def test_a_platform_that_cannot_introduce_us_is_no_obstacle(client, synap_platform):
    """Who we are is asked again later; the turn goes out now."""
    synap_platform.answers["/api/v1/auth/whoami"] = Answer(500)
    await client.conversation.record_message(**TURN)
    assert synap_platform.contents() == ["hi"]


async def test_fetch_asks_every_level_that_is_named(client, synap_platform):
    """Conversation, user and customer at once, merged by id, with the conversation's prompt context."""
    found = await client.fetch("chat", "ana", "acme", search_query="where?", types=["facts"])
    asked = {request.path: request.body for request in synap_platform.requests[1:]}
    assert {path.split("/")[3] for path in asked if path.endswith("/fetch")} == {"conversation", "user", "customer"}
    body = asked["/v1/context/user/fetch"]
    assert uuid.UUID(body.pop("conversation_id"))
    assert body == {
        "user_id": "ana",
        "customer_id": "acme",
        "search_query": ["where?"],
        "max_results": 20,
        "types": ["facts"],
        "mode": "fast",
    }
    assert [item["content"] for item in found.facts] == ["said by ana"]
    assert found.formatted_context == "User: hello"


async def test_fetch_without_a_name_asks_the_client_level(client, synap_platform):
    """And options that are no default are sent."""
    await client.fetch(search_query=["a", "b"], mode="accurate", response_shape="ranked")
    (request,) = synap_platform.requests[1:]
    assert request.path == "/v1/context/client/fetch"
    assert (request.body["mode"], request.body["response_shape"]) == ("accurate", "ranked")


async def test_a_level_that_does_not_exist_is_empty(client, synap_platform):
    """A conversation nobody knows is not an error, a platform that is down is one."""
    synap_platform.answers["/v1/context/conversation/fetch"] = Answer(404)
    found = await client.fetch(CONVERSATION, "ana")
    assert [item["content"] for item in found.facts] == ["said by ana"]
    synap_platform.rest_script += [Answer(401)] * 3
    with pytest.raises(errors.AuthenticationError):
        await client.fetch(CONVERSATION, "ana")


@pytest.mark.parametrize(
    "wrong", [{"types": "facts"}, {"types": ["riddles"]}, {"mode": "slow"}, {"response_shape": "flat"}]
)
async def test_fetch_names_the_argument_that_is_wrong(client, wrong):
    """Before anything is sent."""
    with pytest.raises(errors.InvalidInputError, match=next(iter(wrong))):
        await client.fetch(user_id="ana", **wrong)


async def test_a_conversation_is_read_under_the_callers_name(client, synap_platform):
    """Known from what was recorded, or with the user named; two users of one name must be told apart."""
    await client.conversation.record_message("chat", "user", "hi", "ana")
    await client.conversation.context_for_prompt("chat", "narrative")
    platform_id = synap_platform.requests[1].body["conversation_id"]
    assert synap_platform.requests[-1].path == f"/v1/conversations/{platform_id}/context-for-prompt"
    assert synap_platform.requests[-1].query == "style=narrative"
    await client.conversation.record_message("chat", "user", "hi", "ben")
    with pytest.raises(errors.InvalidInputError, match="user_id"):
        await client.conversation.context_for_prompt("chat")
    await client.conversation.context_for_prompt("chat", user_id="ana")
    assert synap_platform.requests[-1].path == f"/v1/conversations/{platform_id}/context-for-prompt"
    with pytest.raises(errors.InvalidInputError, match="style"):
        await client.conversation.context_for_prompt("chat", "haiku")


async def test_no_proxy_stands_between_us_and_this_machine(monkeypatch, synap_platform):
    """Whatever the environment says about proxies, loopback is reached directly."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    async with SynapClient(**synap_platform.address) as client:
        await client.conversation.record_message(**TURN)
        await client.instance.listen()
        assert client.instance.is_listening


def test_one_client_serves_one_loop_after_the_other(synap_platform):
    """Made outside of any loop, used in three of them."""
    client = SynapClient(**synap_platform.address)

    async def turn(n):
        try:
            await client.conversation.record_message(**(TURN | {"content": str(n)}))
        finally:
            await client.close()

    for n in range(3):
        asyncio.run(turn(n))
    assert synap_platform.contents() == ["0", "1", "2"]


async def test_the_key_is_nowhere_to_be_seen(client, synap_platform, caplog):
    """Not in a repr, a log at the finest level, the variables of a traceback, a chained error, or a pickle."""
    caplog.set_level(logging.DEBUG)
    seen = [repr(client), str(vars(client)), repr(client._connection.settings)]
    synap_platform.rest_script += [Answer(500), CUT]
    synap_platform.refuse_stream = "UNAUTHENTICATED"
    for call in (client.conversation.record_message, client.conversation.record_message, client.instance.listen):
        with pytest.raises(errors.SynapError) as raised:
            await call(**(TURN if call.__name__ == "record_message" else {}))
        told = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
        seen.append("".join(told.format()))
        assert raised.value.__context__ is None
    with pytest.raises(TypeError):
        pickle.dumps(client)
    seen += [caplog.text, json.dumps([record.__dict__ for record in caplog.records], default=repr)]
    assert len(seen) == 8
    assert not [text for text in seen if KEY in text]


def test_a_client_costs_nothing_until_it_is_used():
    """No socket, no thread, no file and no event loop, also with the cloud as its address."""
    before = len(gc.get_objects(generation=0)) and set(sys.modules)
    client = SynapClient(KEY, base_url="cloud")
    assert repr(client) == "SynapClient(synap-cloud-prod.maximem.ai)"
    assert not {name for name in set(sys.modules) - before if name.startswith("maximem")}
