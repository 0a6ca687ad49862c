"""Where gevent has replaced threads: the application is answered as ever, turns wait on disk, and one line says so."""

import sys
from types import ModuleType

import pytest
from zero_code import asked_of_celery, delivered, free_port, get, parroted, serving, transcripts

from synap_integrations import Scope, Synap
from synap_integrations.model import UserMessage
from synap_integrations.outbox import threads

LINE = "synap: this process delivers nothing, because gevent has replaced its threads"
NEEDS = "gevent is not installed: pip install gevent"


@pytest.mark.parametrize("platform", ["embedded", "another host"])
@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["plain", "preload"])
def test_gunicorn(platform: str, options, own_storage, tmp_path) -> None:
    """Every request is answered, with event loops of the application's and with a prompt that asks for context; each
    worker says once that it delivers nothing, and the next process does.
    """
    pytest.importorskip("gevent", reason=NEEDS)
    port, log = free_port(), tmp_path / "log"
    words = ["gunicorn", "-k", "gevent", "-w", "1", *options, "-b", f"127.0.0.1:{port}", "in_greenlets:app"]
    more = {} if platform == "embedded" else {"SYNAP_BASE_URL": f"http://127.0.0.1:{free_port()}"}
    with serving("--inject", "--", *words, storage=own_storage, port=port, log=log, **more):
        for number in range(5):
            for said in ("one", "two"):
                assert get(port, conversation=f"web-{number}", said=said) == f"You said: {said}"
    said = [line for line in log.read_text().splitlines() if line.startswith("synap")]
    assert len(said) == 1, said
    assert said[0].startswith(LINE)
    assert transcripts(own_storage) == {}
    if platform == "embedded":
        assert delivered(own_storage) == {f"web-{number}": parroted("one", "two") for number in range(5)}


def test_celery(own_storage, tmp_path) -> None:
    """A worker whose tasks are greenlets."""
    pytest.importorskip("gevent", reason=NEEDS)
    said = asked_of_celery("-P", "gevent", "-c", "4", storage=own_storage, folder=tmp_path)
    assert said.count(LINE) == 1
    assert delivered(own_storage) == {f"task-{number}": parroted("hello") for number in range(4)}


@pytest.mark.parametrize(
    ("module", "question"),
    [("gevent.monkey", "is_module_patched"), ("eventlet.patcher", "is_monkey_patched")],
    ids=["gevent", "eventlet"],
)
def test_a_synap_of_the_applications(module, question, own_storage, monkeypatch, caplog) -> None:
    """It records, recalls nothing without waiting, says in the log and in its state why, and leaves nothing behind in
    memory; once threads are threads, a new one delivers.
    """
    library, patched = module.partition(".")[0], ModuleType(module)
    setattr(patched, question, lambda _name: True)
    monkeypatch.setitem(sys.modules, module, patched)
    monkeypatch.setattr(threads, "refusal", threads.Refusal())
    synap = Synap(storage_path=own_storage)
    for number in range(3):
        synap.record(UserMessage(f"turn {number}"), scope=Scope("c", "ana"))
        assert synap.recall("What was it?", scope=Scope("c", "ana")).items == ()
    assert synap.status().state == f"held: threads are replaced by {library}"
    assert not synap.flush(0.1)
    assert (synap._worker._eager, synap._worker._asks) == ([], [])
    (line,) = [record.getMessage() for record in caplog.records if "delivers nothing" in record.getMessage()]
    assert library in line
    assert not synap.close(0.1)
    monkeypatch.undo()
    assert delivered(own_storage) == {"c": [("user", f"turn {number}") for number in range(3)]}
