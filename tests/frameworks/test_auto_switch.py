"""``enable()`` and ``disable()``: the same as `synap run`, from one line of code."""

import asyncio
import contextvars
import subprocess
import sys

import pytest
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel, SimpleChatModel
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import context as tracing
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer
from llama_index_instrumentation import get_dispatcher
from llamaindex_models import ScriptedLLM

import synap_integrations
from synap_integrations import InvalidInputError, Scope, disable, enable
from synap_integrations.guard import incidents
from synap_integrations.langchain import SynapCallbackHandler, with_synap_memory
from synap_integrations.llamaindex import SynapMemory
from synap_integrations.model import Context, ContextItem, ContextUsed, Receipt
from synap_integrations.overlay import family
from synap_integrations.runtime import recent_attributions
from synap_integrations.testing import FakeMemory

MARK = "[synap-context "
KNOWN = Context(
    (ContextItem("i-1", "facts", text="Lisbon, in May", score=0.9),), receipt=Receipt("?", bundle_ids=("b-1",))
)


class Seeing(SimpleChatModel):
    """Keeps what it is shown."""

    seen: list = []  # noqa: RUF012 - pydantic copies it for each instance

    @property
    def _llm_type(self):
        return "seeing"

    def _call(self, messages, stop=None, run_manager=None, **kwargs):
        self.seen.append([message.text if isinstance(message.text, str) else message.text() for message in messages])
        return "answer"


@pytest.fixture(autouse=True)
def off_afterwards(strict_guard):
    """Every test leaves the process as it found it, and no fault is contained in silence."""
    yield
    disable()


def said(memory: FakeMemory) -> list[str]:
    """The words of all turns."""
    return [turn.content for turn in memory.turns]


def engine_of(llm: ScriptedLLM) -> SimpleChatEngine:
    """A chat engine with a memory of LlamaIndex's own."""
    return SimpleChatEngine.from_defaults(llm=llm, memory=ChatMemoryBuffer.from_defaults(llm=llm))


def config(**metadata: str):
    """A call's config."""
    return {"metadata": metadata}


def test_one_line_captures_both_frameworks() -> None:
    """Whatever was imported before: chains and engines are recorded, each turn once."""
    memory = FakeMemory()
    enable(memory)
    FakeListChatModel(responses=["b"]).invoke("a", config=config(thread_id="c-1", user_id="ana"))
    engine_of(ScriptedLLM("d")).chat("c")
    assert said(memory) == ["a", "b", "c", "d"]
    assert memory.recorded[0].scope == Scope("c-1", "ana")


def test_disabled_leaves_everything_as_it_was_found() -> None:
    """Registries, classes, import machinery: nothing of ours is left, also after several rounds."""

    def found() -> tuple[object, ...]:
        root = get_dispatcher()
        models = {cls: dict(vars(cls)) for base in (BaseChatModel, BaseLLM) for cls in family(base)}
        return list(tracing._configure_hooks), root.span_handlers[:], list(sys.meta_path), models

    before = found()
    for _ in range(3):
        enable(FakeMemory(), inject=True)
        assert found() != before
        disable()
        disable()
        after = found()
        assert after[:3] == before[:3]
        for cls, attributes in before[3].items():
            mine = (
                "_stream",
                "_astream",
                "_generate_with_cache",
                "_agenerate_with_cache",
                "chat",
                "achat",
                "astream_chat",
            )
            assert {name: after[3][cls].get(name) for name in mine} == {name: attributes.get(name) for name in mine}


def test_as_a_context_manager_it_ends_with_the_block_and_restores_what_was_before() -> None:
    """Blocks nest: the inner one's memory counts inside, the outer one's before and after."""
    outer, inner = FakeMemory(), FakeMemory()
    model = FakeListChatModel(responses=["ok"])
    with enable(outer):
        model.invoke("one")
        with enable(inner):
            model.invoke("two")
        model.invoke("three")
    model.invoke("four")
    assert said(outer) == ["one", "ok", "three", "ok"]
    assert said(inner) == ["two", "ok"]


def test_twice_is_once() -> None:
    """Enabled twice, and with handlers of the application's own: every turn once, on the application's terms."""
    memory, own = FakeMemory(), FakeMemory()
    enable(memory)
    enable(memory)
    model = FakeListChatModel(responses=["ok"])
    model.invoke("one")
    model.invoke("two", config={"callbacks": [SynapCallbackHandler(own, user_id="ben")]})
    FakeListChatModel(responses=["ok"], callbacks=[SynapCallbackHandler(own, user_id="ben")]).invoke("three")
    assert said(memory) == ["one", "ok"]
    assert said(own) == ["two", "ok", "three", "ok"]


