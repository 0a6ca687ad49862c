"""How much of two people's real conversations is found again; judged over REST, all users in one database."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "locomo-two.json"


@pytest.mark.skipif(not DATA.exists(), reason=f"the conversations are not here: {DATA.name}")
@pytest.mark.parametrize("options", [[], ["--anonymous"]], ids=["with names", "without names"])
def test_what_was_said_is_found_again(options) -> None:
    """70 % of the evidence is among the first 10 turns found and 79 % among the first 25, in good time."""
    program = [sys.executable, str(ROOT / "benchmarks" / "bench_retrieval.py"), "--json", "--data", str(DATA), *options]
    done = subprocess.run(
        program, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    result = json.loads(done.stdout)
    assert (result["users"], result["turns"], result["questions"]) == (2, 788, 302)
    assert result["recall"]["all"]["10"] >= 0.70
    assert result["recall"]["all"]["25"] >= 0.79
