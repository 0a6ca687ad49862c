"""Measure: ``python benchmarks/run.py [--only NAME …] [--quick] [--json FILE]``.

Every benchmark runs in a process of its own. Prints one table of figures beside their targets, one of what the peers
add to the same turns in the same run, and the machine. A missed target is shown, not punished: timings depend on the
machine. The exit status is 1 only if a benchmark could not run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

from measuring import HERE, Effort, Figure, Peer, Report, Spread

BENCHMARKS = {
    "turn": "bench_turn",
    "streaming": "bench_streaming",
    "agent": "bench_agent",
    "faults": "bench_faults",
    "recall": "bench_recall",
    "push": "bench_push",
    "retrieval": "bench_retrieval",
    "retriever": "bench_retriever",
    "server": "bench_server",
    "outbox": "bench_outbox",
    "burst": "bench_burst",
    "import": "bench_import",
    "zero_code": "bench_zero_code",
    "memory": "bench_memory",
    "llamaindex": "bench_llamaindex",
    "store": "bench_store",
}
WANTS = {"llamaindex": "llama_index"}
"""What has to be installed for a benchmark; without it, it is left out of the whole run."""
QUICK = 0.1
PEERS = (
    "langchain-core",
    "langgraph",
    "llama-index-core",
    "langfuse",
    "langsmith",
    "openinference-instrumentation-langchain",
    "openinference-instrumentation-llama-index",
)


def main() -> int:
    options = _options()
    if options.inside:
        print(json.dumps(asdict(import_module(BENCHMARKS[options.inside]).measure(Effort(options.scale)))))
        return 0
    reports, broken = {}, []
    for name in options.only or filter(_can_run, BENCHMARKS):
        began = time.monotonic()
        print(f"measuring {name} … ", end="", file=sys.stderr, flush=True)
        report = _measured(name, options.scale)
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
        if report is None:
            broken.append(name)
        else:
            reports[name] = report
    figures = [figure for report in reports.values() for figure in report.figures]
    peers = [peer for report in reports.values() for peer in report.peers]
    print(_page(figures, peers))
    if options.json:
        options.json.write_text(json.dumps({name: asdict(report) for name, report in reports.items()}, indent=1))
    for name in broken:
        print(f"benchmark {name} did not run: see above", file=sys.stderr)
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--quick", action="store_const", const=QUICK, dest="scale", default=1.0, help="a tenth of the rounds"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="any other share of the rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured for machines")
    parser.add_argument("--inside", choices=BENCHMARKS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _can_run(name: str) -> bool:
    return name not in WANTS or find_spec(WANTS[name]) is not None


def _measured(name: str, scale: float) -> Report | None:
    """Run one benchmark in a process of its own; None if it broke, with its complaint on stderr."""
    command = [sys.executable, str(HERE / "run.py"), "--inside", name, "--scale", str(scale)]
    with tempfile.TemporaryFile("w+") as complaints:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=complaints, text=True, check=False, env=_environment()
        )
        if done.returncode:
            complaints.seek(0)
            sys.stderr.write(complaints.read()[-4000:])
            return None
    found = json.loads(done.stdout.splitlines()[-1])
    figures = [Figure(**{**one, "spread": one["spread"] and Spread(**one["spread"])}) for one in found["figures"]]
    return Report(figures, [Peer(**{**one, "added_us": Spread(**one["added_us"])}) for one in found["peers"]])


def _environment() -> dict[str, str]:
    """Ours without what would lead a Synap or a tracer elsewhere."""
    foreign = ("SYNAP_", "LANGCHAIN_", "LANGSMITH_", "LANGFUSE_", "OTEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


# --- what is printed ----------------------------------------------------------------------------------------


def _page(figures: Sequence[Figure], peers: Sequence[Peer]) -> str:
    parts = [_table(("figure", "target", "measured", "quartiles", "", "note"), map(_row, figures))]
    if peers:
        parts.append(_table(("turn", "contender", "adds", "quartiles", "x no-op"), map(_peer_row, peers)))
    return "\n\n".join([*parts, _machine()])


def _row(figure: Figure) -> tuple[str, ...]:
    sign = "≥" if figure.at_least else "≤"
    target = "" if figure.target is None else f"{sign} {_number(figure.target)} {figure.unit}"
    verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
    return (
        figure.name,
        target,
        f"{_number(figure.value)} {figure.unit}",
        _quartiles(figure.spread),
        verdict,
        figure.note,
    )


def _peer_row(peer: Peer) -> tuple[str, ...]:
    times = f"{peer.added_us.median:,.0f} µs"
    return peer.turn, peer.contender, times, _quartiles(peer.added_us), f"{peer.ratio:.1f}"


def _quartiles(spread: Spread | None) -> str:
    return "" if spread is None else f"{_number(spread.low)} … {_number(spread.high)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table whose columns are aligned for reading as it is."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    texts.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(texts)


def _machine() -> str:
    found = {name: _version(name) for name in PEERS}
    versions = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    where = f"{_processor()}, {os.cpu_count()} cores, load {load}; {platform.system()} {platform.release()}"
    return f"{where}\nPython {platform.python_version()}; {versions}"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
