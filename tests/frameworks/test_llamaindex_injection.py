"""Context in the prompts of LlamaIndex's engines and agents: in the turn's own user message, and nowhere else."""

import asyncio

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.agent.workflow import AgentWorkflow, CodeActAgent, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.memory import ChatMemoryBuffer
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import CONDENSING, ENGINES, ask, condense_question, context, known, settled, simple, transcript

from synap_integrations.context.render import has_context
from synap_integrations.guard import incidents
from synap_integrations.llamaindex import SynapMemory, SynapMemoryBlock, injection
from synap_integrations.model import ContextUsed
from synap_integrations.testing import FakeMemory

pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]
TEA = "Ana likes {query_str} and {context_str} tea"
every_engine = pytest.mark.parametrize("name", ENGINES)


@pytest.fixture
def sink():
    return FakeMemory(known(TEA))


@pytest.fixture
def memory(sink):
    return SynapMemory(sink, user_id="ana", conversation_id="c1")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def marked(prompt):
    """The messages of a prompt that carry a context block: (index, role)."""
    return [(at, role) for at, (role, text) in enumerate(prompt) if has_context(text or "")]


def bare(prompt):
    """A prompt without context blocks."""
    return [(role, injection.translate.text_of(text)) for role, text in prompt]


async def test_s56_s57_the_first_call_of_an_agent(sink, memory):
    """The first call already has the context; a later one of the turn begins with the very same messages."""
    wish = Say("", calls=[("c", "add", {"a": 1, "b": 1})])
    llm = ScriptedLLM(wish, "two", "next")
    agent = FunctionAgent(llm=llm, tools=[add])
    run = agent.run("1+1?", memory=memory)
    await asyncio.sleep(0)
    await run
    sink.context = known("something else")
    await agent.run("and?", memory=memory)
    first, second, third = llm.asked
    assert bare(first) == [("user", "1+1?")]
    assert marked(first) == [(0, "user")]
    assert first[0][1].index("[synap-context") == 0
    assert "\n\n" in first[0][1].partition("[/synap-context")[2]
    assert second[: len(first)] == first
    assert marked(third) == [(len(third) - 1, "user")]
    assert "something else" in third[-1][1]


async def test_s56_with_a_system_prompt(memory):
    """System prompt and history are what they are with a memory of LlamaIndex's own; only the new message has more."""
    prompts = []
    for used in (memory, ChatMemoryBuffer.from_defaults()):
        agent = FunctionAgent(llm=(llm := ScriptedLLM("old a", "fine")), tools=[add], system_prompt="SYS")
        await agent.run("old q", memory=used)
        await agent.run("q", memory=used)
        prompts.append(llm.asked[1])
    (*before, (role, last)), (*before_without, last_without) = prompts
    assert before == before_without
    assert before[0] == ("system", "SYS")
    assert (role, last.count("[synap-context "), last.rpartition("]")[2].strip()) == ("user", 1, "q")
    assert last_without == ("user", "q")


async def test_s57_the_context_of_a_turn_does_not_change(memory, sink):
    """What Synap learns during a turn is for the next one."""

    def learn() -> str:
        """Learn something."""
        sink.context = known("brand new")
        return "learned"

    llm = ScriptedLLM(Say("", calls=[("c", "learn", {})]), "done", "next")
    agent = FunctionAgent(llm=llm, tools=[learn])
    await agent.run("go", memory=memory)
    await agent.run("again", memory=memory)
    assert "brand new" not in str(llm.asked[1])
    assert "brand new" in llm.asked[2][-1][1]


