"""The dialogues that the demo plays: reading them, pairing them, keeping every turn attributable."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from synap_integrations.cli.story.dialogue import read_dialogues
from synap_integrations.errors import InvalidInputError


def turn(turn_id: str, speaker: str, text: str, **more: str) -> dict[str, str]:
    return {"dia_id": turn_id, "speaker": speaker, "text": text} | more


def sample(user: str, *turns: dict[str, str], qa: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """One session between a user and Bo."""
    session = {"session_1_date_time": "7:05 pm on 3 May, 2026", "session_1": list(turns)}
    return {"conversation": {"speaker_a": user, "speaker_b": "Bo", **session}, "qa": qa or []}


def written(folder: Path, *samples: dict[str, Any]) -> Path:
    path = folder / "data.json"
    path.write_text(json.dumps(samples), encoding="utf-8")
    return path


OTHER = sample("Zoe", turn("D1:1", "Zoe", "hello"))


def test_turns_of_one_speaker_are_joined_and_stay_attributable(tmp_path: Path) -> None:
    """Two messages before the answer are one utterance that knows both turn ids."""
    turns = (turn("D1:1", "Ana", "Hi."), turn("D1:2", "Ana", "Anybody there?"), turn("D1:3", "Bo", "Yes."))
    ana, _ = read_dialogues(written(tmp_path, sample("Ana", *turns), OTHER))
    (exchange,) = ana.sessions[0].exchanges
    assert (exchange.said.text, exchange.said.turn_ids) == ("Hi. Anybody there?", ("D1:1", "D1:2"))
    assert exchange.answered
    assert exchange.answered.turn_ids == ("D1:3",)
    assert ana.sessions[0].at == datetime(2026, 5, 3, 19, 5, tzinfo=UTC)


def test_no_turn_is_lost_when_the_agent_opens_or_the_user_has_the_last_word(tmp_path: Path) -> None:
    """A session may begin with the agent and end with the user; every turn comes out, in order."""
    turns = (
        turn("D1:1", "Bo", "Morning!"),
        turn("D1:2", "Ana", "Hi."),
        turn("D1:3", "Bo", "So?"),
        turn("D1:4", "Ana", "Bye."),
    )
    ana, _ = read_dialogues(written(tmp_path, sample("Ana", *turns), OTHER))
    said = [(role, utterance.text) for role, utterance in ana.sessions[0].utterances()]
    assert said == [("assistant", "Morning!"), ("user", "Hi."), ("assistant", "So?"), ("user", "Bye.")]


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        (["D1:1"], ("D1:1",)),
        (["D1:1; D1:2"], ("D1:1", "D1:2")),
        (["D1:1 D1:2", "D1:1"], ("D1:1", "D1:2")),
        (["D01:02"], ("D1:2",)),
        (["D1:1", "D9:9"], ("D1:1",)),
        (["D", "D:11:26"], None),
        ([], None),
    ],
)
def test_evidence_is_counted_clean(tmp_path: Path, given: list[str], counted: tuple[str, ...] | None) -> None:
    """Joined ids are split, ids that name no turn are dropped, a question without evidence is not asked."""
    turns = (turn("D1:1", "Ana", "a"), turn("D1:2", "Bo", "b"))
    qa = [{"question": "why?", "evidence": given}]
    ana, _ = read_dialogues(written(tmp_path, sample("Ana", *turns, qa=qa), OTHER))
    assert [question.evidence for question in ana.questions] == ([counted] if counted else [])


@pytest.mark.parametrize(
    ("given", "read"),
    [({"answer": "on Sunday"}, "on Sunday"), ({"answer": 2022}, "2022"), ({"answer": " "}, None), ({}, None)],
)
def test_an_answer_is_text_or_none(tmp_path: Path, given: dict[str, Any], read: str | None) -> None:
    """Some answers are numbers, and a question about what was never said has none."""
    qa = [{"question": "when?", "evidence": ["D1:1"]} | given]
    ana, _ = read_dialogues(written(tmp_path, sample("Ana", turn("D1:1", "Ana", "a"), qa=qa), OTHER))
    assert [question.answer for question in ana.questions] == [read]


def test_fewer_sessions_mean_the_questions_that_they_can_answer() -> None:
    """With one session only, questions about later ones are left out."""
    whole = read_dialogues()[0]
    start = whole.first(1)
    assert len(start.sessions) == 1
    assert {turn_id.partition(":")[0] for question in start.questions for turn_id in question.evidence} == {"D1"}
    assert whole.first(100) == whole


def test_the_dialogue_in_the_package_is_worth_a_demo() -> None:
    """Two people, several short sessions each, ten questions with evidence, photos, odd beginnings and ends."""
    dialogues = read_dialogues()
    assert len({dialogue.user_id for dialogue in dialogues}) == 2
    assert sum(len(dialogue.questions) for dialogue in dialogues) == 10
    assert 40 <= sum(len(dialogue.turn_texts()) for dialogue in dialogues) <= 60
    sessions = [session for dialogue in dialogues for session in dialogue.sessions]
    assert any(session.opening for session in sessions)
    assert any(session.exchanges[-1].answered is None for session in sessions)
    assert any(said.photos for session in sessions for _, said in session.utterances())


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("not json", "JSONDecodeError"),
        ("[1, 2]", "TypeError"),
        ('[{"qa": []}]', "conversation"),
        (json.dumps([sample("Ana", {"speaker": "Ana"}), OTHER]), "text"),
        (json.dumps([OTHER]), "two dialogues"),
    ],
)
def test_another_file_is_refused_with_a_sentence(tmp_path: Path, content: str, named: str) -> None:
    """The error names the file and what is wrong with it."""
    path = tmp_path / "data.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=named) as caught:
        read_dialogues(path)
    assert str(path) in str(caught.value)
