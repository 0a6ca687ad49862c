"""The benchmarks run and print their figures; how fast anything is, is for a quiet machine to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"
TINY = "0.002"
LOST = "messages lost, repeated or out of order"
FIGURES = {
    "turn": ["a turn on the caller's thread"],
    "streaming": ["a turn streamed in 200 tokens"],
    "agent": [],  # its figure is a comparison with a peer that the tests do not install
    "faults": [
        "a turn while the platform refuses",
        "a turn while the platform answers after 500 ms",
        "a turn while the platform never answers",
    ],
    "recall": ["recall of fresh context, rendered"],
    "push": ["user turn recorded to its bundle in the store"],
    "retrieval": [],  # its figures are shown without targets, where the conversations are at hand
    "retriever": ["retriever, from pushed context", "retriever, from a local server"],
    "server": ["synap dev, start to ready", "event on the stream to its bundle, p95"],
    "outbox": ["append to the outbox, encoding included", "envelopes accepted while delivering"],
    "burst": ["turns accepted", LOST],
    "import": ["import synap_integrations", "import synap_integrations.langchain, over langchain_core"],
    "zero_code": ["synap run, added to a program's start", "a turn without code, over one with the handler"],
    "memory": ["resident after 10,000 turns, over the bare framework", "more from there to 30,000 turns"],
    "llamaindex": [
        "LlamaIndex turn, handler alone",
        "LlamaIndex turn, handler",
        "LlamaIndex turn, memory, never waiting",
        "LlamaIndex turn while the platform answers after 500 ms",
    ],
    "store": ["50 puts and 50 gets: p50", "100 puts: p50", "100 gets: p50"],
}


def run(*arguments):
    command = [sys.executable, str(RUN), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("name", FIGURES)
def test_a_benchmark_measures_and_prints_its_figures(name, tmp_path):
    """Each benchmark runs with tiny sizes, names its figures, prints what it writes for machines, and loses nothing."""
    done = run("--only", name, "--scale", TINY, "--json", str(tmp_path / "found.json"))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "found.json").read_text())[name]["figures"]
    assert all(figure["name"] in done.stdout for figure in figures)
    targeted = {figure["name"]: figure for figure in figures if figure["target"] is not None}
    assert set(FIGURES[name]) <= targeted.keys()
    assert targeted.get(LOST, {"value": 0})["value"] == 0


def test_every_benchmark_is_in_the_table():
    """A benchmark file that `run.py` does not name would never be run; and each has its tiny run here."""
    listed = run("--help").stdout
    files = {path.stem.removeprefix("bench_") for path in RUN.parent.glob("bench_*.py")}
    assert files == FIGURES.keys()
    assert all(name in listed for name in files)


def test_an_unknown_benchmark_is_refused():
    """An unknown benchmark is refused by name, with the names that exist."""
    done = run("--only", "nothing", "--quick")
    assert done.returncode == 2
    assert "recall" in done.stderr
