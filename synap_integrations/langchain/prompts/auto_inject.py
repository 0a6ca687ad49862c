"""Context in the prompts of chat models whose application knows nothing of it: below tracing, on the models' classes.

Invisible to handlers, history and checkpoints, as with `with_synap_memory`; a model, a middleware or a message that has
context of ours already is left alone. What is laid over is not public in LangChain, so it is looked for first, and
tried: a version in which it is not what it was keeps its prompts as they are.

Source: langchain_core 0.3.86 to 1.7.2, language_models/chat_models.py, BaseChatModel.generate, stream, _generate
"""

from __future__ import annotations

import contextvars
from contextlib import ExitStack
from contextvars import ContextVar
from types import CodeType
from typing import TYPE_CHECKING, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.version import VERSION

from synap_integrations import after_fork
from synap_integrations.errors import InvalidInputError
from synap_integrations.langchain.prompts.augmented import own_injector
from synap_integrations.langchain.prompts.injection import Injector
from synap_integrations.langchain.prompts.model_methods import STREAMED, method_over
from synap_integrations.model import Context, ContextItem, Scope
from synap_integrations.overlay import Overlay

if TYPE_CHECKING:
    from synap_integrations.model import Event
    from synap_integrations.ports import Detach, Memory

_CALLED: Final = (
    ("generate", "_generate_with_cache"),
    ("agenerate", "_agenerate_with_cache"),
    ("stream", "_stream"),
    ("astream", "_astream"),
)
"""A public method, and what it has to call for what is laid over that to be reached."""

_lock: Final = after_fork.Lock()


class _AutoInject:
    """The one overlay of this process, and whom it asks."""

    overlay: Overlay | None = None
    injector: Injector | None = None


_ON_TRIAL: Final[ContextVar[Injector | None]] = ContextVar("synap_on_trial", default=None)


def inject(memory: Memory) -> Detach:
    """Show every chat model of this process what helps with the user's turn; call the result to stop.

    Again with another memory, that one takes the place of the one before.

    Raises: InvalidInputError, if this version of langchain-core does not call what would be laid over.
    """
    with _lock:
        _remove()
        overlay = Overlay()
        with ExitStack() as undo:
            undo.callback(overlay.remove)
            _lay(overlay)
            _try()
            undo.pop_all()
        _AutoInject.overlay, _AutoInject.injector = overlay, Injector(memory, Scope())
    return lambda: _remove(overlay)


def _remove(overlay: Overlay | None = None) -> None:
    with _lock:
        if _AutoInject.overlay is not None and overlay in (None, _AutoInject.overlay):
            _AutoInject.overlay.remove()
            _AutoInject.overlay = _AutoInject.injector = None


def _whose(model: BaseChatModel) -> Injector | None:
    """Nobody's, for a model that was given memory by hand."""
    return None if own_injector(model) is not None else _ON_TRIAL.get() or _AutoInject.injector


def _lay(overlay: Overlay) -> None:
    for public, private in _CALLED:
        code = getattr(getattr(BaseChatModel, public, None), "__code__", None)
        if code is None or private not in _names_in(code) or not hasattr(BaseChatModel, private):
            why = f"{public} does not call {private}"
            raise _unknown(why)
    for name in ("_generate_with_cache", "_agenerate_with_cache"):
        overlay.put(BaseChatModel, name, method_over(name, getattr(BaseChatModel, name), _whose))
    overlay.over_family(BaseChatModel, lambda cls: _cover(overlay, cls))


def _names_in(code: CodeType) -> set[str]:
    """The names that a function uses, its comprehensions included."""
    inner = [_names_in(one) for one in code.co_consts if isinstance(one, CodeType)]
    return set(code.co_names).union(*inner)


def _cover(overlay: Overlay, cls: type) -> None:
    """Streams are called past the methods above, so each class that has its own gets ours over it."""
    if cls is BaseChatModel or "_synap_plain" in vars(cls):
        return
    for name in STREAMED:
        if name in vars(cls) and callable(vars(cls)[name]):
            overlay.put(cls, name, method_over(name, vars(cls)[name], _whose))


def _unknown(why: str) -> InvalidInputError:
    message = f"langchain-core {VERSION} is not known here ({why}): use SynapMiddleware or with_synap_memory"
    return InvalidInputError(message, details={"version": VERSION})


# --- the trial -------------------------------------------------------------------------------------------------------

_WORD: Final = "trial"


class _OneMemory:
    """Knows one thing."""

    def record(self, event: Event, *, scope: Scope) -> None:
        """Nobody is to hear of it."""

    def recall(self, query: str | None, *, scope: Scope) -> Context:  # noqa: ARG002 - the protocol's
        """It."""
        return Context((ContextItem("1", "facts", text=_WORD),))

    async def arecall(self, query: str | None, *, scope: Scope) -> Context:
        """The same."""
        return self.recall(query, scope=scope)


class _Echo(BaseChatModel):
    """Answers with what it was shown."""

    @property
    def _llm_type(self) -> str:
        return "synap-trial"

    def _generate(self, messages: list[BaseMessage], *_rest: object, **_named: object) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(str(messages[-1].content)))])

    async def _agenerate(self, messages: list[BaseMessage], *_rest: object, **_named: object) -> ChatResult:
        return self._generate(messages)


def _try() -> None:
    """Call a model of our own, below tracing. Raises: InvalidInputError, if it is not shown what it should be."""
    # In a context of its own: this may happen in the middle of somebody's call.
    answers = contextvars.Context().run(_answers)
    if len(answers) != 2 or not all(_WORD in str(one.generations[0].message.content) for one in answers):
        why = "a model of ours was not shown its context"
        raise _unknown(why)


def _answers() -> list[ChatResult]:
    _ON_TRIAL.set(Injector(_OneMemory(), Scope("trial")))
    echo, asked = _Echo(cache=False), HumanMessage("?")
    answers = [echo._generate_with_cache([asked], stop=None, run_manager=None)]  # noqa: SLF001 - what is laid over
    try:
        echo._agenerate_with_cache([asked], stop=None, run_manager=None).send(None)  # noqa: SLF001 - see above
    except StopIteration as returned:
        answers.append(returned.value)
    return answers
