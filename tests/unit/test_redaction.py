"""What is hidden or masked before it is kept: every text of every event, failing closed."""

import os
import re
import sys
import threading
import time
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synap_integrations import Scope, Synap
from synap_integrations.guard import incidents, is_quiet
from synap_integrations.model import (
    AssistantMessage,
    ContextRequest,
    ContextUsed,
    Event,
    Thinking,
    ToolCall,
    ToolResult,
    UserMessage,
)
from synap_integrations.plain import plain
from synap_integrations.redaction import FAILED, HIDDEN, Hidden, Redaction, rewritten

SECRET = "4111-1111-1111-1111"
WHO = Scope("c-1", "ana")
EVENTS = {
    "user": UserMessage(f"my card is {SECRET}"),
    "assistant": AssistantMessage(f"I noted {SECRET}"),
    "thinking": Thinking(f"the card {SECRET}"),
    "call": ToolCall("pay", {"card": SECRET, "deep": [{SECRET: (SECRET,)}]}, "t-1", search_queries=(SECRET,)),
    "result": ToolResult("pay", {"paid with": SECRET}, "t-1"),
    "result of text": ToolResult("pay", SECRET, "t-1"),
    "request": ContextRequest((f"whose card is {SECRET}",)),
    "used": ContextUsed(("b-1",), ("i-1",)),
}
EVERY = pytest.mark.parametrize("name", list(EVENTS))


def digits(text: str) -> str:
    """A mask as people write it."""
    return re.sub(r"\d{4}(-\d{4})+", "[card]", text)


def masking(mask: object) -> Redaction:
    """A redaction with this mask and nothing hidden."""
    return Redaction(hidden=Hidden(), mask=mask)


@EVERY
def test_every_text_of_an_event_is_masked(name: str) -> None:
    """Messages, reasoning, arguments with their names, results, queries: the mask sees all of it."""
    seen = masking(digits)(EVENTS[name])
    assert SECRET not in repr(seen)
    assert type(seen) is type(EVENTS[name])
    assert getattr(seen, "tool_call_id", "t-1") == "t-1"


@EVERY
def test_without_a_mask_an_event_is_the_same_object(name: str) -> None:
    """Who masks nothing pays nothing."""
    assert Redaction(hidden=Hidden())(EVENTS[name]) is EVENTS[name]


def test_a_number_is_masked_if_the_mask_wants_it_so() -> None:
    """A card number does not get through because it came as an integer; other numbers stay numbers."""
    seen = masking(lambda text: "[number]" if len(text) == 16 else text)(
        ToolCall("pay", {"card": 4111111111111111, "amount": 12, "ok": True}, "t-1")
    )
    assert seen == ToolCall("pay", {"card": "[number]", "amount": 12, "ok": True}, "t-1")


def hanging(text: str) -> str:
    """A mask that does not come back in time."""
    time.sleep(1.5)
    return text


def raising(text: str) -> str:
    """A mask with a bug."""
    raise KeyError(text)


@pytest.mark.parametrize(
    "mask", [raising, lambda text: None, lambda text: text.encode(), "no_such_module:mask", "os:no_such_name"]
)
@pytest.mark.parametrize("name", [name for name in EVENTS if name != "used"])
def test_a_mask_that_fails_leaves_a_stub(name: str, mask: object) -> None:
    """It raises, returns something else, or is not there: the raw text is gone, the fault is counted."""
    incidents.clear()
    seen = masking(mask)(EVENTS[name])
    assert SECRET not in repr(seen)
    assert type(seen) is type(EVENTS[name])
    assert sum(incidents.counts().values()) == 1
    incidents.clear()


def test_a_mask_that_hangs_costs_a_second_once() -> None:
    """The first event waits a second; those behind it do not wait; when the mask is back, it is used again."""
    redaction = masking(hanging)
    started = time.monotonic()
    seen = [redaction(UserMessage(SECRET)) for _ in range(20)]
    assert 0.9 < time.monotonic() - started < 5
    assert seen == [UserMessage(FAILED)] * 20
    end = time.monotonic() + 5
    while redaction._worker._stuck and time.monotonic() < end:
        time.sleep(0.02)
    assert not redaction._worker._stuck
    incidents.clear()


def test_a_mask_runs_where_nothing_is_captured() -> None:
    """A mask that calls a model does not record that call."""
    quiet: list[bool] = []
    masking(lambda text: quiet.append(is_quiet()) or text)(UserMessage("x"))
    assert quiet == [True]


