"""What agents of LlamaIndex ask a human, and what is answered: turns of their own, once and in order."""

import asyncio
import json

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.workflow import Context, Event, HumanResponseEvent, InputRequiredEvent
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import WORKFLOWS, transcript

from synap_integrations.llamaindex import SynapCallbackHandler, SynapMemory
from synap_integrations.testing import FakeMemory

pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

STEPS_RUN_AGAIN = WORKFLOWS >= (2, 9)
"""Whether a step that waited is run again from its beginning."""
LONG_S = 60


@pytest.fixture
def sink():
    return FakeMemory()


@pytest.fixture
def memory(sink):
    return SynapMemory(sink, user_id="ana", conversation_id="c1")


def asks(ctx, question, **wait):
    """A tool's wait for a human."""
    asked = InputRequiredEvent(prefix=question)
    return ctx.wait_for_event(HumanResponseEvent, waiter_event=asked, **wait)


async def delete(ctx: Context, what: str) -> str:
    """Delete something, if the human agrees."""
    answer = await asks(ctx, f"Really delete {what}?", waiter_id="sure")
    return f"human said {answer.response}"


async def book(ctx: Context) -> str:
    """Book what the human wants.

    Newer workflows hand an answer to every wait of a call that it fits, also to those that were answered before.
    """
    city = await asks(ctx, "Which city?", waiter_id="city", requirements={"about": "city"})
    day = await asks(ctx, "Which day?", waiter_id="day", requirements={"about": "day"})
    return f"{city.response} on {day.response}"


async def chat(ctx: Context) -> str:
    """Ask twice, whatever the answers are for."""
    await asks(ctx, "Which city?", waiter_id="city")
    await asks(ctx, "Which day?", waiter_id="day")
    return "asked"


CHATTED = ["U go", "C chat {}", "A Which city?", "U Paris", "A Which day?", "U Monday", "T asked", "A done"]


def calling(name, arguments=None, call_id="c"):
    return Say("", calls=[(call_id, name, arguments or {})])


def function_agent(tool, arguments=None, **given):
    """An agent that calls the tool with these arguments, or that only has to come to its end."""
    script = ["done"] if arguments is None else [calling(tool.__name__, arguments), "done"]
    return FunctionAgent(llm=ScriptedLLM(*script), tools=[tool], **given)


def react_agent(tool, arguments=None):
    acts = f"Thought: I need it\nAction: {tool.__name__}\nAction Input: {json.dumps(arguments)}"
    script = ["Thought: I know\nAnswer: done"] if arguments is None else [acts, "Thought: I know\nAnswer: done"]
    return ReActAgent(llm=ScriptedLLM(*script, calling=False), tools=[tool])


def workflow(tool, arguments=None):
    clerk = function_agent(tool, arguments, name="B", description="clerk")
    return AgentWorkflow(agents=[clerk], root_agent="B")


AGENTS = {"FunctionAgent": function_agent, "ReActAgent": react_agent, "AgentWorkflow": workflow}
every_agent = pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)


def told(sink):
    """What was recorded, reasoning and the ids of calls left out."""
    lines = [line for line in transcript(sink) if line[0] not in "RN"]
    return [" ".join([line[0], *line.split()[2:]]) if line[0] in "CT" else line for line in lines]


async def converse(handler, answers):
    """Answer each question of a run, until it is over."""
    async with asyncio.timeout(LONG_S):
        async for event in handler.stream_events():
            if isinstance(event, InputRequiredEvent):
                for answer in answers.get(event.get("prefix", None), ()):
                    handler.ctx.send_event(answer)
        await handler


def reply(words, **beside):
    return [HumanResponseEvent(response=words, **beside)]


async def stopped_at(handler, question, answers):
    """A run that asks this question, as it was written down before it was given up."""
    written = ""
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            asked = event.get("prefix", None)
            if asked == question:
                written = json.dumps(handler.ctx.to_dict())
                await handler.cancel_run()
                break
            for answer in answers[asked]:
                handler.ctx.send_event(answer)
    await asyncio.gather(handler, return_exceptions=True)
    return written


