"""Graphs and middleware, classic agents and chains: one question, one answer, whatever happens in between."""

import itertools
import operator
import warnings
from dataclasses import dataclass
from typing import Annotated, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.tools import tool
from langchain_models import ScriptedModel, add, calculator, echo, last_human, run, transcript
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, Send
from langgraph_agents import ADDED, GRAPH_MODES, ask, every_mode, make_agent, needs, saver
from pydantic import BaseModel

from synap_integrations.langchain import SynapCallbackHandler

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        from langchain_classic import agents as classic_agents
        from langchain_classic import chains as classic_chains
        from langchain_classic.memory import ConversationBufferMemory
    except ImportError:
        from langchain import agents as classic_agents
        from langchain import chains as classic_chains
        from langchain.memory import ConversationBufferMemory

pytestmark = pytest.mark.usefixtures("no_incidents")


def graph_of(state, *nodes, **options):
    """A graph of one node after the other."""
    graph = StateGraph(state)
    names = [START]
    for node in nodes:
        graph.add_node(node.__name__, node)
        names.append(node.__name__)
    for before, after in itertools.pairwise(names):
        graph.add_edge(before, after)
    graph.add_edge(names[-1], END)
    return graph.compile(**options)


# --- middleware ------------------------------------------------------------------------------------------------------


@needs("create_agent")
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s45_summaries_are_not_told(mode, memory, config):
    """A middleware that summarizes the history adds no turn and no question."""
    from langchain.agents.middleware import SummarizationMiddleware  # noqa: PLC0415 - only in newer versions

    summarizer = ScriptedModel(reply=lambda messages: "SUMMARY")
    middleware = SummarizationMiddleware(model=summarizer, trigger=("messages", 3), keep=("messages", 1))
    agent = make_agent(echo(), [], middleware=[middleware], checkpointer=saver())
    for n in range(4):
        run(mode, agent, ask(f"q{n}"), config)
    assert summarizer.seen
    assert transcript(memory) == [line for n in range(4) for line in (f"U q{n}", f"A re: q{n}")]


@needs("create_agent")
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
@pytest.mark.parametrize("kept", [True, False], ids=["in the state", "for the call"])
def test_s46_added_context_is_not_the_users(kept, mode, memory, config):
    """Messages that middleware puts beside the user's are not the user's."""
    from langchain.agents.middleware import AgentMiddleware  # noqa: PLC0415 - only in newer versions

    class Adds(AgentMiddleware):
        def before_model(self, state, runtime):
            return {"messages": [HumanMessage("by the way: facts")]} if kept else None

        def wrap_model_call(self, request, handler):
            return handler(request if kept else request.override(messages=[*request.messages, HumanMessage("facts")]))

        async def awrap_model_call(self, request, handler):
            return await handler(
                request if kept else request.override(messages=[*request.messages, HumanMessage("facts")])
            )

    agent = make_agent(ScriptedModel(answers=["fine"]), [], middleware=[Adds()])
    run(mode, agent, ask("hi"), config)
    assert transcript(memory) == ["U hi", "A fine"]


@needs("create_agent")
@every_mode
def test_s47_the_answer_is_what_the_user_gets(mode, memory, config):
    """A middleware that rewrites the answer has the last word."""
    from langchain.agents.middleware import AgentMiddleware  # noqa: PLC0415 - only in newer versions

    class Redacts(AgentMiddleware):
        def after_model(self, state, runtime):
            return {"messages": [AIMessage("REDACTED", id=state["messages"][-1].id)]}

    run(mode, make_agent(ScriptedModel(answers=["secret"]), [], middleware=[Redacts()]), ask("hi"), config)
    assert transcript(memory) == ["U hi", "A REDACTED"]


@needs("create_agent")
@every_mode
def test_s47_a_guardrail_answers_itself(mode, memory, config):
    """An agent that never asks its model still answers."""
    from langchain.agents.middleware import AgentMiddleware, hook_config  # noqa: PLC0415 - only in newer versions

    class Refuses(AgentMiddleware):
        @hook_config(can_jump_to=["end"])
        def before_model(self, state, runtime):
            return {"messages": [AIMessage("I cannot help")], "jump_to": "end"}

    run(mode, make_agent(ScriptedModel(), [], middleware=[Refuses()]), ask("hi"), config)
    assert transcript(memory) == ["U hi", "A I cannot help"]


