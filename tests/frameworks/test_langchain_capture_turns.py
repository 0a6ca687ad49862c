"""Plain turns: one question, one answer, in whatever shape the application sends them."""

import json

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_models import CompletionModel, ScriptedModel, asking, call, echo, run, transcript
from langgraph_agents import every_mode
from pydantic import BaseModel

from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.model import UserMessage

pytestmark = pytest.mark.usefixtures("no_incidents")


@pytest.fixture
def config(memory):
    """A config with the handler and one conversation."""
    return {"callbacks": [SynapCallbackHandler(memory)], "metadata": {"conversation_id": "c", "user_id": "u"}}


INPUTS = {
    "text": "hi",
    "system and human": [SystemMessage("be kind"), HumanMessage("hi")],
    "role dictionaries": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
    "pair": [("user", "hi")],
    "chat message": [ChatMessage("hi", role="user")],
    "developer": [{"role": "developer", "content": "be kind"}, {"role": "user", "content": "hi"}],
    "trailing system": [HumanMessage("hi"), SystemMessage("be brief")],
    "prompt value": ChatPromptTemplate.from_messages([("human", "{x}")]).invoke({"x": "hi"}),
    "content blocks": [HumanMessage([{"type": "text", "text": "hi"}])],
}


@every_mode
@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_s01_s02_s10_a_model_is_asked_once(mode, inputs, memory, config):
    """Whatever shape a prompt has, the user said one thing and got one answer."""
    run(mode, echo(), inputs, config)
    assert transcript(memory) == ["U hi", "A re: hi"]


@every_mode
@pytest.mark.parametrize("inputs", ["yo", [HumanMessage("yo")], [("user", "yo")], ["yo"]], ids=str)
def test_s02_a_state_with_messages_is_read_like_messages(mode, inputs, memory, config):
    """Under ``messages`` a bare text is a message of the user."""
    model = echo()
    chain = RunnableLambda(lambda state: model.invoke(state["messages"]))
    run(mode, chain, {"messages": inputs}, config)
    assert transcript(memory) == ["U yo", "A re: yo"]


@pytest.mark.parametrize("mode", ["batch", "abatch"])
async def test_s03_a_batch_is_as_many_turns(mode, memory):
    """The items of a batch are turns of their own and are never mixed."""
    handler = SynapCallbackHandler(memory)
    configs = [{"callbacks": [handler], "metadata": {"thread_id": name}} for name in "abc"]
    result = getattr(echo(), mode)(list("abc"), configs)
    if mode == "abatch":
        await result
    for name in "abc":
        assert transcript(memory, name) == [f"U {name}", f"A re: {name}"]


def test_s03_generate_is_one_turn_per_list(memory):
    """``generate`` with two lists of messages is two turns."""
    echo().generate([[HumanMessage("a")], [HumanMessage("b")]], callbacks=[SynapCallbackHandler(memory)])
    assert sorted(transcript(memory)) == ["A re: a", "A re: b", "U a", "U b"]
    assert len({entry.scope for entry in memory.recorded}) == 2


@every_mode
def test_s04_growing_history_tells_each_turn_once(mode, memory, config):
    """An application that sends the whole history every time does not repeat itself in the transcript."""
    history = []
    for text in ("one", "two", "three"):
        history.append(HumanMessage(text))
        run(mode, echo(), list(history), config)
        history.append(AIMessage(f"re: {text}"))
    assert transcript(memory) == ["U one", "A re: one", "U two", "A re: two", "U three", "A re: three"]


SAID = {
    "s05 history of another process": ([("user", "q1"), ("ai", "a1"), ("user", "q2")], ["U q2", "A re: q2"]),
    "s06 twice in one input": ([("user", "yes"), ("user", "yes")], ["U yes", "U yes", "A re: yes"]),
    "s07 two before the reply": (
        [("user", "hi"), ("user", "are you there?")],
        ["U hi", "U are you there?", "A re: are you there?"],
    ),
    "s08 few-shot examples": (
        [("system", "s"), ("user", "2+2"), ("ai", "4"), ("user", "3+3"), ("ai", "6"), ("user", "4+4")],
        ["U 4+4", "A re: 4+4"],
    ),
}


@every_mode
@pytest.mark.parametrize(("inputs", "expected"), SAID.values(), ids=SAID)
def test_s05_to_s08_only_the_last_words_are_new(inputs, expected, mode, memory, config):
    """The last uninterrupted block of human messages is what the user says now."""
    run(mode, echo(), inputs, config)
    assert transcript(memory) == expected


@every_mode
def test_s06_the_same_word_in_two_turns_is_said_twice(mode, memory, config):
    """A user who says yes twice has said yes twice."""
    for _ in range(2):
        run(mode, echo(), "yes", config)
    assert transcript(memory) == ["U yes", "A re: yes", "U yes", "A re: yes"]