@every_agent
async def test_a_question_and_its_answer_are_turns(agent, sink, memory):
    """As with LangGraph's interrupts, and although the tool repeats the answer."""
    run = agent(delete, {"what": "db"}).run("delete the db", memory=memory)
    await converse(run, {"Really delete db?": reply("yes, go ahead")})
    assert told(sink) == [
        "U delete the db", "C delete {'what': 'db'}", "A Really delete db?", "U yes, go ahead",
        "T human said yes, go ahead", "A done",
    ]  # fmt: skip


BOOKED = ["U book", "C book {}", "A Which city?", "U Paris", "A Which day?", "U Monday", "T Paris on Monday", "A done"]


@every_agent
async def test_several_questions(agent, sink, memory):
    """One tool asks twice: all of it once and in order, however often the tool is run from its beginning."""
    run = agent(book, {}).run("book", memory=memory)
    await converse(run, {"Which city?": reply("Paris", about="city"), "Which day?": reply("Monday", about="day")})
    assert told(sink) == BOOKED


@every_agent
async def test_a_context_is_written_down_at_the_question(agent, sink, memory):
    """The run is given up at the question and goes on from JSON: the question is not told again, the answer is."""
    written = await stopped_at(agent(delete, {"what": "db"}).run("go", memory=memory), "Really delete db?", {})
    assert told(sink) == ["U go", "C delete {'what': 'db'}", "A Really delete db?"]
    later = agent(delete)
    context = Context.from_dict(later, json.loads(written))
    done = later.run(ctx=context)
    context.send_event(reply("yes")[0])
    await asyncio.wait_for(done, LONG_S)
    assert told(sink)[3:] == ["U yes", "T human said yes", "A done"]


@pytest.mark.skipif(not STEPS_RUN_AGAIN, reason="older workflows forget what a tool did before it was resumed")
@every_agent
async def test_a_resumed_call_asks_once_more(agent, sink, memory):
    """What was asked before the run was given up is not told again, and what is asked later is told."""
    written = await stopped_at(agent(chat, {}).run("go", memory=memory), "Which city?", {})
    assert told(sink) == CHATTED[:3]
    later = agent(chat)
    context = Context.from_dict(later, json.loads(written))
    done = later.run(ctx=context)
    context.send_event(reply("Paris")[0])
    await converse(done, {"Which day?": reply("Monday")})
    assert told(sink) == CHATTED


async def test_without_a_memory(sink):
    """A handler alone hears questions and answers as well; once it has let go, the framework is as it was."""
    before = vars(Context)["wait_for_event"], vars(Context)["write_event_to_stream"]
    handler = SynapCallbackHandler(sink, conversation_id="c")
    run = function_agent(delete, {"what": "db"}).run("go")
    await converse(run, {"Really delete db?": reply("no")})
    handler.detach()
    assert told(sink)[2:4] == ["A Really delete db?", "U no"]
    run = function_agent(delete, {"what": "db"}).run("go")
    await converse(run, {"Really delete db?": reply("no")})
    assert len(told(sink)) == 6
    assert before == (vars(Context)["wait_for_event"], vars(Context)["write_event_to_stream"])


async def test_a_question_written_to_the_stream(sink, memory):
    """A tool may write its question to the stream itself, and then wait."""

    async def confirm(ctx: Context) -> str:
        """Ask the human."""
        ctx.write_event_to_stream(InputRequiredEvent(prefix="Sure?"))
        return (await ctx.wait_for_event(HumanResponseEvent)).response

    run = function_agent(confirm, {}).run("go", memory=memory)
    await converse(run, {"Sure?": reply("yes")})
    assert told(sink) == ["U go", "C confirm {}", "A Sure?", "U yes", "T yes", "A done"]


class Form(InputRequiredEvent):
    """A question of the application's own."""

    text: str
    who: str = ""


class Decision(Event):
    """An answer of the application's own."""

    approved: bool = True
    remark: str = ""