def test_a_model_class_that_cannot_be_covered_is_the_applications_all_the_same(monkeypatch) -> None:
    """A class made later, whose methods tell no signature, is made as ever, works, and counts as one incident."""
    enable(FakeMemory(KNOWN), inject=True)
    monkeypatch.setattr(incidents, "strict", False)
    incidents.clear()

    class Untold(Seeing):
        _stream = staticmethod(max)  # compiled, and without a signature

    assert incidents.counts() == {"attach: ValueError": 1}
    incidents.clear()
    model = Untold()
    model.invoke("When did I move?")
    assert MARK in str(model.seen)


def test_capture_off_wins(monkeypatch) -> None:
    """With ``SYNAP_CAPTURE=0`` nothing is attached; switched off later, nothing is recorded or shown any more."""
    monkeypatch.setenv("SYNAP_CAPTURE", "0")
    memory, model = FakeMemory(KNOWN), Seeing()
    with enable(memory, inject=True):
        assert not [hook for hook in tracing._configure_hooks if hook[0].name == "synap_langchain"]
        model.invoke("one")
    monkeypatch.setenv("SYNAP_CAPTURE", "1")
    enable(memory, inject=True)
    monkeypatch.setenv("SYNAP_CAPTURE", "0")
    model.invoke("two")
    assert MARK not in str(model.seen)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"synap": object()}, "synap must have record"),
        ({"identify": "nothing"}, "nor of the form module:function"),
        ({"identify": 7}, "identify must be a function"),
    ],
    ids=["memory", "name", "number"],
)
def test_what_cannot_be_used_is_refused(arguments, named) -> None:
    """In code, a wrong argument is an error that says what is right, and nothing is attached."""
    with pytest.raises(InvalidInputError, match=named):
        enable(**arguments)
    assert not [hook for hook in tracing._configure_hooks if hook[0].name == "synap_langchain"]


# --- context ---------------------------------------------------------------------------------------------------------

WAYS = {
    "invoke": lambda model, asked, told: model.invoke(asked, told),
    "ainvoke": lambda model, asked, told: asyncio.run(model.ainvoke(asked, told)),
    "stream": lambda model, asked, told: list(model.stream(asked, told)),
    "astream": lambda model, asked, told: asyncio.run(all_of(model.astream(asked, told))),
    "batch": lambda model, asked, told: model.batch([asked], told),
    "in a chain": lambda model, asked, told: list((RunnableLambda(lambda x: x) | model).stream(asked, told)),
}


async def all_of(stream):
    """Everything that is streamed."""
    return [chunk async for chunk in stream]


class Streaming(GenericFakeChatModel):
    """A model with a stream of its own, that keeps what it is shown."""

    seen: list = []  # noqa: RUF012 - pydantic copies it for each instance

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.seen.append([message.content for message in messages])
        return super()._generate(messages, stop=stop, run_manager=run_manager, **kwargs)


def streaming() -> Streaming:
    """One that has four answers."""
    return Streaming(messages=iter([AIMessage("an answer")] * 4))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [Seeing, streaming], ids=["whole", "streaming"])
def test_every_call_of_a_chat_model_is_shown_context_once(make, way) -> None:
    """The block stands beside the user's words, the application's messages stay what they are, handlers see none."""
    memory, model, asked = FakeMemory(KNOWN), make(), [HumanMessage("When did I move?")]
    enable(memory, inject=True)
    WAYS[way](model, asked, config(user_id="ana", thread_id="c-1"))
    (shown,) = model.seen
    assert shown[0].startswith("When did I move?\n")
    assert shown[0].count(MARK) == 1
    assert asked == [HumanMessage("When did I move?")]
    assert said(memory)[0] == "When did I move?"
    assert MARK not in "".join(said(memory))
    assert [type(event) for event in memory.events].count(ContextUsed) == 1
    assert memory.recalled == [("When did I move?", Scope("c-1", "ana"))] or way in ("stream", "astream")


