"""Who is measured: nothing, a handler that does nothing, ours, and the peers, each with its default batching.

The peers send to a loopback server in a process of its own that answers at once. Ours keeps every turn in a real
outbox and delivers it to the embedded Synap, which lives in the measured process: it has more to do than the peers.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from langchain_core.callbacks import BaseCallbackHandler
from loopback import received, sink
from measuring import Clock

from synap_integrations import Synap
from synap_integrations.langchain import SynapCallbackHandler

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

BARE, NO_OP, OURS = "bare", "no-op", "ours"
TARGETED = (BARE, NO_OP, OURS)
"""Who takes part where our own targets are measured: no peer's background work beside them."""
IDENTITY = {"conversation_id": "benchmark", "user_id": "ana"}


class NoOp(BaseCallbackHandler):
    """Does nothing, on the caller's thread or loop: without ``run_inline``, async hooks go through a thread pool."""

    run_inline = True


@contextmanager
def contenders() -> Iterator[dict[str, list[BaseCallbackHandler]]]:
    """The handlers of every contender that is installed, by name; each delivers until the block ends.

    Raises: RuntimeError, if a peer has delivered nothing: what it adds would not be what it costs.
    """
    with sink() as url:
        with ExitStack() as stack:
            ours = SynapCallbackHandler(stack.enter_context(embedded_synap()), **IDENTITY)
            peers = {name: [PEERS[name].handler(f"{url}/{name}", stack)] for name in installed_peers()}
            yield {BARE: [], NO_OP: [NoOp()], OURS: [ours], **peers}
        if silent := peers.keys() - received(url).keys():
            message = f"nothing was delivered by {', '.join(sorted(silent))}"
            raise RuntimeError(message)


def installed_peers() -> list[str]:
    """The names of the peers that can take part."""
    return [name for name, peer in PEERS.items() if is_installed(peer.module)]


def is_installed(*modules: str) -> bool:
    """Whether all of these can be imported; packages that share a namespace are told apart."""
    try:
        return all(importlib.util.find_spec(module) for module in modules)
    except ModuleNotFoundError:
        return False


def narrowed(clocks: Mapping[str, Clock], names: Collection[str]) -> dict[str, Clock]:
    """Only these contenders, of those that are installed."""
    return {name: clock for name, clock in clocks.items() if name in names}


@contextmanager
def embedded_synap(**settings: object) -> Iterator[Synap]:
    """A Synap with a real outbox and the embedded platform, both in a folder that goes away with the block."""
    with (
        tempfile.TemporaryDirectory(prefix="synap-bench-", ignore_cleanup_errors=True) as folder,
        Synap(base_url="local", storage_path=Path(folder), **settings) as synap,
    ):
        yield synap


def _langfuse(url: str, stack: ExitStack) -> BaseCallbackHandler:
    from langfuse import Langfuse
    from langfuse.langchain import CallbackHandler
    from opentelemetry.sdk.trace import TracerProvider

    client = Langfuse(public_key="pk-bench", secret_key="sk-bench", base_url=url, tracer_provider=TracerProvider())
    stack.callback(client.shutdown)
    return CallbackHandler(public_key="pk-bench")


def _langsmith(url: str, stack: ExitStack) -> BaseCallbackHandler:
    from langchain_core.tracers.langchain import LangChainTracer
    from langsmith import Client

    client = Client(api_url=url, api_key="bench")
    stack.callback(client.flush)
    return LangChainTracer(project_name="bench", client=client)


def _openinference(url: str, stack: ExitStack) -> BaseCallbackHandler:
    """The handler that its instrumentor adds to every callback manager; added by hand, the other turns go without."""
    from openinference.instrumentation import OITracer, TraceConfig
    from openinference.instrumentation.langchain._tracer import OpenInferenceTracer

    tracer = OITracer(tracer_provider(url, stack).get_tracer("bench"), config=TraceConfig())
    return OpenInferenceTracer(tracer, separate_trace_from_runtime_context=False)


def tracer_provider(url: str, stack: ExitStack) -> TracerProvider:
    """OpenTelemetry with its default batching, sending to the sink until the stack is closed."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces")))
    stack.callback(provider.shutdown)
    return provider


class Peer(NamedTuple):
    """A package that does a similar thing: a module to know it by, and how to build its handler."""

    module: str
    handler: Callable[[str, ExitStack], BaseCallbackHandler]


PEERS = {
    "Langfuse": Peer("langfuse", _langfuse),
    "LangSmith": Peer("langsmith", _langsmith),
    "OpenInference": Peer("openinference.instrumentation.langchain", _openinference),
}
