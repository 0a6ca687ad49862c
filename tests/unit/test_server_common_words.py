"""Finding in the memory of somebody who has said very much: fewer turns are ranked, the same are found."""

import itertools

import pytest
from local_synap import engine_of

from synap_integrations.server.records import NewTurn, Owner
from synap_integrations.server.retrieval import common_words
from synap_integrations.server.retrieval.common_words import CommonWords, share
from synap_integrations.server.retrieval.ranking import counting, expression

ANA = Owner("", "ana")
PLACES = ("lisbon", "porto", "faro", "evora", "braga", "sintra", "nazare")


@pytest.fixture
def engine(monkeypatch):
    """Somebody who said "weather" in all of 700 turns, each city in a hundred, and "umbrella" three times."""
    monkeypatch.setattr(common_words, "LARGE", 100)
    monkeypatch.setattr(common_words, "MOST_RANKED", 120)
    engine = engine_of()
    cities = itertools.cycle(PLACES)
    turns = [f"the weather in {next(cities)} number{n}{' umbrella' if n % 300 == 7 else ''}" for n in range(700)]
    engine.record_all([NewTurn(owner=ANA, conversation_id="c", role="user", content=content) for content in turns])
    yield engine
    engine.database.close()


def split(engine, *words):
    """The words to look for, and those that only count."""
    with engine.database.read() as db:
        return CommonWords().split(db, words, owner=1, turns=share(db, 1)[0])


def test_common_words_only_count_in_the_score(engine) -> None:
    """The rarest is looked for in any case, more as long as they do not name too many turns."""
    assert split(engine, "weather", "lisbon", "umbrella") == (["umbrella", "lisbon"], ["weather"])
    assert split(engine, "weather", "lisbon", "porto") == (["lisbon"], ["weather", "porto"])
    assert split(engine, "weather") == (["weather"], [])
    assert split(engine, "zebra", "weather") == (["zebra", "weather"], [])


def test_the_same_is_found_as_with_every_word(engine, monkeypatch) -> None:
    """Turns that hold a rare word come in the same order, with the scores of all their words."""
    words = ["weather", "lisbon", "umbrella"]
    fewer = engine.store.search(ANA, words, limit=20)
    monkeypatch.setattr(common_words, "LARGE", 10_000)
    every = engine.store.search(ANA, words, limit=20)
    assert [hit.place for hit in fewer] == [hit.place for hit in every]
    assert [hit.score for hit in fewer] == pytest.approx([hit.score for hit in every])


def test_somebody_who_said_little_is_searched_for_every_word(monkeypatch) -> None:
    """There, ranking everything costs nothing."""
    engine = engine_of()
    engine.record(NewTurn(owner=ANA, conversation_id="c", role="user", content="weather"))
    assert split(engine, "weather", "lisbon") == (["weather", "lisbon"], [])
    engine.database.close()


def test_counts_grow_with_what_is_said(engine) -> None:
    """A word that has become common is looked for no more."""
    counted = CommonWords()
    with engine.database.read() as db:
        assert counted.split(db, ["umbrella", "lisbon"], owner=1, turns=share(db, 1)[0]) == (["umbrella", "lisbon"], [])
    engine.record_all([NewTurn(owner=ANA, conversation_id="d", role="user", content="umbrella") for _ in range(200)])
    with engine.database.read() as db:
        assert counted.split(db, ["umbrella", "lisbon"], owner=1, turns=share(db, 1)[0]) == (["lisbon"], ["umbrella"])


def test_besides_widens_nothing() -> None:
    """Whose it is, is asked in any case."""
    found = counting(expression(["a"], owner=7), ["b"], owner=7)
    assert found == 'owner:"7" AND {speaker body}:("a") AND (owner:"7" OR {speaker body}:("b"))'


@pytest.mark.parametrize("words", [["lisbon", "umbrella"], ["weather", "porto"], ["zebra"]], ids=" ".join)
def test_who_said_most_finds_the_same_as_who_said_little(engine, words) -> None:
    """Whether whose a turn is, is a word of the query or looked at afterwards: the same turns, nobody else's."""
    alone = engine.store.search(ANA, words, limit=20)
    cities = itertools.cycle(PLACES)
    turns = [f"the weather in {next(cities)} umbrella" for _ in range(1_000)]
    engine.record_all(
        [NewTurn(owner=Owner("", "rui"), conversation_id="c", role="user", content=said) for said in turns]
    )
    with engine.database.read() as db:
        assert [share(db, owner) for owner in (1, 2)] == [(700, False), (1_000, True)]
    among = engine.store.search(ANA, words, limit=20)
    assert {hit.place.conversation for hit in among} <= {1}
    assert len(among) == len(alone)
    assert {hit.place.conversation for hit in engine.store.search(Owner("", "rui"), words, limit=20)} <= {2}


def test_nothing_of_others_comes_up_in_the_search_of_who_said_most(engine) -> None:
    """Of two people in one file, the one with most of the turns is still shown only their own."""
    other = NewTurn(owner=Owner("", "rui"), conversation_id="r", role="user", content="umbrella umbrella umbrella")
    engine.record(other)
    with engine.database.read() as db:
        assert share(db, 1) == (700, True)
    found = engine.store.search(ANA, ["umbrella"], limit=20)
    assert len(found) == 3
    assert {hit.place.conversation for hit in found} == {1}
