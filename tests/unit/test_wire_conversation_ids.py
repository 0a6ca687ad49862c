"""Conversations have names of their own and UUIDs on the platform."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synap_integrations.model import Scope
from synap_integrations.wire.conversation_ids import ConversationIds, platform_id

ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def test_a_uuid_passes_through():
    """Also in capitals, byte for byte."""
    for given_id in (ID, ID.upper()):
        assert platform_id(given_id, user_id="u", customer_id=None) == given_id


@pytest.mark.parametrize(
    "name", ["conv_2026_05_16_alice", "…/../x", ID.replace("-", ""), "{" + ID + "}", f"urn:uuid:{ID}", ID + "\n"]
)
def test_any_other_name_becomes_a_stable_uuid(name):
    """The same in every process and release: conversations would be cut in two otherwise."""
    found = platform_id(name, user_id="u", customer_id="acme")
    assert uuid.UUID(found).version == 5
    assert found == platform_id(name, user_id="u", customer_id="acme")


def test_the_mapping_never_changes():
    """One name pinned for good."""
    assert platform_id("support", user_id="ana", customer_id="acme") == "094bbb51-dee2-5843-9500-4fb428c8c550"


@given(
    *[st.tuples(st.none() | st.text(max_size=3), st.none() | st.text(max_size=3), st.text(min_size=1, max_size=3))] * 2
)
def test_two_owners_never_share_a_conversation(one, other):
    """Tenant, user and name are told apart however they are cut."""
    ids = [platform_id(name, user_id=user, customer_id=customer) for customer, user, name in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)


def test_the_way_back_is_remembered_within_bounds():
    """The last names are known, a forgotten one is the platform's own id."""
    ids = ConversationIds(limit=2)
    found = [ids.to_platform(name, user_id="u", customer_id=None) for name in ("a", "b", "a", "c")]
    assert [ids.to_caller(each) for each in found] == ["a", found[1], "a", "c"]
    assert ids.to_caller(ID) == ID
    assert ids.known("b") == []


def test_who_used_a_name_is_known():
    """By name alone, or with the owner narrowed down."""
    ids = ConversationIds()
    owners = [("ana", None), ("ana", "acme"), ("ben", "acme")]
    for user, customer in owners:
        ids.to_platform("support", user_id=user, customer_id=customer)
    everybody = [Scope("support", user, customer_id=customer) for user, customer in owners]
    assert ids.known("support") == everybody
    assert ids.known("support", user_id="ana") == everybody[:2]
    assert ids.known("support", user_id="ana", customer_id="acme") == everybody[1:2]
    assert ids.known("sales") == []
    ids.to_platform(ID, user_id="ana", customer_id=None)
    assert ids.known(ID) == [Scope(ID, "ana")]
    ids.to_platform(ID, user_id="ben", customer_id="acme")
    assert ids.known(ID) == [Scope(ID, "ana"), Scope(ID, "ben", customer_id="acme")]
    assert ids.known(ID, user_id="ben") == [Scope(ID, "ben", customer_id="acme")]
