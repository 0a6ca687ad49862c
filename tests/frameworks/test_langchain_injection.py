"""Scenarios 84 to 89 for chains: context reaches the model beside the user's words, and nobody else ever."""

import asyncio
import copy
import pickle
import tracemalloc
import warnings
from importlib.metadata import version

import pytest
from injected import BUNDLE, KNOWN, blocks_in, knowing, spoken, text_of, used
from langchain_core.caches import InMemoryCache
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_models import MODES, AsyncModel, WholeModel, asking, call, run, transcript

import synap_integrations
from synap_integrations import InvalidInputError, Scope, Synap
from synap_integrations import langchain as synap_langchain
from synap_integrations.context.render import without_context
from synap_integrations.guard import incidents
from synap_integrations.langchain import SynapCallbackHandler, SynapMemory, synap_context, with_synap_memory
from synap_integrations.langchain.prompts.injection import Injector
from synap_integrations.model import Assembly, Context, ContextUsed, RecentTurn
from synap_integrations.ports import Answer, ReadConversation
from synap_integrations.testing import FakeMemory

pytestmark = pytest.mark.usefixtures("strict_guard")
MODELS = pytest.mark.parametrize("model", [WholeModel, AsyncModel], ids=["whole", "streamed"])


@pytest.fixture
def memory():
    return knowing()


def with_history(chain, factory, **keys):
    """LangChain's history wrapper, which its newest versions call deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RunnableWithMessageHistory(chain, factory, **keys)


# --- with_synap_memory -----------------------------------------------------------------------------------------------


@MODELS
@pytest.mark.parametrize("mode", MODES)
def test_s84_model_sees_context_once_beside_the_question(memory, model, mode):
    """However it is called, the block stands once, behind the user's words, and the caller's list is his own."""
    augmented = with_synap_memory(model(), memory, conversation_id="c")
    given = [SystemMessage("be brief"), HumanMessage("where?")]
    before = copy.deepcopy(given)
    run(mode, augmented, given)
    (seen,) = augmented.seen
    assert blocks_in(seen) == [1]
    assert text_of(seen[1]).startswith("where?\n\n[synap-context ")
    assert KNOWN in text_of(seen[1])
    assert (seen[0], given) == (given[0], before)
    assert memory.recalled == [("where?", Scope("c"))]
    assembly = Assembly(source="pushed", tokens=0, token_budget=0, waited_ms=0)
    assert used(memory) == [ContextUsed((BUNDLE,), ("item-1",), assembly=assembly)]


@MODELS
def test_s84_batches_events_tools_and_structured_output(memory, model):
    """What hangs on a chat model hangs on it with memory too."""
    augmented = with_synap_memory(model(), memory)
    augmented.batch(["a", "b"])
    asyncio.run(augmented.abatch(["c", "d"]))
    augmented.bind_tools([]).invoke("e")
    (augmented | StrOutputParser()).invoke("f")
    augmented.with_retry().invoke("g")

    async def events():
        return [event async for event in augmented.astream_events("h", version="v2")]

    assert asyncio.run(events())
    assert sorted(text_of(seen[0])[0] for seen in augmented.seen) == list("abcdefgh")
    assert all(blocks_in(seen) == [0] for seen in augmented.seen)


def test_s84_original_model_is_untouched(memory):
    """The model that was handed over still knows nothing; a second wrapping replaces the first."""
    model = WholeModel()
    twice = with_synap_memory(with_synap_memory(model, FakeMemory()), memory)
    assert (type(model), isinstance(twice, WholeModel), type(twice).__name__) == (WholeModel, True, "WholeModel")
    model.invoke("hi")
    twice.invoke("hi")
    assert [blocks_in(seen) for seen in model.seen] == [[], [0]]


def test_streaming_is_neither_gained_nor_lost(memory):
    """LangChain decides by the methods a class overrides whether a model streams: that stays as it was."""
    assert len(list(with_synap_memory(AsyncModel(), memory).stream("one two three"))) > 2
    assert (
        len([chunk for chunk in with_synap_memory(WholeModel(), memory).stream("one two three") if chunk.content]) == 1
    )


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_copies_of_the_model_remember(memory, copied):
    """Copied, deeply or by pickle, the model still has its memory."""
    twin = copied(with_synap_memory(WholeModel(), memory))
    twin.invoke("hi")
    assert blocks_in(twin.seen[-1]) == [0]
    assert with_synap_memory(WholeModel(), memory).model_copy(deep=True).invoke("hi")


def test_refuses_what_is_not_a_model(memory):
    """A bound or lazy model would lose its tools or its memory, so it is refused with what to do instead."""
    with pytest.raises(InvalidInputError, match=r"Binding.*before bind_tools"):
        with_synap_memory(WholeModel().bind(stop=["x"]), memory)


def test_answers_with_memory_are_not_shared_through_the_response_cache(memory):
    """LangChain's cache knows the question but not whose memory shaped the answer, so it is not used."""
    set_llm_cache(InMemoryCache())
    try:
        model = WholeModel(answers=["for Ana", "for Bob"])
        augmented = with_synap_memory(model, memory)
        assert [augmented.invoke("hi").content for _ in range(2)] == ["for Ana", "for Bob"]
    finally:
        set_llm_cache(None)


