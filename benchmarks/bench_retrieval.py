"""How much of what was said the embedded Synap finds again, and how long that takes.

Two people's real conversations (LoCoMo, Maharana et al., ACL 2024): every turn is recorded through REST, each session
is one conversation, all users share one database. Every question is asked through the user fetch with 50 ranked
results. A question counts by the share of its evidence turns among the first 5, 10, 25 and 50; evidence ids that name
several turns are split, and questions without evidence are left out.

    python benchmarks/bench_retrieval.py [--data FILE] [--in-memory] [--anonymous] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import Effort, Figure, Report

from synap_integrations.ports import LocalPlatform
from synap_integrations.server.embedded import open_embedded
from synap_integrations.settings import Settings

DATA = Path(__file__).parents[2] / "shared" / "data" / "locomo-two.json"
DEPTHS = (5, 10, 25, 50)
CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
MUCH = 40_000
TURN_ID = re.compile(r"D\d+:\d+")


def post(platform: LocalPlatform, path: str, body: dict[str, Any], *, key: str | None = None) -> dict[str, Any]:
    headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
    status, _, answer = platform.answer("POST", path, query="", headers=headers, body=json.dumps(body).encode())
    if status != 200:
        sys.exit(f"{path} answered {status}: {answer.decode()}")
    return json.loads(answer)


def turns(sample: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Session and turn, in order."""
    conversation = sample["conversation"]
    for name in conversation:
        if re.fullmatch(r"session_\d+", name):
            for turn in conversation[name]:
                yield name, turn


def record(platform: LocalPlatform, sample: dict[str, Any], *, anonymous: bool) -> tuple[dict[str, str], list[float]]:
    """Turn ids by message id, and how long each recording took, in seconds."""
    user, found, took = sample["conversation"]["speaker_a"], {}, []
    for session, turn in turns(sample):
        text = turn["text"] if anonymous else f"{turn['speaker']}: {turn['text']}"
        body = {
            "conversation_id": f"{sample['sample_id']}-{session}",
            "user_id": sample["sample_id"],
            "customer_id": None,
            "role": "user" if turn["speaker"] == user else "assistant",
            "content": text,
            "metadata": {},
        }
        started = time.perf_counter()
        answer = post(platform, "/v1/conversations/messages", body, key=f"{sample['sample_id']}-{turn['dia_id']}")
        took.append(time.perf_counter() - started)
        found[answer["message_id"]] = turn["dia_id"]
    return found, took


def ask(platform: LocalPlatform, user: str, question: str) -> tuple[list[str], float]:
    """Message ids, best first, and how long it took, in seconds."""
    body = {
        "user_id": user,
        "customer_id": None,
        "conversation_id": None,
        "search_query": [question],
        "max_results": max(DEPTHS),
        "types": ["all"],
        "mode": "fast",
        "response_shape": "ranked",
    }
    started = time.perf_counter()
    answer = post(platform, "/v1/context/user/fetch", body)
    return [item["id"] for item in answer["context"]["items"]], time.perf_counter() - started


def found_again(samples: list[dict[str, Any]], platform: LocalPlatform, *, anonymous: bool) -> dict[str, Any]:
    told = [record(platform, sample, anonymous=anonymous) for sample in samples]
    recall: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    asking: list[float] = []
    for sample, (turn_ids, _) in zip(samples, told, strict=True):
        for question in sample["qa"]:
            evidence = {turn_id for entry in question["evidence"] for turn_id in TURN_ID.findall(entry)}
            if not evidence:
                continue
            found, took = ask(platform, sample["sample_id"], question["question"])
            asking.append(took)
            for depth in DEPTHS:
                share = len(evidence & {turn_ids[message] for message in found[:depth]}) / len(evidence)
                recall["all"][depth].append(share)
                recall[CATEGORIES[question["category"]]][depth].append(share)
    return {
        "users": len(samples),
        "turns": sum(len(took) for _, took in told),
        "questions": len(asking),
        "recall": {
            kind: {str(depth): round(statistics.mean(shares), 4) for depth, shares in by_depth.items()}
            for kind, by_depth in recall.items()
        },
        "fetch_ms": spread(asking),
        "record_ms": spread([one for _, took in told for one in took]),
    }


