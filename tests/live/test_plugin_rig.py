"""A Synap for one test: what arrived can be read, time passes when told to, and what goes wrong is survived."""

import asyncio
import socket
import threading
from datetime import timedelta

import pytest

from synap_integrations import ContextNotFoundError, InvalidInputError, Scope, Synap, SynapClient
from synap_integrations.model import AssistantMessage, Thinking, ToolCall, ToolResult, UserMessage
from synap_integrations.runtime import default_synap, use_default
from synap_integrations.testing import Rig, Transcript

ANA = Scope("c-1", "ana")
LATER = Scope("c-2", "ana")
DIALOGUE = [
    ("user", "When is my flight?"),
    ("tool_call", "flights", {"day": "today"}),
    ("tool_result", "flights", '{"at":"17:40"}'),
    ("assistant", "At 17:40."),
]


@pytest.fixture(params=["synap", "synap_server"])
def rig(request) -> Rig:
    """Each of the two."""
    return request.getfixturevalue(request.param)


def speak(memory) -> None:
    """One turn with a tool, as a framework records it."""
    memory.record(UserMessage("When is my flight?"), scope=ANA)
    memory.record(Thinking("I have to look it up."), scope=ANA)
    memory.record(ToolCall("flights", {"day": "today"}, "call-1"), scope=ANA)
    memory.record(ToolResult("flights", {"at": "17:40"}, "call-1"), scope=ANA)
    memory.record(AssistantMessage("At 17:40."), scope=ANA)


def test_a_conversation_reads_as_it_was_captured(rig) -> None:
    """Turns and tools in their order, from the Synap that everybody in the process uses."""
    speak(default_synap())
    assert rig.transcript("c-1") == DIALOGUE
    assert rig.transcript("c-1").texts() == ["When is my flight?", "At 17:40."]
    rig.assert_no_leak()


def test_the_rig_is_a_memory(rig) -> None:
    """What wants a `Memory` can be handed the rig itself."""
    speak(rig)
    rig.record(UserMessage("When is my flight?"), scope=LATER)
    assert "17:40" in str(rig.recall("When is my flight?", scope=LATER).items)


def test_what_was_said_before_is_pushed_and_recalled(rig) -> None:
    """The next conversation's turn causes a push that says why and what; nothing has to be waited for."""
    rig.record(UserMessage("My sister Carla lives in Lisbon."), scope=ANA)
    rig.record(UserMessage("Where does Carla live?"), scope=LATER)
    assert "Lisbon" in str(rig.recall("Where does Carla live?", scope=LATER).items)
    (bundle,) = [bundle for bundle in rig.pushed() if bundle.items]
    assert (bundle.pattern, bundle.queries) == ("user_message", ("Where does Carla live?",))
    assert "Lisbon" in bundle.items[0].content


async def test_the_same_from_an_event_loop(rig) -> None:
    """`arecall`, and a client of the platform's own calls, which sees the same memory."""
    rig.record(UserMessage("My sister Carla lives in Lisbon."), scope=ANA)
    found = await rig.arecall("Where does Carla live?", scope=LATER)
    async with rig.client() as client:
        await client.conversation.record_message("c-1", "assistant", "Noted.", user_id="ana")
        fetched = await client.fetch(user_id="ana", search_query=["Carla"], response_shape="ranked")
    assert "Lisbon" in str(found.items)
    assert "Lisbon" in str(fetched.items)
    assert rig.transcript("c-1").texts()[-1] == "Noted."
    rig.assert_no_leak()


async def test_a_server_is_what_the_environment_says(synap_server) -> None:
    """`SynapClient()` and `Synap()` without arguments reach the test's server."""
    async with SynapClient() as client:
        await client.conversation.record_message("c-1", "user", "One.", user_id="ana")
    with Synap() as synap:
        synap.record(UserMessage("Two."), scope=ANA)
        assert await asyncio.to_thread(synap.flush, 10)
    assert synap_server.transcript("c-1").texts() == ["One.", "Two."]


def test_time_passes_when_the_test_says_so(rig) -> None:
    """What is recorded after ten days was said ten days later, also for the Synap."""
    rig.record(UserMessage("One."), scope=ANA)
    rig.settle()
    rig.clock.advance(days=10)
    rig.record(UserMessage("Two."), scope=ANA)
    rig.settle()
    store = rig._place.local.engine.store
    ((owner, _),) = store.called("c-1")
    second, first = store.newest(owner, limit=2)
    for name in ("said_at", "recorded_at"):
        apart = getattr(second, name) - getattr(first, name)
        assert timedelta(days=10) < apart < timedelta(days=10, minutes=1)
    with pytest.raises(InvalidInputError, match="time does not go back"):
        rig.clock.advance(-1)


def test_two_users_with_a_conversation_of_the_same_name(rig) -> None:
    """The test has to say whose it means."""
    rig.record(UserMessage("I am Ana."), scope=Scope("chat", "ana"))
    rig.record(UserMessage("I am Ben."), scope=Scope("chat", "ben"))
    with pytest.raises(InvalidInputError, match="of 'ana' and 'ben': pass user_id"):
        rig.transcript("chat")
    assert rig.transcript("chat", user_id="ben") == [("user", "I am Ben.")]


def test_a_conversation_that_is_not_there(synap) -> None:
    """It is empty, and says which ones there are."""
    speak(synap)
    missing = synap.transcript("c-7")
    assert missing == []
    assert str(missing) == "there is no conversation 'c-7'; there is 'c-1' of 'ana'"


