"""The delivery thread: lazy, woken, bounded, forgiving."""

import asyncio
import functools
import threading
import time

import pytest
from history import assert_accounted, assert_delivered
from transports import Fate, ScriptedTransport, first_then, texts

from synap_integrations.errors import AuthenticationError, NetworkError
from synap_integrations.guard import is_quiet
from synap_integrations.model import ContextRequest, Envelope, Inbound, Scope, UserMessage
from synap_integrations.outbox import DeliveryWorker, SqliteOutbox, outcomes, worker
from synap_integrations.outbox.exits import Exits, _called
from synap_integrations.ports import Handover

DOWN = NetworkError("connection refused")


def turn(text: str, conversation: str = "c-1") -> Envelope:
    """A user's turn."""
    return Envelope.seal(Scope(conversation, "ana"), UserMessage(text))


class Desk:
    """An outbox with its worker, and what was put into it."""

    def __init__(self, folder, transport: ScriptedTransport) -> None:
        self.transport = transport
        self.heard: list[Inbound] = []
        self.store = SqliteOutbox(folder, capture_wait_s=30)
        self.worker = DeliveryWorker(self.store, lambda: transport, on_inbound=self.heard.append)
        self.appended: list[Envelope] = []

    def record(self, *envelopes: Envelope) -> None:
        """As `Synap.record` does."""
        for envelope in envelopes:
            self.appended.append(envelope)
            self.store.append(envelope)
            self.worker.wake()


@pytest.fixture
def desk_at(tmp_path):
    """Make a desk with a transport; it is closed afterwards."""
    desks: list[Desk] = []

    def make(transport: ScriptedTransport | None = None) -> Desk:
        desks.append(Desk(tmp_path / "outbox", transport or ScriptedTransport()))
        return desks[-1]

    yield make
    for desk in desks:
        desk.worker.close(1)


def delivery_threads() -> list[threading.Thread]:
    """The threads of ours that run now."""
    return [thread for thread in threading.enumerate() if thread.name == "synap-delivery"]


def test_nothing_runs_before_it_is_needed(desk_at) -> None:
    """Construction, a flush and a close with nothing to do start no thread."""
    desk = desk_at()
    assert desk.worker.flush(1)
    assert desk.worker.state() == "not started"
    assert desk.worker.close(1)
    assert delivery_threads() == []
    assert desk.transport.opened == 0


def test_what_is_recorded_is_delivered_once_and_in_order(desk_at) -> None:
    """A thousand turns of seven conversations, delivered while they are recorded."""
    desk = desk_at()
    desk.record(*(turn(f"{n}", f"c-{n % 7}") for n in range(1_000)))
    assert desk.worker.flush(30)
    assert_delivered(desk.appended, desk.transport.received)
    assert_accounted(desk.store.counts(), captured=1_000, delivered=1_000)
    assert len(delivery_threads()) == 1
    assert delivery_threads()[0].daemon


def test_a_turn_after_a_quiet_time_is_delivered_at_once(desk_at) -> None:
    """The thread sleeps, and is woken by the next turn."""
    desk = desk_at()
    desk.record(turn("1"))
    assert desk.worker.flush(10)
    time.sleep(0.2)
    desk.record(turn("2"))
    assert desk.worker.flush(10)
    assert texts(desk.transport.received) == ["1", "2"]


def test_a_busy_thread_is_not_woken_for_each_turn(desk_at) -> None:
    """Waking costs a system call; a burst causes few of them."""
    desk = desk_at(ScriptedTransport(takes_s=0.001))
    desk.record(turn("first"))
    assert desk.worker.flush(10)
    wakes = 0
    original = desk.worker._call

    def counting(*arguments) -> bool:
        nonlocal wakes
        wakes += 1
        return original(*arguments)

    desk.worker._call = counting
    desk.record(*(turn(f"{n}") for n in range(2_000)))
    assert wakes < 200
    del desk.worker._call
    assert desk.worker.flush(30)