def test_models_that_are_made_later_are_shown_context_too() -> None:
    """A class defined after start-up, with a stream of its own."""
    memory = FakeMemory(KNOWN)
    enable(memory, inject=True)

    class Later(Streaming):
        def _stream(self, messages, stop=None, run_manager=None, **kwargs):
            yield from super()._stream(messages, stop=stop, run_manager=run_manager, **kwargs)

    model = Later(messages=iter([AIMessage("an answer")]))
    list(model.stream("When?"))
    assert str(model.seen).count(MARK) == 1
    assert len(memory.recalled) >= 1


def test_a_model_that_was_given_memory_is_its_own_business() -> None:
    """``with_synap_memory`` goes first: shown once, from its own memory, also where that knows nothing."""
    zero, own = FakeMemory(KNOWN), FakeMemory()
    enable(zero, inject=True)
    for call in (lambda model: model.invoke("one"), lambda model: list(model.stream("two"))):
        model = streaming()
        call(with_synap_memory(model, own, user_id="ben"))
        assert MARK not in str(model.seen)
    assert zero.recalled == []
    assert {scope.user_id for _, scope in own.recalled} == {"ben"}


@pytest.mark.parametrize("known", [KNOWN, Context()], ids=["which knows", "which knows nothing"])
def test_an_agent_with_middleware_of_ours_goes_first(known) -> None:
    """``SynapMiddleware`` sees to its own context: at most one block, and nobody else is asked."""
    agents = pytest.importorskip("langchain.agents")
    if not hasattr(agents, "create_agent"):
        pytest.skip("create_agent came with langchain 1.0")
    from synap_integrations.langchain import SynapMiddleware  # noqa: PLC0415 - needs langchain 1.0

    zero, own, model = FakeMemory(KNOWN), FakeMemory(known), Seeing()
    enable(zero, inject=True)
    agent = agents.create_agent(model, [], middleware=[SynapMiddleware(own, user_id="ben")])
    agent.invoke({"messages": "When?"}, config(thread_id="c-1"))
    assert str(model.seen).count(MARK) == bool(known.items)
    assert zero.recalled == []
    assert [turn.content for turn in (*zero.turns, *own.turns)] == ["When?", "answer"]


def test_internal_calls_are_left_alone() -> None:
    """Summaries, titles and what is marked as not for the user get no context."""
    memory, model = FakeMemory(KNOWN), Seeing()
    enable(memory, inject=True)
    model.invoke("Summarize", config={"metadata": {"lc_source": "summarization"}})
    model.invoke("Select", config={"tags": ["nostream"]})
    assert MARK not in str(model.seen)


def test_an_engine_of_llamaindex_is_shown_context_once_per_turn() -> None:
    """In every call of the turn, beside the user's words; memory and transcript hold none of it."""
    memory, llm = FakeMemory(KNOWN), ScriptedLLM("first", "second")
    enable(memory, inject=True)
    engine = engine_of(llm)
    engine.chat("When did I move?")
    asyncio.run(engine.achat("And where?"))
    assert [str(call).count(MARK) for call in llm.asked] == [1, 1]
    assert MARK in str(llm.asked[1][-1])
    assert MARK not in str(engine.chat_history)
    assert said(memory) == ["When did I move?", "first", "And where?", "second"]


def test_a_memory_of_ours_in_an_engine_goes_first() -> None:
    """``SynapMemory`` sees to its own context; nothing is shown twice."""
    zero, own, llm = FakeMemory(KNOWN), FakeMemory(KNOWN), ScriptedLLM("first")
    enable(zero, inject=True)
    SimpleChatEngine.from_defaults(llm=llm, memory=SynapMemory(own, user_id="ben")).chat("When?")
    assert str(llm.asked).count(MARK) == 1
    assert zero.recalled == []


def test_a_budget_of_its_own(monkeypatch) -> None:
    """``SYNAP_INJECT_MAX_TOKENS``: the best that fits, in the order in which it came."""
    monkeypatch.setenv("SYNAP_INJECT_MAX_TOKENS", "40")
    items = [
        ContextItem(f"i-{n}", "facts", text=f"fact {n} " + "x" * 60, score=score)
        for n, score in enumerate((0.1, 0.9, 0.8))
    ]
    memory, model = FakeMemory(Context(tuple(items))), Seeing()
    enable(memory, inject=True)
    model.invoke("What?")
    assert [f"fact {n}" in str(model.seen) for n in range(3)] == [False, True, False]