@pytest.mark.parametrize("source", ["metadata", "context", "handler"])
def test_scope_is_found_as_the_handler_finds_it(memory, source):
    """The memory that is asked is that of the conversation that is captured."""
    augmented = with_synap_memory(WholeModel(), memory)
    config = {"metadata": {"thread_id": "t", "user_id": "u"}} if source == "metadata" else {}
    if source == "handler":
        config = {"callbacks": [SynapCallbackHandler(memory, conversation_id="t", user_id="u")]}
    if source == "context":
        with synap_integrations.context(conversation_id="t", user_id="u"):
            augmented.invoke("hi", config)
    else:
        augmented.invoke("hi", config)
    assert memory.recalled == [("hi", Scope("t", "u"))]
    assert {entry.scope for entry in memory.recorded} == {Scope("t", "u")}


def test_s85_captured_turn_never_holds_the_block(memory):
    """The handler sees the prompt before it is augmented, and strips blocks from any other."""
    handler = SynapCallbackHandler(memory, conversation_id="c")
    prompt = ChatPromptTemplate.from_messages([("user", "Known: {known}\nQ: {question}")])
    chain = RunnablePassthrough.assign(known=synap_context(memory)) | prompt | WholeModel(answers=["a1", "a2"])
    chain.invoke({"question": "where?"}, {"callbacks": [handler]})
    (prompt | with_synap_memory(WholeModel(answers=["a3"]), memory)).invoke(
        {"question": "and now?", "known": ""}, {"callbacks": [handler]}
    )
    assert all("synap-context" not in text and KNOWN not in text for text in spoken(memory))
    assert "a3" in spoken(memory)


def test_s86_laps_of_one_turn_see_the_same_bytes(memory):
    """Around tools the block is recalled once and stays; what stands before the user's words is what it was before."""
    augmented = with_synap_memory(WholeModel(answers=["x", "y", "z", "w"]), memory)
    history = [SystemMessage("s"), HumanMessage("first"), AIMessage("one"), HumanMessage("second")]
    augmented.invoke(history)
    lap = [*history, asking("", call("tool", {}, "1")), ToolMessage("r", tool_call_id="1")]
    augmented.invoke(lap)
    augmented.invoke([*lap, asking("", call("tool", {}, "2")), ToolMessage("r", tool_call_id="2")])
    first, second, third = augmented.seen
    assert first[3] == second[3] == third[3]
    assert [blocks_in(seen) for seen in augmented.seen] == [[3]] * 3
    assert second[:3] == history[:3]
    assert (len(memory.recalled), len(used(memory))) == (1, 1)
    memory.context = knowing("moved to level 4").context
    augmented.invoke([*history, AIMessage("two"), HumanMessage("third")])
    assert blocks_in(augmented.seen[-1]) == [5]
    assert augmented.seen[-1][:5] == [*history, AIMessage("two")]
    assert "level 4" in text_of(augmented.seen[-1][5])


