"""What we talk about."""

import dataclasses
import re
import threading
import uuid

import pytest

from synap_integrations.model import Context, ContextItem, Envelope, Scope, UserMessage, new_id


def test_ids_are_uuids_of_version_7() -> None:
    """Any database accepts them, and they sort by time of birth."""
    ids = [new_id() for _ in range(1000)]
    assert {uuid.UUID(value).version for value in ids} == {7}
    assert {uuid.UUID(value).variant for value in ids} == {uuid.RFC_4122}
    assert len(set(ids)) == 1000
    assert re.sub(r"\D", "", ids[0][:8]) <= re.sub(r"\D", "", ids[-1][:8]) or ids[0][:13] <= ids[-1][:13]


def test_ids_made_by_many_threads_are_distinct() -> None:
    """No coordination is needed."""
    made: list[list[str]] = [[] for _ in range(8)]
    threads = [threading.Thread(target=lambda out=out: out.extend(new_id() for _ in range(2000))) for out in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({value for out in made for value in out}) == 16_000


def test_sealing_gives_an_id_and_an_aware_time() -> None:
    """Two envelopes of the same event are two envelopes; the time knows its zone."""
    one, two = (Envelope.seal(Scope("c"), UserMessage("yes")) for _ in range(2))
    assert one.event_id != two.event_id
    assert one.event == two.event
    assert one.occurred_at.utcoffset() is not None


def test_what_was_said_cannot_be_changed_afterwards() -> None:
    """Events and scopes are frozen."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        UserMessage("hi").content = "ho"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scope("c").user_id = "ana"  # type: ignore[misc]


def test_a_scope_takes_customer_and_session_by_name_only() -> None:
    """Nobody swaps a user and a customer by position."""
    with pytest.raises(TypeError):
        Scope("c", "u", "acme")  # type: ignore[misc]


def test_an_empty_context_is_false() -> None:
    """``if context:`` asks whether there is anything to show."""
    assert not Context()
    assert Context(items=(ContextItem("i1", "episodes", text="I moved to Lisbon"),), source="pushed")