@needs("create_agent")
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
@pytest.mark.parametrize("kind", ["fallback", "retry"])
def test_s48_a_second_attempt_of_the_model_is_one_answer(kind, mode, memory, config):
    """Fallback and retry of a model are not told."""
    from langchain.agents import middleware  # noqa: PLC0415 - only in newer versions

    if kind == "fallback":
        model = ScriptedModel(answers=[ConnectionError("down")])
        extra = middleware.ModelFallbackMiddleware(ScriptedModel(answers=["fine"]))
    else:
        model = ScriptedModel(answers=[ConnectionError("down"), "fine"])
        extra = middleware.ModelRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False)
    run(mode, make_agent(model, [], middleware=[extra]), ask("hi"), config)
    assert transcript(memory) == ["U hi", "A fine"]


# --- graphs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", GRAPH_MODES)
def test_s49_a_hand_over_is_thinking_and_answer(mode, memory, config):
    """Of two agents that speak one after the other, the last one answers."""
    first, second = ScriptedModel(answers=["transferring"]), ScriptedModel(answers=["expert: help"])

    def triage(state: MessagesState):
        return Command(goto="expert", update={"messages": [first.invoke(state["messages"])]})

    def expert(state: MessagesState):
        return {"messages": [second.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("triage", triage, destinations=("expert",))
    graph.add_node("expert", expert)
    graph.add_edge(START, "triage")
    run(mode, graph.compile(), ask("help me"), config)
    assert transcript(memory) == ["U help me", "T transferring", "A expert: help"]


@pytest.mark.parametrize("mode", GRAPH_MODES)
def test_s50_an_agent_as_a_node(mode, memory, config):
    """An agent that is a node of a graph tells the same story as the agent alone."""
    graph = StateGraph(MessagesState)
    graph.add_node("agent", make_agent(calculator(), [add]))
    graph.add_edge(START, "agent")
    run(mode, graph.compile(), ask("1+2?"), config)
    assert transcript(memory) == ADDED


class Question(TypedDict, total=False):
    """A state with names of its own."""

    question: str
    answer: str


class OwnNames(TypedDict, total=False):
    """A state whose names say nothing."""

    sentence: str
    documents: list[str]
    verdict: str


class PydanticState(BaseModel):
    """A state that is validated."""

    question: str
    answer: str = ""


@dataclass
class DataState:
    """A state that is a dataclass."""

    question: str
    answer: str = ""


STATES = {
    "names": (Question, {"question": "why?"}, "answer"),
    "own names": (OwnNames, {"sentence": "why?", "documents": ["d1", "d2"]}, "verdict"),
    "pydantic": (PydanticState, PydanticState(question="why?"), "answer"),
    "pydantic from a dictionary": (PydanticState, {"question": "why?"}, "answer"),
    "dataclass": (DataState, DataState(question="why?"), "answer"),
}


@pytest.mark.parametrize("mode", GRAPH_MODES)
@pytest.mark.parametrize("case", STATES.values(), ids=STATES)
def test_s50_a_state_of_ones_own(case, mode, memory, config):
    """Question and answer are found in states without messages."""
    state, inputs, name = case
    model = ScriptedModel(answers=["because"])

    def think(state):
        return {name: model.invoke("prompt about it").content}

    run(mode, graph_of(state, think), inputs, config)
    assert transcript(memory) == ["U why?", "A because"]


@every_mode
def test_s50_the_functional_api(mode, memory, config):
    """An entrypoint with tasks is one turn."""
    model = ScriptedModel(answers=["because"])

    @task
    def think(question):
        return model.invoke(question).content

    @entrypoint()
    def app(question):
        return think(question).result()

    if mode in ("ainvoke", "astream"):

        @entrypoint()
        async def app(question):
            return await think(question)

    run(mode, app, "why?", config)
    assert transcript(memory) == ["U why?", "A because"]


class Jokes(TypedDict, total=False):
    """A state that is mapped and reduced."""

    topic: str
    subjects: list[str]
    jokes: Annotated[list[str], operator.add]
    best: str


@every_mode
def test_s50_map_and_reduce(mode, memory, config):
    """Models that run side by side on the way are no turns."""
    model = echo()
    graph = StateGraph(Jokes)
    graph.add_node("subjects", lambda state: {"subjects": ["cats", "dogs"]})
    graph.add_node("joke", lambda state: {"jokes": [model.invoke(state["subject"]).content]})
    graph.add_node("best", lambda state: {"best": min(state["jokes"])})
    graph.add_edge(START, "subjects")
    graph.add_conditional_edges("subjects", lambda s: [Send("joke", {"subject": x}) for x in s["subjects"]], ["joke"])
    graph.add_edge("joke", "best")
    run(mode, graph.compile(), {"topic": "animals"}, config)
    assert transcript(memory) == ["U animals", "A re: cats"]


@pytest.mark.parametrize("mode", GRAPH_MODES)
def test_s51_a_graph_that_forgets_its_messages(mode, memory, config):
    """The answer is told although the last node deletes all messages."""
    model = echo()

    def speak(state: MessagesState):
        return {"messages": [model.invoke(state["messages"])]}

    def forget(state: MessagesState):
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES)]}

    run(mode, graph_of(MessagesState, speak, forget), ask("hi"), config)
    assert transcript(memory) == ["U hi", "A re: hi"]


