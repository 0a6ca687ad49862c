"""Tests of an application: the pytest plugin gives each of them a Synap of its own, and takes it away.

Needs:   pip install pytest, and the extra [server] for the test with an outage
Run:     pytest examples/30_tests_of_an_agent.py
Prints:  3 passed. Nothing is written below your home, and nothing is sent.
"""

from langchain_core.language_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate

from synap_integrations.langchain import SynapCallbackHandler, with_synap_memory

prompt = ChatPromptTemplate.from_messages([("system", "You plan journeys."), ("human", "{question}")])


def ask(question: str, *, conversation: str, answer: str = "Noted.") -> str:
    """The application, with a model that says what it is told to."""
    chain = prompt | with_synap_memory(FakeListChatModel(responses=[answer]))
    config = {"callbacks": [SynapCallbackHandler()], "metadata": {"user_id": "ana", "conversation_id": conversation}}
    return chain.invoke({"question": question}, config=config).content


def test_the_conversation_is_kept(synap):
    ask("I'd like to see Lisbon in June.", conversation="trip", answer="Early flight or late?")
    assert synap.transcript("trip") == [
        ("user", "I'd like to see Lisbon in June."),
        ("assistant", "Early flight or late?"),
    ]
    synap.assert_no_leak()


def test_next_week_knows_what_was_said(synap):
    ask("My sister Carla is afraid of flying.", conversation="monday")
    synap.clock.advance(days=7)
    ask("How do Carla and I get to Lisbon?", conversation="friday")
    shown = [item.content for bundle in synap.pushed() if bundle.used_at for item in bundle.items]
    assert any("afraid of flying" in text for text in shown)


def test_an_outage_costs_no_answer_and_no_turn(synap_server):
    synap_server.faults.refuse()
    assert ask("Is there a train?", conversation="trip", answer="At 6:40.") == "At 6:40."
    synap_server.faults.clear()
    assert synap_server.transcript("trip").texts() == ["Is there a train?", "At 6:40."]
    synap_server.assert_no_leak()
