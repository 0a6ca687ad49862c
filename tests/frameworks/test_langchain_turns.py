"""Scenarios 1 to 28: one user turn and one assistant turn for each turn of the conversation, whatever the chain."""

import asyncio
import json

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, FewShotChatMessagePromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory
from pydantic import BaseModel
from scripted_models import MODES, Scripted, Streamed, conversations, run, transcript

from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.testing import FakeMemory

pytestmark = pytest.mark.usefixtures("strict_guard")


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory()


@pytest.fixture
def handler(memory: FakeMemory) -> SynapCallbackHandler:
    return SynapCallbackHandler(memory, conversation_id="c")


@pytest.fixture
def anonymous(memory: FakeMemory) -> SynapCallbackHandler:
    """A handler that names no conversation: each root is one of its own."""
    return SynapCallbackHandler(memory)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", [Scripted, Streamed], ids=["whole", "streamed"])
def test_s01_a_bare_model(memory, handler, model, mode) -> None:
    """The smallest conversation there is."""
    run(model(), "hi", mode, callbacks=[handler])
    assert transcript(memory) == ["U hi", "A re: hi"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "given",
    [
        [SystemMessage("be kind"), HumanMessage("hi")],
        [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
        [("user", "hi")],
        [ChatMessage(role="user", content="hi")],
    ],
    ids=["messages", "dicts", "pairs", "roles"],
)
def test_s02_every_shape_of_input(memory, handler, given, mode) -> None:
    """Messages, role dicts, pairs and custom roles are the same single turn; a system prompt is never a turn."""
    run(Scripted(), given, mode, callbacks=[handler])
    assert transcript(memory) == ["U hi", "A re: hi"]


def test_s02_messages_as_plain_text(memory, handler) -> None:
    """A graph-like root may be given its messages as one text."""
    chain = RunnableLambda(lambda state: Scripted().invoke(state["messages"]))
    chain.invoke({"messages": "yo"}, config={"callbacks": [handler]})
    assert transcript(memory) == ["U yo", "A re: yo"]


@pytest.mark.parametrize("call", ["batch", "abatch", "generate"])
def test_s03_a_batch_is_so_many_conversations(memory, anonymous, call) -> None:
    """Items of a batch are never mixed."""
    config = {"callbacks": [anonymous]}
    match call:
        case "batch":
            Scripted().batch(["a", "b", "c"], config=config)
        case "abatch":
            asyncio.run(Scripted().abatch(["a", "b", "c"], config=config))
        case "generate":
            Scripted().generate([[HumanMessage(text)] for text in "abc"], callbacks=[anonymous])
    assert sorted(conversations(memory)) == [[f"U {text}", f"A re: {text}"] for text in "abc"]


def test_s04_growing_history_without_ids(memory, handler) -> None:
    """A stateless caller sends the history along; each turn is captured once."""
    history = []
    for text in ("one", "two", "three"):
        history.append(HumanMessage(text))
        history.append(Scripted().invoke(history, config={"callbacks": [handler]}))
    assert transcript(memory) == [line for t in ("one", "two", "three") for line in (f"U {t}", f"A re: {t}")]


def test_s05_history_of_another_process_is_not_repeated(memory, handler) -> None:
    """What was said before this process began is not captured again."""
    Scripted().invoke([HumanMessage("q1"), AIMessage("a1"), HumanMessage("q2")], config={"callbacks": [handler]})
    assert transcript(memory) == ["U q2", "A re: q2"]


def test_s06_saying_yes_twice_is_two_turns(memory, handler) -> None:
    """Equal texts are not one text."""
    for _ in range(2):
        Scripted(answers=["ok"]).invoke("yes", config={"callbacks": [handler]})
    assert transcript(memory) == ["U yes", "A ok", "U yes", "A ok"]


def test_s06_the_same_text_twice_in_one_input(memory, handler) -> None:
    """Two messages of one input stay two."""
    Scripted(answers=["ok"]).invoke([HumanMessage("yes"), HumanMessage("yes")], config={"callbacks": [handler]})
    assert transcript(memory) == ["U yes", "U yes", "A ok"]


def test_s07_two_messages_before_the_reply(memory, handler) -> None:
    """People write twice before they are answered."""
    given = [HumanMessage("hi"), HumanMessage("are you there?")]
    Scripted(answers=["yes"]).invoke(given, config={"callbacks": [handler]})
    assert transcript(memory) == ["U hi", "U are you there?", "A yes"]


def test_s08_examples_in_the_prompt_are_not_turns(memory, handler) -> None:
    """Only the last block of human messages was said now."""
    shots = FewShotChatMessagePromptTemplate(
        examples=[{"q": "1+1", "a": "2"}, {"q": "2+2", "a": "4"}],
        example_prompt=ChatPromptTemplate.from_messages([("human", "{q}"), ("ai", "{a}")]),
    )
    prompt = ChatPromptTemplate.from_messages([("system", "sums"), shots, ("human", "{q}")])
    Scripted().invoke(prompt.invoke({"q": "3+3"}), config={"callbacks": [handler]})
    assert transcript(memory) == ["U 3+3", "A re: 3+3"]


def test_s09_a_prefilled_answer(memory, handler) -> None:
    """An answer that was begun for the model is not a turn of its own."""
    given = [HumanMessage("json please"), AIMessage("{")]
    Scripted(answers=['"a": 1}']).invoke(given, config={"callbacks": [handler]})
    assert transcript(memory) == ["U json please", 'A "a": 1}']


def test_s10_a_system_message_after_the_question(memory, handler) -> None:
    """A trailing instruction does not hide what the user said."""
    Scripted(answers=["hello"]).invoke([HumanMessage("hi"), SystemMessage("be brief")], config={"callbacks": [handler]})
    assert transcript(memory) == ["U hi", "A hello"]


def test_s11_pictures_are_named_and_never_kept(memory, handler) -> None:
    """An attachment is its type; no byte of it is captured."""
    picture = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA"
    blocks = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": picture}}]
    Scripted(answers=["a cat"]).invoke([HumanMessage(blocks)], config={"callbacks": [handler]})
    assert transcript(memory) == ["U what is this?", "A a cat"]
    assert memory.events[0].attachments == ("image_url",)
    assert "iVBOR" not in repr(memory.events)


def test_s12_an_empty_answer_is_no_turn(memory, handler) -> None:
    """A model that says nothing has said nothing."""
    Scripted(answers=[AIMessage("")]).invoke("hi", config={"callbacks": [handler]})
    assert transcript(memory) == ["U hi"]


@pytest.mark.parametrize("mode", MODES)
def test_s13_a_completion_model(memory, handler, mode) -> None:
    """Models that complete a text are captured too."""
    run(FakeListLLM(responses=["a time"]), "Once upon", mode, callbacks=[handler])
    assert transcript(memory) == ["U Once upon", "A a time"]


def test_s14_an_answer_from_the_cache_is_an_answer(memory, handler) -> None:
    """The user got it, so it is a turn."""
    model = Scripted(cache=InMemoryCache())
    for _ in range(2):
        model.invoke("hi", config={"callbacks": [handler]})
    assert len(model.seen) == 1
    assert transcript(memory) == ["U hi", "A re: hi"] * 2


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s15_retries_are_one_turn(memory, handler, mode) -> None:
    """Two failures and an answer are one question and one answer."""
    model = Scripted(answers=[ValueError("no"), ValueError("no"), "ok"])
    chain = ChatPromptTemplate.from_messages([("human", "{q}")]) | model.with_retry(
        stop_after_attempt=3, wait_exponential_jitter=False
    )
    run(chain, {"q": "hi"}, mode, callbacks=[handler])
    assert transcript(memory) == ["U hi", "A ok"]


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
@pytest.mark.parametrize("where", ["model", "chain"])
def test_s16_fallbacks_are_one_turn(memory, handler, where, mode) -> None:
    """The model that failed left no trace in the conversation."""
    bad, good = Scripted(answers=[ValueError("down")]), Scripted(answers=["from B"])
    prompt = ChatPromptTemplate.from_messages([("human", "{q}")])
    around_the_chain = (prompt | bad).with_fallbacks([prompt | good])
    chain = prompt | bad.with_fallbacks([good]) if where == "model" else around_the_chain
    run(chain, {"q": "hi"}, mode, callbacks=[handler])
    assert transcript(memory) == ["U hi", "A from B"]


class Person(BaseModel):
    """Somebody."""

    name: str


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s17_structured_output_is_an_answer_not_a_tool_call(memory, handler, mode) -> None:
    """The tool that carries the structure was never executed."""
    model = Scripted(answers=[AIMessage("", tool_calls=[{"name": "Person", "args": {"name": "bob"}, "id": "1"}])])
    run(model.with_structured_output(Person), "hi bob", mode, callbacks=[handler])
    assert [event.split(" ", 1)[0] for event in transcript(memory)] == ["U", "A"]
    assert transcript(memory)[0] == "U hi bob"
    assert json.loads(transcript(memory)[1][2:]) == {"name": "bob"}


QUESTION = ChatPromptTemplate.from_messages([("system", "be kind"), ("human", "Q: {question}")])


@pytest.mark.parametrize("mode", MODES)
def test_s18_the_user_did_not_say_the_template(memory, handler, mode) -> None:
    """What the user said is the input, not the rendered prompt."""
    chain = QUESTION | Streamed(answers=["because"]) | StrOutputParser()
    run(chain, {"question": "why?"}, mode, callbacks=[handler])
    assert transcript(memory) == ["U why?", "A because"]


@pytest.mark.parametrize("first", ["prompt", "parallel"])
def test_s19_a_streamed_question_is_captured_before_the_first_token(memory, handler, first) -> None:
    """Whoever anticipates the answer has the question in time."""
    chain = QUESTION | Streamed(answers=["be cause"]) | StrOutputParser()
    if first == "parallel":
        chain = RunnableParallel(question=lambda x: x["question"]) | chain
    stream = chain.stream({"question": "why?"}, config={"callbacks": [handler]})
    next(stream)
    assert transcript(memory) == ["U why?"]
    list(stream)
    assert transcript(memory) == ["U why?", "A be cause"]


@pytest.mark.parametrize("mode", MODES)
def test_s20_retrieved_text_is_not_said_by_the_user(memory, handler, mode) -> None:
    """A RAG chain puts documents into the prompt; nobody said them."""
    prompt = ChatPromptTemplate.from_messages([("human", "Use {context} to answer: {question}")])
    retrieve = RunnableLambda(lambda _: "SECRET DOCUMENT")
    chain = (
        {"context": retrieve, "question": RunnablePassthrough()}
        | prompt
        | Streamed(answers=["because"])
        | StrOutputParser()
    )
    run(chain, "why?", mode, callbacks=[handler])
    assert transcript(memory) == ["U why?", "A because"]


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s21_models_that_work_behind_the_scenes_say_nothing(memory, handler, mode) -> None:
    """A question condenser, a router and a title writer are not turns."""
    condense = ChatPromptTemplate.from_messages([("human", "Rephrase: {question}")]) | Scripted(answers=["standalone"])
    answer = ChatPromptTemplate.from_messages([("human", "Answer: {q}")]) | Scripted(answers=["because"])
    chain = condense | StrOutputParser() | (lambda q: {"q": q}) | answer | StrOutputParser()
    run(chain, {"question": "why?"}, mode, callbacks=[handler])
    assert [row for row in transcript(memory) if row[0] in "UA"] == ["U why?", "A because"]


def two_answers() -> RunnableParallel:
    return RunnableParallel(
        a=Scripted(answers=["AAA"]) | StrOutputParser(), b=Scripted(answers=["BBB"]) | StrOutputParser()
    )


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s22_two_answers_at_once(memory, handler, mode) -> None:
    """Several outputs are one answer, as the application got it."""
    run(two_answers(), "hi", mode, callbacks=[handler])
    assert (transcript(memory)[0], json.loads(transcript(memory)[1][2:])) == ("U hi", {"a": "AAA", "b": "BBB"})
    assert len(transcript(memory)) == 2


def test_s22_the_output_that_is_the_answer_can_be_named(memory) -> None:
    """``output_key`` picks one of several outputs."""
    handler = SynapCallbackHandler(memory, conversation_id="c", output_key="b")
    two_answers().invoke("hi", config={"callbacks": [handler]})
    assert transcript(memory) == ["U hi", "A BBB"]


@pytest.mark.parametrize(
    ("input_key", "said"), [(None, "write about cats in French"), ("topic", "cats")], ids=["rendered", "named"]
)
def test_s23_several_unknown_inputs(memory, input_key, said) -> None:
    """Without a hint the rendered human message is what was asked; ``input_key`` names it."""
    handler = SynapCallbackHandler(memory, conversation_id="c", input_key=input_key)
    prompt = ChatPromptTemplate.from_messages([("human", "write about {topic} in {language}")])
    chain = prompt | Scripted(answers=["miaou"]) | StrOutputParser()
    chain.invoke({"topic": "cats", "language": "French"}, config={"callbacks": [handler]})
    assert transcript(memory) == [f"U {said}", "A miaou"]


def test_s24_mapping_over_items_is_so_many_pairs(memory, anonymous) -> None:
    """``chain.map()`` answers each item."""
    chain = (QUESTION | Scripted() | StrOutputParser()).map()
    chain.invoke([{"question": "one"}, {"question": "two"}], config={"callbacks": [anonymous]})
    assert sorted(transcript(memory)) == ["A re: Q: one", "A re: Q: two", "U one", "U two"]


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
@pytest.mark.parametrize("shape", ["dict", "messages"])
def test_s25_a_chain_with_message_history(memory, anonymous, shape, mode) -> None:
    """Two turns are two pairs; the conversation is the session."""
    store: dict[str, InMemoryChatMessageHistory] = {}
    if shape == "dict":
        inner = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")]) | Scripted()
        keys = {"input_messages_key": "question", "history_messages_key": "history"}
    else:
        inner, keys = Scripted(), {}
    chain = RunnableWithMessageHistory(inner, lambda sid: store.setdefault(sid, InMemoryChatMessageHistory()), **keys)
    for text in ("one", "two"):
        given = {"question": text} if shape == "dict" else [HumanMessage(text)]
        run(chain, given, mode, callbacks=[anonymous], configurable={"session_id": "s-1"})
    assert transcript(memory, "s-1") == ["U one", "A re: one", "U two", "A re: two"]
    assert len(memory.recorded) == 4


def test_s27_a_parser_that_raises_leaves_no_answer(memory, handler) -> None:
    """The application got no answer, so none is kept."""
    chain = QUESTION | Scripted(answers=["not json"]) | JsonOutputParser()
    with pytest.raises(ValueError, match=r"json|JSON"):
        chain.invoke({"question": "why?"}, config={"callbacks": [handler]})
    assert transcript(memory) == ["U why?"]


def test_s28_two_streams_read_in_turns(memory) -> None:
    """Suspended generators on one thread do not see each other."""
    handlers = [SynapCallbackHandler(memory, conversation_id=name) for name in ("x", "y", "z")]
    streams = [
        (QUESTION | Streamed(answers=[f"{text} a b"]) | StrOutputParser()).stream(
            {"question": text}, config={"callbacks": [handler]}
        )
        for text, handler in zip(("one", "two"), handlers, strict=False)
    ]
    next(streams[0]), next(streams[1])
    Scripted().invoke("meanwhile", config={"callbacks": [handlers[2]]})
    taken_in_turns = list(zip(*streams, strict=True))
    assert len(taken_in_turns) >= 1
    for stream in streams:
        list(stream)
    assert transcript(memory, "x") == ["U one", "A one a b"]
    assert transcript(memory, "y") == ["U two", "A two a b"]
    assert transcript(memory, "z") == ["U meanwhile", "A re: meanwhile"]