def test_the_texts_of_turns_do_not_stay_in_memory():
    """A turn without a message id is known by its text in its later laps, and its text is not kept for that."""
    asked = []

    class Knowing(FakeMemory):
        def recall(self, query, *, scope):
            asked.append(len(query))
            return Context()

    injector, size = Injector(Knowing(), Scope()), 500_000
    tracemalloc.start()
    try:
        for turn in range(20):
            question = HumanMessage(f"{turn} \ud800" + "x" * size)
            for lap in ([], [AIMessage("one moment")], [AIMessage("one moment"), AIMessage("nearly")]):
                injector.into([question, *lap], Scope("c"))
        del question
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(asked) == 20
    assert kept < size


def test_s87_content_blocks_keep_their_places(memory):
    """In a message of blocks, context is one more text block at the end; cache marks stay where they are."""
    system = SystemMessage([{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}])
    human = HumanMessage([{"type": "text", "text": "q"}, {"type": "image_url", "image_url": {"url": "data:,x"}}])
    augmented = with_synap_memory(WholeModel(answers=["a"]), memory)
    augmented.invoke([system, human])
    (seen,) = augmented.seen
    assert seen[0] == system
    assert seen[1].content[:2] == human.content
    assert seen[1].content[2]["type"] == "text"
    assert len(human.content) == 2
    assert memory.recalled[0][0] == "q"


@MODELS
def test_s88_without_context_the_messages_go_through_as_they_are(model):
    """With nothing to show, the list that the framework made is the list that the model gets."""
    memory = FakeMemory()
    augmented = with_synap_memory(model(), memory)
    given = [SystemMessage("s"), HumanMessage("hi")]
    run("invoke", augmented, given)
    (seen,) = augmented.seen
    assert all(a is b for a, b in zip(seen, given, strict=True))
    assert memory.recorded == []


@pytest.mark.parametrize(
    "given",
    [[SystemMessage("only a system prompt")], [HumanMessage("summary", additional_kwargs={"lc_source": "summary"})]],
)
def test_s88_nothing_to_stand_beside(memory, given):
    """Without a message of the user there is no place for context, so nobody is asked."""
    augmented = with_synap_memory(WholeModel(), memory)
    augmented.invoke(given)
    assert (blocks_in(augmented.seen[0]), memory.recalled) == ([], [])


@MODELS
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
@pytest.mark.parametrize(
    "config",
    [
        {"metadata": {"lc_source": "summarization"}},
        {"metadata": {"lc_internal_call": True}},
        {"tags": ["nostream"]},
        {"tags": ["langsmith:hidden"]},
    ],
    ids=str,
)
def test_s89_internal_calls_get_no_context(memory, model, mode, config):
    """A summary or a selection is not the user's turn, whole or streamed."""
    augmented = with_synap_memory(model(), memory)
    run(mode, augmented, "summarize", config)
    assert (blocks_in(augmented.seen[0]), memory.recalled) == ([], [])


def test_middleware_says_what_it_needs():
    """Where langchain has no middleware yet, only the name that needs it is refused, with what to install."""
    if version("langchain") >= "1":
        assert synap_langchain.SynapMiddleware.__name__ == "SynapMiddleware"
    else:
        with pytest.raises(ImportError, match=r"SynapMiddleware needs langchain 1\.0"):
            _ = synap_langchain.SynapMiddleware


