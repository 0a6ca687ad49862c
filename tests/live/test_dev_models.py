"""`synap dev` with models of the user's own: an encoder that finds by meaning, a chat model that reads along."""

import subprocess
import sys

import pytest
from dev_server import dev_server
from waiting import until

MODELS = """
class Pets:
    model = "pets"

    def embed_query(self, text):
        return [float(any(word in text.lower() for word in ("puppy", "hound"))), float("rain" in text), 0.1]

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]

def encoder():
    return Pets()

def reader():
    return lambda passage: {"facts": [{"content": "Ana keeps a pet", "source_turn_ids": [1]}]}

def broken():
    raise OSError("no such weights")
"""


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder with a module of models, and the command is run there."""
    (tmp_path / "my_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)


def test_a_server_finds_by_meaning_and_notes_what_is_said(models) -> None:
    """Both options, over real sockets: a question without a word in common, and a note with its turn."""
    with dev_server(":memory:", "--embeddings", "my_models:encoder", "--extractor", "my_models:reader") as server:
        first = server.say("We adopted a hound")
        assert until(lambda: server.found("the puppy")) == ["We adopted a hound"]
        for number in range(9):
            server.say(f"remark {number}")

        def facts():
            _, answer = server.post("/v1/context/user/fetch", {"user_id": "ana", "types": ["facts"]})
            return answer["context"]["facts"]

        (fact,) = until(facts)
    assert fact["content"] == "Ana keeps a pet"
    assert fact["metadata"]["extraction"] == "model"
    assert fact["metadata"]["source_message_ids"] == [first["message_id"]]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("my_models", "takes module:factory"),
        ("no_such_module:encoder", "ModuleNotFoundError"),
        ("my_models:nothing", "AttributeError"),
        ("my_models:broken", "OSError: no such weights"),
        ("builtins:object", "neither embed_documents"),
    ],
)
def test_a_model_that_cannot_be_had_is_an_error_of_one_line(models, name, complaint) -> None:
    """Named, with its cause; nothing is served."""
    command = [sys.executable, "-m", "synap_integrations.cli", "dev", "--port", "0", "--db", ":memory:"]
    ended = subprocess.run([*command, "--embeddings", name], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
