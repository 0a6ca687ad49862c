"""Finding by meaning with an encoder of the application's: an addition to words, never in their place."""

import array
import math
import threading
import time

import pytest
from encoders import LongerEmbeddings, SenseEmbedding, SenseEmbeddings
from local_synap import Caller, engine_of, items_of

from synap_integrations import Scope, Synap
from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import incidents
from synap_integrations.model import UserMessage
from synap_integrations.ports import Lent
from synap_integrations.server import background
from synap_integrations.server.database import Database
from synap_integrations.server.records import NewTurn, Owner, Place
from synap_integrations.server.retrieval import meaning, vectors
from synap_integrations.server.retrieval.encoders import encoder_of, unit
from synap_integrations.server.retrieval.ranking import CANDIDATES, with_meaning

ANA = Owner("", "ana")
TOLD = ("We adopted a hound from the shelter", "The cabriolet is red", "Supper is at eight", "It rained in Porto")


def tell(engine, *said, owner=ANA, conversation="before"):
    """Record user turns; the last of them."""
    return [
        engine.record(
            NewTurn(owner=owner, conversation_id=f"{conversation}-{number}", role="user", content=content)
        ).turn
        for number, content in enumerate(said)
    ][-1]


def found(engine, question, owner=ANA, **more):
    """What answers the question, best first."""
    return [entry.turn.content for entry in engine.search(owner, [question], limit=4, **more)]


@pytest.fixture
def engine():
    """A Synap in memory that remembers four things."""
    engine = engine_of()
    tell(engine, *TOLD)
    yield engine
    engine.close()


