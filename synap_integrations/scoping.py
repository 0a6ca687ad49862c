"""Whose conversation is this?

Identity comes from several places, each knowing a part. `merged` takes, field by field, the first that says something;
the order is always: explicit arguments, ``with context(...)``, what the framework carries, the environment.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from .errors import InvalidInputError
from .model import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_ID_CHARS: Final = 512
NOWHERE: Final = Scope()
ANONYMOUS: Final = "anonymous:"
"""How the ids of users whom nobody named begin."""

_AMBIENT: Final = ContextVar("synap_scope", default=NOWHERE)
_NOTHING: Final = [None] * 4
_FIELDS: Final = ("conversation_id", "user_id", "customer_id", "session_id")

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "conversation_id": (
        "synap_conversation_id",
        "conversation_id",
        "thread_id",
        "session_id",
        "langfuse_session_id",
        "gen_ai.conversation.id",
        "session.id",
    ),
    "user_id": ("synap_user_id", "user_id", "langfuse_user_id", "user.id"),
    "customer_id": ("synap_customer_id", "customer_id"),
    "session_id": ("synap_session_id",),
}
"""Names under which frameworks and tracers carry each field, in order of preference. Nothing else is read."""
_NAMES: Final = frozenset(name for names in KEYS.values() for name in names)


@contextmanager
def context(
    *,
    user_id: str | None = None,
    conversation_id: str | None = None,
    customer_id: str | None = None,
    session_id: str | None = None,
) -> Iterator[Scope]:
    """Everything recorded or recalled inside this block belongs to this user and conversation.

    Works across ``await`` and in tasks started inside; nested blocks fill in what they name and keep the rest. A
    thread started inside sees it only if it was given the context (``contextvars.copy_context``). Yields the scope.

    Raises: InvalidInputError, if an id is empty, longer than 512 characters or holds control characters.
    """
    inner = checked(
        Scope(conversation_id, user_id, customer_id=customer_id, session_id=session_id),
    )
    scope = merged(inner, _AMBIENT.get())
    token = _AMBIENT.set(scope)
    try:
        yield scope
    finally:
        # A generator that holds the block may be closed from another context, as a web framework does when its client
        # has gone; that context never saw this scope.
        with suppress(ValueError):
            _AMBIENT.reset(token)


def ambient() -> Scope:
    """The scope of the surrounding ``with context(...)``, or an empty one."""
    return _AMBIENT.get()


class _Identifying:
    """Who tells us who is talking, where no framework carries it; set by zero-code start-up."""

    find: Callable[[], Scope] | None = None


def identify_with(find: Callable[[], Scope] | None) -> None:
    """Ask this function who is talking, where nothing nearer says; it must not raise. None asks nobody."""
    _Identifying.find = staticmethod(find) if find is not None else None


def identified() -> Scope:
    """What the function given to `identify_with` says now."""
    find = _Identifying.find
    return NOWHERE if find is None else find()


class Attribution(NamedTuple):
    """Where a run's identity came from: for user and conversation one of ``"context"`` (``with context(...)``),
    ``"run"`` (what the framework carries, or an argument), ``"identify"``, ``"environment"``, ``"nobody"``.
    """

    conversation_id: str | None
    user: str
    conversation: str


def attributed(scope: Scope, environment: Scope) -> Attribution:
    """Where the scope of a run that begins here and now came from, judged by who says the same."""
    near, far = ambient(), identified()
    user = _source(scope.user_id, near.user_id, far.user_id, environment.user_id)
    conversation = scope.conversation_id
    return Attribution(
        conversation,
        user,
        _source(conversation, near.conversation_id, far.conversation_id, environment.conversation_id),
    )


def _source(value: str | None, near: str | None, far: str | None, environment: str | None) -> str:
    if value is None or value.startswith(ANONYMOUS):
        return "nobody"
    if value == near:
        return "context"
    if value == far:
        return "identify"
    return "environment" if value == environment else "run"


def merged(*layers: Scope) -> Scope:
    """Field by field, the first layer that says something."""
    # Spelt out, because it runs several times for every run of a framework.
    conversation = user = customer = session = None
    for layer in layers:
        if layer is NOWHERE:
            continue
        if conversation is None:
            conversation = layer.conversation_id
        if user is None:
            user = layer.user_id
        if customer is None:
            customer = layer.customer_id
        if session is None:
            session = layer.session_id
    return Scope(conversation, user, customer_id=customer, session_id=session)


def within(stated: Scope, near: Scope, turn: Scope) -> Scope:
    """Whose memory it is inside a captured turn: what was ``stated``, then the turn.

    Where ``near``, all that the code that asks says of itself, names another user or customer than the turn, the code
    asks for somebody else, and nothing of the turn is taken; least of all its conversation.
    """
    if not of_others(near, turn):
        return merged(stated, turn)
    if near.conversation_id == turn.conversation_id:
        return replace(near, conversation_id=None, session_id=None)
    return near


def of_others(near: Scope, turn: Scope) -> bool:
    """True if both name a user or customer, and not the same."""
    return _named_apart(near.user_id, turn.user_id) or _named_apart(near.customer_id, turn.customer_id)


def said_anew(said: Scope, before: Scope) -> Scope:
    """What is said here and was not said before."""
    if said is NOWHERE or said == before:
        return NOWHERE
    return Scope(
        _unless(said.conversation_id, before.conversation_id),
        _unless(said.user_id, before.user_id),
        customer_id=_unless(said.customer_id, before.customer_id),
        session_id=_unless(said.session_id, before.session_id),
    )


def of_its_own(news: Scope, turn: Scope, *, in_tool: bool, nameless: bool = False) -> Scope | None:
    """The scope of a run inside a turn that says this, if it is no part of the turn; None if it is.

    Another user or customer always is somebody else. Another conversation is, where nobody is named, so that it
    stands for a person, and where the turn has none of its own (``nameless``). For the same user it is how sub-agents
    keep their state; and what a tool runs for the same user is the tool's.

    Of the turn such a run has the people it does not name, and never the conversation.
    """
    elsewhere = _differ(news.conversation_id, turn.conversation_id)
    other_people = _differ(news.user_id, turn.user_id) or _differ(news.customer_id, turn.customer_id)
    if not other_people and (in_tool or not elsewhere or not (nameless or turn.user_id is None)):
        return None
    return Scope(
        news.conversation_id if elsewhere else None,
        news.user_id or turn.user_id,
        customer_id=news.customer_id or turn.customer_id,
        session_id=news.session_id if elsewhere else None,
    )


def _unless(value: str | None, before: str | None) -> str | None:
    return None if value == before else value


def _differ(value: str | None, other: str | None) -> bool:
    return value is not None and value != other


def _named_apart(value: str | None, other: str | None) -> bool:
    return value is not None and other is not None and value != other


def from_mapping(carried: Mapping[str, object]) -> Scope:
    """The scope that a framework's metadata carries under the names of `KEYS`; unusable values are skipped."""
    if _NAMES.isdisjoint(carried):
        return NOWHERE
    values: list[str | None] = []
    for names in KEYS.values():
        found = None
        for name in names:
            if (value := carried.get(name)) is not None and (found := usable(value)) is not None:
                break
        values.append(found)
    if values == _NOTHING:
        return NOWHERE
    return Scope(values[0], values[1], customer_id=values[2], session_id=values[3])


