"""Anything can be kept, and comes back the same from then on."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synap_integrations.model import AssistantMessage, Envelope, Scope, Thinking, ToolCall, ToolResult, UserMessage
from synap_integrations.outbox import rows
from synap_integrations.outbox.sealing import Sealing
from synap_integrations.secret import Secret

ANY_TEXT = st.text(st.characters(), max_size=50)
ANY_ID = st.none() | ANY_TEXT
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=20) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=15,
)
EVENTS = st.one_of(
    st.builds(UserMessage, ANY_TEXT, attachments=st.lists(ANY_TEXT, max_size=2).map(tuple), edited=st.booleans()),
    st.builds(AssistantMessage, ANY_TEXT, incomplete=st.booleans()),
    st.builds(ToolCall, ANY_TEXT, st.dictionaries(ANY_TEXT, ANYTHING, max_size=4), ANY_TEXT),
    st.builds(ToolResult, ANY_TEXT, ANYTHING, ANY_TEXT, is_error=st.booleans()),
    st.builds(Thinking, ANY_TEXT, step_index=st.none() | st.integers(), thought_type=ANY_ID),
)
SEALING = Sealing([Secret(base64.b64encode(b"k" * 32).decode())])
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - aware by timezones


@given(event=EVENTS, ids=st.tuples(ANY_ID, ANY_ID, ANY_ID, ANY_ID), occurred_at=TIMES, framework=ANY_ID)
def test_anything_is_kept_in_a_form_that_stays(event, ids, occurred_at, framework) -> None:
    """Encoding never fails; what comes back, encoded again, is the same row, byte for byte."""
    scope = Scope(ids[0], ids[1], customer_id=ids[2], session_id=ids[3])
    envelope = Envelope("id", scope, event=event, occurred_at=occurred_at, framework=framework)
    row = rows.encode(envelope)
    json.loads(row.body.decode())
    kept = rows.decode(row)
    assert type(kept.event) is type(event)
    assert rows.encode(kept) == row
    assert rows.decode(rows.encode(kept)) == kept
    assert SEALING.opened(SEALING.sealed(row)) == row


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200))
def test_text_that_can_travel_is_not_touched(text) -> None:
    """Every letter of every script comes back as it was."""
    envelope = Envelope.seal(Scope("c", "u"), UserMessage(text))
    assert rows.decode(rows.encode(envelope)) == envelope


@given(damage=st.binary(max_size=200))
def test_noise_in_place_of_a_sealed_body_is_one_error(damage) -> None:
    """Too short, too long, or just not what was sealed: never a crash, never a turn."""
    sealed = SEALING.sealed(rows.encode(Envelope.seal(Scope("c", "u"), UserMessage("x"))))
    with pytest.raises(rows.UnreadableRowError):
        SEALING.opened(sealed._replace(body=damage))


@given(damage=st.binary(max_size=60))
def test_noise_in_place_of_a_body_is_refused_or_read_never_a_crash(damage) -> None:
    """Decoding has one error, whatever the bytes are."""
    row = rows.encode(Envelope.seal(Scope("c", "u"), UserMessage("x")))
    try:
        read: object = rows.decode(row._replace(body=damage))
    except rows.UnreadableRowError as refused:
        read = refused
    assert isinstance(read, Envelope | rows.UnreadableRowError)
