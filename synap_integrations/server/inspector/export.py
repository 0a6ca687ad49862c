"""A conversation to take away: as JSON for programs, as Markdown for people. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from .timeline import Entry, Other, Pushed, Said, Shown, Thought, ToolUse, at
from .views import Chat, Occurrence

_FENCE = "```"


def as_json(chat: Chat, entries: Sequence[Entry]) -> str:
    """One object: the conversation and its entries in order, nothing left out."""
    return json.dumps(
        {
            "conversation_id": chat.conversation_id,
            "name": chat.own_name,
            "user_id": chat.owner.user_id,
            "customer_id": chat.owner.customer_id or None,
            "turns": chat.turns,
            "entries": [fields(entry) for entry in entries],
        },
        ensure_ascii=False,
        indent=2,
    )


def fields(entry: Entry) -> dict[str, object]:
    """One entry, as JSON has it."""
    return {"stored_at": at(entry).isoformat()} | _fields(entry)


def _fields(entry: Entry) -> dict[str, object]:
    match entry:
        case Said(turn):
            return {
                "kind": "turn",
                "position": turn.position,
                "role": turn.role,
                "speaker": turn.speaker,
                "content": turn.content,
                "said_at": turn.said_at.isoformat(),
                "message_id": turn.message_id,
                "event_id": turn.event_id,
                "session_id": turn.session_id,
                "metadata": dict(turn.metadata),
            }
        case ToolUse(call, result):
            return {"kind": "tool", "call": _body(call), "result": _body(result)}
        case Thought(event):
            return {"kind": "thinking", "event_id": event.event_id, **dict(event.body)}
        case Pushed(push):
            bundle = push.bundle
            return {
                "kind": "pushed",
                "bundle_id": bundle.bundle_id,
                "pattern": bundle.pattern,
                "decision_id": bundle.decision_id,
                "item_ids": list(bundle.item_ids),
                "used_item_ids": list(bundle.used_item_ids),
            }
        case Shown(event) | Other(event):
            return {"kind": event.kind, "event_id": event.event_id, **dict(event.body)}


def _body(event: Occurrence | None) -> dict[str, object] | None:
    return None if event is None else {"event_id": event.event_id, **dict(event.body)}


def as_markdown(chat: Chat, entries: Sequence[Entry]) -> str:
    """The conversation to read: what was said as quotations, the rest in code blocks, so that no text escapes."""
    lines = [f"# Conversation {_inline(chat.name)}", ""]
    lines += [f"- user: {_inline(chat.owner.user_id)}", f"- turns: {chat.turns}", ""]
    for entry in entries:
        lines += [*_paragraph(entry), ""]
    return "\n".join(lines)


def _paragraph(entry: Entry) -> Iterator[str]:
    moment = entry.turn.said_at if isinstance(entry, Said) else at(entry)
    stamp = f"{moment:%Y-%m-%d %H:%M:%S}"
    match entry:
        case Said(turn):
            who = turn.role if turn.speaker is None else f"{turn.role} ({_inline(turn.speaker)})"
            yield f"**{who}** · {stamp}"
            yield ""
            yield from (f"> {line}" for line in (turn.content.splitlines() or [""]))
        case ToolUse(call, result):
            yield f"*tool {_inline(entry.either.text('tool_name'))}* · {stamp}"
            yield ""
            if call is not None:
                yield from _fenced(call.text("tool_args_json"))
            if result is not None:
                yield from _fenced(result.text("tool_result_json"))
        case Thought(event):
            yield f"*thinking* · {stamp}"
            yield ""
            yield from _fenced(event.text("content"))
        case Pushed(push):
            used = len(push.bundle.used_item_ids)
            yield f"*pushed {len(push.bundle.item_ids)} items ({push.bundle.pattern}), {used} shown* · {stamp}"
        case Shown(event) | Other(event):
            yield f"*{_inline(event.kind)}* · {stamp}"


def _fenced(text: str) -> Iterator[str]:
    fence = _FENCE
    while fence in text:
        fence += "`"
    yield from (fence, text, fence)


def _inline(text: str) -> str:
    """Somebody's text in a line of ours: as code, so that nothing in it is markup."""
    ticks = "`"
    while ticks in text:
        ticks += "`"
    shown = " ".join(text.split())
    return f"{ticks} {shown} {ticks}" if "`" in shown else f"`{shown}`"
