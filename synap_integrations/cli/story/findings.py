"""What came of the story, as plain data: the same figures for the pages and for ``--json``."""

from __future__ import annotations

from dataclasses import dataclass

from .measure import Prompts, Recall


@dataclass(frozen=True, slots=True)
class Person:
    """A user, and how much was said and is asked."""

    user_id: str
    user_name: str
    conversations: int
    turns: int
    questions: int


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a transcript; ``kind`` is user, assistant, tool call or tool result."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation as the embedded Synap holds it."""

    conversation_id: str
    lines: list[Line]


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a pushed bundle, a turn with its neighbours, one a line. ``said_on`` is an ISO date.

    ``evidence`` are the turns in it that hold the answer.
    """

    text: str
    score: float
    said_on: str | None
    evidence: list[str]


@dataclass(frozen=True, slots=True)
class PromptLine:
    """One line of a prompt; ``injected`` if it is ours, ``evidence`` if in it stands a turn that holds the answer."""

    role: str
    text: str
    injected: bool
    evidence: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A question in a new conversation: what was pushed for it, the prompt that the model received, and its answer."""

    user_name: str
    conversation_id: str
    question: str
    why: str
    items: list[Item]
    prompt: list[PromptLine]
    answer: str


@dataclass(frozen=True, slots=True)
class Accounting:
    """``captured == delivered + waiting + refused + dead_letters``, and every turn that was said is stored."""

    turns_said: int
    turns_stored: int
    captured: int
    delivered: int
    waiting: int
    refused: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class InLlamaIndex:
    """What the same user found in LlamaIndex. ``documents`` says where they are from; ``asked`` is the chat engine's
    question, ``transcript`` the agent's conversation, ``prompts`` all of them; the accounting is of this part alone.
    """

    documents: str
    asked: Asked
    transcript: Transcript
    prompts: Prompts
    accounting: Accounting


@dataclass(frozen=True, slots=True)
class Findings:
    """All that came of it."""

    people: list[Person]
    transcript: Transcript
    asked: Asked
    recall: Recall
    prompts: Prompts
    in_llamaindex: InLlamaIndex
    accounting: Accounting
    seconds: float


@dataclass(frozen=True, slots=True)
class Staging:
    """How it was set up: conversations not played, where the file is kept (None: nowhere) and would be in real use."""

    left_out: int
    kept_in: str | None
    real_file: str
