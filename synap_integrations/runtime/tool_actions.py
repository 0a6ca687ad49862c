"""What an agent may do with memory: search it, have something remembered, have something forgotten.

Framework-free: an action turns arguments into a `Question` and its `Answer` into words for the model. Whose memory it
is about is no argument: the scope comes from the run, whatever a model passes.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol

from pydantic import BaseModel, Field, ValidationError

from synap_integrations.context.render import as_block
from synap_integrations.errors import SynapError
from synap_integrations.model import Context, Scope
from synap_integrations.ports import Answer, Forget, PreviewForget, Question, Remember

from .lookup_scope import Asker
from .search_options import SearchTerms
from .usage import record_used, used_of

_MAX_PREVIEWS: Final = 1_000
_MAX_SHOWN: Final = 20
Kind = Literal["facts", "preferences", "episodes", "emotions", "temporal_events"]


class SearchArguments(BaseModel):
    """What a model passes to search."""

    query: str = Field(description="What to look for, in plain words.", min_length=1, max_length=2_000)
    types: list[Kind] | None = Field(default=None, description="Only these kinds of memories; all of them if left out.")


class StoreArguments(BaseModel):
    """What a model passes to remember."""

    content: str = Field(
        description="What to remember about the user, as one complete sentence.", min_length=1, max_length=8_000
    )


class ForgetArguments(BaseModel):
    """What a model passes to forget: a description first, the code of the preview then."""

    description: str = Field(
        default="", description="Which memories, in plain words. Shows them first.", max_length=500
    )
    confirm: str = Field(
        default="",
        description="The code of a preview, once the user has agreed that these are forgotten.",
        max_length=64,
    )


class Told(NamedTuple):
    """What the model is told, and whether that is a failure."""

    text: str
    failed: bool = False
    shown: tuple[str, ...] = ()
    """The memories that are in the text."""


BROKEN: Final = Told("Memory did not do this, by a fault of its own. Go on without it.", failed=True)


class ToolAction(Protocol):
    """One thing that an agent may do."""

    @property
    def name(self) -> str:
        """What the model calls it."""
        ...

    @property
    def description(self) -> str:
        """What the model is told about it."""
        ...

    @property
    def schema(self) -> type[BaseModel]:
        """What the model may pass."""
        ...

    def question(self, arguments: BaseModel, scope: Scope) -> Question | Told:
        """What to ask on behalf of the scope, or what to say if there is nothing to ask."""
        ...

    def told(self, question: Question, answer: Answer, scope: Scope) -> Told:
        """The answer in words."""
        ...


def done(framework: str, action: ToolAction, arguments: BaseModel, asker: Asker, scope: Scope) -> Told:
    """Do it, and have the platform told what a model was shown of its bundles. Never raises."""
    question = action.question(arguments, scope)
    if isinstance(question, Told):
        return question
    answer = asker.lookup.ask(question, scope=scope)
    told = _outcome(action, question, answer, scope)
    record_used(framework, asker.recorder, used_of(answer, told.shown), scope)
    return told


async def adone(framework: str, action: ToolAction, arguments: BaseModel, asker: Asker, scope: Scope) -> Told:
    """`done` that waits without blocking the event loop."""
    question = action.question(arguments, scope)
    if isinstance(question, Told):
        return question
    answer = await asker.lookup.aask(question, scope=scope)
    told = _outcome(action, question, answer, scope)
    record_used(framework, asker.recorder, used_of(answer, told.shown), scope)
    return told


def unusable(error: ValidationError) -> Told:
    """What to say about arguments that do not fit."""
    faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}" for fault in error.errors())
    return Told(f"Memory did not do this, because the arguments do not fit: {faults}.", failed=True)


def _outcome(action: ToolAction, question: Question, answer: Answer, scope: Scope) -> Told:
    return _failure(answer.fault) if answer.fault is not None else action.told(question, answer, scope)


def _failure(fault: SynapError) -> Told:
    advice = "Go on without it, or try once more later." if fault.retryable else "Go on without it."
    return Told(f"Memory did not do this: {fault}. {advice}", failed=True)


# --- the actions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Searching:
    """Search memory."""

    terms: SearchTerms = field(default_factory=SearchTerms)
    name: str = "search_memory"
    description: str = (
        "Search what is remembered about the user you are talking to: facts, preferences, and what was said in earlier "
        "conversations. Use it when the answer may depend on something the user said before."
    )
    schema: type[BaseModel] = SearchArguments

    def question(self, arguments: BaseModel, scope: Scope) -> Question | Told:  # noqa: ARG002 - `ToolAction`
        """Search for the query, for no more types than the tool was made for."""
        assert isinstance(arguments, SearchArguments)
        return self.terms.search(arguments.query, types=tuple(arguments.types or ()))

    def told(self, question: Question, answer: Answer, scope: Scope) -> Told:  # noqa: ARG002 - `ToolAction`
        """What was found, as data that cannot leave its block."""
        block = as_block(Context(answer.items))
        return Told(block.text or "Nothing is remembered about that.", shown=block.item_ids)


@dataclass(frozen=True, slots=True)
class Storing:
    """Have something remembered."""

    source: str = "agent"
    name: str = "store_memory"
    description: str = (
        "Remember something about the user you are talking to beyond this conversation: a fact, a preference, a "
        "decision. What is said in the conversation is remembered anyway; use it for what should stand on its own."
    )
    schema: type[BaseModel] = StoreArguments

    def question(self, arguments: BaseModel, scope: Scope) -> Question | Told:  # noqa: ARG002 - `ToolAction`
        """Remember the content, and that an agent wanted it."""
        assert isinstance(arguments, StoreArguments)
        return Remember(arguments.content, source=f"{self.source}: {self.name}")

    def told(self, question: Question, answer: Answer, scope: Scope) -> Told:  # noqa: ARG002 - `ToolAction`
        """That it is kept."""
        return Told("Remembered.")


_Owner = tuple[str | None, str | None, str | None]


def _owner(scope: Scope) -> _Owner:
    return scope.customer_id, scope.user_id, scope.conversation_id


class Previews:
    """What was shown to whom, by a code that nobody can guess. Thread-safe; the oldest is dropped first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: OrderedDict[str, tuple[_Owner, tuple[str, ...]]] = OrderedDict()

    def keep(self, memory_ids: tuple[str, ...], scope: Scope) -> str:
        """The code for what was shown."""
        code = secrets.token_hex(4)
        with self._lock:
            self._shown[code] = (_owner(scope), memory_ids)
            if len(self._shown) > _MAX_PREVIEWS:
                self._shown.popitem(last=False)
        return code

    def take(self, code: str, scope: Scope) -> tuple[str, ...] | None:
        """What was shown under this code to this very user in this conversation, once; None for anybody else."""
        with self._lock:
            whose, memory_ids = self._shown.get(code, (None, ()))
            if whose != _owner(scope):
                return None
            del self._shown[code]
            return memory_ids


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Have something forgotten, in two steps: the platform shows what a description matches, then exactly that goes."""

    name: str = "forget_memory"
    description: str = (
        "Forget something about the user you are talking to. First pass a description: you are shown the memories that "
        "match, and a code. Nothing is deleted yet. If the user agrees, call again with the code as confirm."
    )
    schema: type[BaseModel] = ForgetArguments
    _previews: Previews = field(default_factory=Previews)

    def question(self, arguments: BaseModel, scope: Scope) -> Question | Told:
        """A preview of the description, or the deletion of what a preview of this very user has shown."""
        assert isinstance(arguments, ForgetArguments)
        if not arguments.confirm:
            if len(arguments.description.strip()) < 3:
                return Told("Say which memories to forget: pass a description of at least 3 characters.", failed=True)
            return PreviewForget(arguments.description)
        memory_ids = self._previews.take(arguments.confirm, scope)
        if memory_ids is None:
            return Told("There is no such preview: pass a description first, and confirm with its code.", failed=True)
        return Forget(memory_ids)

    def told(self, question: Question, answer: Answer, scope: Scope) -> Told:
        """What would go, or what is gone."""
        if isinstance(question, Forget):
            left = f" {len(answer.left)} could not be deleted." if answer.left else ""
            return Told(f"Forgotten: {len(answer.ids)} memories.{left}", failed=bool(answer.left))
        if not answer.items:
            return Told("No memory matches that description. Nothing was deleted.")
        block = as_block(Context(answer.items[:_MAX_SHOWN]))
        code = self._previews.keep(block.item_ids, scope)  # what does not fit in is not shown, and stays
        return Told(
            f"{block.text}\n\nThese {len(block.item_ids)} memories match. Nothing is deleted yet. "
            f"To forget exactly these, once the user agrees, call again with confirm={code}"
        )
