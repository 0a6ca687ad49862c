"""The short-term history of one conversation: what was said since, bounded, never a tool result without its call."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence, Sized
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from llama_index.core.base.llms.types import ChatMessage, MessageRole

from synap_integrations.context.render import without_context
from synap_integrations.llamaindex import translate
from synap_integrations.llamaindex.turns import Injection
from synap_integrations.model import RecentTurn
from synap_integrations.runtime.earlier_turns import not_here_yet

MAX_MESSAGES: Final = 2_000
"""Messages of one conversation that are kept here; Synap keeps all of them."""

_MAX_EXPECTED: Final = 64
_TOKENS_PER_MESSAGE: Final = 4
_RESULTS: Final = frozenset({MessageRole.TOOL, MessageRole.FUNCTION})


class History:
    """Messages of one conversation with their sizes in tokens. Its users hold ``lock`` while they use it."""

    def __init__(self, *, loaded: bool = False) -> None:
        self.lock = threading.RLock()
        self._count: Callable[[str], Sized] = estimate_tokens
        self._messages: list[ChatMessage] = []
        self._tokens: list[int] = []
        self._began = datetime.now(UTC)
        self.loaded = loaded
        """Earlier turns need not be asked for: they are here, or must not come back."""
        self._since: datetime | None = None
        """Earlier turns than this must not come back."""
        self.said = 0
        """User messages so far: tells whether the context at hand is the current turn's."""
        self.asked_at = -1
        self.injection: Injection | None = None
        self._expected: deque[tuple[str, str]] = deque(maxlen=_MAX_EXPECTED)

    def __len__(self) -> int:
        """How many messages are here."""
        return len(self._messages)

    def count_with(self, count: Callable[[str], Sized]) -> None:
        """Whoever uses it now counts tokens like this."""
        if count != self._count:
            self._count = count
            self._tokens = [self._size(message) for message in self._messages]

    def put(self, message: ChatMessage) -> None:
        """Add a message. A user who repeats what was not answered says it once: a failed run was started again."""
        message = _clean(message)
        if message.role == MessageRole.USER:
            self.said += 1
            last = self._messages[-1] if self._messages else None
            if last is not None and last.role == MessageRole.USER and last.blocks == message.blocks:
                return
        self._messages.append(message)
        self._tokens.append(self._size(message))
        if len(self._messages) > MAX_MESSAGES:
            start = self._start(within=MAX_MESSAGES // 2, sizes=[1] * len(self._messages))
            del self._messages[:start], self._tokens[:start]

    def replace(self, messages: Iterable[ChatMessage]) -> None:
        """Make this the history."""
        self._messages = [_clean(message) for message in messages]
        self._tokens = [self._size(message) for message in self._messages]
        self.said += 1
        self.loaded = True

    def clear(self, now: datetime) -> None:
        """Forget what was said, and do not ask for it again."""
        self.replace([])
        self._since = now

    def begun_anew(self, at: datetime | None) -> None:
        """The conversation was begun anew then, perhaps by another process: what was said before is let go, but for the
        question that waits for its answer.
        """
        if at is None or (self._since is not None and at <= self._since):
            return
        self._since = at
        if at > self._began:
            asked = [message for message in self._messages[-1:] if message.role == MessageRole.USER]
            self.replace(asked)
            self.loaded = False

    def everything(self) -> list[ChatMessage]:
        """All messages, as copies."""
        return [translate.copied(message) for message in self._messages]

    def within(self, tokens: int) -> list[ChatMessage]:
        """The newest messages that fit, as copies: whole turns, or the end of the last one with the user's words."""
        if sum(self._tokens) <= tokens:
            return self.everything()
        start = self._start(tokens, self._tokens)
        head: list[ChatMessage] = []
        if start < len(self._messages) and self._messages[start].role != MessageRole.USER:
            head = [message for message in self._messages[:start] if message.role == MessageRole.USER][-1:]
        return [translate.copied(message) for message in [*head, *self._messages[start:]]]

    def last_said(self) -> str:
        """The user's last words, ``""`` if there are none."""
        message = translate.last_user_message(self._messages)
        return translate.text_of(message)

    def remember(self, turns: Sequence[RecentTurn], *, asked: str | None = None) -> bool:
        """Put earlier turns, as Synap holds them, before what was said here; what both hold stands once. False if none
        of them may come back.

        ``asked`` is the question that is being answered: told last, it is not an earlier turn.
        """
        if self._since is not None:
            turns = [turn for turn in turns if turn.said_at is not None and turn.said_at > self._since]
        earlier = [translate.message_of(turn) for turn in self._before(turns, asked)]
        self._messages[:0] = earlier
        self._tokens[:0] = [self._size(message) for message in earlier]
        return bool(turns)

    def _before(self, turns: Sequence[RecentTurn], asked: str | None) -> Sequence[RecentTurn]:
        """Those of the turns that were said before what is here."""
        here = [translate.text_of(m) for m in self._messages if m.role == MessageRole.USER]
        answered = any(message.role == MessageRole.ASSISTANT for message in self._messages)
        since = self._began if answered else None
        turns = self._without_questions(turns, asked)
        return self._without_questions(not_here_yet(turns, here, answered_since=since), asked)

    def _without_questions(self, turns: Sequence[RecentTurn], asked: str | None) -> Sequence[RecentTurn]:
        """Without the questions at their end that wait for their answers here.

        A mask changes them on their way: a question without an answer that is newer than this history is the one here.
        """
        while turns and turns[-1].role == "user":
            said_at = turns[-1].said_at
            if turns[-1].content != asked and (said_at is None or said_at < self._began):
                break
            turns = turns[:-1]
        return turns

    def expect(self, messages: Iterable[tuple[str, str]]) -> None:
        """These (role, text) are recorded; each may be put once more without being new."""
        self._expected.extend(messages)

    def expected(self, message: ChatMessage) -> bool:
        """True, once, for a message that was announced to `expect`."""
        told = (str(message.role.value), translate.text_of(message).strip())
        if told not in self._expected:
            return False
        self._expected.remove(told)
        return True

    def _start(self, within: int, sizes: Sequence[int]) -> int:
        """The index of the first message to keep: a user message if one fits, else the start of an exchange."""
        fitting, total = len(sizes), 0
        while fitting and total + sizes[fitting - 1] <= within:
            fitting -= 1
            total += sizes[fitting]
        users = [at for at, message in enumerate(self._messages) if message.role == MessageRole.USER]
        if users and users[-1] >= fitting:
            return next(at for at in users if at >= fitting)
        return next((at for at in self._exchanges() if at >= fitting), users[-1] if users else len(sizes))

    def _exchanges(self) -> list[int]:
        """Indices at which the history may be cut: not between a message that asks for tools and their results."""
        starts = [0] if self._messages else []
        for at, (before, after) in enumerate(pairwise(self._messages), start=1):
            if after.role not in _RESULTS and not (before.role in _RESULTS and after.role in _RESULTS):
                starts.append(at)
        return starts

    def _size(self, message: ChatMessage) -> int:
        words = [message.content or ""]
        words += [str(getattr(block, "tool_kwargs", "")) for block in message.blocks if block.block_type == "tool_call"]
        return _TOKENS_PER_MESSAGE + len(self._count(" ".join(words)))


def estimate_tokens(text: str) -> Sized:
    """As many things as the text has tokens, roughly: one for four characters."""
    return range((len(text) + 3) // 4)


def _clean(message: ChatMessage) -> ChatMessage:
    """A copy of the message without a context block of ours."""
    copy = translate.copied(message)
    kept = []
    for block in copy.blocks:
        if block.block_type == "text" and (words := without_context(block.text)) != block.text:
            block.text = words.lstrip("\n")
            if not block.text:
                continue
        kept.append(block)
    copy.blocks = kept
    return copy
