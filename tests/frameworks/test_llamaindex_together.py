"""Handler, memory, tracers and nesting: whatever is combined, each turn is recorded once and for whom it was."""

import asyncio
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.workflow import Context as WorkflowContext
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import ENGINES, ask, conversations, read, settled, simple, transcript

import synap_integrations
from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import incidents, quiet
from synap_integrations.llamaindex import SynapCallbackHandler, SynapMemory, attach
from synap_integrations.llamaindex.probe import ANSWER, QUESTION, run_one_turn
from synap_integrations.supported import refuse_unsupported
from synap_integrations.testing import FakeMemory

pytestmark = [
    pytest.mark.usefixtures("no_turn_left"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # A Context that is used again cannot take along every memory of LlamaIndex's own, and says so.
    pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key"),
]
TURN = ["U q", "A fine"]
CALL = ["C call weather {'city': 'Paris'}", "T call Paris: 18C"]


@pytest.fixture
def sink():
    return FakeMemory()


@pytest.fixture
def attached(sink):
    """Capture of every turn, as zero-code start-up switches it on."""
    detach = attach(sink)
    yield sink
    detach()


def plain_memory():
    """A memory of LlamaIndex's own."""
    return ChatMemoryBuffer.from_defaults()


def an_agent(*script, tools=()):
    """An agent with these tools."""
    return FunctionAgent(llm=ScriptedLLM(*script), tools=[*tools, lambda: "unused"])


@pytest.mark.parametrize("how", ["chat", "achat", "stream_chat", "astream_chat"])
@pytest.mark.parametrize("name", ENGINES)
async def test_capture_alone(name, how, attached):
    """With any memory, every engine is recorded once, attached once or twice; detached, nothing is."""
    again = attach(attached)
    await ask(ENGINES[name](ScriptedLLM("fine"), plain_memory()), how, "q")
    assert settled()
    assert transcript(attached) == TURN
    again()


def test_detach_stops_it(sink):
    """After the last one has let go, nothing is recorded and the dispatcher is not listened to for it."""
    detach = attach(sink)
    detach()
    detach()
    simple(ScriptedLLM("fine"), plain_memory()).chat("q")
    assert sink.recorded == []


def weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: 18C"


@contextmanager
def openinference():
    """OpenInference's tracer: adds to the dispatcher's lists, and filters them in place when it goes."""
    tracing = pytest.importorskip("openinference.instrumentation.llama_index", reason="no OpenInference here")
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - comes with OpenInference

    tracer = tracing.LlamaIndexInstrumentor()
    tracer.instrument(tracer_provider=TracerProvider())
    yield
    tracer.uninstrument()


@contextmanager
def replacing():
    """A tracer that holds what it sees until an event ends it, and replaces the dispatcher's lists when it goes.

    Source: mlflow 3, mlflow/llama_index/tracer.py, MlflowSpanHandler and remove_llama_index_tracer
    """
    dispatcher, held = get_dispatcher(), []

    class Spans(SimpleSpanHandler):
        @classmethod
        def class_name(cls):
            return "ReplacingSpanHandler"

        def prepare_to_exit_span(self, id_, bound_args, instance=None, result=None, **kwargs):
            held.append((dict(bound_args.arguments), result))
            return super().prepare_to_exit_span(id_, bound_args, instance, result, **kwargs)

    class Events(BaseEventHandler):
        @classmethod
        def class_name(cls):
            return "ReplacingEventHandler"

        def handle(self, event, **kwargs):
            event.model_dump_json(fallback=str)

    dispatcher.add_span_handler(Spans())
    dispatcher.add_event_handler(Events())
    yield
    dispatcher.span_handlers = [one for one in dispatcher.span_handlers if one.class_name() != Spans.class_name()]
    dispatcher.event_handlers = [one for one in dispatcher.event_handlers if one.class_name() != Events.class_name()]


@pytest.mark.parametrize("first", ["tracer", "ours"])
@pytest.mark.parametrize("tracer", [openinference, replacing])
async def test_s50_everybody_at_once(tracer, first, sink):
    """Handler twice, handler in a callback manager, memory of ours and a foreign tracer, whichever came first: each
    turn of an engine and of an agent with a tool once; when the tracer goes, ours stay.
    """
    with ExitStack() as stack:
        if first == "tracer":
            stack.enter_context(tracer())
        handlers = [SynapCallbackHandler(sink), SynapCallbackHandler(sink)]
        for handler in handlers:
            stack.callback(handler.detach)
        memory = SynapMemory(sink, user_id="ana", conversation_id="c1")
        engine = simple(ScriptedLLM("fine"), memory)
        engine.callback_manager = CallbackManager(handlers)
        with tracer() if first == "ours" else nullcontext():
            engine.chat("q")
            read(engine.stream_chat("q"))
            wish = Say("", calls=[("call", "weather", {"city": "Paris"})])
            await an_agent(wish, "fine", tools=[weather]).run("q", memory=memory)
            assert settled()
            names = [handler.class_name() for handler in get_dispatcher().span_handlers]
            assert names.count("SynapSpanHandler") == 1
        engine.chat("q")
    assert transcript(sink) == [*TURN, *TURN, "U q", *CALL, "A fine", *TURN]
    assert conversations(sink) == ["c1"]


def test_s51_a_memory_alone_records_its_own_turns_only(sink):
    """Without a handler, engines with other memories are not recorded."""
    simple(ScriptedLLM("fine"), SynapMemory(sink, user_id="ana")).chat("q")
    simple(ScriptedLLM("fine"), plain_memory()).chat("other")
    assert transcript(sink) == TURN


def test_a_handler_in_a_callback_manager_serves_its_engine(sink):
    """Of several handlers, an engine's own is the one that records its turns, with its ids."""
    other = FakeMemory()
    mine, theirs = SynapCallbackHandler(sink, user_id="ana"), SynapCallbackHandler(other, user_id="ben")
    try:
        engine = simple(ScriptedLLM("fine"), plain_memory())
        engine.callback_manager = CallbackManager([mine])
        engine.chat("q")
        assert transcript(sink) == TURN
        assert {entry.scope.user_id for entry in sink.recorded} == {"ana"}
        assert other.recorded == []
    finally:
        mine.detach()
        theirs.detach()


async def test_a_handler_made_per_request_serves_its_request():
    """Two requests that each make a handler of their own do not end up with each other's."""
    sinks = {"ana": FakeMemory(), "ben": FakeMemory()}

    async def request(name):
        handler = SynapCallbackHandler(sinks[name], user_id=name)
        await asyncio.sleep(0.01)
        await simple(ScriptedLLM("fine"), plain_memory()).achat("q")
        handler.detach()

    await asyncio.gather(request("ana"), request("ben"))
    for name, sink in sinks.items():
        assert transcript(sink) == TURN
        assert {entry.scope.user_id for entry in sink.recorded} == {name}


def test_s53_engines_are_conversations(attached):
    """Two engines without ids are two conversations, each the same from turn to turn, until it is reset."""
    one, two = (simple(ScriptedLLM("fine"), plain_memory()) for _ in range(2))
    one.chat("a")
    two.chat("b")
    one.chat("c")
    one.reset()
    one.chat("d")
    by_text = {entry.event.content: entry.scope.conversation_id for entry in attached.recorded}
    assert by_text["a"] == by_text["c"]
    assert len({by_text["a"], by_text["b"], by_text["d"]}) == 3


@pytest.mark.parametrize("given", ["a memory of LlamaIndex's", "no memory"])
async def test_s53_contexts_are_conversations(given, attached):
    """Two Contexts of one agent are two conversations; what is run on one of them is one, whoever made it."""
    agent = an_agent("fine")
    memory = {"memory": plain_memory()} if given != "no memory" else {}
    one, two = WorkflowContext(agent), WorkflowContext(agent)
    await agent.run("a", ctx=one, **memory)
    await agent.run("b", ctx=two)
    await agent.run("c", ctx=one)
    alone = agent.run("d")
    await alone
    await agent.run("e", ctx=alone.ctx)
    await agent.run("f")
    by_text = {entry.event.content: entry.scope.conversation_id for entry in attached.recorded}
    assert by_text["a"] == by_text["c"]
    assert by_text["d"] == by_text["e"]
    assert len(conversations(attached)) == len({by_text[text] for text in "abdf"}) == 4


async def test_s53_contexts_at_the_same_time(attached):
    """Runs on thirty Contexts at once, twice each: thirty conversations of two turns."""
    agent = an_agent("fine")
    contexts = [WorkflowContext(agent) for _ in range(30)]

    async def twice(at):
        for text in ("first", "second"):
            await agent.run(f"{text} {at}", ctx=contexts[at])

    await asyncio.gather(*[twice(at) for at in range(30)])
    assert len(conversations(attached)) == 30
    for name in conversations(attached):
        first, _, second, _ = transcript(attached, name)
        assert (first.split()[1], second.split()[1]) == ("first", "second")
        assert first.split()[2] == second.split()[2]


async def test_s53_a_context_does_not_keep_what_was_said_of_one_run(attached):
    """Ids around one run on a Context are that run's; the next one without is not taken for the same person's."""
    agent = an_agent("fine")
    context = WorkflowContext(agent)
    with synap_integrations.context(user_id="ana", conversation_id="of ana"):
        await agent.run("a", ctx=context)
    await agent.run("b", ctx=context)
    assert transcript(attached, "of ana") == ["U a", "A fine"]
    assert [entry.scope.user_id for entry in attached.recorded] == ["ana", "ana", None, None]


@pytest.mark.parametrize("how", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_s54_identity_around_a_call(how, attached):
    """``context(...)`` and tags around a call name the whole turn, writer threads included, and no neighbour."""
    engine = ENGINES["context"](ScriptedLLM("fine"), plain_memory())
    with synap_integrations.context(user_id="ana", conversation_id="c1"):
        await ask(engine, how, "q")
    with instrument_tags({"synap.conversation_id": "c2", "user_id": "ben"}):
        await ask(engine, how, "q")
    await ask(engine, how, "q")
    assert settled()
    assert transcript(attached, "c1") == transcript(attached, "c2") == TURN
    assert [entry.scope.user_id for entry in attached.recorded] == ["ana", "ana", "ben", "ben", None, None]


async def test_s54_identity_around_an_agent(attached, monkeypatch):
    """The same for an agent's run, then the environment, then the memory's own session."""
    agent = an_agent("fine")
    with synap_integrations.context(user_id="ana", conversation_id="c1"):
        await agent.run("q")
    with instrument_tags({"session_id": "of the tags", "user_id": "ben"}):
        await agent.run("q")
    monkeypatch.setenv("SYNAP_CONVERSATION_ID", "from the environment")
    await agent.run("q")
    engine = simple(ScriptedLLM("fine"), ChatMemoryBuffer.from_defaults(chat_store_key="of the store"))
    await engine.achat("q")
    assert conversations(attached) == ["c1", "of the tags", "from the environment", "of the store"]
    assert [entry.scope.user_id for entry in attached.recorded] == ["ana", "ana", "ben", "ben", None, None, None, None]
    assert transcript(attached) == TURN * 4


async def test_s54_neighbours_at_the_same_time(attached):
    """Twenty requests at once, each with a tool, ids around it by block or by tag: nobody gets a neighbour's."""

    async def request(at):
        agent = an_agent(Say("", calls=[("c", "wait", {})]), "fine", tools=[wait])
        mine = (
            synap_integrations.context(user_id=f"u{at}", conversation_id=f"c{at}")
            if at % 2
            else instrument_tags({"synap.conversation_id": f"c{at}", "synap.user_id": f"u{at}"})
        )
        with mine:
            await agent.run(f"q{at}")

    async def wait() -> str:
        """Let the others in."""
        await asyncio.sleep(0.01)
        return "waited"

    await asyncio.gather(*[request(at) for at in range(20)])
    for at in range(20):
        assert transcript(attached, f"c{at}") == [f"U q{at}", "C c wait {}", "T c waited", "A fine"]
        assert {e.scope.user_id for e in attached.recorded if e.scope.conversation_id == f"c{at}"} == {f"u{at}"}


def test_s54_identity_from_telemetry(attached):
    """OpenInference's ``using_session`` names the conversation too."""
    openinference = pytest.importorskip("openinference.instrumentation", reason="no OpenInference here")
    with openinference.using_attributes(session_id="s1", user_id="ana"):
        simple(ScriptedLLM("fine"), plain_memory()).chat("q")
    assert {(e.scope.conversation_id, e.scope.user_id) for e in attached.recorded} == {("s1", "ana")}


def test_quiet_means_quiet(attached):
    """While Synap delivers, nothing is captured."""
    with quiet():
        simple(ScriptedLLM("fine"), plain_memory()).chat("q")
        SynapMemory(attached, user_id="ana").put(ChatMessage(content="q"))
    assert attached.recorded == []


def test_s52_switched_off(attached, monkeypatch):
    """With ``SYNAP_CAPTURE=0`` nothing is recorded."""
    monkeypatch.setenv("SYNAP_CAPTURE", "0")
    simple(ScriptedLLM("fine"), plain_memory()).chat("q")
    assert attached.recorded == []


def test_s52_naming_the_island_loads_no_framework():
    """The island and its front door can be named without LlamaIndex being loaded."""
    code = "import sys, synap_integrations.llamaindex as island; island.attach; print('llama_index' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "False"


class Exploding(FakeMemory):
    """A Synap whose record breaks down."""

    def record(self, event, *, scope):
        raise OSError("down")


@pytest.mark.parametrize("how", ["chat", "astream_chat"])
async def test_an_exploding_synap_never_reaches_the_application(how):
    """The answer comes, the fault is counted, the turn is closed."""
    detach = attach(Exploding())
    answer = await ask(simple(ScriptedLLM("fine"), plain_memory()), how, "q")
    assert settled()
    assert answer == "fine"
    assert "callbacks: OSError" in incidents.counts()
    incidents.clear()
    detach()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_s55_after_a_fork(tmp_path):
    """A child goes on recording its own turns; the parent's are not recorded again."""
    code = textwrap.dedent("""
        import os, sys
        sys.path.insert(0, sys.argv[1])
        from llamaindex_models import Say, ScriptedLLM
        from llamaindex_world import simple, transcript
        from llama_index.core.memory import ChatMemoryBuffer
        from synap_integrations.llamaindex import attach
        from synap_integrations.testing import FakeMemory
        sink = FakeMemory()
        attach(sink)
        engine = simple(ScriptedLLM("fine"), ChatMemoryBuffer.from_defaults())
        engine.chat("parent")
        child = os.fork()
        if not child:
            sink.recorded.clear()
            engine.chat("child")
            print(transcript(sink), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print(transcript(sink))
    """)
    equipment = os.path.join(os.path.dirname(os.path.dirname(__file__)), "equipment")  # noqa: PTH118, PTH120 - short
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, equipment], check=True, capture_output=True, text=True
    )
    assert out.stdout.splitlines() == ["['U child', 'A fine']", "['U parent', 'A fine']"]


