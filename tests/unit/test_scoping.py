"""Whose conversation is this?"""

import asyncio
import contextvars
import importlib
import threading

import pytest

import synap_integrations
from synap_integrations import InvalidInputError, Scope, context, scoping


def test_the_first_layer_that_says_something_wins_field_by_field() -> None:
    """An argument beats the framework's metadata for its own field only."""
    arguments = Scope(user_id="ana")
    metadata = Scope("thread-1", "bob", customer_id="acme")
    assert scoping.merged(arguments, metadata) == Scope("thread-1", "ana", customer_id="acme")


def test_a_block_names_the_scope_and_gives_it_back() -> None:
    """Nested blocks fill in what they name, keep the rest, and end cleanly."""
    with context(user_id="ana", customer_id="acme"):
        with context(conversation_id="c1", user_id="bob"):
            assert scoping.ambient() == Scope("c1", "bob", customer_id="acme")
        assert scoping.ambient() == Scope(user_id="ana", customer_id="acme")
    assert scoping.ambient() == Scope()


async def test_concurrent_tasks_do_not_see_each_other() -> None:
    """Two requests served by one loop keep their own users."""

    async def request(user: str) -> str | None:
        with context(user_id=user):
            await asyncio.sleep(0)
            return scoping.ambient().user_id

    assert await asyncio.gather(request("ana"), request("bob")) == ["ana", "bob"]


def test_a_bare_thread_starts_without_a_scope() -> None:
    """A thread inherits nothing by accident."""
    seen: list[Scope] = []
    with context(user_id="ana"):
        thread = threading.Thread(target=lambda: seen.append(scoping.ambient()))
        thread.start()
        thread.join()
    assert seen == [Scope()]


@pytest.mark.parametrize(
    ("carried", "expected"),
    [
        ({"thread_id": "t1", "user_id": "ana"}, Scope("t1", "ana")),
        ({"thread_id": "t1", "synap_conversation_id": "c1"}, Scope("c1")),
        ({"langfuse_session_id": "s1", "langfuse_user_id": "u1"}, Scope("s1", "u1")),
        ({"thread_id": 42}, Scope("42")),
        ({"thread_id": "", "session_id": "s1"}, Scope("s1")),
        ({"thread_id": True, "user_id": ["ana"], "api_key": "secret"}, Scope()),
        ({"user_id": "a\nb", "customer_id": "x" * 513}, Scope()),
    ],
)
def test_frameworks_carry_identity_under_known_names(carried: dict[str, object], expected: Scope) -> None:
    """Known keys are read in order of preference; anything unusable is skipped; nothing else is looked at."""
    assert scoping.from_mapping(carried) == expected


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("user_id", "", "empty"),
        ("conversation_id", "x" * 513, "at most 512"),
        ("customer_id", "a\x00b", "control characters"),
        ("session_id", "a\ud800", "surrogates"),
        ("user_id", 7, "must be a string"),
    ],
)
def test_an_unusable_id_is_refused_with_its_name_and_the_fix(field: str, value: object, fault: str) -> None:
    """Whoever calls with a bad id is told which one and why."""
    with pytest.raises(InvalidInputError, match=fault) as refused:
        scoping.checked(Scope(**{field: value}))
    assert refused.value.details["argument"] == field


@pytest.mark.parametrize("odd", ["Ana", "ana ", "ąna", "a/../b", "'; DROP TABLE", "🦉", "_any", "عربي"])
def test_odd_ids_are_ids(odd: str) -> None:
    """Ids are opaque: case, spaces, slashes, scripts and emoji are kept byte for byte."""
    assert scoping.checked(Scope(user_id=odd)).user_id == odd


def test_unknown_users_of_two_conversations_are_two_users() -> None:
    """Nobody's memory is not everybody's memory."""
    one = scoping.complete(Scope("c1"), fallback_conversation="f")
    two = scoping.complete(Scope("c2"), fallback_conversation="f")
    assert one.user_id
    assert one.user_id != two.user_id
    assert scoping.complete(Scope("c1"), fallback_conversation="g") == one


def test_a_complete_scope_is_left_alone() -> None:
    """What was named is never replaced."""
    scope = Scope("c1", "ana", customer_id="acme")
    assert scoping.complete(scope, fallback_conversation="f") is scope


def test_the_block_works_whatever_was_imported_first() -> None:
    """``synap_integrations.context(...)`` means the block also after the package of that name was imported."""
    importlib.import_module("synap_integrations.context.render")
    with synap_integrations.context(user_id="ana"):
        assert scoping.ambient() == Scope(user_id="ana")


def test_a_stream_may_be_closed_from_elsewhere() -> None:
    """A generator that holds the block is closed by a web framework in another context; nothing is raised."""

    def stream():
        with context(user_id="ana"):
            yield "once"

    chunks = stream()
    contextvars.copy_context().run(next, chunks)
    chunks.close()
    assert scoping.ambient() == Scope()
