"""`synap demo`, run as a newcomer runs it: figures, pages, and nothing left behind."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from synap_integrations.cli.story.choosing import known_questions
from synap_integrations.cli.story.dialogue import Dialogue, Exchange, Question, Session, Utterance, read_dialogues
from synap_integrations.cli.story.findings import Findings
from synap_integrations.cli.story.library import MOST_PASSAGES, Passages, pages
from synap_integrations.cli.story.llamaindex import Answer
from synap_integrations.cli.story.play import play
from synap_integrations.cli.story.real_model import RealModel
from synap_integrations.errors import InvalidInputError
from synap_integrations.model import Context, ContextItem
from synap_integrations.testing.fakes import FakeMemory

LOCOMO = Path(__file__).parents[3] / "shared" / "data" / "locomo-two.json"
needs_locomo = pytest.mark.skipif(not LOCOMO.exists(), reason="the LoCoMo conversations are not on this machine")

OFFLINE = """
import socket, sys
def refuse(*_): raise OSError("this test allows no network")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
from synap_integrations.cli import main
sys.exit(main(sys.argv[1:]))
"""


def synap_demo(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The demo in a process that has no network, an empty home, and a place for temporary files in ``folder``."""
    home, temporary = folder / "home", folder / "tmp"
    home.mkdir(exist_ok=True)
    temporary.mkdir(exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SYNAP_", "LANG"))}
    env = clean | {"HOME": str(home), "TMPDIR": str(temporary)} | environ
    command = [sys.executable, "-c", OFFLINE, "demo", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.parametrize("package", ["rich", "langchain", "llama_index.core"])
def test_what_is_missing_is_named(package: str) -> None:
    """Without rich, LangChain or LlamaIndex the demo says in one line how to get them."""
    code = (
        "import sys; sys.modules[sys.argv[1]] = None; from synap_integrations.cli import main; sys.exit(main(['demo']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, package], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "pip install 'synap-integrations[demo]'" in ended.stderr


def left_behind(folder: Path) -> list[Path]:
    """Files of the demo after it has ended."""
    return [path for place in ("home", "tmp") for path in (folder / place).rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the demo finds on the dialogue that comes with the package."""
    folder = tmp_path_factory.mktemp("demo")
    # Neither the identity that the environment names nor tracing gets into the demo.
    elsewhere = {"SYNAP_CUSTOMER_ID": "acme", "SYNAP_USER_ID": "eve", "SYNAP_API_KEY": "synap_canary"}
    ended = synap_demo(folder, "--json", **elsewhere, LANGSMITH_TRACING="true", LANGSMITH_API_KEY="canary")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert left_behind(folder) == []
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_every_turn_is_stored_once_and_everything_is_accounted_for(shown: dict[str, Any]) -> None:
    """Captured = delivered + waiting + refused + dead letters, and what was said is what is stored."""
    kept = shown["accounting"]
    assert kept["captured"] == sum(kept[fate] for fate in ("delivered", "waiting", "refused", "dead_letters"))
    assert kept["captured"] == kept["delivered"]
    assert kept["turns_said"] == kept["turns_stored"] == 50


def test_the_transcript_is_the_dialogue_word_for_word(shown: dict[str, Any]) -> None:
    """What is read back from the engine is what was said, with the tool call and its result before the answer."""
    lines = shown["transcript"]["lines"]
    session = next(s for s in read_dialogues()[0].sessions if s.name == shown["transcript"]["conversation_id"])
    turns = [(line["kind"], line["text"]) for line in lines if not line["kind"].startswith("tool")]
    assert turns == [(role, said.text) for role, said in session.utterances()]
    kinds = [line["kind"] for line in lines]
    at = kinds.index("tool call")
    assert kinds[at - 1 : at + 3] == ["user", "tool call", "tool result", "assistant"]
    assert "mended handle" in lines[at + 1]["text"]


def test_the_question_brings_its_evidence_into_the_prompt(shown: dict[str, Any]) -> None:
    """In a new conversation of a new process: pushed, and injected beside the question, with the day it was said on."""
    asked = shown["asked"]
    assert any(item["evidence"] and item["said_on"] == "2026-06-02" for item in asked["items"])
    injected = [line["text"] for line in asked["prompt"] if line["injected"]]
    assert injected[0].startswith("[synap-context ")
    assert injected[-1].startswith("[/synap-context ")
    assert any("we fly a week later now, on 21 June" in line for line in injected)
    plain = [line["text"] for line in asked["prompt"] if not line["injected"]]
    assert asked["question"] in plain
    assert not any("21 June" in line for line in plain)


def test_nobody_gets_what_somebody_else_said(shown: dict[str, Any]) -> None:
    """Both agents were asked all questions; each prompt holds turns of its own user, none of the other."""
    prompts = shown["prompts"]
    assert prompts["checked"] == 20
    assert prompts["own_turns"] > 0
    assert prompts["foreign_turns"] == 0


def test_llamaindex_knows_what_was_told_to_langchain(shown: dict[str, Any]) -> None:
    """Same user id, other framework, new conversation: the prompt holds the evidence, as context and nowhere else."""
    asked = shown["in_llamaindex"]["asked"]
    assert "Where is the place with the shared kiln?" in asked["question"]
    lines = asked["prompt"]
    (evidence,) = [line["text"] for line in lines if line["evidence"]]
    assert "Mill Lane" in evidence
    assert not any("Mill Lane" in line["text"] for line in lines if not line["injected"])
    assert asked["answer"].startswith("On Mill Lane, above the bakery.")
    said = {text for dialogue in read_dialogues() for text in dialogue.turn_texts().values()}
    said |= {shown["asked"]["question"], shown["asked"]["answer"]}
    recalled = [line.partition(": ")[2] for item in asked["items"] for line in item["text"].splitlines()]
    assert len(recalled) > 4
    assert set(recalled) <= said


def test_llamaindex_answers_from_the_pages_of_the_project(shown: dict[str, Any]) -> None:
    """The chat engine's prompt begins with the passage that answers its question, and holds the turn before."""
    found = shown["in_llamaindex"]
    assert "docs/ of this checkout" in found["documents"]
    system = [line["text"] for line in found["asked"]["prompt"] if line["role"] == "system"]
    assert system[0] == "Answer from these documents:"
    assert "## What leaves the machine" in system
    before = [line["text"] for line in found["asked"]["prompt"] if line["role"] == "assistant"]
    assert before == ["They wait in a file on this machine, and go out in order when it is back."]


def test_the_llamaindex_agent_is_captured_with_its_tool(shown: dict[str, Any]) -> None:
    """Read back from the engine: question, call, result, answer, once each; everything accounted for, nobody else's."""
    found = shown["in_llamaindex"]
    lines = [(line["kind"], line["text"]) for line in found["transcript"]["lines"]]
    assert [kind for kind, _ in lines] == ["user", "tool call", "tool result", "assistant"]
    assert lines[1][1] == 'read_documents({"words":"how to turn it off"})'
    assert "SYNAP_CAPTURE=0" in lines[2][1]
    assert lines[3][1].startswith("Shellfish.")
    kept = found["accounting"]
    assert kept["captured"] == kept["delivered"] > 8
    assert kept["turns_said"] == kept["turns_stored"] == 6
    assert (found["prompts"]["checked"], found["prompts"]["foreign_turns"]) == (5, 0)
    assert found["prompts"]["own_turns"] > 0


def test_an_installed_package_has_its_readme_to_talk_about(tmp_path: Path) -> None:
    """Where no docs folder is at hand, the pages say so, and the passages still answer."""
    where, texts = pages(tmp_path)
    assert "installed without docs/" in where
    assert list(texts) == ["README.md"]
    (first, *_) = Passages(texts).retrieve("What happens to my turns when the network is down?")
    assert "Turns wait in a file" in first.get_content()


def test_what_the_pages_quote_is_not_an_answer() -> None:
    """The README shows the demo's own output, in which the answers stand."""
    quoted = "# Demo\n\nRun it:\n\n```console\nuser  I'm allergic to shellfish\n```\n\nThat is all."
    (found,) = Passages({"a.md": quoted}).retrieve("allergic to shellfish? run it")
    assert found.get_content().split() == ["#", "Demo", "Run", "it:", "That", "is", "all."]


@pytest.mark.parametrize("asked", ["", '"; DROP TABLE section; --', "NEAR(* AND OR", "🙂"])
def test_any_question_can_be_put_to_the_pages(asked: str) -> None:
    """What people type is no query language."""
    assert len(Passages({"a.md": "# Section\n\nAnd a drop of water"}).retrieve(asked)) <= MOST_PASSAGES


def test_the_scripted_model_does_not_claim_what_it_was_not_told() -> None:
    """An answer that follows from a turn is given to a prompt with that turn, in whatever rendering; to no other."""
    answer = Answer("Shellfish.", ("I'm <badly> allergic to shellfish.",), "That is all.")
    assert answer.to([("user", "| user: I'm &lt;badly&gt; allergic to shellfish.")]) == "Shellfish. That is all."
    assert answer.to([("user", "allergic to what?")]) == "I was not told. That is all."


def test_the_evidence_is_found(shown: dict[str, Any]) -> None:
    """Ten questions, each with evidence that a search and a push find."""
    recall = shown["recall"]
    assert recall["questions"] == 10
    assert recall["at_10"] == recall["at_25"] == 1
    assert recall["pushed_any"] == 10


def test_the_pages_are_tidy_when_piped(tmp_path: Path) -> None:
    """Seven headings, 80 columns, no colours, no trailing spaces, nothing on stderr."""
    ended = synap_demo(tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert [line[0] for line in lines if re.match(r"\d  \w", line)] == list("1234567")
    assert [line for line in lines if len(line) > 80 or line != line.rstrip() or "\x1b" in line] == []
    assert "callbacks" in ended.stdout
    assert "~/.synap/integrations/v1/local.db" in ended.stdout


def test_the_readme_shows_what_is_printed(tmp_path: Path) -> None:
    """Line by line and in order, but for what it leaves out and what differs from run to run."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("$ make demo\n")[2].partition("```")[0].splitlines()
    printed = iter(synap_demo(tmp_path).stdout.splitlines())
    for line in shown:
        if line.strip(" ▌") not in {"", "[…]"}:
            pattern = ".*".join(re.escape(part) for part in line.split("…"))
            assert any(re.fullmatch(pattern, other) for other in printed), line


def test_the_file_can_be_kept(tmp_path: Path) -> None:
    """--keep leaves the embedded Synap's file in the folder, and does not touch a folder that holds something."""
    folder = tmp_path / "kept"
    first = synap_demo(tmp_path, "--keep", str(folder), "--sessions", "1", "--json")
    assert (first.returncode, first.stderr) == (0, "")
    assert len(list(folder.rglob("local.db"))) == 1
    assert json.loads(first.stdout)["left_out"] == 4
    again = synap_demo(tmp_path, "--keep", str(folder))
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1


def test_capture_that_is_switched_off_is_named(tmp_path: Path) -> None:
    """With SYNAP_CAPTURE=0 there is nothing to show, and the demo says so at once."""
    ended = synap_demo(tmp_path, SYNAP_CAPTURE="0")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "SYNAP_CAPTURE" in ended.stderr


class Oracle(GenericFakeChatModel):
    """Stands for a real model: takes tools, answers once, then fails as a provider's package would."""

    def bind_tools(self, tools: Any, **_: Any) -> "Oracle":
        return self


def played_with(answers: list[AIMessage], folder: Path) -> Findings:
    model = RealModel("oracle:one", Oracle(messages=iter(answers)))
    dialogues = [dialogue.first(1) for dialogue in read_dialogues()]
    return play(dialogues, folder, model=model, advance=lambda *_: None)


def test_a_real_model_answers_the_question_that_is_shown(tmp_path: Path) -> None:
    """Its answer is printed; all other turns follow the script."""
    findings = played_with([AIMessage("On 14 June, early.")], tmp_path)
    assert findings.asked.answer == "On 14 June, early."


def test_a_model_that_fails_is_named_in_one_sentence(tmp_path: Path) -> None:
    """Whatever class the provider's error has, it becomes one that names the model."""
    with pytest.raises(InvalidInputError, match="--model oracle:one"):
        played_with([], tmp_path)


def assert_llamaindex_was_told(found: dict[str, Any]) -> None:
    """Both questions are answered from what LangChain was told, and the page marks where it stands."""
    assert any(line["evidence"] for line in found["asked"]["prompt"])
    assert "I was not told." not in found["asked"]["answer"] + found["transcript"]["lines"][-1]["text"]


def test_a_question_is_chosen_that_what_is_recalled_answers() -> None:
    """One whose evidence is not recalled is passed over, one in the best item goes first, none is asked twice."""
    questions = [Question(f"{word}?", (word,), word) for word in ("shown", "unknown", "worse", "best")]
    said = {
        question.text: Utterance(f"I said {question.answer} on that day.", question.evidence) for question in questions
    }
    exchanges = tuple(Exchange(utterance, None) for utterance in said.values())
    session = Session("s-1", datetime(2026, 1, 1, tzinfo=UTC), None, exchanges)
    dialogue = Dialogue("ana", "Ana", "Robin", (session,), tuple(questions))
    memory = FakeMemory()
    items = [
        ContextItem("i-1", "episodes", text=said["worse?"].text, score=0.4),
        ContextItem("i-2", "episodes", text=said["best?"].text, score=0.9),
    ]
    memory.context = Context(tuple(items))
    assert [question.text for question in known_questions(dialogue, memory, "And A?", "And B?")] == ["best?", "worse?"]
    memory.context = Context()
    assert [question.text for question in known_questions(dialogue, memory, "And A?", "And B?")] == [
        "unknown?",
        "worse?",
    ]


@needs_locomo
def test_a_part_of_the_real_conversations(tmp_path: Path) -> None:
    """Some months of two people, through everything: all turns stored, nothing crosses over."""
    ended = synap_demo(tmp_path, "--data", str(LOCOMO), "--sessions", "4", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    found = json.loads(ended.stdout)
    assert found["left_out"] == 30
    assert found["accounting"]["turns_said"] == found["accounting"]["turns_stored"] == 153
    assert found["prompts"]["foreign_turns"] == 0
    assert found["prompts"]["own_turns"] > found["prompts"]["own_questions"]
    assert_llamaindex_was_told(found["in_llamaindex"])


@needs_locomo
@pytest.mark.soak
def test_recall_on_the_real_conversations(tmp_path: Path) -> None:
    """All of them: recall@10 of at least 0.70, recall@25 of at least 0.79, nothing crosses over."""
    ended = synap_demo(tmp_path, "--data", str(LOCOMO), "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    found = json.loads(ended.stdout)
    assert found["recall"]["questions"] == 302
    assert found["recall"]["at_10"] >= 0.70
    assert found["recall"]["at_25"] >= 0.79
    assert found["accounting"]["turns_stored"] == 788
    assert_llamaindex_was_told(found["in_llamaindex"])
    assert (found["prompts"]["checked"], found["prompts"]["foreign_turns"]) == (604, 0)
