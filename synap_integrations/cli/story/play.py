"""The main job, played from end to end.

Callback → outbox → delivery → embedded Synap → bundle → prompt: all of it is the real thing, but for the model's words.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langsmith import tracing_context

from synap_integrations.client import SynapClient
from synap_integrations.errors import NetworkTimeoutError
from synap_integrations.model import Context, ContextItem
from synap_integrations.runtime import Synap
from synap_integrations.server.database import Database
from synap_integrations.server.embedded import FILE_NAME
from synap_integrations.server.engine import Engine
from synap_integrations.server.records import Happening
from synap_integrations.settings import Settings

from .agent import StoryAgent
from .dialogue import Dialogue, Session
from .findings import Accounting, Asked, Findings, Item, Line, Person, PromptLine, Transcript
from .measure import Prompts, PromptTally, Recall, ranked_recall

Advance = Callable[[str, int], None]
"""Told the name of a stage, and how much of it is done since it was told last."""

TALK, SEARCH, ASK = "conversations", "searches", "questions to the agents"

_FLUSH_S: Final = 60.0
_BLOCK, _BLOCK_END = "[synap-context ", "[/synap-context "


def sizes(dialogues: Sequence[Dialogue]) -> dict[str, int]:
    """How much there is to do in each stage: turns, searches, prompts."""
    questions = sum(len(dialogue.questions) for dialogue in dialogues)
    return {
        TALK: sum(len(dialogue.turn_texts()) for dialogue in dialogues),
        SEARCH: questions,
        ASK: questions * len(dialogues),
    }


def play(
    dialogues: Sequence[Dialogue], folder: Path, *, model: BaseChatModel | None, advance: Advance, left_out: int = 0
) -> Findings:
    """Play the dialogues on an embedded Synap in this folder, then ask the questions.

    ``model`` answers the question that is shown; None is the script. ``left_out`` counts conversations not played.
    Raises: NetworkTimeoutError, if delivery does not keep up.
    """
    started = time.monotonic()
    settings = Settings.read({}, base_url="local", storage_path=str(folder))
    # Nothing leaves the machine, whatever tracing the environment asks LangChain for.
    with tracing_context(enabled=False), Synap(settings=settings) as synap:
        _hold_all(dialogues, synap, advance)
        transcript = _transcript(settings, _to_show(dialogues[0]).name)
        recall = asyncio.run(_search(settings, dialogues, lambda: advance(SEARCH, 1)))
        prompts = _ask_everybody_everything(dialogues, synap, advance)
        asked = _ask_one(dialogues[0], synap, model)
        _deliver(synap)
        status = synap.status()
    return Findings(
        people=[_person(dialogue) for dialogue in dialogues],
        left_out=left_out,
        transcript=transcript,
        asked=asked,
        recall=recall,
        prompts=prompts,
        accounting=Accounting(status.captured, status.delivered, status.waiting, status.refused, status.dead_letters),
        real_file=f"{Settings.read({}).root}/{FILE_NAME}".replace(str(Path.home()), "~"),
        seconds=time.monotonic() - started,
    )


def _to_show(dialogue: Dialogue) -> Session:
    """The conversation that is shown: the shortest one with a photo, because looking at it takes a tool."""
    with_photo = [session for session in dialogue.sessions if any(said.photos for _, said in session.utterances())]
    return min(with_photo or dialogue.sessions, key=lambda session: sum(1 for _ in session.utterances()))


def _hold_all(dialogues: Sequence[Dialogue], synap: Synap, advance: Advance) -> None:
    """Every conversation, in the order of the calendar: the two people take turns with the same process."""
    agents = {dialogue.user_id: StoryAgent(dialogue, synap) for dialogue in dialogues}
    calendar = sorted(
        ((session, dialogue) for dialogue in dialogues for session in dialogue.sessions), key=lambda pair: pair[0].at
    )
    for session, dialogue in calendar:
        for turns in agents[dialogue.user_id].hold(session):
            advance(TALK, turns)
    _deliver(synap)


def _transcript(settings: Settings, conversation_id: str) -> Transcript:
    """The conversation as it stands in the embedded Synap's file, tool calls and results where they happened."""
    with closing(Database(settings.root / FILE_NAME)) as database:
        engine = Engine(database)
        turns = engine.transcript(conversation_id)
        happened = engine.ledger.events(turns[0].owner, turns[0].conversation_id) if turns else []
    entries = [(turn.said_at.isoformat(), Line(turn.role, turn.content)) for turn in turns]
    entries += [(_when(event), line) for event in happened if (line := _tool_line(event))]
    return Transcript(conversation_id, [line for _, line in sorted(entries, key=lambda entry: entry[0])])


