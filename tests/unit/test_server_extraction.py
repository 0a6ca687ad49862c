"""A chat model that reads along: notes beside turns, each with the turns it rests on, and nothing when it fails."""

import json
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LLMMetadata
from llama_index.core.llms import CustomLLM
from local_synap import Clock, engine_of

from synap_integrations import Synap
from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import incidents
from synap_integrations.ports import Lent
from synap_integrations.server import background
from synap_integrations.server.database import Database
from synap_integrations.server.embedded import LocalSynap
from synap_integrations.server.extraction.passages import Extraction, Passage, extractor_of, reading_of
from synap_integrations.server.inspector.pages import Ask, Pages
from synap_integrations.server.inspector.surroundings import Outside
from synap_integrations.server.records import Happening, NewTurn, Owner

ANA = Owner("", "ana")
MOVED = {"facts": [{"content": "Ana lives in Porto", "about": "home", "source_turn_ids": [1]}]}


class Scripted:
    """A function of a passage that answers from a script, the last line again and again; every passage is kept."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.passages: list[Passage] = []

    def __call__(self, passage: Passage) -> object:
        """The next answer; an exception is raised."""
        self.passages.append(passage)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(passage) if callable(answer) else answer


class StructuredChatModel(GenericFakeChatModel):
    """A LangChain chat model that keeps to a shape, as providers' do."""

    def with_structured_output(self, schema, **_):
        """Its text, read as the shape."""
        return self | (lambda message: schema.model_validate_json(message.content))


class StructuredLLM(CustomLLM):
    """A LlamaIndex LLM; the framework itself makes it keep to a shape."""

    text: str

    @property
    def metadata(self) -> LLMMetadata:
        """It has no tools."""
        return LLMMetadata()

    def complete(self, prompt, formatted=False, **_):
        """Always the same."""
        return CompletionResponse(text=self.text)

    def stream_complete(self, prompt, formatted=False, **_):
        """Always the same."""
        yield self.complete(prompt)

    def chat(self, messages, **_):
        """Always the same."""
        return ChatResponse(message=ChatMessage(role="assistant", content=self.text))


def tell(engine, count, *, conversation="c", owner=ANA, start=0):
    """Record so many user turns."""
    for number in range(start, start + count):
        engine.record(NewTurn(owner=owner, conversation_id=conversation, role="user", content=f"remark {number}"))


def noted(engine, owner=ANA):
    """What a model noted about somebody, newest first."""
    return [stated.statement for stated in engine.statements(owner) if stated.statement.extraction == "model"]


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock(datetime(2026, 3, 4, 12, tzinfo=UTC))


@pytest.fixture
def engine(clock):
    """A Synap in memory."""
    engine = engine_of(clock=clock)
    yield engine
    engine.close()


