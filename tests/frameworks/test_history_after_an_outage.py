"""A platform is down when a conversation's earlier turns are first read, and up at a later turn: over real sockets, by
every class that shows a history.
"""

import pytest
from faultproxy import PASS, REFUSE, FaultProxy

from synap_integrations import Scope, Synap
from synap_integrations.context.render import without_context
from synap_integrations.guard import incidents
from synap_integrations.model import AssistantMessage, RecentTurn, UserMessage
from synap_integrations.ports import Answer
from synap_integrations.runtime import earlier_turns
from synap_integrations.testing import FakeMemory

EARLIER = [("user", "I fly to Lisbon."), ("assistant", "Have fun.")]
TURNS = [("user", "With Carla."), ("assistant", "Nice."), ("user", "In May."), ("assistant", "Sunny.")]
WHOSE = {"user_id": "ana", "conversation_id": "trip"}
MASKS = pytest.mark.parametrize("mask", [None, lambda text: text.replace("Carla", "[name]")], ids=["plain", "masked"])
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:RunnableWithMessageHistory is deprecated")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """The next turn is late enough for another question."""
    monkeypatch.setattr(earlier_turns, "_FIRST_PAUSE_S", 0.0)
    yield
    incidents.clear()


def told(prompt):
    """A prompt as (role, text), without context."""
    roles = {"human": "user", "ai": "assistant"}
    said = [(roles.get(role, role), without_context(text).strip()) for role, text in prompt]
    return [(role, text) for role, text in said if text]


def langchain(name):
    """Turns of a chain with this history, with a new history object for each."""

    def talk(synap, said, answer):
        pytest.importorskip("langchain_core")
        from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder  # noqa: PLC0415 - optional
        from langchain_core.runnables.history import RunnableWithMessageHistory  # noqa: PLC0415
        from langchain_models import WholeModel  # noqa: PLC0415

        from synap_integrations import langchain as island  # noqa: PLC0415

        model = WholeModel(answers=[answer])
        talking = RunnableWithMessageHistory(
            ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{input}")]) | model,
            lambda _: getattr(island, name)(synap=synap, **WHOSE),
            input_messages_key="input",
            history_messages_key="history",
        )
        handler = island.SynapCallbackHandler(synap, **WHOSE)
        talking.invoke({"input": said}, {"configurable": {"session_id": "trip"}, "callbacks": [handler]})
        return [(message.type, str(message.content)) for message in model.seen[-1]]

    return talk


def agent(synap, said, answer):
    """Runs of an agent without a checkpointer, with a new middleware for each."""
    pytest.importorskip("langchain.agents.middleware")
    from langchain.agents import create_agent  # noqa: PLC0415 - optional
    from langchain_models import WholeModel  # noqa: PLC0415

    from synap_integrations.langchain import SynapHistoryMiddleware  # noqa: PLC0415

    model = WholeModel(answers=[answer])
    history = SynapHistoryMiddleware(synap=synap, **WHOSE)
    create_agent(model, [], middleware=[history]).invoke({"messages": [("user", said)]})
    return [(message.type, str(message.content)) for message in model.seen[-1]]


def engine(synap, said, answer):
    """Turns of a LlamaIndex engine, with a new memory object for each."""
    pytest.importorskip("llama_index.core")
    from llamaindex_models import ScriptedLLM  # noqa: PLC0415 - optional
    from llamaindex_world import simple  # noqa: PLC0415

    from synap_integrations.llamaindex import SynapMemory  # noqa: PLC0415

    simple(llm := ScriptedLLM(answer), SynapMemory(synap, **WHOSE)).chat(said)
    return [(role, content or "") for role, content in llm.asked[-1]]


def say_earlier(platform, tmp_path):
    """What was said before, by a process that could reach the platform."""
    with Synap(**platform.address, storage_path=tmp_path / "earlier") as synap:
        for role, text in EARLIER:
            event = UserMessage(text) if role == "user" else AssistantMessage(text)
            synap.record(event, scope=Scope(WHOSE["conversation_id"], WHOSE["user_id"]))
        assert synap.flush(20)


@MASKS
@pytest.mark.parametrize(
    "talk",
    [langchain("SynapMemory"), langchain("SynapChatMessageHistory"), engine],
    ids=["SynapMemory", "SynapChatMessageHistory", "llamaindex"],
)
def test_earlier_turns_come_when_the_platform_is_back(talk, mask, synap_platform, tmp_path):
    """Turns during the outage have what was said in them; the first one after it has the turns of before as well, each
    once, although the platform tells of all by then, and in other words where a mask was at work.
    """
    say_earlier(synap_platform, tmp_path)
    with FaultProxy(synap_platform.rest_port) as rest, FaultProxy(synap_platform.grpc_port) as stream:
        rest.usual = stream.usual = REFUSE
        ports = {"base_url": f"http://127.0.0.1:{rest.port}", "grpc_port": stream.port}
        with Synap(**synap_platform.address | ports, mask=mask, lookup_timeout_s=30.0) as synap:
            assert told(talk(synap, "With Carla.", "Nice.")) == TURNS[:1]
            assert told(talk(synap, "In May.", "Sunny.")) == TURNS[:3]
            rest.usual = stream.usual = PASS
            assert synap.flush(60)
            assert told(talk(synap, "Where?", "Lisbon.")) == [*EARLIER, *TURNS, ("user", "Where?")]
            reads = sum("context-for-prompt" in path for path in synap_platform.paths())
            assert told(talk(synap, "Sure?", "Yes."))[-2:] == [("assistant", "Lisbon."), ("user", "Sure?")]
            assert sum("context-for-prompt" in path for path in synap_platform.paths()) == reads == 1
            assert synap.flush(60)
    assert len(synap_platform.contents()) == len(EARLIER) + len(TURNS) + 4


def test_an_agent_asks_at_each_of_its_turns(synap_platform, tmp_path):
    """`SynapHistoryMiddleware` keeps nothing from one turn to the next: after an outage all turns are there."""
    say_earlier(synap_platform, tmp_path)
    with FaultProxy(synap_platform.rest_port) as rest, FaultProxy(synap_platform.grpc_port) as stream:
        rest.usual = stream.usual = REFUSE
        ports = {"base_url": f"http://127.0.0.1:{rest.port}", "grpc_port": stream.port}
        with Synap(**synap_platform.address | ports, lookup_timeout_s=30.0) as synap:
            assert told(agent(synap, "With Carla.", "Nice.")) == TURNS[:1]
            rest.usual = stream.usual = PASS
            assert synap.flush(60)
            assert told(agent(synap, "Where?", "Lisbon.")) == [*EARLIER, *TURNS[:2], ("user", "Where?")]


@pytest.mark.parametrize("talk", [langchain("SynapMemory"), engine], ids=["langchain", "llamaindex"])
def test_an_outage_costs_one_wait(talk, monkeypatch):
    """Until the pause is over nobody is asked again, in this conversation and in others; a refusal that nothing will
    change is final.
    """
    from synap_integrations import InvalidInputError, NetworkTimeoutError  # noqa: PLC0415 - beside their use

    monkeypatch.setattr(earlier_turns, "_FIRST_PAUSE_S", 600.0)
    memory = FakeMemory(answer=Answer(fault=NetworkTimeoutError("down")))
    for at in range(3):
        talk(memory, f"q{at}", f"a{at}")
    assert len(memory.asked) == 1
    memory = FakeMemory(answer=Answer(fault=InvalidInputError("never")))
    monkeypatch.setattr(earlier_turns, "_FIRST_PAUSE_S", 0.0)
    for at in range(3):
        talk(memory, f"q{at}", f"a{at}")
    assert len(memory.asked) == 1


@pytest.mark.parametrize("talk", [langchain("SynapMemory"), engine], ids=["langchain", "llamaindex"])
@pytest.mark.parametrize("arrived", range(5))
def test_turns_that_have_arrived_in_part_stand_once(talk, arrived):
    """However many of the turns of this process the platform knows when it can tell again."""
    from synap_integrations import NetworkTimeoutError  # noqa: PLC0415 - beside its use

    memory = FakeMemory(answer=Answer(fault=NetworkTimeoutError("down")))
    for (_, said), (_, answer) in (TURNS[:2], TURNS[2:]):
        talk(memory, said, answer)
    memory.answer = Answer(turns=tuple(RecentTurn(*turn, None) for turn in [*EARLIER, *TURNS[:arrived]]))
    assert told(talk(memory, "Where?", "Lisbon.")) == [*EARLIER, *TURNS, ("user", "Where?")]
