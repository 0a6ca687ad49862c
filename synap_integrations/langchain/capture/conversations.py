"""What is remembered of a conversation from one turn to the next: enough to say nothing twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from synap_integrations.langchain.capture.tools import ToolCallIndex
from synap_integrations.model import Scope, UserMessage

if TYPE_CHECKING:
    from synap_integrations.langchain.messages import Spoken
    from synap_integrations.ports import Memory

MAX_CONVERSATIONS: Final = 2_048
MAX_MESSAGE_IDS: Final = 1_000
MAX_SAID: Final = 256


class Conversation:
    """Message ids seen, words said in this turn, calls without result, words that got no answer. No content is kept."""

    __slots__ = ("_open_questions", "_said", "_seen", "calls", "memory", "unanswered")

    def __init__(self, memory: Memory | None) -> None:
        self.memory = memory
        self.calls = ToolCallIndex()
        self.unanswered: list[int] = []
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._said: set[int] = set()
        self._open_questions: set[tuple[str, int]] = set()

    def questions_answered(self, ids: frozenset[str]) -> None:
        """The turn goes on with answers to these questions, or to whatever was open."""
        self._open_questions = {asked for asked in self._open_questions if asked[0] not in ids} if ids else set()

    def new_questions(self, questions: Mapping[str, str]) -> list[str]:
        """Those that were not asked before and are still open: a graph asks them again each time it goes on."""
        asked = {(name, hash(text)): text for name, text in questions.items()}
        news = [text for question, text in asked.items() if question not in self._open_questions]
        self._open_questions.update(asked)
        return news

    def new_messages(self, spoken: Iterable[Spoken], *, dedupe_retries: bool, resumes: bool) -> list[UserMessage]:
        """Those to record: not sent before under the same id, not answered before, not the retry of a failed turn."""
        waiting = self.unanswered if dedupe_retries else []
        self.unanswered = []
        news: list[UserMessage] = []
        for message in spoken:
            if message.followed_by is not None and hash(message.followed_by) in self._said:
                continue
            mark = hash(message.text)
            if message.id is not None:
                before = self._seen.get(message.id)
                self._remember(message.id, mark)
                if before == mark:
                    continue
                if before is not None:
                    news.append(UserMessage(message.text, attachments=message.attachments, edited=True))
                    continue
            if mark in waiting:
                waiting.remove(mark)
                continue
            news.append(UserMessage(message.text, attachments=message.attachments))
        if not resumes and any(not message.edited for message in news):
            self._said.clear()
        return news

    def mark_said(self, text: str) -> bool:
        """True if these words of the assistant were not said in this turn yet; from now on they were."""
        mark = hash(text)
        if mark in self._said:
            return False
        if len(self._said) >= MAX_SAID:
            self._said.clear()
        self._said.add(mark)
        return True

    def _remember(self, message_id: str, mark: int) -> None:
        self._seen[message_id] = mark
        self._seen.move_to_end(message_id)
        if len(self._seen) > MAX_MESSAGE_IDS:
            self._seen.popitem(last=False)


class Conversations:
    """The conversations that were active most recently. Not thread-safe: the tracker's lock covers it."""

    def __init__(self, limit: int = MAX_CONVERSATIONS) -> None:
        self._limit = limit
        self._known: OrderedDict[Hashable, Conversation] = OrderedDict()

    def of(self, scope: Scope, memory: Memory | None) -> Conversation:
        """The conversation of this scope in this memory."""
        # An entry holds its memory, so the number cannot come to mean another one.
        key = (scope.conversation_id, scope.user_id, scope.customer_id, id(memory))
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        known = self._known[key] = Conversation(memory)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
        return known

    def __len__(self) -> int:
        return len(self._known)