@pytest.mark.parametrize(
    ("asked", "answer", "lines"),
    [
        (Form(text="Sure?"), Decision(remark="why not"), ["U why not"]),
        (
            InputRequiredEvent(question="Sure?"),
            HumanResponseEvent(text="yes"),
            ["A Sure?", "U yes"],
        ),
        (InputRequiredEvent(a="x", b="y"), HumanResponseEvent(response=True), []),
        (None, HumanResponseEvent(response={"approved": True}), []),
        (None, Decision(remark="not a human's"), []),
    ],
    ids=["other classes", "other fields", "no words", "a decision", "no human"],
)
async def test_only_words_are_utterances(asked, answer, lines, sink, memory):
    """Words of the usual field, or the only words there are; decisions and events of the program's own are none."""
    waiting = asyncio.Event()

    async def confirm(ctx: Context) -> str:
        """Ask the human."""
        waiting.set()
        await ctx.wait_for_event(type(answer), waiter_event=asked)
        return "heard"

    run = function_agent(confirm, {}).run("go", memory=memory)
    await asyncio.wait_for(waiting.wait(), LONG_S)
    await asyncio.sleep(0.2)  # the wait itself begins after the tool
    run.ctx.send_event(answer)
    await asyncio.wait_for(run, LONG_S)
    assert told(sink) == ["U go", "C confirm {}", *lines, "T heard", "A done"]


async def test_whom_a_question_is_for(sink, memory):
    """What a wait requires of its answer is no part of the words, and other people's answers are not heard."""

    async def confirm(ctx: Context) -> str:
        """Ask one human."""
        asked = InputRequiredEvent(prefix="Sure?", user_name="ana")
        wait = ctx.wait_for_event(HumanResponseEvent, waiter_event=asked, requirements={"user_name": "ana"})
        return (await wait).get("text")

    run = function_agent(confirm, {}).run("go", memory=memory)
    others = HumanResponseEvent(text="no", user_name="ben")
    await converse(run, {"Sure?": [others, HumanResponseEvent(text="yes", user_name="ana")]})
    assert told(sink) == ["U go", "C confirm {}", "A Sure?", "U yes", "T yes", "A done"]


async def test_several_questions_that_any_answer_fits(sink, memory):
    """Where nothing says which question an answer is for, question and answer are told in the order they were given."""
    run = function_agent(chat, {}).run("go", memory=memory)
    await converse(run, {"Which city?": reply("Paris"), "Which day?": reply("Monday")})
    assert told(sink) == CHATTED


async def test_one_answer_to_two_questions(sink, memory):
    """Two tools ask at once, and one answer serves both: each question once, the answer once."""
    both = Say("", calls=[("c1", "delete", {"what": "a"}), ("c2", "erase", {"what": "b"})])

    async def erase(ctx: Context, what: str) -> str:
        """Erase something."""
        return (await asks(ctx, f"Really erase {what}?", waiter_id="erase")).response

    run = FunctionAgent(llm=ScriptedLLM(both, "done"), tools=[delete, erase]).run("go", memory=memory)
    questions = 0
    async for event in run.stream_events():
        if isinstance(event, InputRequiredEvent):
            questions += 1
            if questions == 2:
                run.ctx.send_event(reply("yes")[0])
    await run
    said = [line for line in told(sink) if line[0] in "UA"]
    assert [said[0], sorted(said[1:3]), *said[3:]] == [
        "U go", ["A Really delete a?", "A Really erase b?"], "U yes", "A done"
    ]  # fmt: skip


async def test_runs_side_by_side(sink):
    """Thirty agents ask at once: every question and answer stands in its own conversation."""

    async def one(name):
        memory = SynapMemory(sink, user_id=name, conversation_id=name)
        run = function_agent(delete, {"what": name}).run("go", memory=memory)
        await converse(run, {f"Really delete {name}?": reply(f"yes, {name}")})

    names = [f"c{at}" for at in range(30)]
    await asyncio.gather(*[one(name) for name in names])
    for name in names:
        said = [line for line in transcript(sink, name) if line[0] in "UA"]
        assert said == ["U go", f"A Really delete {name}?", f"U yes, {name}", "A done"]


async def test_the_same_question_in_two_calls(sink, memory):
    """Calls that ask in the same words, one after another, are two questions with two answers."""
    llm = ScriptedLLM(calling("delete", {"what": "a"}, "c1"), calling("delete", {"what": "a"}, "c2"), "done")
    run = FunctionAgent(llm=llm, tools=[delete]).run("go", memory=memory)
    await converse(run, {"Really delete a?": reply("yes")})
    asked = ["C delete {'what': 'a'}", "A Really delete a?", "U yes", "T human said yes"]
    assert told(sink) == ["U go", *asked, *asked, "A done"]
