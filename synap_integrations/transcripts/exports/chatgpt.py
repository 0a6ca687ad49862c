"""ChatGPT: ``conversations.json`` of "Export data".

Source: help.openai.com, "How do I export my ChatGPT history and data?"; each conversation is a tree of messages in
``mapping``, and ``current_node`` is the end of the branch that its user sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from synap_integrations.model import Scope
from synap_integrations.transcripts.messages import Past

from .turns import an_object, objects_of, past, said_in, text_at, time_at

_NAMES = ("conversations",)
_SPOKEN = frozenset({"text", "multimodal_text"})


def recognizes(document: object) -> bool:
    """True if these are ChatGPT's conversations."""
    found = objects_of(document, *_NAMES)
    return bool(found) and all("title" in entry and isinstance(entry.get("mapping"), Mapping) for entry in found)


def read(document: object) -> Iterator[Past]:
    """What was said on the branch that the user sees, in order. The export does not say who the user is."""
    for conversation in objects_of(document, *_NAMES):
        name = text_at(conversation, "conversation_id", "id") or text_at(conversation, "title", "create_time")
        for node_id, message in _branch(conversation):
            said = said_in({"role": an_object(message.get("author")).get("role"), "content": _words(message)})
            if said is not None and _shown(message):
                yield past(
                    f"chatgpt:{text_at(message, 'id') or node_id}",
                    Scope(name and f"chatgpt:{name}"),
                    said.event(),
                    time_at(message, "create_time") or time_at(conversation, "create_time"),
                )


def _branch(conversation: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The messages from the root to the current node; without one, to the newest message."""
    mapping = an_object(conversation.get("mapping"))
    at = conversation.get("current_node")
    if not isinstance(at, str) or at not in mapping:
        leaves = [name for name, node in mapping.items() if not an_object(node).get("children")]
        at = max(leaves, key=lambda name: _age(mapping[name]), default=None)
    path: dict[str, Mapping[str, Any]] = {}
    while isinstance(at, str) and at in mapping and at not in path:
        path[at] = an_object(mapping[at])
        at = path[at].get("parent")
    for name, node in reversed(path.items()):
        yield name, an_object(node.get("message"))


def _age(node: object) -> float:
    at = time_at(an_object(an_object(node).get("message")), "create_time")
    return at.timestamp() if at else 0.0


def _words(message: Mapping[str, Any]) -> object:
    content = an_object(message.get("content"))
    return content.get("parts") if str(content.get("content_type")) in _SPOKEN else None


def _shown(message: Mapping[str, Any]) -> bool:
    """False for what the user never saw: hidden settings, and what was said to a tool."""
    hidden = an_object(message.get("metadata")).get("is_visually_hidden_from_conversation")
    return not hidden and message.get("recipient") in (None, "all")