CHANGED = """
from langchain_core.language_models import FakeListChatModel, chat_models
{change}
import synap_integrations
synap_integrations.enable(inject=True)
print(FakeListChatModel(responses=["ok"]).invoke("hello").content)
synap_integrations.flush()
print(synap_integrations.status().delivered)
"""
CHANGES = {
    "gone": "del chat_models.BaseChatModel._agenerate_with_cache",
    "not called": "chat_models.BaseChatModel.stream = lambda self, *a, **k: iter(())",
    "does nothing": (
        "inner = chat_models.BaseChatModel._generate\n"
        "chat_models.BaseChatModel._generate_with_cache = lambda self, messages, stop=None, run_manager=None, **k:"
        " type(self)._generate(self, [type(messages[0])('other')], stop=stop, run_manager=run_manager, **k)"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_langchain_that_changed_keeps_its_prompts(change: str) -> None:
    """What would be laid over is looked for and tried; if it is not what it was, one line says so; capture goes on."""
    code = CHANGED.format(change=CHANGES[change])
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines() == ["ok", "2"]
    (line,) = [line for line in ran.stderr.splitlines() if "prompts" in line]
    assert line.startswith("synap: no context in the prompts of langchain: InvalidInputError: langchain-core ")


# --- who is talking --------------------------------------------------------------------------------------------------


def test_a_function_says_who_is_talking_where_nobody_else_does(monkeypatch) -> None:
    """Field by field: the framework's ids first, then the function's, then the environment's."""
    monkeypatch.setenv("SYNAP_CUSTOMER_ID", "acme")
    monkeypatch.setenv("SYNAP_USER_ID", "env")
    memory = FakeMemory()
    enable(memory, identify=lambda: {"user_id": "ana", "conversation_id": "f-1", "unknown": 1})
    model = FakeListChatModel(responses=["ok"])
    model.invoke("one")
    model.invoke("two", config=config(thread_id="c-2"))
    engine_of(ScriptedLLM("ok")).chat("three")
    scopes = [entry.scope for entry in memory.recorded[::2]]
    assert [scope.conversation_id for scope in scopes][:2] == ["f-1", "c-2"]
    assert {(scope.user_id, scope.customer_id) for scope in scopes} == {("ana", "acme")}
    disable()
    assert synap_integrations.scoping.identified() == Scope()


def test_it_is_known_where_the_identity_of_each_turn_came_from(monkeypatch) -> None:
    """For user and conversation apart: the block around it, the run, the function, the environment, or nobody."""
    monkeypatch.setenv("SYNAP_CONVERSATION_ID", "env-1")
    model = FakeListChatModel(responses=["ok"])
    with synap_integrations.Synap(storage_path=":memory:") as synap:
        with enable(synap, identify=lambda: {"user_id": "ana"}):
            model.invoke("one")
            model.invoke("two", config=config(user_id="ben", thread_id="c-2"))
            with synap_integrations.context(user_id="cleo"):
                model.invoke("three")
        monkeypatch.delenv("SYNAP_CONVERSATION_ID")
        with enable(synap):
            model.invoke("four", config=config(thread_id="c-4"))
    assert [tuple(one) for one in recent_attributions()[-4:]] == [
        ("env-1", "identify", "environment"),
        ("c-2", "run", "run"),
        ("env-1", "context", "environment"),
        ("c-4", "nobody", "run"),
    ]


@pytest.mark.parametrize("identify", ["no_such_module:who", "os:no_such_function", "os:abort_not"], ids=str)
def test_a_function_that_fails_costs_one_line(identify: str, capsys, strict_guard) -> None:
    """The turn is recorded all the same, and the line comes once."""
    strict_guard.strict = False
    memory = FakeMemory()
    enable(memory, identify=identify)
    for words in ("one", "two"):
        FakeListChatModel(responses=["ok"]).invoke(words)
    assert said(memory) == ["one", "ok", "two", "ok"]
    assert capsys.readouterr().err == f"synap: nobody is identified by {identify}: it cannot be imported, or raises\n"


def test_threads_and_contexts_of_any_kind_are_captured() -> None:
    """An empty context, as a bare thread has it, is no hiding place."""
    memory = FakeMemory()
    enable(memory)
    contextvars.Context().run(FakeListChatModel(responses=["ok"]).invoke, "alone")
    assert said(memory) == ["alone", "ok"]
