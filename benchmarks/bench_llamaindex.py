"""What we add to a turn of LlamaIndex's SimpleChatEngine on the caller's thread; needs an environment with LlamaIndex.

Run by itself: ``python benchmarks/bench_llamaindex.py [--quick]``. The reference is the framework's own span handler
that does nothing. ``memory`` may wait for the context that answers the question; ``memory, no wait`` has
``recall_timeout_s=0``; ``the island alone`` hands its events to a list, without a disk. The platform that never answers
listens, accepts and stays silent.
"""

# ruff: noqa: ARG002, D102 - the signatures of the model are the framework's

from __future__ import annotations

import importlib.util
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LLMMetadata
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.event_handlers import NullEventHandler
from llama_index_instrumentation.span_handlers import NullSpanHandler
from measuring import Effort, Figure, Report, Spread, added, interleaved

from synap_integrations import Synap
from synap_integrations.llamaindex import SynapCallbackHandler, SynapMemory
from synap_integrations.testing import FakeMemory

NO_OPS, FIXED_US = 2.0, 150.0
FAULT_PERCENT, FAULT_US = 5.0, 500.0
QUESTION = "When does my flight leave?"


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
    """An engine with its memory, and the handlers that are on the dispatcher during its turns only."""

    def __init__(self, memory: BaseMemory, spans: list[object], events: list[object]) -> None:
        self._engine = SimpleChatEngine.from_defaults(llm=Fake(), memory=memory)
        self._spans, self._events = spans, events

    def clock(self) -> float:
        """Seconds of one turn that begins with an empty history."""
        root = get_dispatcher()
        root.span_handlers, root.event_handlers = list(self._spans), list(self._events)
        began = time.perf_counter()
        self._engine.chat(QUESTION, chat_history=[])
        return time.perf_counter() - began


@contextmanager
def silent_platform() -> Iterator[str]:
    """The address of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def refusing_platform() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def synap_at(stack: ExitStack, address: str, **settings: object) -> Synap:
    """A Synap with a real outbox, speaking to that platform."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
    settings |= {"base_url": address, "storage_path": folder, "shutdown_timeout_s": 0.1}
    return stack.enter_context(Synap(**settings, **({} if address == "local" else {"api_key": "bench"})))


def handlers_of(handler_class: str) -> tuple[list[object], list[object]]:
    """What is on the dispatcher now of ours or of a peer's, by class name."""
    root = get_dispatcher()
    return (
        [h for h in root.span_handlers if handler_class in type(h).__module__],
        [h for h in root.event_handlers if handler_class in type(h).__module__],
    )


def contenders(stack: ExitStack) -> dict[str, Contender]:
    """Everybody who takes part, by name."""
    found = {
        "bare": Contender(ChatMemoryBuffer.from_defaults(), [], []),
        "no-op": Contender(ChatMemoryBuffer.from_defaults(), [NullSpanHandler()], [NullEventHandler()]),
    }
    local = synap_at(stack, "local")
    stack.callback(SynapCallbackHandler(local, conversation_id="bench", user_id="ana").detach)
    ours = handlers_of("synap_integrations")
    found["memory, the island alone"] = Contender(SynapMemory(FakeMemory(), user_id="ana"), *ours)
    found["handler"] = Contender(ChatMemoryBuffer.from_defaults(), *ours)
    places = {"memory": local, "memory, no wait": synap_at(stack, "local", recall_timeout_s=0.0)}
    places |= {"memory, refusing": synap_at(stack, refusing_platform())}
    places["memory, silent"] = synap_at(stack, stack.enter_context(silent_platform()))
    for name, synap in places.items():
        found[name] = Contender(SynapMemory(synap, user_id="ana", conversation_id=name), *ours)
    if importlib.util.find_spec("openinference.instrumentation.llama_index"):
        from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
        from opentelemetry.sdk.trace import TracerProvider

        LlamaIndexInstrumentor().instrument(tracer_provider=TracerProvider())
        found["OpenInference"] = Contender(ChatMemoryBuffer.from_defaults(), *handlers_of("openinference"))
    return found


def measure(effort: Effort) -> Report:
    """Added time per turn beside the target, and what faults of the platform change."""
    report = Report()
    with ExitStack() as stack:
        clocks = {name: contender.clock for name, contender in contenders(stack).items()}
        taken = interleaved(clocks, rounds=effort.of(600), warm_up=100)
    floor = added(taken, "no-op").median
    for name in clocks:
        if name == "bare":
            continue
        spread = added(taken, name)
        target = None if name in ("no-op", "memory", "OpenInference") else NO_OPS * floor + FIXED_US
        report.figures.append(Figure(f"SimpleChatEngine.chat, {name}", spread.median, "µs", target, spread=spread))
    turn = 1e6 * Spread.of(taken["memory, no wait"]).median
    for fault in ("refusing", "silent"):
        slower = added(taken, f"memory, {fault}", "memory, no wait").median
        limit = max(turn * FAULT_PERCENT / 100, FAULT_US)
        report.figures.append(Figure(f"SimpleChatEngine.chat, {fault} against healthy", slower, "µs", limit))
    return report


if __name__ == "__main__":
    for figure in measure(Effort(0.2 if "--quick" in sys.argv else 1.0)).figures:
        met = {None: "", True: "met", False: "MISSED"}[figure.met]
        target = "" if figure.target is None else f"target {figure.target:,.0f}"
        print(f"{figure.name:<50} {figure.value:>9,.0f} {figure.unit}   {target:<14} {met}")