def test_delivery_is_never_captured(desk_at) -> None:
    """Whatever the transport calls runs inside `quiet`."""
    seen: list[bool] = []

    def script(_: Envelope) -> Fate:
        seen.append(is_quiet())
        return Handover.DELIVERED

    desk = desk_at(ScriptedTransport(script))
    desk.record(turn("1"))
    assert desk.worker.flush(10)
    assert seen == [True]


def test_flush_with_the_platform_down_gives_up_in_time(desk_at) -> None:
    """False at its deadline, nothing lost; True once the platform is back."""
    desk = desk_at(ScriptedTransport(lambda _: DOWN, stream=DOWN))
    desk.record(turn("1"), turn("2"))
    began = time.monotonic()
    assert not desk.worker.flush(0.3)
    assert 0.3 <= time.monotonic() - began < 5
    assert_accounted(desk.store.counts(), waiting=2)
    desk.transport.script = lambda _: Handover.DELIVERED
    assert desk.worker.flush(20)
    assert_delivered(desk.appended, desk.transport.received)


def test_flush_does_not_wait_for_what_comes_later(desk_at) -> None:
    """It ends although another thread keeps recording."""
    desk = desk_at()
    go_on = threading.Event()

    def keep_recording() -> None:
        while not go_on.is_set():
            desk.record(turn("more", "c-2"))
            time.sleep(0.001)

    writer = threading.Thread(target=keep_recording)
    writer.start()
    try:
        desk.record(turn("1"))
        assert desk.worker.flush(20)
    finally:
        go_on.set()
        writer.join()


def test_flush_inside_delivery_does_not_wait_for_itself(desk_at) -> None:
    """Called from a callback on the delivery thread it answers at once."""
    answers: list[bool] = []
    desk = desk_at()

    def script(_: Envelope) -> Fate:
        answers.append(desk.worker.flush(30))
        return Handover.DELIVERED

    desk.transport.script = script
    desk.record(turn("1"))
    assert desk.worker.flush(10)
    assert answers == [False]


def test_close_delivers_what_is_left_and_lets_go(desk_at, tmp_path) -> None:
    """Thread, transport and files are gone; closing again changes nothing."""
    desk = desk_at()
    desk.record(*(turn(f"{n}") for n in range(50)))
    assert desk.worker.close(10)
    assert desk.worker.close(10)
    assert_delivered(desk.appended, desk.transport.received)
    assert desk.transport.closed == 1
    assert delivery_threads() == []
    assert desk.worker.state() == "closed"
    assert list((tmp_path / "outbox").iterdir()) == []


def test_what_is_left_at_close_goes_out_at_the_next_start(desk_at) -> None:
    """Also what was recorded after the close."""
    first = desk_at(ScriptedTransport(lambda _: DOWN))
    first.record(turn("1"), turn("2"))
    assert not first.worker.close(0.2)
    first.record(turn("after close", "c-2"))
    assert delivery_threads() == []
    first.store.close()
    second = desk_at()
    second.record(turn("3"))
    assert second.worker.flush(20)
    assert sorted(texts(second.transport.received)) == ["1", "2", "3", "after close"]
    assert [text for text in texts(second.transport.received) if text != "after close"] == ["1", "2", "3"]
    assert_accounted(second.store.counts(), captured=1, adopted=3, delivered=4)


def test_flush_delivers_what_earlier_processes_left(desk_at) -> None:
    """Even if this process has recorded nothing."""
    first = desk_at(ScriptedTransport(lambda _: DOWN))
    first.record(turn("1"))
    first.worker.close(0.1)
    second = desk_at()
    assert second.worker.flush(20)
    assert texts(second.transport.received) == ["1"]


@pytest.mark.parametrize("fate", [None, AuthenticationError("no"), DOWN], ids=["silent", "refusing the key", "down"])
def test_close_is_bounded(desk_at, fate: Fate) -> None:
    """Whatever the platform does, the application gets its thread back in time."""
    desk = desk_at(ScriptedTransport(lambda _: fate))
    desk.record(turn("1"))
    began = time.monotonic()
    assert not desk.worker.close(0.5)
    assert time.monotonic() - began < 5
    assert_accounted(desk.store.counts(), captured=1, waiting=1)


