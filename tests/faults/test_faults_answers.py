"""Lost answers, poison and forgetful platforms, on real sockets: what arrives, and how often."""

import asyncio

import pytest
from socket_platform import CUT, LOSE, Answer

from synap_integrations import Scope, Synap
from synap_integrations.client import SynapClient
from synap_integrations.client.line import Timing
from synap_integrations.client.retry import Backoff
from synap_integrations.model import ToolCall, UserMessage

SCOPE = Scope("2f0f8d3c-4f0e-4e0a-9a63-1b6a39d6b6a1", "ana")


@pytest.fixture
def synap(synap_platform):
    """A Synap that delivers to the platform on the sockets."""
    with Synap(**synap_platform.address, request_timeout_s=3.0) as synap:
        yield synap


def say(synap: Synap, *texts: str) -> None:
    """Record turns of one conversation."""
    for text in texts:
        synap.record(UserMessage(text), scope=SCOPE)


@pytest.mark.parametrize("dedupes", [True, False], ids=["removes-repeats", "keeps-repeats"])
def test_a_lost_answer_is_read_back_and_the_turn_arrives_once(synap, synap_platform, dedupes) -> None:
    """The body was taken and the answer lost: the turns behind the last confirmed one tell that it has arrived."""
    synap_platform.dedupes = dedupes
    say(synap, "hello")
    assert synap.flush(10)
    synap_platform.rest_script += [LOSE]
    say(synap, "yes", "yes")
    assert synap.flush(20)
    assert synap_platform.contents() == ["hello", "yes", "yes"]
    assert any(request.method == "GET" and request.path.endswith("/messages") for request in synap_platform.requests)


@pytest.mark.parametrize("cut", [CUT, Answer(500), Answer(502, body=b"<html>")], ids=["cut", "500", "502"])
def test_a_turn_that_did_not_arrive_is_sent_again(synap, synap_platform, cut) -> None:
    """The same loss of an answer, but nothing was stored: reading back finds nothing."""
    synap_platform.dedupes = False
    say(synap, "hello")
    assert synap.flush(10)
    synap_platform.rest_script += [cut]
    say(synap, "yes")
    assert synap.flush(20)
    assert synap_platform.contents() == ["hello", "yes"]


async def test_an_event_that_ends_each_stream_is_isolated_over_real_sockets(synap_platform) -> None:
    """The stream dies whenever it is written: it becomes a dead letter, and what stood behind it arrives."""
    synap_platform.poison.add("poison")
    quick = {"timing": Timing(first_sign_s=0.2), "backoff": Backoff(first_s=0.05, longest_s=0.1)}
    synap = Synap(SynapClient(**synap_platform.address, inline=True, **quick))
    said = ["before", "poison", *(f"after {number}" for number in range(5))]
    for number, call in enumerate(said):
        synap.record(ToolCall("search", {}, call), scope=Scope(f"c-{number}", "ana"))
    for _ in range(200):
        if (status := synap.status()).dead_letters and not status.waiting:
            break
        await asyncio.sleep(0.05)
    await asyncio.to_thread(synap.close)
    assert (status.delivered, status.dead_letters, status.waiting) == (6, 1, 0)
    assert {event.tool_call_id for event in synap_platform.events} == set(said)


def test_a_lost_stream_loses_no_event_and_keeps_the_order(synap_platform) -> None:
    """Dropped again and again while events are written: each arrives, in order, under one id."""
    quick = {"timing": Timing(first_sign_s=0.2), "backoff": Backoff(first_s=0.02, longest_s=0.05)}
    synap = Synap(SynapClient(**synap_platform.address, inline=True, **quick))
    for number in range(120):
        synap.record(ToolCall("search", {"number": number}, f"call-{number}"), scope=SCOPE)
        if number % 30 == 29:
            synap_platform.drop_streams()
    assert synap.flush(30)
    synap.close()
    first = dict.fromkeys(event.event_id for event in synap_platform.events)
    calls = {
        event.event_id: event.metadata.get("tool_call_id") or event.tool_call_id for event in synap_platform.events
    }
    assert [calls[event_id] for event_id in first] == [f"call-{number}" for number in range(120)]


def test_a_platform_that_forgets_what_it_acknowledged_is_reported(synap, synap_platform, caplog) -> None:
    """It comes back with fewer turns than it had confirmed: one line says so."""
    say(synap, "one", "two", "three")
    assert synap.flush(10)
    synap_platform.stored.clear()
    say(synap, "four")
    assert synap.flush(10)
    assert "lost turns that it had acknowledged: 3 were, 1 are" in caplog.text