def test_a_fault_in_memory_costs_the_context_and_nothing_else(memory):
    """A memory that raises leaves the model call as if there were none."""

    class Broken(FakeMemory):
        def recall(self, query, *, scope):
            raise RuntimeError("broken")

    incidents.strict = False
    augmented = with_synap_memory(WholeModel(), Broken())
    assert augmented.invoke("hi").content == "re: hi"
    assert incidents.counts() == {"recall: RuntimeError": 1}


# --- synap_context ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_s84_template_slot_is_filled(memory, mode):
    """A chain with a slot gets the block as text, for the question that the chain was asked."""
    prompt = ChatPromptTemplate.from_messages([("system", "be brief"), ("user", "{context}\n\n{question}")])
    model = WholeModel(answers=["a"])
    chain = RunnablePassthrough.assign(context=synap_context(memory, conversation_id="c")) | prompt | model
    run(mode, chain, {"question": "where?"})
    (seen,) = model.seen
    assert blocks_in(seen) == [1]
    assert without_context(text_of(seen[1])).strip() == "where?"
    assert memory.recalled == [("where?", Scope("c"))]
    assert len(used(memory)) == 1


def test_template_and_augmented_model_show_context_once(memory):
    """Where a block stands already, there is no second one."""
    prompt = ChatPromptTemplate.from_messages([("system", "Known: {context}"), ("user", "{question}")])
    model = with_synap_memory(WholeModel(answers=["a"]), memory)
    (RunnablePassthrough.assign(context=synap_context(memory)) | prompt | model).invoke({"question": "where?"})
    assert blocks_in(model.seen[0]) == [0]
    assert len(memory.recalled) == 1


def test_template_text_is_data(memory):
    """Braces in a memory are never filled in by the template."""
    braces = knowing("{question} {{x}} %s")
    prompt = ChatPromptTemplate.from_messages([("user", "{context} {question}")])
    value = (RunnablePassthrough.assign(context=synap_context(braces)) | prompt).invoke({"question": "why?"})
    assert "{question} {{x}} %s" in text_of(value.to_messages()[0])


def test_empty_context_is_an_empty_slot():
    """Nothing known is an empty text, not a word."""
    assert synap_context(FakeMemory()).invoke("why?") == ""


# --- SynapMemory -----------------------------------------------------------------------------------------------------

PROMPT = ChatPromptTemplate.from_messages([("system", "s"), MessagesPlaceholder("history"), ("user", "{question}")])