@every_mode
def test_s53_a_handler_on_the_model_alone(mode, memory):
    """A handler that only sees an agent's model still tells the whole turn, tools included."""
    model = calculator()
    model.callbacks = [SynapCallbackHandler(memory)]
    agent = make_agent(model, [add], checkpointer=saver())
    for _ in range(2):
        run(mode, agent, ask("1+2?"), {"configurable": {"thread_id": "t"}})
    assert transcript(memory, "t") == ADDED * 2
    assert {entry.scope.conversation_id for entry in memory.recorded} == {"t"}


# --- classic agents and chains ---------------------------------------------------------------------------------------

classic = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


@classic
@every_mode
def test_s52_agent_executor_with_tools(mode, memory, config):
    """The classic executor tells the same story as the graph."""
    prompt = ChatPromptTemplate.from_messages([("human", "{input}"), MessagesPlaceholder("agent_scratchpad")])
    agent = classic_agents.create_tool_calling_agent(calculator(), [add], prompt)
    executor = classic_agents.AgentExecutor(agent=agent, tools=[add])
    run(mode, executor, {"input": "1+2?"}, config)
    assert transcript(memory) == ADDED


@tool
def lookup(text: str) -> str:
    """Look something up."""
    return f"found {text}"


@classic
@every_mode
def test_s52_agent_that_thinks_in_text(mode, memory, config):
    """A ReAct agent's thought, action and answer are taken from its text."""
    answers = [
        "I should look.\nAction: lookup\nAction Input: cats",
        "I know now.\nFinal Answer: cats purr",
    ]
    template = "{tools} {tool_names}\nQuestion: {input}\nThought:{agent_scratchpad}"
    agent = classic_agents.create_react_agent(
        ScriptedModel(answers=answers), [lookup], PromptTemplate.from_template(template), stop_sequence=False
    )
    executor = classic_agents.AgentExecutor(agent=agent, tools=[lookup])
    run(mode, executor, {"input": "cats?"}, config)
    told = transcript(memory)
    assert told[:2] == ["U cats?", "T I should look."]
    assert told[2].startswith("C lookup(")
    assert told[3:] == ["R lookup=found cats", "A cats purr"]


@classic
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s52_llm_chain(mode, memory, config):
    """The oldest chain of all."""
    prompt = PromptTemplate.from_template("tell about {topic}")
    chain = classic_chains.LLMChain(llm=ScriptedModel(answers=["cats purr"]), prompt=prompt)
    run(mode, chain, {"topic": "cats"}, config)
    assert transcript(memory) == ["U cats", "A cats purr"]


@classic
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s52_conversation_chain(mode, memory, config):
    """A chain with a memory of its own tells new words only."""
    chain = classic_chains.ConversationChain(
        llm=ScriptedModel(reply=lambda m: f"heard {len(last_human(m)) > 0}"), memory=ConversationBufferMemory()
    )
    for text in ("one", "two"):
        run(mode, chain, {"input": text}, config)
    assert transcript(memory) == ["U one", "A heard True", "U two", "A heard True"]


@classic
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s52_retrieval_chain(mode, memory, config):
    """Documents stay out of question and answer."""
    from langchain_core.documents import Document  # noqa: PLC0415 - used here only
    from langchain_core.retrievers import BaseRetriever  # noqa: PLC0415 - used here only

    class Finds(BaseRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            return [Document("a fact")]

    prompt = ChatPromptTemplate.from_messages([("system", "{context}"), ("human", "{input}")])
    documents = classic_chains.combine_documents.create_stuff_documents_chain(ScriptedModel(answers=["so"]), prompt)
    run(mode, classic_chains.create_retrieval_chain(Finds(), documents), {"input": "why?"}, config)
    assert transcript(memory) == ["U why?", "A so"]