@pytest.mark.parametrize("how", ["chat", "achat", "stream_chat", "astream_chat"])
@every_engine
async def test_s58_s59_s61_s65_every_engine(name, how, sink, memory):
    """The answering prompt holds the block once, in its last user message, literally; nothing of it is kept."""
    engine = ENGINES[name](llm := ScriptedLLM("fine answer"), memory)
    await ask(engine, how, "q1")
    assert len(llm.asked) == 1, "no extra call to condense a history that is empty"
    await ask(engine, how, "q2")
    assert settled()
    for prompt in llm.asked[:: 2 if name in CONDENSING else 1]:
        assert len(marked(prompt)) == 1
        at, role = marked(prompt)[0]
        assert (at, role) == (max(i for i, (who, _) in enumerate(prompt) if who == "user"), "user")
        assert TEA in prompt[at][1]
    assert not any(has_context(m.content or "") for m in engine.chat_history)
    assert not any(has_context(line) for line in transcript(sink))


def test_s59_condensing_with_a_history_that_was_handed_over(memory):
    """An engine that does not ask its memory gets the context all the same."""
    engine = condense_question(llm := ScriptedLLM("condensed", "answer"), memory)
    engine.chat("q", chat_history=[ChatMessage(content="old"), ChatMessage(role="assistant", content="a")])
    assert len(marked(llm.asked[-1])) == 1


@pytest.mark.parametrize("how", ["achat", "astream_chat", "chat", "stream_chat"])
async def test_s59_condensing_on_a_loop(how, sink, memory):
    """The same on an event loop, which is not blocked for it: each turn gets its own context, not the one before's."""
    engine = condense_question(llm := ScriptedLLM("condensed", "answer"), memory)
    history = [ChatMessage(content="old"), ChatMessage(role="assistant", content="a")]
    for fact in ("first fact", "second fact"):
        sink.context = known(fact)
        await ask(engine, how, "q", chat_history=list(history))
        assert settled()
        assert fact in llm.asked[-1][-1][1]
    assert "first fact" not in llm.asked[-1][-1][1]


class Pondering(FakeMemory):
    """A Synap that has to wait for its platform, and is asked without being waited for."""

    async def arecall(self, query, *, scope):
        await asyncio.sleep(0.05)
        return await super().arecall(query, scope=scope)


async def test_s59_what_is_not_there_at_once_is_left_out():
    """An engine that does not ask its memory is not kept waiting on a loop: it goes without."""
    memory = SynapMemory(Pondering(known(TEA)), user_id="ana")
    engine = condense_question(llm := ScriptedLLM("condensed", "answer"), memory)
    history = [ChatMessage(content="old"), ChatMessage(role="assistant", content="a")]
    assert (await engine.achat("q", chat_history=history)).response == "answer"
    assert [marked(prompt) for prompt in llm.asked] == [[], []]


class WithTuples(SimpleChatEngine):
    """An engine that calls its model with a tuple, in which no element can be replaced."""

    kept = ()

    def chat(self, message, chat_history=None):
        self._memory.put(ChatMessage(content=message))
        self.kept = tuple(self._memory.get())
        return AgentChatResponse(response=self._llm.chat(self.kept).message.content)


def test_s58_messages_in_a_tuple(memory):
    """The block is in the message for as long as the turn lasts; afterwards the message is what it was."""
    engine = WithTuples(llm := ScriptedLLM("fine"), memory, [])
    for at, text in enumerate(("q1", "q2")):
        engine.chat(text)
        assert marked(llm.asked[-1]) == [(at, "user")]
    assert [message.content for message in engine.kept] == ["q1", "q2"]
    assert [message.content for message in memory.get_all()] == ["q1", "q2"]


async def test_s60_react_and_code_act(memory):
    """Agents that drop system messages keep the block; it stays with the user's words when results come in."""
    react = ScriptedLLM('Thought: t\nAction: add\nAction Input: {"a": 2, "b": 3}', "Thought: t\nAnswer: 5")
    await ReActAgent(llm=react, tools=[add]).run("2+3?", memory=memory)
    code = ScriptedLLM("<execute>1</execute>", "done")
    await CodeActAgent(code_execute_fn=lambda code: "5", llm=code).run("run it", memory=memory)
    for prompts, words in ((react.asked, "2+3?"), (code.asked, "run it")):
        for prompt in prompts:
            [(at, role)] = marked(prompt)
            assert role == "user"
            assert prompt[at][1].endswith(words)


