"""What capture and memory add to a turn of LlamaIndex's SimpleChatEngine on the caller's thread.

The floor is the framework's own span handler that does nothing. ``alone`` hands its events to a list: no disk, no
delivery. The others keep every turn in a real outbox and deliver it: to the embedded Synap in the same process, or,
where platforms are compared, to servers in processes of their own. A user has ten turns, then the next one comes.
"""

# ruff: noqa: ARG002, D102 - the signatures of the model are the framework's

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from bench_faults import HEALTHY, MANNERS, refusing
from contenders import BARE, NO_OP, embedded_synap, is_installed, tracer_provider
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LLMMetadata
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.event_handlers import NullEventHandler
from llama_index_instrumentation.span_handlers import NullSpanHandler
from loopback import platform, received, sink
from measuring import Effort, Figure, Peer, Report, Spread, added, interleaved, peers

import synap_integrations
from synap_integrations import Synap
from synap_integrations.llamaindex import SynapCallbackHandler, SynapMemory
from synap_integrations.testing import FakeMemory

NO_OPS, FIXED_US = 2.0, 150.0
FAULT_SHARE, FAULT_US = 0.05, 500.0
QUESTION = "When does my flight leave?"
TURNS = 10
"""Turns of one conversation."""
PEER = ("openinference.instrumentation.llama_index", "opentelemetry.exporter.otlp.proto.http")