@every_mode
def test_s09_a_prefilled_answer_hides_no_question(mode, memory, config):
    """A prompt that ends with the start of the answer still carries the question before it."""
    run(mode, ScriptedModel(answers=['"a": 1}']), [HumanMessage("json please"), AIMessage("{")], config)
    assert transcript(memory) == ["U json please", 'A "a": 1}']


@every_mode
def test_s11_attachments_are_named_not_kept(mode, memory, config):
    """Of an image only its type is recorded; its bytes are nowhere."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJDREVG"}}
    message = HumanMessage([{"type": "text", "text": "what is this?"}, image])
    run(mode, ScriptedModel(answers=["a cat"]), [message], config)
    assert transcript(memory) == ["U what is this?", "A a cat"]
    assert memory.events[0] == UserMessage("what is this?", attachments=("image_url",))
    assert "QUJDREVG" not in repr(memory.recorded)


@every_mode
def test_s12_an_empty_answer_is_no_answer(mode, memory, config):
    """A model that says nothing leaves the question alone."""
    run(mode, ScriptedModel(answers=[""]), "hi", config)
    assert transcript(memory) == ["U hi"]


@every_mode
def test_s13_a_completion_model_is_a_turn_too(mode, memory, config):
    """Models that complete a text get the same transcript."""
    run(mode, CompletionModel(), "Once upon", config)
    assert transcript(memory) == ["U Once upon", "A a time"]


@every_mode
def test_s14_a_cached_answer_is_an_answer(mode, memory, config):
    """The second time comes from the cache and is recorded all the same."""
    model = ScriptedModel(answers=["cached", "cached"], cache=InMemoryCache())
    for _ in range(2):
        run(mode, model, "hi", config)
    assert transcript(memory) == ["U hi", "A cached"] * 2


@every_mode
def test_s15_retries_are_one_turn(mode, memory, config):
    """Two failures on the way to an answer are not told."""
    model = ScriptedModel(answers=[ConnectionError("1"), ConnectionError("2"), "ok"])
    chain = model.with_retry(wait_exponential_jitter=False, stop_after_attempt=3)
    if mode in ("stream", "astream"):
        mode = mode.replace("stream", "invoke")  # LangChain does not retry streams
    run(mode, chain, "hi", config)
    assert transcript(memory) == ["U hi", "A ok"]


@every_mode
@pytest.mark.parametrize("whole_chain", [False, True])
def test_s16_fallbacks_are_one_turn(whole_chain, mode, memory, config):
    """The answer of the second model is the answer, and the question is told once."""
    prompt = ChatPromptTemplate.from_messages([("human", "{question}")])
    broken, good = ScriptedModel(answers=[ConnectionError("down")]), ScriptedModel(answers=["from B"])
    either = prompt | broken.with_fallbacks([good])
    chain = (prompt | broken).with_fallbacks([prompt | good]) if whole_chain else either
    run(mode, chain, {"question": "hi"}, config)
    assert transcript(memory) == ["U hi", "A from B"]


class Person(BaseModel):
    """Somebody."""

    name: str


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
@pytest.mark.parametrize("schema", [Person, Person.model_json_schema()], ids=["class", "dictionary"])
def test_s17_a_structured_answer_is_json(schema, mode, memory, config):
    """The call that carries the structure is not a tool call."""
    from langchain_core.output_parsers import JsonOutputKeyToolsParser, PydanticToolsParser  # noqa: PLC0415

    model = ScriptedModel(answers=[asking("", call("Person", {"name": "bob"}))])
    if schema is Person:
        parser = PydanticToolsParser(tools=[Person], first_tool_only=True)
    else:
        parser = JsonOutputKeyToolsParser(key_name="Person", first_tool_only=True)
    run(mode, model | parser, "hi bob", config)
    assert transcript(memory) == ["U hi bob", 'A {"name": "bob"}']


QUESTION = ChatPromptTemplate.from_messages([("system", "be kind"), ("human", "Q: {question}")])


@every_mode
def test_s18_the_question_is_what_the_user_typed(mode, memory, config):
    """The words around a template's slot are not the user's."""
    run(mode, QUESTION | ScriptedModel(answers=["because"]) | StrOutputParser(), {"question": "why?"}, config)
    assert transcript(memory) == ["U why?", "A because"]


@pytest.mark.parametrize("first", ["prompt", "map", "assign"])
def test_s19_a_streamed_question_is_told_before_the_first_token(first, memory, config):
    """A streamed chain starts with a placeholder; the question is found in its first step."""
    model = ScriptedModel(answers=["one two three"])
    steps = {
        "prompt": QUESTION | model,
        "map": RunnableParallel(question=lambda x: x["question"]) | QUESTION | model,
        "assign": RunnablePassthrough.assign(facts=lambda x: "facts") | QUESTION | model,
    }
    stream = (steps[first] | StrOutputParser()).stream({"question": "why?"}, config)
    next(stream)
    assert transcript(memory) == ["U why?"]
    list(stream)
    assert transcript(memory) == ["U why?", "A one two three"]


@every_mode
def test_s20_retrieved_text_is_not_the_users(mode, memory, config):
    """What a retriever finds goes into the prompt and not into the transcript's question."""
    prompt = ChatPromptTemplate.from_messages([("human", "{context}\n\n{question}")])
    retriever = RunnableLambda(lambda question: f"facts about {question}")
    chain = (
        {"context": retriever, "question": RunnablePassthrough()}
        | prompt
        | ScriptedModel(answers=["yes"])
        | StrOutputParser()
    )
    run(mode, chain, "why?", config)
    assert transcript(memory) == ["U why?", "A yes"]