@every_engine
def test_s62_nothing_known_nothing_changed(name):
    """Without context the prompt is what it is without us."""
    with_us, without = ScriptedLLM("fine"), ScriptedLLM("fine")
    ENGINES[name](with_us, SynapMemory(FakeMemory(), user_id="ana")).chat("q")
    ENGINES[name](without, ChatMemoryBuffer.from_defaults()).chat("q")
    assert with_us.asked == without.asked


@pytest.mark.parametrize("kind", ["function", "react", "code", "workflow"])
async def test_s62_nothing_known_nothing_changed_for_agents(kind):
    """The same for every kind of agent, through a tool call and a second run."""
    answers = {
        "react": ['Thought: x\nAction: add\nAction Input: {"a": 2, "b": 3}', "Thought: done\nAnswer: five"],
        "code": ["<execute>\nprint(2 + 3)\n</execute>", "five"],
    }.get(kind, [Say("", calls=[("c1", "add", {"a": 2, "b": 3})]), "five"])
    asked = []
    for memory in (SynapMemory(FakeMemory(), user_id="ana"), ChatMemoryBuffer.from_defaults()):
        llm = ScriptedLLM(*answers, *answers)
        agent = {
            "function": lambda llm=llm: FunctionAgent(llm=llm, tools=[add]),
            "react": lambda llm=llm: ReActAgent(llm=llm, tools=[add]),
            "code": lambda llm=llm: CodeActAgent(llm=llm, code_execute_fn=lambda code: "5"),
            "workflow": lambda llm=llm: AgentWorkflow([FunctionAgent(name="a", llm=llm, tools=[add])]),
        }[kind]()
        for words in ("q1", "q2"):
            await agent.run(words, memory=memory)
        asked.append(llm.asked)
    assert len(asked[0]) == 4
    assert asked[0] == asked[1]


async def test_s64_one_recall_per_turn(sink, memory):
    """However often a turn asks its memory, Synap is asked once."""
    wish = Say("", calls=[("c", "add", {"a": 1, "b": 1})])
    agent = FunctionAgent(llm=ScriptedLLM(wish, wish, "done"), tools=[add])
    await agent.run("go", memory=memory)
    assert [query for query, _ in sink.recalled] == ["go"]


def test_s64_a_turn_that_asks_its_memory_five_times(sink, memory):
    """Five times ``get`` in one turn are one recall: the engine's own and four more cost nothing."""

    class Curious(SimpleChatEngine):
        """An engine that asks its memory again and again."""

        def chat(self, message, chat_history=None):
            for _ in range(4):
                self._memory.get(message)
            return super().chat(message, chat_history)

    Curious(ScriptedLLM("fine"), memory, []).chat("q")
    assert [query for query, _ in sink.recalled] == ["q"]


def test_the_context_that_was_shown_is_reported(sink, memory):
    """Once per turn it is recorded which items the model saw."""
    simple(ScriptedLLM("fine"), memory).chat("q")
    assert [e for e in sink.events if isinstance(e, ContextUsed)] == [ContextUsed((), ("m0",))]


@pytest.mark.parametrize("name", ["simple", "context", "condense_plus_context"])
def test_the_fallback_puts_it_into_the_memory(name, monkeypatch, memory):
    """Where a span handler cannot change a call, the memory hands out the block, and keeps none of it."""
    monkeypatch.setattr(injection, "by_reference", lambda: False)
    engine = ENGINES[name](llm := ScriptedLLM("fine"), memory)
    engine.chat("q")
    assert len(marked(llm.asked[-1])) == 1
    assert "Ana likes" in str(llm.asked[-1])
    assert not any(has_context(m.content or "") for m in engine.chat_history)


