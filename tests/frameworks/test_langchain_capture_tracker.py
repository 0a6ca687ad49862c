"""What the tracker promises beside transcripts: one story however often it is reported, bounded, never in the way."""

import logging
import pickle
import subprocess
import sys
import threading

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_models import add, calculator, echo, pairs, run, transcript
from langgraph_agents import every_mode, make_agent, needs

import synap_integrations
from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import incidents, quiet
from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.langchain.attach import attach
from synap_integrations.langchain.capture import runs as bounds
from synap_integrations.langchain.capture.conversations import Conversations
from synap_integrations.langchain.capture.nested_users import Turn
from synap_integrations.langchain.capture.runs import Runs, Tombstones
from synap_integrations.langchain.capture.tools import ToolCallIndex
from synap_integrations.langchain.capture.tracker import TRACKER, RunTracker, captured_scope
from synap_integrations.langchain.options import Options, Start
from synap_integrations.langchain.probe import ANSWER, QUESTION, run_one_turn
from synap_integrations.model import Scope
from synap_integrations.supported import refuse_unsupported
from synap_integrations.testing import FakeMemory

pytestmark = pytest.mark.usefixtures("no_incidents")
CHAIN = ChatPromptTemplate.from_messages([("human", "{question}")]) | echo() | StrOutputParser()
TURN = ["U hi", "A re: hi"]


@pytest.fixture
def config(memory):
    """A config with the handler and one conversation."""
    return {"callbacks": [SynapCallbackHandler(memory)], "metadata": {"conversation_id": "c", "user_id": "u"}}


@pytest.fixture
def attached(memory):
    """Everything that runs is recorded."""
    detach = attach(memory)
    yield memory
    detach()


# --- one story -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s26_a_history_that_keeps_messages_is_no_second_writer(mode, memory):
    """A history class of the application writes its own messages; the transcript stays two pairs."""
    kept: list[str] = []

    class Keeping(InMemoryChatMessageHistory):
        def add_messages(self, messages):
            kept.extend(str(message.content) for message in messages)
            super().add_messages(messages)

    store: dict[str, BaseChatMessageHistory] = {}
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])
    chain = RunnableWithMessageHistory(
        prompt | echo(),
        lambda session_id: store.setdefault(session_id, Keeping()),
        input_messages_key="question",
        history_messages_key="history",
    )
    config = {"callbacks": [SynapCallbackHandler(memory)], "configurable": {"session_id": "s"}}
    for text in ("one", "two"):
        run(mode, chain, {"question": text}, config)
    assert kept == ["one", "re: one", "two", "re: two"]
    assert transcript(memory, "s") == ["U one", "A re: one", "U two", "A re: two"]


@every_mode
@pytest.mark.parametrize("named", [True, False], ids=["own conversation", "no names at all"])
def test_s72_a_handler_on_the_model_wins_over_the_attached_one(named, mode, attached):
    """Where both report a turn, it is told once, to the application's own handler and under its names."""
    own = FakeMemory()
    handler = SynapCallbackHandler(own, conversation_id="mine" if named else None)
    model = echo()
    model.callbacks = [handler]
    run(mode, ChatPromptTemplate.from_messages([("human", "{question}")]) | model, {"question": "hi"})
    assert transcript(own, "mine" if named else None) == TURN
    assert attached.recorded == []


@pytest.fixture
def traced():
    """LangSmith's tracing is on, with a client on loopback that samples nothing and so sends nothing."""
    from langsmith import Client  # noqa: PLC0415 - used here only
    from langsmith.run_helpers import tracing_context  # noqa: PLC0415 - used here only

    client = Client(api_url="http://127.0.0.1:9", api_key="none", tracing_sampling_rate=0.0, auto_batch_tracing=False)
    with tracing_context(enabled=True, client=client):
        yield


@every_mode
def test_s73_a_tracer_around_the_application_changes_nothing(mode, memory, config, traced):
    """A root with a parent that nobody reported is a root."""
    from langsmith import traceable  # noqa: PLC0415 - used here only

    traceable(lambda: run(mode, CHAIN, {"question": "hi"}, config))()
    traceable(lambda: run(mode, make_agent(calculator(), [add]), {"messages": [("user", "1+2?")]}, config))()
    assert transcript(memory) == [
        *TURN,
        "U 1+2?",
        "T Let me add.",
        'C add({"a": 1, "b": 2})',
        "R add=3",
        "A sum is 3",
    ]


@needs("create_agent")
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s73_a_tracer_and_a_middleware_change_nothing(mode, memory, config, traced):
    """With tracing on, models and tools under a wrapping middleware have parents nobody reported."""
    from langchain.agents.middleware import AgentMiddleware  # noqa: PLC0415 - only in newer versions

    class Wraps(AgentMiddleware):
        def wrap_model_call(self, request, handler):
            return handler(request)

        async def awrap_model_call(self, request, handler):
            return await handler(request)

        def wrap_tool_call(self, request, handler):
            return handler(request)

        async def awrap_tool_call(self, request, handler):
            return await handler(request)

    agent = make_agent(calculator(), [add], middleware=[Wraps()])
    run(mode, agent, {"messages": [("user", "1+2?")]}, config)
    assert transcript(memory)[0] == "U 1+2?"
    assert transcript(memory)[-1] == "A sum is 3"
    assert pairs(memory) == [("C", "call-1"), ("R", "call-1")]
    assert len(memory.recorded) == 5