@every_mode
def test_s21_models_on_the_way_are_no_turns(mode, memory, config):
    """A model that rephrases the question and one that finds a title leave the transcript alone."""
    condense = (
        ChatPromptTemplate.from_messages([("human", "rephrase {question}")])
        | ScriptedModel(answers=["why indeed?"])
        | StrOutputParser()
    )
    answer = (
        ChatPromptTemplate.from_messages([("human", "{question}")])
        | ScriptedModel(answers=["because"])
        | StrOutputParser()
    )
    run(mode, RunnablePassthrough.assign(question=condense) | answer, {"question": "why?"}, config)
    assert transcript(memory) == ["U why?", "A because"]


@every_mode
@pytest.mark.parametrize(
    ("key", "answer"), [(None, '{"a": "AAA", "b": "BBB"}'), ("b", "BBB"), (lambda out: out["a"], "AAA")]
)
def test_s22_several_outputs_are_json_or_the_chosen_one(key, answer, mode, memory):
    """A dictionary of answers is kept whole unless ``output_key`` names the answer."""
    chain = RunnableParallel(a=ScriptedModel(answers=["AAA"]) | StrOutputParser(), b=ScriptedModel(answers=["BBB"]))
    run(
        mode, chain, "go", {"callbacks": [SynapCallbackHandler(memory, output_key=key)], "metadata": {"thread_id": "t"}}
    )
    told = transcript(memory)
    assert told[0] == "U go"
    assert len(told) == 2
    assert told[1] == f"A {answer}" or json.loads(told[1][2:]) == json.loads(answer)


@every_mode
@pytest.mark.parametrize(
    ("key", "said"), [(None, "write about cats in French"), ("topic", "cats"), (lambda x: x["language"], "French")]
)
def test_s23_unknown_inputs_are_read_from_the_prompt_or_the_chosen_key(key, said, mode, memory):
    """Where the inputs do not tell, the rendered prompt is the question, unless ``input_key`` names it."""
    prompt = ChatPromptTemplate.from_messages([("human", "write about {topic} in {language}")])
    chain = prompt | ScriptedModel(answers=["miaou"]) | StrOutputParser()
    handler = SynapCallbackHandler(memory, input_key=key)
    run(mode, chain, {"topic": "cats", "language": "French"}, {"callbacks": [handler], "metadata": {"thread_id": "t"}})
    assert transcript(memory) == [f"U {said}", "A miaou"]


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s24_a_mapped_chain_is_one_turn_per_item(mode, memory):
    """``map`` runs are turns of their own."""
    chain = (QUESTION | ScriptedModel(reply=lambda m: f"re {m[-1].content}") | StrOutputParser()).map()
    run(mode, chain, [{"question": "a"}, {"question": "b"}], {"callbacks": [SynapCallbackHandler(memory)]})
    by_conversation = {}
    for entry in memory.recorded:
        by_conversation.setdefault(entry.scope.conversation_id, []).append(entry.event.content)
    assert sorted(by_conversation.values()) == [["a", "re Q: a"], ["b", "re Q: b"]]


@every_mode
def test_s27_a_failing_parser_leaves_the_question(mode, memory, config):
    """An answer that could not be used is not told as one."""

    def parse(message):
        raise ValueError("not json")

    with pytest.raises(ValueError, match="not json"):
        run(mode, QUESTION | ScriptedModel(answers=["because I say"]) | parse, {"question": "why?"}, config)
    assert transcript(memory) == ["U why?"]


def test_s28_two_streams_side_by_side(memory):
    """Two streams read in turns on one thread, and a call in between, are three turns."""
    handler = SynapCallbackHandler(memory)
    of = lambda name: {"callbacks": [handler], "metadata": {"thread_id": name, "user_id": "u"}}  # noqa: E731
    streams = [
        (QUESTION | ScriptedModel(answers=[f"{n} b c"]) | StrOutputParser()).stream({"question": n}, of(n))
        for n in "xy"
    ]
    for stream in streams:
        next(stream)
    echo().invoke("between", of("z"))
    for _ in range(2):
        for stream in streams:
            next(stream)
    for stream in streams:
        assert "".join(stream) == ""
    assert transcript(memory, "x") == ["U x", "A x b c"]
    assert transcript(memory, "y") == ["U y", "A y b c"]
    assert transcript(memory, "z") == ["U between", "A re: between"]