def usable(value: object) -> str | None:
    """An id found in somebody else's data: a string or number that `checked` would accept, else None."""
    if isinstance(value, str):
        found = value
    elif isinstance(value, int | uuid.UUID) and not isinstance(value, bool):
        found = str(value)
    else:
        return None
    return found if _fault(found) is None else None


def checked(scope: Scope) -> Scope:
    """The same scope, or InvalidInputError naming the id that cannot be used and why."""
    if not isinstance(scope, Scope):
        message = f"scope must be a Scope, not {type(scope).__name__}: pass Scope(user_id=…)"
        raise InvalidInputError(message, details={"argument": "scope"})
    for name in _FIELDS:
        value = getattr(scope, name)
        if value is None:
            continue
        if not isinstance(value, str):
            message = f"{name} must be a string, not {type(value).__name__}: pass str(…)"
            raise InvalidInputError(message, details={"argument": name})
        if fault := _fault(value):
            message = f"{name} {fault}"
            raise InvalidInputError(message, details={"argument": name})
    return scope


def complete(scope: Scope, *, fallback_conversation: str) -> Scope:
    """A scope that can be stored: with a conversation, and with a user.

    An unknown user becomes a user of this one conversation, so that two people who were not told apart do not end up
    in one memory.
    """
    conversation = scope.conversation_id or fallback_conversation
    if scope.user_id is not None and scope.conversation_id is not None:
        return scope
    return replace(scope, conversation_id=conversation, user_id=scope.user_id or anonymous_user(conversation))


def anonymous_user(conversation_id: str) -> str:
    """The user id of a conversation whose user nobody named."""
    return f"{ANONYMOUS}{uuid.uuid5(uuid.NAMESPACE_OID, conversation_id)}"


def _fault(value: str) -> str | None:
    if not value:
        return "is empty: pass a non-empty string, or None"
    if len(value) > MAX_ID_CHARS:
        return f"has {len(value)} characters: at most {MAX_ID_CHARS} are accepted"
    if not value.isprintable() and any(
        ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in value
    ):
        return "holds control characters or lone surrogates: remove them"
    return None
