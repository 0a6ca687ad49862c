"""The main job, played from end to end.

Callback → outbox → delivery → embedded Synap → bundle → prompt: all of it is the real thing, but for the model's words.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from langsmith import tracing_context

from synap_integrations.client import SynapClient
from synap_integrations.errors import NetworkTimeoutError
from synap_integrations.runtime import Status, Synap
from synap_integrations.server.embedded import FILE_NAME
from synap_integrations.settings import Settings

from . import llamaindex
from .agent import StoryAgent
from .dialogue import Dialogue, Session
from .findings import Accounting, Asked, Findings, InLlamaIndex, Person
from .inside import transcript, turns_stored
from .library import Passages, pages
from .measure import Prompts, PromptTally, Recall, recall_of
from .question import asked
from .real_model import RealModel

Advance = Callable[[str, int], None]
"""Told the name of a stage, and how much of it is done since it was told last."""

TALK, SEARCH, ASK, ELSEWHERE = "conversations", "searches", "questions to the agents", "in LlamaIndex"

_FLUSH_S: Final = 60.0
_RECALL_S: Final = 5.0


def sizes(dialogues: Sequence[Dialogue]) -> dict[str, int]:
    """How much there is to do in each stage: turns, searches, prompts."""
    questions = sum(len(dialogue.questions) for dialogue in dialogues)
    return {
        TALK: sum(1 for dialogue in dialogues for session in dialogue.sessions for _ in session.utterances()),
        SEARCH: questions,
        ASK: questions * len(dialogues),
        ELSEWHERE: llamaindex.TURNS,
    }


def play(dialogues: Sequence[Dialogue], folder: Path, *, model: RealModel | None, advance: Advance) -> Findings:
    """Play the dialogues on an embedded Synap in this folder, then ask the questions.

    ``model`` answers the question that is shown; None is the script. ``advance`` hears of progress.

    Raises: NetworkTimeoutError, if delivery does not keep up.
    """
    started = time.monotonic()
    # A busy machine changes how long is waited, and not what is told.
    settings = Settings.read({}, base_url="local", storage_path=str(folder), recall_timeout_s=_RECALL_S)
    file = settings.root / FILE_NAME
    # Nothing leaves the machine, whatever tracing the environment asks LangChain for.
    with tracing_context(enabled=False), Synap(settings=settings) as synap:
        _hold_all(dialogues, synap, advance)
        shown = transcript(file, _to_show(dialogues[0]).name)
        said, stored = sizes(dialogues)[TALK], turns_stored(file)
        recall = asyncio.run(_search(settings, dialogues, lambda: advance(SEARCH, 1)))
        prompts = _ask_everybody_everything(dialogues, synap, advance)
        statuses = [_delivered(synap)]
    # As in another process, on another day: nothing is held in memory, everything comes from the file.
    with tracing_context(enabled=False), Synap(settings=settings) as synap:
        one = _ask_one(dialogues[0], synap, model)
        statuses.append(_delivered(synap))
    with Synap(settings=settings) as synap:
        in_llamaindex = _ask_in_llamaindex(dialogues, synap, file)
        statuses.append(_delivered(synap))
        advance(ELSEWHERE, llamaindex.TURNS)
    return Findings(
        people=[_person(dialogue) for dialogue in dialogues],
        transcript=shown,
        asked=one,
        recall=recall,
        prompts=prompts,
        in_llamaindex=in_llamaindex,
        accounting=_account(said, stored, statuses),
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
    _delivered(synap)


async def _search(settings: Settings, dialogues: Sequence[Dialogue], on_question: Callable[[], None]) -> Recall:
    async with SynapClient(settings=settings) as client:
        return await recall_of(client, dialogues, on_question)


def _ask_everybody_everything(dialogues: Sequence[Dialogue], synap: Synap, advance: Advance) -> Prompts:
    """Ask each agent its own user's questions and everybody else's, and look at what the model was given."""
    tally = PromptTally(dialogues)
    for asker in dialogues:
        agent = StoryAgent(asker, synap, keeping=False)
        for owner in dialogues:
            for number, question in enumerate(owner.questions):
                agent.ask(question.text, f"{asker.user_id}-asks-{owner.user_id}-{number}")
                tally.count(asker.user_id, _text(agent.prompt), evidence=question if asker is owner else None)
                advance(ASK, 1)
    return tally.prompts()


def _ask_one(dialogue: Dialogue, synap: Synap, model: RealModel | None) -> Asked:
    """The question that is shown, the whole way: captured, pushed for, injected."""
    agent = StoryAgent(dialogue, synap, model=model.chat if model else None)
    question, conversation_id = dialogue.questions[0], f"{dialogue.user_id}-today"
    with model.blamed() if model else nullcontext():
        answer = agent.ask(question.text, conversation_id)
    return asked(
        dialogue,
        question,
        conversation_id,
        said=question.text,
        context=agent.witness.context,
        prompt=agent.prompt,
        answer=answer,
    )


def _ask_in_llamaindex(dialogues: Sequence[Dialogue], synap: Synap, file: Path) -> InLlamaIndex:
    """The same user in another framework; counts what is stored, and whose words reached the model."""
    where, texts = pages()
    before = turns_stored(file)
    heard = llamaindex.ask_in_llamaindex(dialogues[0], synap, Passages(texts))
    status, tally = _delivered(synap), PromptTally(dialogues)
    for prompt in heard.prompts:
        tally.count(dialogues[0].user_id, _text(prompt))
    return InLlamaIndex(
        where,
        heard.asked,
        transcript(file, heard.agents_conversation),
        tally.prompts(),
        _account(llamaindex.TURNS, turns_stored(file) - before, [status]),
    )


def _text(prompt: Iterable[tuple[str, str]]) -> str:
    return "\n".join(text for _, text in prompt)


def _account(said: int, stored: int, statuses: Sequence[Status]) -> Accounting:
    return Accounting(
        said,
        stored,
        captured=sum(status.captured for status in statuses),
        delivered=sum(status.delivered for status in statuses),
        waiting=sum(status.waiting for status in statuses),
        refused=sum(status.refused for status in statuses),
        dead_letters=sum(status.dead_letters for status in statuses),
    )


def _person(dialogue: Dialogue) -> Person:
    turns = len(dialogue.turn_texts())
    return Person(dialogue.user_id, dialogue.user_name, len(dialogue.sessions), turns, len(dialogue.questions))


def _delivered(synap: Synap) -> Status:
    """What became of what was captured, once it is delivered."""
    done, status = synap.flush(_FLUSH_S), synap.status()
    if not done:
        message = f"{status.waiting} of {status.captured} events wait after {_FLUSH_S:g} s; delivery is {status.state}"
        raise NetworkTimeoutError(message)
    return status