def spread(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": round(cuts[49] * 1e3, 3), "p99": round(cuts[98] * 1e3, 3)}


def measure(effort: Effort) -> Report:
    """The figures for the table of all benchmarks; none without the conversations."""
    if not DATA.exists():
        return Report()
    samples = json.loads(DATA.read_text(encoding="utf-8"))
    for sample in samples:
        sample["qa"] = sample["qa"][: effort.of(len(sample["qa"]))]
    with tempfile.TemporaryDirectory() as folder:
        platform = open_embedded(Settings(storage_path=Path(folder)))
        result = found_again(samples, platform, anonymous=False)
        platform.close()
    shares = result["recall"]["all"]
    note = f"{result['questions']} questions, {result['turns']} turns"
    return Report(
        [
            Figure("evidence among the first 10 results", 100 * shares["10"], "%", 70.0, at_least=True, note=note),
            Figure("evidence among the first 25 results", 100 * shares["25"], "%", 79.0, at_least=True),
            Figure("a cold fetch from the embedded Synap", result["fetch_ms"]["p50"], "ms"),
            Figure("the same, p99", result["fetch_ms"]["p99"], "ms", 50.0),
            *much_said(samples, effort.of(MUCH)),
        ]
    )


def much_said(samples: list[dict[str, Any]], amount: int) -> list[Figure]:
    """Fetches for somebody who has said that many turns, made of the words of the conversations."""
    chance = random.Random(1)
    said = [turn["text"].split()[:12] for sample in samples for _, turn in turns(sample)]
    words = [word for text in said for word in text]
    with tempfile.TemporaryDirectory() as folder:
        platform = open_embedded(Settings(storage_path=Path(folder)))
        for first in range(0, amount, 500):
            batch = [
                {
                    "conversation_id": f"talk-{number // 20}",
                    "user_id": "talker",
                    "role": "user",
                    "content": " ".join([*chance.choice(said), *chance.sample(words, 8)]),
                }
                for number in range(first, min(first + 500, amount))
            ]
            post(platform, "/v1/conversations/messages/batch", {"messages": batch})
        questions = [question["question"] for sample in samples for question in sample["qa"]]
        took = spread([ask(platform, "talker", question)[1] for question in questions])
        platform.close()
    note = f"one user, {amount} turns"
    return [
        Figure("a cold fetch for a user who has said much", took["p50"], "ms", note=note),
        Figure("the same, p99", took["p99"], "ms", 50.0, note=note),
    ]


def table(result: dict[str, Any]) -> str:
    lines = [f"{result['questions']} questions about {result['turns']} turns of {result['users']} users", ""]
    lines.append(f"{'recall, %':<14}" + "".join(f"{f'R@{depth}':>8}" for depth in DEPTHS))
    for kind, shares in result["recall"].items():
        lines.append(f"{kind:<14}" + "".join(f"{100 * shares[str(depth)]:8.1f}" for depth in DEPTHS))
    lines.append("")
    timings = {"record": result["record_ms"], "fetch": result["fetch_ms"]}
    lines += [f"{name:<8}p50 {took['p50']:.2f} ms, p99 {took['p99']:.2f} ms" for name, took in timings.items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Recall of the embedded Synap over LoCoMo's questions.")
    parser.add_argument("--data", type=Path, default=DATA, help="a file in LoCoMo's shape")
    parser.add_argument("--in-memory", action="store_true", help="keep the database in memory instead of a file")
    parser.add_argument("--anonymous", action="store_true", help="record turns without the names of their speakers")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    wanted = parser.parse_args()
    if not wanted.data.exists():
        print(f"{wanted.data} is not here: give a file with --data", file=sys.stderr)
        return 2
    samples = json.loads(wanted.data.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        platform = open_embedded(Settings(storage_path=Path(":memory:" if wanted.in_memory else folder)))
        result = found_again(samples, platform, anonymous=wanted.anonymous)
        platform.close()
    print(json.dumps(result) if wanted.json else table(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