def test_a_run_can_be_a_turn_of_its_own(memory, config):
    """``synap_root`` makes a conversation inside another one a conversation."""
    inner = {"callbacks": config["callbacks"], "metadata": {"synap_root": True, "conversation_id": "inner"}}
    outer = RunnableLambda(lambda text: CHAIN.invoke({"question": "inside"}, inner) and "done")
    outer.invoke("hi", config)
    assert transcript(memory, "c") == ["U hi", "A done"]
    assert transcript(memory, "inner") == ["U inside", "A re: inside"]


def test_a_part_of_a_run_can_be_kept_out(memory, config):
    """A model that is called with capture off is no part of the story."""
    off = {"metadata": {"synap": "off"}}
    chain = RunnableLambda(lambda text: add.invoke({"a": 1, "b": 1}, off) and "done")
    chain.invoke("hi", config)
    assert transcript(memory) == ["U hi", "A done"]


def test_our_own_delivery_is_not_captured(memory, config):
    """What runs while capture is quiet is not recorded, nor are its parts."""
    with quiet():
        CHAIN.invoke({"question": "hi"}, config)
    assert memory.recorded == []


def test_code_inside_a_run_knows_the_turn_it_is_part_of(memory):
    """Injection asks for the scope of the turn; the user's words are recorded by then."""
    seen = []

    def look(text):
        seen.append((captured_scope(), list(transcript(memory))))
        return "done"

    RunnableLambda(look).invoke("hi", {"callbacks": [SynapCallbackHandler(memory)], "configurable": {"thread_id": "t"}})
    assert captured_scope() is None
    assert seen == [(Scope("t"), ["U hi"])]


# --- attachment ------------------------------------------------------------------------------------------------------


def test_attaching_again_changes_nothing_and_another_memory_takes_over(memory):
    """One attachment at a time, until all have let go of it; each letting-go is for its own."""
    other = FakeMemory()
    first, again = attach(memory), attach(memory)
    again()
    again()
    run_one_turn()
    recorded = len(memory.turns)
    assert [type(event).__name__ for event in memory.turns] == ["UserMessage", "AssistantMessage"]
    second = attach(other)
    first()
    run_one_turn()
    second()
    run_one_turn()
    assert len(memory.turns) == recorded
    assert [type(event).__name__ for event in other.turns] == ["UserMessage", "AssistantMessage"]


@pytest.mark.parametrize("stream", [False, True])
def test_the_probe_is_one_turn(stream, attached):
    """The scripted turn gives a question, a call, a result and an answer, streamed or not."""
    assert run_one_turn(stream=stream, conversation_id="c", user_id="u") == ANSWER
    assert transcript(attached, "c") == [
        f"U {QUESTION}",
        'C flights({"query": "my flight"})',
        "R flights=LIS 09:40 (my flight)",
        f"A {ANSWER}",
    ]


@pytest.mark.parametrize(("version", "fine"), [("0.3.86", True), ("1.7.2", True), ("0.3.85", False), ("2.0.0", False)])
def test_versions_that_are_not_supported_are_refused(version, fine):
    """The message names the version and the remedy."""
    if fine:
        refuse_unsupported("langchain", version)
    else:
        with pytest.raises(InvalidInputError, match=rf"{version}.*install langchain-core"):
            refuse_unsupported("langchain", version)


def test_a_pickled_handler_lives_on_in_another_process(tmp_path):
    """There it has the same options and the memory of that process."""
    path = tmp_path / "handler"
    path.write_bytes(pickle.dumps(SynapCallbackHandler(FakeMemory(), user_id="u", nested_tools=True)))
    code = (
        "import pickle, sys; h = pickle.loads(open(sys.argv[1], 'rb').read()); "
        "print(h.options.scope.user_id, h.options.nested_tools, h.options.synap)"
    )
    out = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    assert out.stdout.split() == ["u", "True", "None"]


@needs("lifecycle callbacks")
def test_a_handler_is_told_about_interrupts_without_requiring_langgraph():
    """Once LangGraph is there the handler counts as one of its lifecycle handlers, whenever it was made."""
    code = (
        "import sys; from synap_integrations.langchain import SynapCallbackHandler; h = SynapCallbackHandler(); "
        "assert 'langgraph' not in sys.modules; from langgraph.callbacks import GraphCallbackHandler; "
        "print(isinstance(h, GraphCallbackHandler), isinstance(h, SynapCallbackHandler))"
    )
    out = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.split() == ["True", "True"]


@pytest.mark.parametrize(
    "wrong", [{"synap": object()}, {"narration": "loud"}, {"user_id": ""}, {"conversation_id": 7}], ids=" ".join
)
def test_a_handler_that_cannot_work_is_refused_when_it_is_made(wrong):
    """The constructor says what is wrong; no hook ever does."""
    with pytest.raises(InvalidInputError):
        SynapCallbackHandler(**wrong)