@pytest.fixture
def impatient(monkeypatch):
    """Pauses after faults that a test can wait for, and none of the faults that others left behind."""
    monkeypatch.setattr(background, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(background, "_LONGEST_PAUSE_S", 0.05)
    incidents.clear()
    yield incidents
    incidents.clear()


@pytest.mark.parametrize("encoder", [SenseEmbeddings, SenseEmbedding], ids=["langchain", "llamaindex"])
def test_what_shares_no_word_is_found_by_its_meaning(engine, encoder) -> None:
    """Both frameworks' encoders; without one, nothing is found."""
    assert found(engine, "What is our puppy's name?") == []
    engine.lend(Lent(encoder()))
    assert engine.meaning.drain()
    assert found(engine, "What is our puppy's name?")[0] == TOLD[0]
    assert found(engine, "Which vehicle do I drive?")[0] == TOLD[1]


def test_words_still_count(engine) -> None:
    """Meaning is added to the score by words; it does not replace it."""
    tell(engine, "Rex is a dog", "The dog registration number is 4711", conversation="more")
    engine.lend(Lent(SenseEmbeddings()))
    assert engine.meaning.drain()
    assert found(engine, "dog registration number")[0] == "The dog registration number is 4711"


def test_new_turns_get_their_vectors_by_themselves(engine) -> None:
    """In the background, together with the turn before them."""
    engine.lend(Lent(encoder := SenseEmbeddings()))
    for said in ("We got a canine", "Its name is Rex"):
        engine.record(NewTurn(owner=ANA, conversation_id="now", role="user", content=said))
    assert engine.meaning.drain()
    assert engine.meaning.stats() == {"vectors": 6}
    assert "We got a canine\nIts name is Rex" in encoder.documents
    assert "Its name is Rex" in found(engine, "puppy")[:3]


def test_nobody_is_near_somebody_elses_question(engine) -> None:
    """Vectors belong to one user of one customer, and a conversation's to it."""
    engine.lend(Lent(SenseEmbeddings()))
    tell(engine, "Our canine is called Killer", owner=Owner("acme", "ana"))
    assert engine.meaning.drain()
    assert "Killer" not in str(found(engine, "puppy"))
    assert found(engine, "puppy", owner=Owner("", "bob")) == []
    assert found(engine, "puppy", conversation_id="before-1") == [TOLD[1]]
    assert found(engine, "puppy", conversation_id="nowhere") == []


def test_a_push_brings_what_is_near_in_meaning() -> None:
    """A message without a word in common is answered; one without anything in common is not."""
    synap = Caller()
    synap.engine.lend(Lent(SenseEmbeddings()))
    for number, said in enumerate(TOLD):
        synap.say(said, conversation=f"c{number}")
    assert synap.engine.meaning.drain()
    line = synap.listen()
    line.event("user_message", content="I miss my puppy", event_id="near")
    line.event("user_message", content="quarterly revenue", event_id="far")
    assert TOLD[0] in items_of(line.answer_to("near"))[0].content
    assert items_of(line.answer_to("far")) == []
    synap.platform.close()


def test_a_failing_encoder_leaves_finding_by_words_as_it_was(engine, impatient) -> None:
    """Nothing raises, nothing waits for long, and the fault is counted."""
    before = found(engine, "shelter")
    engine.lend(Lent(SenseEmbeddings(fails=10_000)))
    assert not engine.meaning.drain(0.05)
    assert found(engine, "shelter") == before
    started = time.perf_counter()
    for number in range(20):
        assert found(engine, f"shelter {number}") == before
    assert time.perf_counter() - started < 2
    assert impatient.counts()["synap-embed: ConnectionError"] >= 1


def test_an_encoder_that_recovers_is_used_again(engine, impatient) -> None:
    """After its faults every turn gets its vector."""
    engine.lend(Lent(SenseEmbeddings(fails=3)))
    assert engine.meaning.drain(10)
    assert engine.meaning.stats() == {"vectors": len(TOLD)}


def test_a_text_that_the_encoder_refuses_does_not_keep_others_waiting(engine, impatient) -> None:
    """It is found by its words; everything else has its vector."""
    engine.lend(Lent(SenseEmbeddings(refuses="cabriolet")))
    deadline = time.monotonic() + 10
    while engine.meaning.stats()["vectors"] < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert engine.meaning.drain(10)
    assert engine.meaning.stats() == {"vectors": 3}
    assert found(engine, "cabriolet")[0] == TOLD[1]
    while not found(engine, "meal") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found(engine, "meal")[0] == TOLD[2]


def test_a_slow_encoder_is_waited_for_a_moment_only(engine) -> None:
    """The question that came too late is answered from memory the next time."""
    release = threading.Event()

    class Slow(SenseEmbeddings):
        def embed_query(self, text):
            assert release.wait(10) or True
            return super().embed_query(text)

    engine.lend(Lent(slow := Slow()))
    release.set()
    assert engine.meaning.drain()
    release.clear()
    started = time.perf_counter()
    assert found(engine, "puppy") == []
    assert time.perf_counter() - started < 2
    release.set()
    deadline = time.monotonic() + 10
    while "puppy" not in slow.queries and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found(engine, "puppy")[0] == TOLD[0]
    assert slow.queries.count("puppy") == 1


@pytest.mark.parametrize(
    "other", [SenseEmbeddings(model="senses-2"), LongerEmbeddings()], ids=["another name", "another length"]
)
def test_another_encoder_makes_its_own_vectors(tmp_path, other) -> None:
    """Vectors of two models do not compare: everything is encoded again."""
    for encoder in (SenseEmbeddings(), other, other):
        engine = engine_of(Database(tmp_path / "local.db"))
        if encoder.documents == [] and encoder is not other:
            tell(engine, *TOLD)
        engine.lend(Lent(encoder))
        assert engine.meaning.drain()
        assert found(engine, "puppy")[0] == TOLD[0]
        engine.close()
    assert len(other.documents) == len(TOLD)


def test_a_file_remembers_its_vectors(tmp_path) -> None:
    """What was encoded once is not encoded by the next process."""
    first, second = SenseEmbeddings(), SenseEmbeddings()
    engine = engine_of(Database(tmp_path / "local.db"))
    tell(engine, *TOLD)
    for encoder in (first, second):
        engine.lend(Lent(encoder))
        assert engine.meaning.drain()
        engine.close()
        engine = engine_of(Database(tmp_path / "local.db"))
    engine.close()
    assert (len(first.documents), len(second.documents)) == (4, 0)


def test_what_is_forgotten_is_near_nothing(engine) -> None:
    """A deleted turn has no vector, in the file and in memory."""
    engine.lend(Lent(SenseEmbeddings()))
    assert engine.meaning.drain()
    assert found(engine, "puppy")[0] == TOLD[0]
    with engine.database.write() as db:
        db.execute("DELETE FROM turn WHERE content = ?", (TOLD[0],))
    assert TOLD[0] not in found(engine, "puppy")
    assert engine.meaning.stats() == {"vectors": 3}


def test_what_is_said_after_forgetting_has_vectors_of_its_own(engine) -> None:
    """Rows of what was forgotten are given anew; neither an old vector nor an old mark keeps the new turns away."""
    engine.lend(Lent(SenseEmbeddings()))
    assert engine.meaning.drain()
    assert found(engine, "puppy")[0] == TOLD[0]
    engine.forget(ANA)
    engine.meaning._started_s -= meaning._AGAIN_S
    tell(engine, "It rained in Faro", "Supper is late", "The cabriolet is blue", "We adopted a canine")
    assert engine.meaning.drain()
    assert engine.meaning.stats() == {"vectors": 4}
    assert found(engine, "puppy")[0] == "We adopted a canine"


def test_numpy_changes_nothing_but_the_speed(engine, monkeypatch) -> None:
    """Without it the same turns are found."""
    engine.lend(Lent(SenseEmbeddings()))
    assert engine.meaning.drain()
    fast = engine.near(ANA, "puppy and a car")
    monkeypatch.setattr(vectors, "_HAS_NUMPY", False)
    slow = engine.near(ANA, "puppy and a car")
    assert fast.keys() == slow.keys()
    assert all(math.isclose(fast[place], slow[place], abs_tol=1e-6) for place in fast)


def test_scores_are_added() -> None:
    """Relative to the best by words; a place that is near but has no word joins in, and far ones subtract nothing."""
    ranking = [(Place(1, 1), 8.0), (Place(1, 2), 4.0)]
    near = {Place(1, 2): 1.0, Place(1, 1): -1.0, Place(2, 1): 0.5}
    assert with_meaning(ranking, near) == [(Place(1, 2), pytest.approx(1.2)), (Place(1, 1), 1.0), (Place(2, 1), 0.35)]
    assert len(with_meaning([], {Place(1, at): 1 / at for at in range(1, 1000)})) == CANDIDATES


def test_vectors_have_the_length_of_one() -> None:
    """So that a product is a cosine; nothing at all stays nothing, and what is no number is refused."""
    assert unit([3, 4]) == array.array("f", [0.6, 0.8])
    assert unit([0, 0]) == array.array("f", [0, 0])
    with pytest.raises(ValueError, match="not finite"):
        unit([math.nan])


def test_what_is_no_encoder_is_refused_at_once() -> None:
    """With a sentence that says what is missing; and where there is no embedded Synap to use it."""
    with pytest.raises(InvalidInputError, match="neither embed_documents"):
        encoder_of(object())
    with pytest.raises(InvalidInputError, match="neither embed_documents"):
        Synap(embeddings=object())
    with pytest.raises(InvalidInputError, match="embedded Synap"):
        Synap(client=object(), embeddings=SenseEmbeddings())


def test_an_application_lends_its_encoder(own_storage) -> None:
    """``Synap(embeddings=…)``: what was said in other words is in the context."""
    with Synap(embeddings=(encoder := SenseEmbeddings()), recall_timeout_s=5) as synap:
        for number, said in enumerate(TOLD):
            synap.record(UserMessage(said), scope=Scope(f"c{number}", "ana"))
        assert synap.flush(10)
        deadline = time.monotonic() + 10
        while len(encoder.documents) < len(TOLD) and time.monotonic() < deadline:
            time.sleep(0.01)
        context = synap.recall("Do you remember my puppy?", scope=Scope("now", "ana"))
    assert any(TOLD[0] in item.text for item in context.items)