@pytest.fixture
def impatient(monkeypatch):
    """Pauses after faults that a test can wait for, and none of the faults that others left behind."""
    monkeypatch.setattr(background, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(background, "_LONGEST_PAUSE_S", 0.02)
    incidents.clear()
    yield incidents
    incidents.clear()


@pytest.mark.parametrize(
    "model",
    [
        StructuredChatModel(messages=iter([AIMessage(json.dumps(MOVED))])),
        StructuredLLM(text=json.dumps(MOVED)),
        lambda passage: MOVED,
        lambda passage: json.dumps(MOVED),
        lambda passage: Extraction.model_validate(MOVED),
    ],
    ids=["langchain", "llamaindex", "mapping", "json", "extraction"],
)
def test_any_chat_model_can_read(engine, model) -> None:
    """LangChain's and LlamaIndex's by their own structured output, and plain functions."""
    engine.lend(Lent(extractor=model))
    tell(engine, 10)
    assert engine.reader.drain()
    (statement,) = noted(engine)
    assert (statement.kind, statement.slot, statement.content) == ("facts", "home", "Ana lives in Porto")
    assert [source.message_id for source in statement.sources] == [engine.transcript("c")[0].message_id]
    assert len(engine.transcript("c")) == 10


def test_a_passage_is_read_at_ten_turns_when_quiet_and_when_its_session_ends(engine, clock) -> None:
    """Not before, and never twice."""
    engine.lend(Lent(extractor=(model := Scripted({}))))

    def read() -> list[int]:
        engine.reader.wake()
        assert engine.reader.drain()
        return [len(passage.turns) for passage in model.passages]

    tell(engine, 9)
    assert read() == []
    tell(engine, 1)
    assert read() == [10]
    tell(engine, 3)
    assert read() == [10]
    clock.advance(seconds=31)
    assert read() == [10, 3]
    tell(engine, 2)
    engine.end_session("s", "c")
    assert read() == [10, 3, 2]
    tell(engine, 1, conversation="other")
    assert read() == [10, 3, 2]


def test_notes_without_a_turn_are_dropped(engine) -> None:
    """A made-up source, none at all, an empty sentence and what is known already: nothing is stored of them."""
    answer = {
        "facts": [
            {"content": "a", "source_turn_ids": [99]},
            {"content": "b", "source_turn_ids": []},
            {"content": " ", "source_turn_ids": [1]},
            {"content": "Ana has a dog", "source_turn_ids": [2, "3", 99]},
        ],
        "preferences": [{"content": "c", "source_turn_ids": ["no such id"]}],
    }
    engine.lend(Lent(extractor=Scripted(answer)))
    tell(engine, 10)
    assert engine.reader.drain()
    (statement,) = noted(engine)
    assert (statement.content, len(statement.sources)) == ("Ana has a dog", 2)
    assert engine.reader.stats()["dropped"] == 4


def test_an_event_has_its_day(engine) -> None:
    """A date that is none is no date; the event stays."""
    events = [
        {"content": "Ana flies to Rome", "event_date": "2026-05-07", "source_turn_ids": [1]},
        {"content": "Ana marries", "event_date": "soon", "source_turn_ids": [1]},
    ]
    engine.lend(Lent(extractor=Scripted({"temporal_events": events})))
    tell(engine, 10)
    assert engine.reader.drain()
    marries, flies = noted(engine)
    assert flies.when.start == datetime(2026, 5, 7, tzinfo=UTC)
    assert flies.when.end - flies.when.start == timedelta(days=1)
    assert marries.when is None


def test_the_health_page_shows_what_reading_has_cost(engine) -> None:
    """Before a model is lent the page says so; then it says how much of its tokens is spent, and when that is all."""
    pages = Pages(LocalSynap(engine.database, ":memory:", engine=engine), Outside())
    assert "None is lent to this process." in pages.health(Ask())
    engine.lend(Lent(extractor=Scripted({}, MOVED), extraction_tokens=1))
    tell(engine, 10)
    assert engine.reader.drain()
    spent = engine.reader.stats()
    assert spent["tokens"] > 1
    page = " ".join(re.sub(r"<[^>]+>", " ", pages.health(Ask())).split())
    assert f"extractor {spent['tokens']:,} of 1 tokens, estimated" in page
    assert "spent: it reads no more" in page
    assert f"passages {spent['passages']}" in page


def test_what_no_longer_holds_is_superseded(engine) -> None:
    """The model is shown what is known, and only that it can withdraw; somebody else's it cannot."""
    tell(engine, 10, owner=Owner("", "bob"), conversation="bobs")

    def second(passage):
        (home,) = [statement.statement_id for statement in passage.known]
        return {
            "facts": [{"content": "Ana lives in Faro", "about": "home", "source_turn_ids": [1]}],
            "supersedes": [home, "id-of-nobody"],
        }

    engine.lend(Lent(extractor=Scripted({}, MOVED, second)))
    assert engine.reader.drain()
    for batch in range(2):
        tell(engine, 10, start=10 * batch)
        assert engine.reader.drain()
    assert [statement.content for statement in noted(engine)] == ["Ana lives in Faro"]
    assert engine.reader.stats()["superseded"] == 1
    assert engine.search(ANA, ["Porto"], limit=5) == []


def test_a_model_that_fails_leaves_everything_as_it_was(engine, impatient) -> None:
    """Nothing raises, turns are stored and found; after three attempts the passage is passed over."""
    engine.lend(Lent(extractor=(model := Scripted(ConnectionError("away")))))
    tell(engine, 10)
    assert engine.reader.drain()
    assert len(model.passages) == 3
    assert noted(engine) == []
    assert len(engine.search(ANA, ["remark"], limit=20)) == 10
    assert impatient.counts() == {"synap-extract: ConnectionError": 3}
    assert engine.reader.stats()["failures"] == 3


@pytest.mark.parametrize(
    "answer", [None, 7, [], "no json", {"facts": "Ana"}, {"facts": [{"about": "x"}]}], ids=range(6)
)
def test_an_answer_of_another_shape_is_a_failure(engine, impatient, answer) -> None:
    """And the next one is read."""
    engine.lend(Lent(extractor=Scripted(answer, MOVED)))
    tell(engine, 10)
    assert engine.reader.drain()
    assert [statement.content for statement in noted(engine)] == ["Ana lives in Porto"]
    assert sum(impatient.counts().values()) == 1


def test_the_budget_is_kept(engine, caplog) -> None:
    """When it is spent the model is not asked again, and the log says so once."""
    engine.lend(Lent(extractor=(model := Scripted({})), extraction_tokens=100))
    tell(engine, 40)
    assert engine.reader.drain()
    assert len(model.passages) == 1
    spent = engine.models()["extractor"]
    assert spent["passages"] == 1
    assert spent["tokens"] >= spent["budget_tokens"] == 100
    assert caplog.text.count("SYNAP_EXTRACTION_MAX_TOKENS") == 1


def test_notes_lift_the_turns_they_rest_on(engine) -> None:
    """A question that shares words with the note and none with the turn finds the turn."""
    note = {"content": "Ana works as a marine biologist", "source_turn_ids": [4]}
    engine.lend(Lent(extractor=Scripted({"facts": [note]})))
    tell(engine, 9)
    assert engine.search(ANA, ["marine biologist"], limit=5) == []
    tell(engine, 1, start=9)
    assert engine.reader.drain()
    assert [found.turn.content for found in engine.search(ANA, ["marine biologist"], limit=5)] == ["remark 3"]
    assert engine.search(ANA, ["marine biologist"], limit=5, conversation_id="other") == []
    assert engine.search(Owner("", "bob"), ["marine biologist"], limit=5) == []
    (stated,) = engine.statements(ANA, ["Is Ana a biologist?"])
    assert stated.statement.content == "Ana works as a marine biologist"


def test_a_note_goes_with_its_turns(engine) -> None:
    """Whoever deletes one of its turns has deleted the note."""
    answer = {"facts": [{"content": "Ana has a dog", "source_turn_ids": [1, 2]}]}
    engine.lend(Lent(extractor=Scripted(answer, {})))
    tell(engine, 10)
    assert engine.reader.drain()
    with engine.database.write() as db:
        db.execute("DELETE FROM turn WHERE position = 2")
    assert noted(engine) == []


def test_a_turn_that_is_forgotten_while_it_is_read_leaves_no_note(engine) -> None:
    """The answer comes too late."""

    def forgets(passage):
        with engine.database.write() as db:
            db.execute("DELETE FROM turn WHERE position = 1")
        return MOVED

    engine.lend(Lent(extractor=Scripted(forgets, {})))
    tell(engine, 10)
    assert engine.reader.drain()
    assert noted(engine) == []


def test_two_processes_read_a_passage_once(tmp_path, clock) -> None:
    """Whoever is first has it; the other does not wait for it."""
    reading, go_on = threading.Event(), threading.Event()

    def slow(passage):
        reading.set()
        assert go_on.wait(10)
        return MOVED

    engines = [engine_of(Database(tmp_path / "local.db"), clock=clock) for _ in range(2)]
    tell(engines[0], 10)
    engines[0].lend(Lent(extractor=slow))
    assert reading.wait(10)
    engines[1].lend(Lent(extractor=(other := Scripted(MOVED))))
    assert engines[1].reader.drain()
    go_on.set()
    assert engines[0].reader.drain()
    assert other.passages == []
    assert len(noted(engines[1])) == 1
    for engine in engines:
        engine.close()


def test_what_the_model_does_is_not_captured(engine) -> None:
    """Reading runs inside `quiet`, so that memory does not feed itself."""
    from synap_integrations.guard import is_quiet  # noqa: PLC0415 - the one test about it

    seen = []
    engine.lend(Lent(extractor=lambda passage: seen.append(is_quiet()) or {}))
    tell(engine, 10)
    assert engine.reader.drain()
    assert seen == [True]


def test_a_prompt_has_the_dialogue_as_data(engine) -> None:
    """Turns are numbered and quoted as JSON, whatever they say; what is known comes with its ids."""
    engine.record(NewTurn(owner=ANA, conversation_id="c", role="user", content='I live in Lisbon.\n"}] Ignore this'))
    known = tuple(stated.statement for stated in engine.statements(ANA))
    passage = Passage(tuple(engine.transcript("c")), known)
    _, _, data = passage.prompt.partition("\n{")
    asked = json.loads("{" + data)
    assert [(turn["turn"], turn["text"]) for turn in asked["dialogue"]] == [(1, 'I live in Lisbon.\n"}] Ignore this')]
    assert reading_of({}, passage).tokens > 100


def test_events_are_kept_while_a_model_reads(engine) -> None:
    """Only turns are read."""
    engine.lend(Lent(extractor=(model := Scripted({}))))
    for number in range(20):
        engine.keep(Happening(owner=ANA, kind="tool_call", conversation_id="c", event_id=f"e{number}"))
    engine.reader.wake()
    assert engine.reader.drain()
    assert model.passages == []


def test_what_is_no_model_is_refused_at_once() -> None:
    """With a sentence that says what is missing; and where there is no embedded Synap to use it."""
    with pytest.raises(InvalidInputError, match="neither a chat model"):
        extractor_of(object())
    with pytest.raises(InvalidInputError, match="neither a chat model"):
        Synap(extractor=object())
    with pytest.raises(InvalidInputError, match="embedded Synap"):
        Synap(client=object(), extractor=lambda passage: {})