def test_a_transport_that_will_not_say_goodbye_is_left(desk_at) -> None:
    """Closing ends although the transport's own close hangs."""

    class Clinging(ScriptedTransport):
        async def close(self, timeout_s: float) -> None:
            await asyncio.Event().wait()

    desk = desk_at(Clinging())
    desk.record(turn("1"))
    assert desk.worker.close(2)
    assert delivery_threads() == []


def test_a_sender_that_breaks_is_started_again(desk_at, monkeypatch) -> None:
    """A fault of ours in the delivery loop costs a moment, not the rest of the turns."""
    monkeypatch.setattr(worker, "_RESTART_S", 0.01)
    original, faults = outcomes.Outcomes.conclude, iter([RuntimeError("bug")])

    def breaking(self, *arguments):
        for fault in faults:
            raise fault
        return original(self, *arguments)

    monkeypatch.setattr(outcomes.Outcomes, "conclude", breaking)
    desk = desk_at()
    desk.record(turn("1"), turn("2"))
    assert desk.worker.flush(20)
    assert_delivered(desk.appended, desk.transport.received, once=False)
    assert_accounted(desk.store.counts(), captured=2, delivered=2)


def test_a_question_is_sent_now_or_not_at_all(desk_at) -> None:
    """`submit` stores nothing, and says at once if nobody listens."""
    question = Envelope.seal(Scope("c-1", "ana"), ContextRequest(("flights",)))
    desk = desk_at()
    desk.record(turn("1"))
    assert desk.worker.flush(10)
    assert desk.worker.submit(question)
    deadline = time.monotonic() + 10
    while len(desk.transport.received) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert desk.transport.received[1] == question
    assert_accounted(desk.store.counts(), captured=1)


def test_a_question_to_a_platform_that_is_down_costs_nothing(desk_at) -> None:
    """No stream, no waiting."""
    question = Envelope.seal(Scope("c-1", "ana"), ContextRequest(("flights",)))
    desk = desk_at(ScriptedTransport(lambda _: DOWN, stream=DOWN))
    desk.record(turn("1"))
    assert not desk.worker.flush(0.2)
    assert not desk.worker.submit(question)


def test_the_first_question_waits_for_the_stream_to_open(desk_at) -> None:
    """A process that starts with a question gets an answer."""
    desk = desk_at()
    assert desk.worker.submit(question := Envelope.seal(Scope("c-1", "ana"), ContextRequest(("flights",))))
    deadline = time.monotonic() + 10
    while not desk.transport.received and time.monotonic() < deadline:
        time.sleep(0.01)
    assert desk.transport.received == [question]


def test_what_the_platform_says_is_passed_on(desk_at) -> None:
    """Also what arrives on a thread of somebody else; a listener that fails harms nothing."""
    desk = desk_at()
    desk.record(turn("1"))
    assert desk.worker.flush(10)
    heard_before = len(desk.heard)
    foreign = threading.Thread(target=desk.transport.acknowledge, args=(turn("x"),))
    foreign.start()
    foreign.join()
    deadline = time.monotonic() + 10
    while len(desk.heard) == heard_before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(desk.heard) == heard_before + 1


def test_who_else_is_called_at_the_end_of_the_main_thread_is_known() -> None:
    """Python 3.11 and 3.12 keep a partial, 3.13 a closure; anything else is nobody that is known."""

    def farewell() -> None: ...

    def kept(func, *arg, **kwargs):
        return lambda: func(*arg, **kwargs)

    assert _called(functools.partial(farewell)) is farewell
    assert _called(kept(farewell)) is farewell
    assert _called(farewell) is None
    assert _called(len) is None


def test_two_workers_share_one_exit(desk_at) -> None:
    """All workers of a process together take one shutdown time, not one each."""
    desks = [desk_at(ScriptedTransport(first_then([], then=None))) for _ in range(3)]
    for desk in desks:
        desk.worker.shutdown_timeout_s = 1.5
        desk.record(turn("1"))
    exits = Exits()
    for desk in desks:
        exits._workers.add(desk.worker)
    began = time.monotonic()
    exits.farewell()
    assert time.monotonic() - began < 4
    assert delivery_threads() == []