@pytest.mark.parametrize("name", ["simple", "context", "condense_plus_context"])
def test_a_model_that_completes_text(name, sink, memory):
    """A model that is called with text instead of messages is shown the context too, once."""
    engine = ENGINES[name](llm := ScriptedLLM("fine", chatting=False), memory)
    engine.chat("q")
    assert str(llm.asked[-1]).count("[synap-context ") == 1
    assert sum(isinstance(event, ContextUsed) for event in sink.events) == 1
    assert [m.content for m in engine.chat_history] == ["q", "fine"]


def test_the_mechanism_is_tried_at_attach():
    """LlamaIndex hands the very list of messages to its span handlers."""
    assert injection.by_reference()


def test_outside_of_engines_the_memory_hands_it_out(sink, memory):
    """Code of one's own that asks the memory for messages gets the block in the last user message."""
    memory.put(ChatMessage(content="q"))
    [message] = memory.get()
    assert has_context(message.content)
    assert message.content.endswith("q")
    [alone] = SynapMemory(sink, user_id="ben").get("anything")
    assert alone.role.value == "system"
    assert "{ query_str}" in alone.content


@pytest.mark.parametrize("known_of_ana", [True, False])
async def test_s66_a_block_in_a_memory_of_llamaindex(known_of_ana):
    """In LlamaIndex's own memory the block shows up once, in the user's message; with nothing known, not at all."""
    from llama_index.core.memory import Memory  # noqa: PLC0415 - only here

    sink = FakeMemory(known("Ana likes tea") if known_of_ana else None)
    memory = Memory.from_defaults(
        session_id="s1", memory_blocks=[SynapMemoryBlock(sink, user_id="ana")], insert_method="user"
    )
    agent = FunctionAgent(llm=(llm := ScriptedLLM("hello")), tools=[add])
    await agent.run("hi", memory=memory)
    assert str(llm.asked[0]).count("Ana likes tea") == (1 if known_of_ana else 0)
    assert {scope.conversation_id for _, scope in sink.recalled} == {"s1"}
    assert len(sink.recalled) == 1
    await memory.sql_store._async_engine.dispose()  # LlamaIndex leaves it to the garbage collector


class Broken(FakeMemory):
    """A Synap whose recall breaks down."""

    async def arecall(self, query, *, scope):
        raise OSError("down")


async def test_s66_a_block_never_raises():
    """A block whose Synap is down is an empty block, and the run that uses it is what it would be without."""
    from llama_index.core.memory import Memory  # noqa: PLC0415 - only here

    assert await SynapMemoryBlock(Broken(), user_id="ana").aget([ChatMessage(content="q")]) == ""
    memory = Memory.from_defaults(
        session_id="s1", memory_blocks=[SynapMemoryBlock(Broken(), user_id="ana")], insert_method="user"
    )
    agent = FunctionAgent(llm=(llm := ScriptedLLM("hello")), tools=[add])
    assert str(await agent.run("hi", memory=memory)) == "hello"
    assert llm.asked == [[("user", "hi")]]
    assert incidents.counts() == {"recall: OSError": incidents.counts()["recall: OSError"]}
    incidents.clear()
    await memory.sql_store._async_engine.dispose()  # LlamaIndex leaves it to the garbage collector


def test_s63_conversions_leave_the_history_alone(memory):
    """An adapter that edits the messages it converts does not edit the history."""

    class Editing(ScriptedLLM):
        """Marks its messages as cached, as some adapters do."""

        def _next(self, messages):
            for message in messages:
                message.additional_kwargs["cache_control"] = {"type": "ephemeral"}
            return super()._next(messages)

    engine = context(Editing("fine"), memory)
    engine.chat("q1")
    engine.chat("q2")
    assert [m.additional_kwargs for m in memory.get_all()] == [{}] * 4
