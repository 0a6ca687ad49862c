"""What REST requests say, read strictly enough to store it and no stricter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, NoReturn
from urllib.parse import parse_qs

from synap_integrations.errors import ContextNotFoundError, InvalidInputError
from synap_integrations.model import Scope
from synap_integrations.scoping import checked
from synap_integrations.server.engine import MOST_FOUND
from synap_integrations.server.records import NewTurn
from synap_integrations.server.turns_wire import marks_of, owner_of
from synap_integrations.wire.report import CONTEXT_TYPES, ROLES

_MOST: Final = 2**31 - 1
_CONTEXT_MODES: Final = ("in-conversation", "conversation-summary")
_MOST_PREVIOUS: Final = 20
_SINGULAR: Final = {
    "fact": "facts",
    "preference": "preferences",
    "episode": "episodes",
    "emotion": "emotions",
    "temporal_event": "temporal_events",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case; ``named`` is what the path names."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    named: Mapping[str, str]

    def json(self) -> dict[str, Any]:
        """The body, a JSON object. Raises: InvalidInputError."""
        try:
            found = json.loads(self.body)
            # Half of a surrogate pair can be escaped in JSON, but is no letter and cannot be stored.
            if b"\\u" in self.body:
                found = json.loads(_whole(json.dumps(found, ensure_ascii=False)))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            message = "the body must be a JSON object"
            raise InvalidInputError(message)
        return found


def query_of(raw: str) -> dict[str, str]:
    """The query string by name; of a repeated name the last."""
    return {name: values[-1] for name, values in parse_qs(raw, keep_blank_values=True).items()}


def new_turn(given: object, *, key: str | None, correlation_id: str | None) -> NewTurn:
    """The turn in a body.

    ``key`` is the idempotency key of the request. Without one, the id in the metadata is it; without that, the
    correlation id together with the turn itself, since clients repeat it with the repetitions of one call.

    Raises: InvalidInputError, naming the field.
    """
    if not isinstance(given, dict):
        message = "a message must be an object"
        raise InvalidInputError(message)
    scope = scope_of(given, need=("conversation_id", "user_id"))
    role, content = given.get("role"), given.get("content")
    if role not in ROLES:
        refuse("role", f"must be one of {', '.join(ROLES)}")
    if not isinstance(content, str):
        refuse("content", "must be a string")
    metadata = object_of(given, "metadata")
    assert scope.conversation_id is not None
    carried = metadata.get("synap_event_id")
    key = key or (carried if isinstance(carried, str) and carried else None)
    if key is None and correlation_id:
        key = _repetition(correlation_id, scope.conversation_id, role, content)
    return NewTurn(
        owner=owner_of(scope),
        conversation_id=scope.conversation_id,
        role=role,
        content=content,
        event_id=key,
        session_id=scope.session_id,
        metadata=metadata,
        **marks_of(metadata),
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a fetch asks for. ``queries`` empty: whatever is newest."""

    scope: Scope
    queries: tuple[str, ...]
    limit: int
    per_query: int | None
    types: frozenset[str]
    ranked: bool
    with_conversation: bool
    previous: int | None = None
    """How many earlier conversations are to be told in short; None: none of this."""
    with_profile: bool = False


def wanted(given: Mapping[str, Any], *, level: str) -> Wanted:
    """What the body of a fetch at this level (user, customer, client, conversation) asks for.

    Raises: InvalidInputError, naming the field.
    """
    need = {"user": ("user_id",), "customer": ("customer_id",), "conversation": ("conversation_id",)}.get(level, ())
    queries = given.get("search_query") or []
    queries = [queries] if isinstance(queries, str) else queries
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        refuse("search_query", "must be a list of strings")
    types = given.get("types") or ["all"]
    if not isinstance(types, list) or not all(isinstance(kind, str) for kind in types):
        refuse("types", "must be a list of strings")
    shape = given.get("response_shape") or "by_type"
    if shape not in ("by_type", "ranked"):  # a list, which no set can hold, is neither
        refuse("response_shape", "must be by_type or ranked")
    asked = {_SINGULAR.get(str(kind), str(kind)) for kind in types}
    if unknown := sorted(asked - {*CONTEXT_TYPES, "all"}):
        refuse("types", f"holds {unknown[0]!r}: it may hold {', '.join(CONTEXT_TYPES)}, all")
    choice_of(given, "mode", ("fast", "accurate"), "fast")
    choice_of(given, "precision_level", ("high", "medium"), "high")
    in_short = choice_of(given, "context_mode", _CONTEXT_MODES, _CONTEXT_MODES[0]) == _CONTEXT_MODES[1]
    return Wanted(
        scope=scope_of(given, need=need),
        queries=tuple(query for query in queries if query.strip()),
        limit=min(count_of(given, "max_results", 10), MOST_FOUND),
        per_query=count_of(given, "max_results_per_query", None),
        types=frozenset(CONTEXT_TYPES if "all" in asked else asked),
        ranked=shape == "ranked",
        with_conversation=given.get("include_conversation_context") is not False,
        previous=min(count_of(given, "last_n_conversations", 1), _MOST_PREVIOUS) if in_short else None,
        with_profile=in_short and given.get("include_profile") is not False,
    )


def scope_of(given: Mapping[str, Any], *, need: tuple[str, ...] = ()) -> Scope:
    """The ids in a body or query; empty and null are absent. Raises: InvalidInputError, naming the field."""
    found = {
        name: None if given.get(name) == "" else given.get(name)
        for name in ("conversation_id", "user_id", "customer_id", "session_id")
    }
    for name in need:
        if found[name] is None:
            refuse(name, "is required")
    return checked(Scope(**found))


def count_of(given: Mapping[str, Any], name: str, default: Any) -> Any:  # noqa: ANN401 - the default's type
    """A whole number from 0 up in a body, the default where there is none. Raises: InvalidInputError."""
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        refuse(name, f"must be a whole number from 0 to {_MOST}")
    return value


def text_of(given: Mapping[str, Any], name: str, *, limit: int) -> str | None:
    """A text in a body; empty and null are absent. Raises: InvalidInputError."""
    value = given.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > limit:
        refuse(name, f"must be a string of at most {limit} characters")
    return value


def object_of(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object in a body; null is an empty one. Raises: InvalidInputError."""
    value = given.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        refuse(name, "must be an object")
    return value


def choice_of(given: Mapping[str, Any], name: str, choices: Sequence[str], default: str) -> str:
    """One of the words that are known in a body. Raises: InvalidInputError."""
    value = given.get(name)
    if value is None:
        return default
    if value not in choices:
        refuse(name, f"must be one of {', '.join(choices)}")
    return str(value)


def _repetition(*parts: str) -> str:
    return f"call:{blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()}"


def _whole(text: str) -> str:
    """The text with lone halves of surrogate pairs replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def refuse(field: str, fault: str) -> NoReturn:
    """Raises: InvalidInputError, naming the field."""
    message = f"{field} {fault}"
    raise InvalidInputError(message, details={"argument": field})


def missing(what: str) -> NoReturn:
    """Raises: ContextNotFoundError, saying what is not there."""
    raise ContextNotFoundError(what)