def test_a_mask_is_applied_where_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python 3.12.0 to 3.12.2 refuse one at the end of the process: the text is masked, nothing else is captured."""
    quiet: list[bool] = []

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    incidents.clear()
    seen = masking(lambda text: quiet.append(is_quiet()) or digits(text))(EVENTS["user"])
    assert SECRET not in repr(seen)
    assert FAILED not in repr(seen)
    assert set(quiet) == {True}
    assert not is_quiet()
    assert incidents.counts() == {}


def test_a_mask_works_in_a_forked_child() -> None:
    """The child has a thread of its own for it."""
    redaction = masking(digits)
    redaction(EVENTS["user"])
    child = os.fork()
    if child == 0:
        os._exit(0 if SECRET not in repr(redaction(EVENTS["user"])) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_threads_that_mask_at_once_get_their_own_events_back() -> None:
    """Eight threads, one mask: no text ends up in another's event."""
    redaction = masking(digits)
    wrong: list[Event] = []

    def work(number: int) -> None:
        wrong.extend(
            seen
            for at in range(200)
            if (seen := redaction(UserMessage(f"{number}/{at} {SECRET}"))) != UserMessage(f"{number}/{at} [card]")
        )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("hidden", "gone"),
    [
        (Hidden(inputs=True), {"user", "request"}),
        (Hidden(outputs=True), {"assistant", "thinking"}),
        (Hidden(tools=True), {"call", "result", "result of text"}),
        (Hidden(inputs=True, outputs=True, tools=True), set(EVENTS) - {"used"}),
    ],
    ids=["inputs", "outputs", "tools", "all"],
)
def test_what_is_hidden_keeps_its_place_and_loses_its_words(hidden: Hidden, gone: set[str]) -> None:
    """Turns and tool calls are still counted and paired; what was said in them is not kept."""
    redaction = Redaction(hidden=hidden)
    seen = {name: redaction(event) for name, event in EVENTS.items()}
    assert {name for name, event in seen.items() if SECRET not in repr(event)} - {"used"} == gone
    assert all(type(seen[name]) is type(event) for name, event in EVENTS.items())


@given(st.text())
def test_a_mask_that_changes_nothing_changes_nothing(text: str) -> None:
    """The identity as a mask is no change."""
    arguments = plain({"a": text, "b": [text, {"c": text}]})
    assert rewritten(ToolCall("t", arguments, "t-1"), lambda part: part) == ToolCall("t", arguments, "t-1")


def test_the_raw_text_reaches_neither_the_disk_nor_the_platform(own_storage: Path) -> None:
    """With a mask on a real Synap: no file below the storage path holds the secret, the transcript holds the mask's."""
    with Synap(mask=digits) as synap:
        for event in EVENTS.values():
            synap.record(event, scope=WHO)
        synap.recall(f"whose card is {SECRET}", scope=WHO)
        assert synap.flush(10)
    held = [path for path in own_storage.rglob("*") if path.is_file()]
    assert any(b"[card]" in path.read_bytes() for path in held)
    assert not any(SECRET.encode() in path.read_bytes() for path in held)


def test_a_mask_can_be_named_by_a_variable(monkeypatch: pytest.MonkeyPatch, own_storage: Path) -> None:
    """SYNAP_MASK=module:function needs no code."""
    monkeypatch.setenv("SYNAP_MASK", f"{__name__}_mask:shout")
    module = types.ModuleType(f"{__name__}_mask")
    module.shout = str.upper
    monkeypatch.setitem(sys.modules, f"{__name__}_mask", module)
    with Synap() as synap:
        synap.record(UserMessage("quietly said"), scope=WHO)
        assert synap.flush(10)
    kept = b"".join(path.read_bytes() for path in own_storage.rglob("*.db*"))
    assert b"QUIETLY SAID" in kept
    assert b"quietly said" not in kept


def test_a_sample_holds_whole_conversations() -> None:
    """A tenth of the conversations, each with all of its turns, the same ones in every process."""
    redaction = Redaction(hidden=Hidden(), sample_rate=0.1)
    kept = [name for name in (f"conversation-{number}" for number in range(10_000)) if redaction.keeps(name)]
    assert 800 < len(kept) < 1200
    assert kept == [name for name in kept if Redaction(hidden=Hidden(), sample_rate=0.1).keeps(name)]
    assert not Redaction(hidden=Hidden(), sample_rate=0).keeps("c")


def test_hidden_questions_are_not_asked_for_context(own_storage: Path) -> None:
    """With SYNAP_HIDE_INPUTS the question does not leave as a query either."""
    with Synap(hide_inputs=True) as synap:
        synap.record(UserMessage(f"my card is {SECRET}"), scope=WHO)
        assert not synap.recall(f"my card is {SECRET}", scope=Scope("c-2", "ana"))
        assert synap.flush(10)
        assert synap.status().captured == 1
    kept = b"".join(path.read_bytes() for path in own_storage.rglob("*.db*"))
    assert HIDDEN.encode() in kept
    assert SECRET.encode() not in kept