@pytest.mark.synap(turns="stream", hide_tools=True)
def test_a_mark_sets_settings(rig) -> None:
    """Any setting, by its name."""
    speak(rig)
    assert rig.settings.turns == "stream"
    kinds = [line[0] for line in rig.transcript("c-1")]
    assert kinds == [line[0] for line in DIALOGUE]
    assert "17:40" not in str(rig.transcript("c-1")[2])


# --- what goes wrong ---------------------------------------------------------------------------------------------


FAULTS = {
    "refuse": lambda faults: faults.refuse(),
    "delay": lambda faults: faults.delay(0.2),
    "status": lambda faults: faults.status(503, times=3),
    "drop_stream": lambda faults: faults.drop_stream(),
    "never_ack": lambda faults: faults.never_ack(),
    "duplicate_acks": lambda faults: faults.duplicate_acks(),
}


@pytest.mark.parametrize("turns", ["rest", "stream"])
@pytest.mark.parametrize("name", FAULTS)
def test_whatever_goes_wrong_everything_arrives_once(rig, name, turns) -> None:
    """With each fault, before and after it ends: what was captured is there once and in order."""
    rig.memory.settings = rig.settings = rig.settings.but(turns=turns)
    rig.record(UserMessage("Hello."), scope=ANA)
    rig.settle()
    FAULTS[name](rig.faults)
    speak(rig)
    if name in {"refuse", "never_ack"}:
        assert not rig.memory.flush(0.3)
        assert rig.memory.status().waiting > 0
        rig.faults.clear()
    assert rig.transcript("c-1") == [("user", "Hello."), *DIALOGUE]
    rig.assert_no_leak()


def test_a_refused_connection_is_refused_by_the_machine(synap_server) -> None:
    """`refuse` on real sockets: nobody listens on either port, and afterwards somebody does, on the same ones."""
    ports = (
        int(synap_server.environment["SYNAP_BASE_URL"].rpartition(":")[2]),
        int(synap_server.environment["SYNAP_GRPC_PORT"]),
    )
    for refusing in (True, False):
        if refusing:
            synap_server.faults.refuse()
        else:
            synap_server.faults.clear()
        for port in ports:
            with socket.socket() as caller:
                assert (caller.connect_ex(("127.0.0.1", port)) != 0) is refusing


async def test_a_bare_client_meets_the_faults_too(rig) -> None:
    """Its errors are those that it would have with a real platform."""
    async with rig.client() as client:
        rig.faults.status(404, times=1)
        with pytest.raises(ContextNotFoundError, match=r"faults[.]status"):
            await client.conversation.record_message("c-1", "user", "Hello.", user_id="ana")


def test_delays_end_with_the_fault(rig) -> None:
    """Nobody waits for what was late when all is well again."""
    rig.faults.delay(600)
    speak(rig)
    assert not rig.memory.flush(0.2)
    rig.faults.clear()
    assert rig.transcript("c-1") == DIALOGUE


def test_faults_that_make_no_sense_are_refused(synap) -> None:
    """The message says what would."""
    for code in (200, "x"):
        with pytest.raises(InvalidInputError, match="400 to 599"):
            synap.faults.status(code)
    with pytest.raises(InvalidInputError, match="0 or more"):
        synap.faults.delay(-1)


# --- leaks -------------------------------------------------------------------------------------------------------


def test_a_turn_that_did_not_arrive_is_a_leak(synap) -> None:
    """A dead letter is named with the figures."""
    synap.faults.status(422)
    synap.record(UserMessage("Hello."), scope=ANA)
    synap.memory.flush(2)
    with pytest.raises(AssertionError, match="captured 1, delivered 0: 0 waiting, 0 refused, 1 dead letters"):
        synap.assert_no_leak()


def test_a_fault_that_was_contained_is_a_leak(synap) -> None:
    """The application noticed nothing; its test does."""
    synap.record(object(), scope=ANA)
    with pytest.raises(AssertionError, match="a fault of the package was contained: record"):
        synap.assert_no_leak()


async def test_a_stream_that_nobody_closed_is_a_leak(rig) -> None:
    """So is its task on the loop."""
    client = rig.client()
    await client.instance.listen()
    with pytest.raises(AssertionError, match=r"(?s)still open.*a task still runs: synap-stream"):
        rig.assert_no_leak()
    await client.close()


def test_another_synap_that_was_not_closed_is_a_leak(synap) -> None:
    """Its thread is still there."""
    with Synap(base_url="local", storage_path=":memory:") as other:
        other.record(UserMessage("Hello."), scope=ANA)
        assert other.flush(10)
        with pytest.raises(AssertionError, match="a thread still runs: synap-delivery"):
            synap.assert_no_leak()


def test_a_replaced_default_is_a_leak(synap) -> None:
    """What went to another Synap was not looked at."""
    with Synap(base_url="local", storage_path=":memory:") as other:
        use_default(other)
        with pytest.raises(AssertionError, match="replaced the process-wide Synap"):
            synap.assert_no_leak()


def test_nothing_is_left_when_nothing_was_done(rig) -> None:
    """An idle rig has no thread and no stream."""
    before = {thread for thread in threading.enumerate() if thread.name == "synap-delivery"}
    rig.assert_no_leak()
    assert not {thread for thread in threading.enumerate() if thread.name == "synap-delivery"} - before


# --- transcripts -------------------------------------------------------------------------------------------------


def test_a_transcript_prints_as_a_dialogue() -> None:
    """Who, then what; a text of several lines stays on one."""
    assert str(Transcript([*DIALOGUE, ("user", "a\nb")])).splitlines() == [
        "user         When is my flight?",
        'tool_call    flights({"day": "today"})',
        'tool_result  flights = \'{"at":"17:40"}\'',
        "assistant    At 17:40.",
        "user         'a\\nb'",
    ]