class Fake(CustomLLM):
    """Answers at once."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True)

    @llm_chat_callback()
    def chat(self, messages: list[ChatMessage], **_: object) -> ChatResponse:
        return ChatResponse(message=ChatMessage(role="assistant", content="Your flight leaves at 09:40."))

    def complete(self, prompt: str, formatted: bool = False, **_: object) -> CompletionResponse:
        return CompletionResponse(text="Your flight leaves at 09:40.")

    def stream_complete(self, prompt: str, formatted: bool = False, **_: object) -> Iterator[CompletionResponse]:
        yield self.complete(prompt)


class Contender:
    """An engine with its memory, and what listens during its turns only: handlers on the dispatcher, and an attachment
    that is made before each turn and let go after it.
    """

    def __init__(
        self,
        memory: BaseMemory | None = None,
        listening: tuple[list[object], list[object]] = ((), ()),
        attach: Callable[[], SynapCallbackHandler] | None = None,
    ) -> None:
        self._engine = SimpleChatEngine.from_defaults(llm=Fake(), memory=memory or ChatMemoryBuffer.from_defaults())
        self._spans, self._events = listening
        self._attach = attach
        self._turns = count()

    def clock(self) -> float:
        """Seconds of one turn."""
        root = get_dispatcher()
        root.span_handlers, root.event_handlers = list(self._spans), list(self._events)
        handler = self._attach() if self._attach else None
        conversation, turn = divmod(next(self._turns), TURNS)
        if turn == 0:
            self._engine.reset()
        user_id = f"user-{id(self)}-{conversation}"
        with synap_integrations.context(user_id=user_id, conversation_id=f"{user_id}-talks"):
            began = time.perf_counter()
            self._engine.chat(QUESTION)
            took = time.perf_counter() - began
        if handler:
            handler.detach()
        return took


def measure(effort: Effort) -> Report:
    """Added time per turn beside the target and the peer, and what faults of the platform change."""
    report = Report()
    for cast in CASTS:
        with ExitStack() as stack:
            clocks = {name: contender.clock for name, contender in (_floor() | cast(stack)).items()}
            taken = interleaved(clocks, rounds=effort.of(800), warm_up=100, rest_s=0)
            report.figures.extend(_figures(taken))
            report.peers.extend(_rested(interleaved(clocks, rounds=effort.of(250), warm_up=30)))
    if is_installed(*PEER):
        report.peers.extend(_rested(_openinference(effort)))
    report.figures.extend(_faults(effort))
    return report


def _floor() -> dict[str, Contender]:
    return {BARE: Contender(), NO_OP: Contender(listening=([NullSpanHandler()], [NullEventHandler()]))}


def _alone(_: ExitStack) -> dict[str, Contender]:
    kept = FakeMemory()
    return {
        "handler alone": Contender(listening=_ours(), attach=lambda: SynapCallbackHandler(kept)),
        "memory alone": Contender(SynapMemory(FakeMemory()), _ours()),
    }


def _handler(stack: ExitStack) -> dict[str, Contender]:
    synap = stack.enter_context(embedded_synap())
    return {"handler": Contender(listening=_ours(), attach=lambda: SynapCallbackHandler(synap))}


def _hasty_memory(stack: ExitStack) -> dict[str, Contender]:
    synap = stack.enter_context(embedded_synap(recall_timeout_s=0.0))
    return {"memory, never waiting": Contender(SynapMemory(synap), _ours())}


def _memory(stack: ExitStack) -> dict[str, Contender]:
    return {"memory": Contender(SynapMemory(stack.enter_context(embedded_synap())), _ours())}


CASTS = (_alone, _handler, _hasty_memory, _memory)
"""Who is measured beside whom: one Synap at a time, so that none waits for the delivery of another."""


def _figures(taken: Mapping[str, Sequence[float]]) -> Iterator[Figure]:
    no_op = added(taken, NO_OP).median
    for name in list(taken)[2:]:
        spread = added(taken, name)
        # What waits for an answer is not compared with what does not.
        target = None if name == "memory" else NO_OPS * no_op + FIXED_US
        note = f"no-op {no_op:,.0f} µs, the whole turn {1e6 * Spread.of(taken[BARE]).median:,.0f} µs"
        yield Figure(f"LlamaIndex turn, {name}", spread.median, "µs", target, spread=spread, note=note)


def _rested(taken: Mapping[str, Sequence[float]]) -> list[Peer]:
    """The same with rests between the turns, caches cold."""
    return [peer for peer in peers(taken, "LlamaIndex chat") if peer.contender != NO_OP]


def _openinference(effort: Effort) -> dict[str, list[float]]:
    from openinference.instrumentation.llama_index import LlamaIndexInstrumentor

    root = get_dispatcher()
    with sink() as url:
        with ExitStack() as stack:
            root.span_handlers, root.event_handlers = [], []
            LlamaIndexInstrumentor().instrument(tracer_provider=tracer_provider(f"{url}/OpenInference", stack))
            found = _floor() | {"OpenInference": Contender(listening=(root.span_handlers, root.event_handlers))}
            clocks = {name: contender.clock for name, contender in found.items()}
            taken = interleaved(clocks, rounds=effort.of(250), warm_up=30)
        if not received(url):
            message = "nothing was delivered by OpenInference"
            raise RuntimeError(message)
    return taken


def _ours() -> tuple[list[object], list[object]]:
    """Our handlers, as a memory puts them on the dispatcher."""
    root = get_dispatcher()
    SynapCallbackHandler(FakeMemory()).detach()
    SynapMemory(FakeMemory())
    ours = [
        [handler for handler in handlers if type(handler).__module__.startswith("synap_integrations")]
        for handlers in (root.span_handlers, root.event_handlers)
    ]
    return ours[0], ours[1]


def _faults(effort: Effort) -> Iterator[Figure]:
    """A memory on each platform, side by side; the few turns that wait for one that is silent are in the warm-up."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        clocks = {}
        for manner in (HEALTHY, *MANNERS):
            settings = refusing() if manner == "refusing" else stack.enter_context(platform(manner))
            synap = Synap(storage_path=folder / manner, shutdown_timeout_s=0.2, **settings)
            clocks[manner] = Contender(SynapMemory(stack.enter_context(synap)), _ours()).clock
        taken = interleaved(clocks, rounds=effort.of(400))
    healthy_us = 1e6 * Spread.of(taken[HEALTHY]).median
    target = max(FAULT_US, FAULT_SHARE * healthy_us)
    for manner, words in MANNERS.items():
        over = added(taken, manner, HEALTHY)
        note = f"a turn takes {healthy_us:,.0f} µs while it is healthy"
        yield Figure(
            f"LlamaIndex turn while the platform {words}", over.median, "µs more", target, spread=over, note=note
        )
