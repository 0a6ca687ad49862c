"""What an agent asks a human in the middle of its run, and what the human answers: turns of their own.

No span tells of either, so two public methods of ``Context`` are overlaid (decision 43). Up to workflows 2.8 a step
waits where it stands; from 2.9 on it is left with an exception, and run again from its beginning with each answer.

Source: workflows 1.3.0 to 2.26.1, context/context.py, Context.wait_for_event and write_event_to_stream
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Self

from llama_index.core.workflow import Context, Event, HumanResponseEvent, InputRequiredEvent

from synap_integrations.guard import contained
from synap_integrations.llamaindex import translate
from synap_integrations.model import AssistantMessage, UserMessage
from synap_integrations.overlay import Overlay

if TYPE_CHECKING:
    from synap_integrations.llamaindex.turns import Place, Turn

_CALLBACKS: Final = contained("callbacks")
_RUNS_AGAIN: Final = find_spec("workflows.runtime") is not None
_WAITS: Final = "WaitingForEvent"
_QUESTION: Final = "prefix"
_ANSWER: Final = "response"


class Dialogue:
    """What one tool call and a human say to each other; each of it is told once, however often the call is run."""

    def __init__(self, *, resumed: bool) -> None:
        """``resumed``: the call began in an earlier run, perhaps in another process, and told its beginning there."""
        self._resumed = resumed
        self._known: set[tuple[str, str]] = set()
        self._held: list[UserMessage | AssistantMessage] = []

    def utter(self, turn: Turn, said: UserMessage | AssistantMessage, key: str) -> None:
        """Tell it, unless it was: ``key`` names it within the call."""
        name = type(said).__name__, key
        if _RUNS_AGAIN and name in self._known:
            return
        self._known.add(name)
        if not _RUNS_AGAIN and isinstance(said, UserMessage):
            self._resumed = False
        if not self._resumed:
            turn.say(said)
        elif _RUNS_AGAIN:
            self._held.append(said)

    def pause(self, turn: Turn, *, answered: bool) -> None:
        """The call is left, to wait or for good. What a resumed one has newly said begins with the last answer."""
        held, self._held, self._resumed = self._held, [], False
        answers = [at for at, said in enumerate(held) if isinstance(said, UserMessage)]
        if answered and answers:
            for said in held[answers[-1] :]:
                turn.say(said)


def over(turn: Turn, call_id: str) -> None:
    """The call has a result: whatever it still has to tell comes before that."""
    if (dialogue := turn.dialogues.pop(call_id, None)) is not None:
        dialogue.pause(turn, answered=True)
        if not turn.dialogues:
            turn.answers.clear()


def question_in(event: object) -> AssistantMessage | None:
    """The words of a question, None if it is none, or has no words."""
    words = _words(event, _QUESTION, ()) if isinstance(event, InputRequiredEvent) else ""
    return AssistantMessage(words) if words else None


def answer_in(event: object, requirements: Mapping[str, object]) -> UserMessage | None:
    """The words of an answer, None if it has none: a decision is no utterance."""
    words = _words(event, _ANSWER, requirements) if isinstance(event, Event) else ""
    return UserMessage(words) if words else None


def _words(event: Event, usual: str, beside: Mapping[str, object] | tuple[()]) -> str:
    """What the usual field says, or the only text among the others."""
    carried = {name: getattr(event, name, None) for name in type(event).model_fields} | dict(event.items())
    if usual in carried:
        found = [carried[usual]]
    else:
        found = [value for name, value in carried.items() if name not in beside and isinstance(value, str)]
    [words] = found if len(found) == 1 else [""]
    return translate.text_of(words) if isinstance(words, str) and words.strip() else ""


# --- the overlay -------------------------------------------------------------------------------------------------


def listen(overlay: Overlay, here: Callable[[], Place | None]) -> None:
    """Hear questions and answers; ``here`` says which part of which turn the calling code is."""
    overlay.put(Context, "wait_for_event", _waiting(Context.wait_for_event, here))
    overlay.put(Context, "write_event_to_stream", _writing(Context.write_event_to_stream, here))


def _waiting(inner: Callable[..., Awaitable[Any]], here: Callable[[], Place | None]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(inner)
    async def wait_for_event(self: object, event_type: type[Event], *rest: Any, **named: Any) -> Any:  # noqa: ANN401 - the framework's own
        with _Wait(here(), event_type, *rest, **named) as wait:
            event = await inner(self, event_type, *rest, **named)
            wait.ends(event)
        return event

    return wait_for_event


def _writing(inner: Callable[..., Any], here: Callable[[], Place | None]) -> Callable[..., Any]:
    @functools.wraps(inner)
    def write_event_to_stream(self: object, ev: Event | None, *rest: Any, **named: Any) -> Any:  # noqa: ANN401 - the framework's own
        with _CALLBACKS:
            if (asked := question_in(ev)) is not None and (place := here()) is not None:
                _dialogue(place).utter(place.turn, asked, asked.content)
        return inner(self, ev, *rest, **named)

    return write_event_to_stream


class _Wait:
    """One call of ``wait_for_event``."""

    def __init__(
        self,
        place: Place | None,
        event_type: type[Event],
        waiter_event: Event | None = None,
        waiter_id: str | None = None,
        requirements: Mapping[str, object] | None = None,
        *_: object,
        **__: object,
    ) -> None:
        self._place = place
        self._type = event_type
        self._event = waiter_event
        self._id = waiter_id
        self._requirements = requirements or {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """If the step is left to wait, it has asked; where it waits on the spot, its question goes to the stream."""
        if kind is None or kind.__name__ != _WAITS or self._place is None:
            return
        with _CALLBACKS:
            dialogue = _dialogue(self._place)
            if (asked := question_in(self._event)) is not None:
                dialogue.utter(self._place.turn, asked, self._key())
            # A resumed step is run at once to see what a wait requires; otherwise an answer has come.
            dialogue.pause(self._place.turn, answered=not self._requirements)

    def ends(self, event: object) -> None:
        """The wait is over."""
        if self._place is None:
            return
        with _CALLBACKS:
            if isinstance(self._event, InputRequiredEvent) or isinstance(event, HumanResponseEvent):
                self._answered(self._place.turn, _dialogue(self._place), event)

    def _answered(self, turn: Turn, dialogue: Dialogue, event: object) -> None:
        if any(known is event and other is not dialogue for known, other in turn.answers):
            return
        if (said := answer_in(event, self._requirements)) is not None:
            turn.answers.append((event, dialogue))
            dialogue.utter(turn, said, self._key())

    def _key(self) -> str:
        return self._id or f"{self._type.__qualname__} {self._requirements}"


def _dialogue(place: Place) -> Dialogue:
    turn, call = place.turn, place.turn.calls.get(place.call or "")
    key = call.tool_call_id if call is not None else ""
    if key not in turn.dialogues:
        turn.dialogues[key] = Dialogue(resumed=turn.resumed and call is not None)
    return turn.dialogues[key]