@pytest.mark.parametrize(("version", "supported"), [("0.12.51", False), ("0.12.52", True), ("0.15.0", False)])
def test_a_version_nobody_has_tried_is_refused(version, supported):
    """An unsupported version is refused with a sentence that names the versions that work."""
    if supported:
        refuse_unsupported("llamaindex", version)
        return
    with pytest.raises(InvalidInputError, match=f"llama-index-core {version} is not supported: install"):
        refuse_unsupported("llamaindex", version)


@pytest.mark.parametrize("stream", [False, True])
def test_the_probe_is_one_turn(stream, attached):
    """The scripted turn that ``synap doctor`` runs is one question, one tool, one answer, for whom it was said."""
    assert run_one_turn(stream=stream, conversation_id="c1", user_id="ana") == ANSWER
    assert [row[0] for row in transcript(attached, "c1")] == ["U", "C", "T", "A"]
    with pytest.raises(ConnectionError):
        run_one_turn(stream=stream, fail=True, conversation_id="c2")
    assert transcript(attached, "c2") == [f"U {QUESTION}"]


def test_zero_code_gives_way_to_a_handler_made_by_hand(attached, sink):
    """With both, the handler records, whichever came last, in every thread."""
    mine = FakeMemory()
    handler = SynapCallbackHandler(mine, user_id="ana")
    again = attach(sink)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: simple(ScriptedLLM("fine"), plain_memory()).chat("q")).result()
    handler.detach()
    again()
    assert transcript(mine) == TURN
    assert {entry.scope.user_id for entry in mine.recorded} == {"ana"}
    assert attached.recorded == []
