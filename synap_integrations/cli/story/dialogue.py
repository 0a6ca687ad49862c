"""Dialogues of two people over many days, with questions whose evidence is marked, read from a JSON file.

The shape is LoCoMo's (Maharana et al., ACL 2024): a list of ``{conversation, qa}``, where ``conversation`` holds
``speaker_a``, ``speaker_b``, ``session_N`` (a list of ``{speaker, dia_id, text}``, with ``blip_caption`` and ``query``
where a photo was shared) and ``session_N_date_time``. Here ``speaker_a`` is the user, and the agent speaks for
``speaker_b``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from synap_integrations.errors import InvalidInputError

OWN_FILE: Final = "dialogue.json"
CUSTOMER: Final = "demo"
"""Whose users they all are: named, so that no customer from the environment comes into the figures."""

_TIME_FORMAT: Final = "%I:%M %p on %d %B, %Y"
_TURN_ID: Final = re.compile(r"D(\d+):(\d+)")


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that was shared: what it shows, and the words it was searched with, if it was searched."""

    caption: str
    query: str | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one person said before the other answered; ``turn_ids`` are the turns it was joined from."""

    text: str
    turn_ids: tuple[str, ...]
    photos: tuple[Photo, ...] = ()


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the user said, and what came back; None if the conversation ended there."""

    said: Utterance
    answered: Utterance | None


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation on one day. ``opening`` is what the agent said first, if it did."""

    name: str
    at: datetime
    opening: Utterance | None
    exchanges: tuple[Exchange, ...]

    def utterances(self) -> Iterator[tuple[str, Utterance]]:
        """``(role, utterance)`` in the order in which they were said; role is user or assistant."""
        if self.opening:
            yield "assistant", self.opening
        for exchange in self.exchanges:
            yield "user", exchange.said
            if exchange.answered:
                yield "assistant", exchange.answered


@dataclass(frozen=True, slots=True)
class Question:
    """A question about what was said, the turns that hold the answer (never none), and the answer, if it has one."""

    text: str
    evidence: tuple[str, ...]
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """All that one user said to one agent, and the questions about it."""

    user_id: str
    user_name: str
    agent_name: str
    sessions: tuple[Session, ...]
    questions: tuple[Question, ...]

    def first(self, sessions: int) -> Dialogue:
        """The first so many sessions, and the questions that they can answer."""
        kept = self.sessions[:sessions]
        known = {turn_id for session in kept for _, said in session.utterances() for turn_id in said.turn_ids}
        asked = tuple(question for question in self.questions if known.issuperset(question.evidence))
        return Dialogue(self.user_id, self.user_name, self.agent_name, kept, asked)

    def turn_texts(self) -> dict[str, str]:
        """What was said, by turn id; turns that were joined share their text."""
        said = (utterance for session in self.sessions for _, utterance in session.utterances())
        return {turn_id: utterance.text for utterance in said for turn_id in utterance.turn_ids}


def read_dialogues(path: Path | None = None) -> list[Dialogue]:
    """The dialogues in this file; without one, the small dialogue that comes with the package.

    Raises: InvalidInputError, if the file cannot be read or holds something else.
    """
    source = files(__package__).joinpath(OWN_FILE) if path is None else path
    try:
        samples = json.loads(source.read_text(encoding="utf-8"))
        dialogues = [_dialogue(sample) for sample in samples]
    except OSError as error:
        message = f"{path}: {error.strerror or error}; give a readable file with --data"
        raise InvalidInputError(message) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path}: not a file of dialogues ({type(error).__name__}: {error}); its shape is that of {OWN_FILE}"
        raise InvalidInputError(message) from None
    if len({dialogue.user_id for dialogue in dialogues}) < 2:
        message = f"{path}: two dialogues of different users are needed, to show that their memories stay apart"
        raise InvalidInputError(message)
    return dialogues


def _dialogue(sample: Mapping[str, Any]) -> Dialogue:
    conversation = sample["conversation"]
    user, agent = conversation["speaker_a"], conversation["speaker_b"]
    user_id = user.lower().replace(" ", "-")
    numbers = sorted(int(key[8:]) for key in conversation if re.fullmatch(r"session_\d+", key))
    sessions = tuple(
        _session(
            f"{user_id}-session-{number:02}",
            conversation[f"session_{number}_date_time"],
            [turn for turn in conversation[f"session_{number}"] if turn["text"].strip()],
            user,
        )
        for number in numbers
    )
    known = {turn_id for session in sessions for _, said in session.utterances() for turn_id in said.turn_ids}
    questions = (
        Question(row["question"], _evidence(row["evidence"], known), _worded(row.get("answer"))) for row in sample["qa"]
    )
    return Dialogue(user_id, user, agent, sessions, tuple(question for question in questions if question.evidence))


def _session(name: str, when: str, turns: Sequence[Mapping[str, Any]], user: str) -> Session:
    runs = [(speaker, _joined(list(run))) for speaker, run in groupby(turns, key=lambda turn: turn["speaker"])]
    opening = runs.pop(0)[1] if runs and runs[0][0] != user else None
    exchanges = tuple(
        Exchange(said, runs[place + 1][1] if place + 1 < len(runs) else None)
        for place, (speaker, said) in enumerate(runs)
        if speaker == user
    )
    return Session(name, datetime.strptime(when, _TIME_FORMAT).replace(tzinfo=UTC), opening, exchanges)


def _joined(turns: Sequence[Mapping[str, Any]]) -> Utterance:
    return Utterance(
        " ".join(turn["text"].strip() for turn in turns),
        tuple(turn["dia_id"] for turn in turns),
        tuple(Photo(turn["blip_caption"], turn.get("query")) for turn in turns if turn.get("blip_caption")),
    )


def _evidence(given: Sequence[str], known: set[str]) -> tuple[str, ...]:
    """The turn ids in a list where some entries hold several of them; ids that name no turn are left out."""
    ids = (f"D{int(session)}:{int(turn)}" for entry in given for session, turn in _TURN_ID.findall(entry))
    return tuple(dict.fromkeys(turn_id for turn_id in ids if turn_id in known))


def _worded(answer: object) -> str | None:
    """An answer as text; some are numbers, and a question about something that was never said has none."""
    return str(answer).strip() or None if answer is not None else None