# --- bounds ----------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self):
        return self.now


def started(number, parent=None):
    """What a start hook is told."""
    return Start(number, parent, None, {"conversation_id": "c", "user_id": "u"}, "tool")


def test_s62_a_run_that_never_ends_is_given_up(memory):
    """After the idle time the record of a cancelled call disappears, with its streamed text as incomplete answer."""
    clock = Clock()
    tracker = RunTracker(clock)
    tracker.model_started(Options(memory), started(1), [HumanMessage("hi")])
    tracker.token(1, "re:")
    clock.now = bounds.IDLE_S + 1
    tracker.chain_started(Options(memory), started(2), "next")
    assert transcript(memory) == ["U hi", "A! re:", "U next"]
    tracker.model_ended(1, None)
    assert transcript(memory) == ["U hi", "A! re:", "U next"]


def test_s80_tables_stay_within_their_bounds(memory):
    """Runs, runs of one root, tombstones, conversations and calls are all capped."""
    runs = Runs(max_runs=100)
    for number in range(300):
        runs.open_root(number, "chain", Options(memory))
        if (old := runs.abandoned()) is not None:
            runs.close(old)
    assert len(runs) <= 101
    root = runs.open_root(1_000, "chain", Options(memory))
    for number in range(bounds.MAX_RUNS_OF_ROOT + 50):
        runs.open_child(2_000 + number, "chain", root)
    assert len(root.root.runs) == bounds.MAX_RUNS_OF_ROOT
    assert runs.get(1_000) is root
    tombstones = Tombstones(limit=10)
    for number in range(100):
        tombstones.add(Turn(), number)
    assert len(tombstones) <= 10
    assert tombstones.turn_of(99) == Turn()
    conversations = Conversations(limit=5)
    for number in range(50):
        conversations.of(Scope(str(number)), memory)
    assert len(conversations) == 5
    book = ToolCallIndex()
    for number in range(1_000):
        book.declare(str(number), "tool", {})
    assert len(book.open) == 256


def test_s80_turns_leave_nothing_behind(memory, config):
    """After many turns the shared tracker knows no runs any more."""
    before = len(TRACKER._runs)
    for _ in range(200):
        CHAIN.invoke({"question": "hi"}, config)
    assert len(TRACKER._runs) == before


def test_events_of_a_turn_keep_their_order_while_a_record_is_slow():
    """When a hook returns, what it told is recorded, in order, also if another thread is recording."""
    entered, release = threading.Event(), threading.Event()

    class Slow(FakeMemory):
        def record(self, event, *, scope):
            if not self.recorded:
                entered.set()
                release.wait(5)
            super().record(event, scope=scope)

    memory = Slow()
    tracker = RunTracker()
    options = Options(memory)
    first = threading.Thread(target=tracker.chain_started, args=(options, started(1), "hi"))
    first.start()
    assert entered.wait(5)
    second = threading.Thread(target=tracker.tool_started, args=(options, started(2, 1), {"x": 1}, "call-1"))
    second.start()
    # Another conversation is not held up.
    other = FakeMemory()
    tracker.chain_started(Options(other), started(3), "elsewhere")
    assert transcript(other) == ["U elsewhere"]
    assert transcript(memory) == []
    release.set()
    first.join(5)
    second.join(5)
    assert transcript(memory) == ["U hi", 'C tool({"x": 1})']


def test_a_memory_that_explodes_is_counted_and_the_rest_goes_on(config):
    """A fault of the memory's neither reaches the chain nor stops the next event."""

    class Exploding(FakeMemory):
        def record(self, event, *, scope):
            super().record(event, scope=scope)
            raise RuntimeError("no")

    memory = Exploding()
    config["callbacks"] = [SynapCallbackHandler(memory)]
    assert CHAIN.invoke({"question": "hi"}, config) == "re: hi"
    assert transcript(memory) == TURN
    assert incidents.counts() == {"callbacks: RuntimeError": 2}
    incidents.clear()


def test_one_warning_for_runs_that_name_nobody(caplog):
    """Each such run is a conversation of its own; the log says so once."""
    tracker, memory = RunTracker(), FakeMemory()
    with caplog.at_level(logging.WARNING, logger="synap_integrations"):
        for number in (1, 2, 3):
            tracker.model_started(Options(memory), Start(number, None, None, None, None), [HumanMessage("hi")])
    assert len({entry.scope.conversation_id for entry in memory.recorded}) == 3
    assert len(caplog.records) == 1


def test_the_handler_takes_the_ambient_identity_before_metadata(memory, config):
    """Arguments go first, then ``with context(…)``, then what the run carries."""
    with synap_integrations.context(user_id="ambient"):
        CHAIN.invoke({"question": "hi"}, config)
    assert {entry.scope for entry in memory.recorded} == {Scope("c", "ambient")}
    assert issubclass(SynapCallbackHandler, BaseCallbackHandler)