def _when(event: Happening) -> str:
    metadata = event.body.get("metadata")
    return str(metadata.get("synap_occurred_at", "")) if isinstance(metadata, dict) else ""


def _tool_line(event: Happening) -> Line | None:
    name = event.body.get("tool_name")
    if event.kind == "tool_call":
        return Line("tool call", f"{name}({event.body.get('tool_args_json', '')})")
    if event.kind == "tool_result":
        return Line("tool result", f"{name} = {event.body.get('tool_result_json', '')}")
    return None


async def _search(settings: Settings, dialogues: Sequence[Dialogue], on_question: Callable[[], None]) -> Recall:
    async with SynapClient(settings=settings) as client:
        return await ranked_recall(client, dialogues, on_question)


def _ask_everybody_everything(dialogues: Sequence[Dialogue], synap: Synap, advance: Advance) -> Prompts:
    """Ask each agent its own user's questions and everybody else's, and look at what the model was given."""
    tally = PromptTally(dialogues)
    for asker in dialogues:
        agent = StoryAgent(asker, synap, keeping=False)
        for owner in dialogues:
            for number, question in enumerate(owner.questions):
                agent.ask(question.text, f"{asker.user_id}-asks-{owner.user_id}-{number}")
                prompt = "\n".join(line.text for line in _prompt_lines(agent.witness.prompt))
                tally.count(asker.user_id, prompt, evidence=question if asker is owner else None)
                advance(ASK, 1)
    return tally.prompts()


def _ask_one(dialogue: Dialogue, synap: Synap, model: BaseChatModel | None) -> Asked:
    """The question that is shown, the whole way: captured, pushed for, injected."""
    agent = StoryAgent(dialogue, synap, model=model)
    question, conversation_id = dialogue.questions[0].text, f"{dialogue.user_id}-today"
    answer = agent.ask(question, conversation_id)
    context = agent.witness.context
    return Asked(
        dialogue.user_name,
        conversation_id,
        question,
        _why(context),
        [_item(item) for item in context.items],
        list(_prompt_lines(agent.witness.prompt)),
        answer,
    )


def _why(context: Context) -> str:
    receipt = context.receipt
    if receipt is None:
        return context.source
    return f"{receipt.why or context.source}; {receipt.tokens} tokens; waited {receipt.waited_s * 1000:.1f} ms"


def _item(item: ContextItem) -> Item:
    return Item(item.text, item.score, item.said_at.date().isoformat() if item.said_at else None)


def _prompt_lines(prompt: Sequence[BaseMessage]) -> Iterator[PromptLine]:
    for message in prompt:
        inside = False
        for line in message.text.splitlines():
            inside = inside or line.startswith(_BLOCK)
            yield PromptLine(message.type, line, inside)
            inside = inside and not line.startswith(_BLOCK_END)


def _person(dialogue: Dialogue) -> Person:
    turns = len(dialogue.turn_texts())
    return Person(dialogue.user_id, dialogue.user_name, len(dialogue.sessions), turns, len(dialogue.questions))


def _deliver(synap: Synap) -> None:
    if not synap.flush(_FLUSH_S):
        message = f"delivery to the embedded Synap did not finish within {_FLUSH_S:g} s; {synap.status().waiting} wait"
        raise NetworkTimeoutError(message)