def chain_with(memory, model, **keys):
    """A chain with a history, as in LangChain's guide."""
    return with_history(
        PROMPT | model,
        lambda session_id: SynapMemory(session_id=session_id, synap=memory),
        input_messages_key="question",
        history_messages_key="history",
        **keys,
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("with_handler", [True, False], ids=["handler", "alone"])
def test_s25_s26_two_turns_with_a_history_are_two_pairs(memory, mode, with_handler):
    """Each turn is recorded once, by the handler or by the history, under the session's id."""
    chain = chain_with(memory, WholeModel(answers=["a1", "a2"]))
    callbacks = [SynapCallbackHandler(memory)] if with_handler else []
    for question in ("q1", "q2"):
        run(mode, chain, {"question": question}, {"configurable": {"session_id": "c"}, "callbacks": callbacks})
    captured = [entry for entry in transcript(memory, "c") if entry != "ContextUsed"]
    assert captured == ["U q1", "A a1", "U q2", "A a2"]
    assert {entry.scope.conversation_id for entry in memory.recorded} == {"c"}


@pytest.mark.parametrize("mode", MODES)
def test_s84_history_shows_context_and_does_not_keep_it(memory, mode):
    """The block stands once, directly before the question; the next turn's history holds the words alone."""
    model = WholeModel(answers=["a1", "a2"])
    chain = chain_with(memory, model)
    for question in ("q1", "q2"):
        run(mode, chain, {"question": question}, {"configurable": {"session_id": mode}})
    first, second = model.seen
    assert [text_of(m) for m in first if not blocks_in([m])] == ["s", "q1"]
    assert [text_of(m) for m in second if not blocks_in([m])] == ["s", "q1", "a1", "q2"]
    assert (blocks_in(first), blocks_in(second)) == ([1], [3])
    assert isinstance(second[3], HumanMessage)


@pytest.mark.parametrize("mode", MODES)
def test_history_before_plain_messages(memory, mode):
    """Without a key for the history LangChain cuts the input by its length: that stays right with context in it."""
    model = WholeModel(answers=["a1", "a2"])
    chain = with_history(model, lambda session_id: SynapMemory(session_id, synap=memory))
    for question in ("q1", "q2"):
        run(mode, chain, [HumanMessage(question)], {"configurable": {"session_id": "plain"}})
    assert [text_of(m) for m in model.seen[1] if not blocks_in([m])] == ["q1", "a1", "q2"]
    assert [entry for entry in transcript(memory) if entry != "ContextUsed"] == ["U q1", "A a1", "U q2", "A a2"]


def test_class_itself_is_a_session_factory():
    """``RunnableWithMessageHistory(chain, SynapMemory)`` needs no lambda."""
    synap_integrations.runtime.use_default(memory := knowing())
    try:
        chain = with_history(WholeModel(answers=["a"]), SynapMemory)
        chain.invoke([HumanMessage("q")], {"configurable": {"session_id": "c"}})
    finally:
        synap_integrations.runtime.use_default(None)
    assert [entry for entry in transcript(memory, "c") if entry != "ContextUsed"] == ["U q", "A a"]


def test_history_by_hand_records_itself():
    """Outside of any run, what is added is recorded, and read again by the next object of the conversation."""
    memory = FakeMemory()
    SynapMemory("by-hand", synap=memory).add_user_message("hi")
    SynapMemory("by-hand", synap=memory).add_ai_message("hello")
    assert transcript(memory, "by-hand") == ["U hi", "A hello"]
    assert [m.content for m in SynapMemory("by-hand", synap=memory).messages] == ["hi", "hello"]
    assert SynapMemory("other", synap=memory).messages == []
    SynapMemory("by-hand", synap=memory).clear()
    assert SynapMemory("by-hand", synap=memory).messages == []


def test_history_of_a_new_process_begins_with_what_the_platform_tells():
    """The turns of the conversation come from the platform where this process has seen none."""
    told = (RecentTurn("user", "q0"), RecentTurn("assistant", "a0"))
    memory = FakeMemory(Context((), told, "pushed"))
    model = WholeModel(answers=["a1", "a2"])
    chain = chain_with(memory, model)
    for question in ("q1", "q2"):
        chain.invoke({"question": question}, {"configurable": {"session_id": "resumed"}})
    assert [m.content for m in model.seen[0]] == ["s", "q0", "a0", "q1"]
    assert [m.content for m in model.seen[1]] == ["s", "q0", "a0", "q1", "a1", "q2"]


EARLIER = (RecentTurn("user", "q0"), RecentTurn("assistant", "a0"))


@pytest.mark.parametrize("mode", MODES)
def test_earlier_turns_are_asked_for_once_where_no_handler_listens(mode):
    """The platform is asked at the first read; what it does not tell then is not waited for again."""
    for told in (EARLIER, ()):
        memory, model = FakeMemory(answer=Answer(turns=told)), WholeModel(answers=["a1", "a2"])
        for question in ("q1", "q2"):
            run(mode, chain_with(memory, model), {"question": question}, {"configurable": {"session_id": "resumed"}})
        earlier = [turn.content for turn in told]
        assert [text_of(m) for m in model.seen[1]] == ["s", *earlier, "q1", "a1", "q2"]
        assert [scope.conversation_id for _, scope in memory.asked] == ["resumed"]


def test_earlier_turns_come_with_the_handlers_turn():
    """Where a handler listens, the recall is answered for its turn: nobody is asked twice."""
    memory = FakeMemory(Context((), EARLIER, "pushed"), Answer(turns=EARLIER))
    config = {"configurable": {"session_id": "resumed"}, "callbacks": [SynapCallbackHandler(memory)]}
    chain_with(memory, model := WholeModel(answers=["a1"])).invoke({"question": "q1"}, config)
    assert [text_of(m) for m in model.seen[0]] == ["s", "q0", "a0", "q1"]
    assert memory.asked == []


@pytest.mark.parametrize("mode", MODES)
def test_earlier_turns_are_asked_for_where_the_handlers_turn_brings_none(mode):
    """A platform that pushes no turns is asked for them, once; the question that is being answered is not one."""
    memory = FakeMemory(answer=Answer(turns=(*EARLIER, RecentTurn("user", "q1"))))
    model = WholeModel(answers=["a1", "a2"])
    for question in ("q1", "q2"):
        handler = SynapCallbackHandler(memory)
        config = {"callbacks": [handler], "configurable": {"session_id": "resumed"}}
        run(mode, chain_with(memory, model), {"question": question}, config)
    assert [text_of(m) for m in model.seen[0]] == ["s", "q0", "a0", "q1"]
    assert [text_of(m) for m in model.seen[1]] == ["s", "q0", "a0", "q1", "a1", "q2"]
    assert memory.asked == [(ReadConversation(turns_only=True), Scope("resumed"))]


def test_what_was_cleared_does_not_come_back(tmp_path):
    """A conversation that was cleared is empty for another Synap over the same folder; that of somebody else is not."""
    for at in range(2):
        with Synap(base_url="local", storage_path=tmp_path, lookup_timeout_s=30.0) as synap:
            for user in ("ana", "ben"):
                history = SynapMemory("trip", user_id=user, synap=synap)
                if at:
                    shown = [m.content for m in history.messages if "before" in str(m.content)]
                    assert shown == ([f"before, {user}"] if user == "ben" else [])
                else:
                    history.add_messages([HumanMessage(f"before, {user}"), AIMessage("noted")])
            assert synap.flush(20)
            if not at:
                SynapMemory("trip", user_id="ana", synap=synap).clear()


def test_what_was_said_before_the_first_read_follows_what_was_said_earlier():
    """By hand: the turns that both know stand once, and a conversation that was cleared begins anew."""
    told = (*EARLIER, RecentTurn("user", "q1"), RecentTurn("assistant", "a1"))
    memory = FakeMemory(answer=Answer(turns=told))
    history = SynapMemory("c", synap=memory)
    history.add_user_message("q1")
    history.add_ai_message("a1")
    history.add_user_message("q2")
    assert [m.content for m in history.messages] == ["q0", "a0", "q1", "a1", "q2"]
    history.clear()
    assert SynapMemory("c", synap=memory).messages == []
    history.add_user_message("q3")
    assert [m.content for m in SynapMemory("c", synap=memory).messages] == ["q3"]


def test_two_memories_do_not_share_histories():
    """The turns that one memory has seen are not those of another, though the conversation has the same name."""
    SynapMemory("c", synap=FakeMemory()).add_user_message("hi")
    assert SynapMemory("c", synap=FakeMemory()).messages == []


def test_another_history_keeps_its_own_words(memory):
    """With the user's own history and an augmented model, the history holds no trace of context."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = InMemoryChatMessageHistory()
    model = with_synap_memory(WholeModel(answers=["a1", "a2"]), memory)
    chain = with_history(model, lambda session_id: store)
    for question in ("q1", "q2"):
        chain.invoke([HumanMessage(question)], {"configurable": {"session_id": "c"}})
    assert [m.content for m in store.messages] == ["q1", "a1", "q2", "a2"]
    assert [blocks_in(seen) for seen in model.seen] == [[0], [2]]
