"""The lines of `make prove`: what is measured, how long, what is expected, and what it would show without a protection.

A line is a module of this folder with ``measure(folder, **arguments) -> Figures``, two forms of it, and bounds. Figures
that prove something are bounded from above, those that show that enough was tried from below.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Form:
    """The arguments of one measurement, and the least that its figures must be to mean anything."""

    arguments: dict[str, object] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """``most`` are the promises. ``without`` names protections (``sabotage.py``): each makes the short form red."""

    what: str
    module: str
    short: Form
    full: Form
    most: dict[str, float]
    without: tuple[str, ...]
    alone: bool = False
    """Nothing else may be measured at the same time."""

    def form(self, *, short: bool) -> Form:
        """One of the two."""
        return self.short if short else self.full


ARRIVED = {"lost": 0, "doubled": 0, "inversions": 0, "unaccounted": 0}
SETTLED = {"lost": 0, "doubled": 0, "inversions": 0, "wronged": 0}

LINES: dict[str, Line] = {
    "kills": Line(
        "kill -9 at random moments",
        "kill_proof",
        Form({"kills": 40}, {"told": 300}),
        Form({"kills": 1_000}, {"told": 5_000, "repeats": 1}),
        ARRIVED,
        ("commit-before-return", "adoption", "adoption-order"),
    ),
    "killpoints": Line(
        "kill -9 at 18 named places",
        "killpoint_proof",
        Form({"rounds": 1}, {"reached": 19}),
        Form({"rounds": 5}, {"reached": 95}),
        ARRIVED | {"missed": 0},
        ("commit-before-return", "adoption"),
    ),
    "power": Line(
        "power loss, durability=power",
        "power_loss_proof",
        Form({"durability": "power", "turns": 12, "each": 3}, {"states": 400}),
        Form({"durability": "power", "turns": 60, "each": 8}, {"states": 4_000}),
        {"lost": 0, "altered": 0, "broken": 0},
        ("power-sync",),
    ),
    "power-default": Line(
        "power loss, what was brought to disk",
        "power_loss_proof",
        Form({"durability": "process", "turns": 12, "each": 3}, {"states": 300}),
        Form({"durability": "process", "turns": 60, "each": 8}, {"states": 4_000}),
        {"lost": 0, "altered": 0, "broken": 0},
        ("sync-each-second",),
    ),
    "outage": Line(
        "an hour without a platform (virtual)",
        "outage_proof",
        Form({"turns": 1_000}, {"turns": 1_000}),
        Form({"turns": 10_000}, {"turns": 10_000}),
        {"lost": 0, "doubled": 0, "inversions": 0, "attempts": 300, "recovered_s": 60},
        ("ack-after-delivery", "breaker"),
    ),
    "clock": Line(
        "steps of the wall clock, a second to a year",
        "clock_proof",
        Form({"steps": 200}, {"steps": 200}),
        Form({"steps": 5_000}, {"steps": 5_000}),
        {"lost": 0, "early": 0, "late": 0, "inversions": 0, "unaccounted": 0},
        ("monotonic-pauses",),
    ),
    "order": Line(
        "lost streams and answers in mid-sentence (virtual)",
        "weather_proof",
        Form({"turns": 1_200, "hours": 0.25, "every_s": 6, "conversations": 3}, {"outages": 20, "streams_lost": 10}),
        Form({"turns": 50_000, "hours": 10, "every_s": 6, "conversations": 3}, {"outages": 500, "streams_lost": 300}),
        SETTLED,
        ("again-goes-first", "send-again", "one-lane-each"),
    ),
    "poison": Line(
        "turns that end each stream, among good ones (virtual)",
        "weather_proof",
        Form({"turns": 300, "hours": 0.2, "poison": 5}, {"streams_lost": 15}),
        Form({"turns": 10_000, "hours": 2, "poison": 100}, {"streams_lost": 300}),
        SETTLED | {"poison_kept": 0},
        ("poison-isolation",),
    ),
    "day": Line(
        "a day of 10,000 turns and bad weather (virtual)",
        "weather_proof",
        Form({"turns": 600, "hours": 8, "every_s": 100}, {"outages": 50, "streams_lost": 30}),
        Form({"turns": 10_000, "hours": 24, "every_s": 120, "seed": 11}, {"outages": 200, "streams_lost": 100}),
        SETTLED,
        ("ack-after-delivery", "one-lane-each"),
    ),
    "processes": Line(
        "8 processes in one folder, killed and replaced",
        "processes_proof",
        Form({"processes": 8, "kills": 10}, {"told": 1_000}),
        Form({"processes": 8, "kills": 200}, {"told": 20_000, "repeats": 1}),
        ARRIVED,
        ("commit-before-return", "adoption"),
    ),
    "forks": Line(
        "forks while three threads capture and deliver",
        "fork_proof",
        Form({"forks": 12, "turns": 400}, {"told": 1_000}),
        Form({"forks": 200, "turns": 20_000}, {"told": 60_000}),
        ARRIVED | {"failed": 0},
        ("fork-isolation",),
    ),
    "servers": Line(
        "prefork servers and pools: gunicorn, celery, multiprocessing",
        "suite_proof",
        Form({"tests": ["faults/test_faults_process.py"], "chosen": "prefork"}, {"cases": 1}),
        Form(
            {
                "tests": [
                    "faults/test_faults_process.py",
                    "crash/test_outbox_kills.py",
                    "zero_code/test_programs_of_every_kind.py",
                ],
                "chosen": "prefork or multiprocessing or gunicorn or celery or fork or os_exit",
            },
            {"cases": 12},
        ),
        {"failed": 0},
        ("adoption",),
    ),
    "corruption": Line(
        "flipped bits and files cut short",
        "corruption_proof",
        Form({"flips": 60, "cuts": 20}, {"rescued": 500}),
        Form({"flips": 1_500, "cuts": 500}, {"rescued": 20_000}),
        {"altered": 0, "silent": 0, "raised": 0, "unaccounted": 0},
        ("row-checksum",),
    ),
    "disk": Line(
        "a disk that is full for a while",
        "disk_proof",
        Form({"disks": 15}, {"captured": 300}),
        Form({"disks": 400}, {"refused": 100}),
        {"lost": 0, "undeleted": 0, "not_resumed": 0, "unaccounted": 0},
        ("reserve",),
    ),
    "latency": Line(
        "a chain before a black hole, beside a healthy one",
        "latency_proof",
        Form({"calls": 60}, {"calls": 60}),
        Form({"calls": 2_000}, {"calls": 2_000}),
        {"beyond_ms": 0, "delivered_in_the_hole": 0},
        ("delivery-apart",),
        alone=True,
    ),
    "recall-latency": Line(
        "a chain that is shown context, before a black hole",
        "recall_latency_proof",
        Form({"calls": 60}, {"calls": 120}),
        Form({"calls": 1_000}, {"calls": 2_000, "waits": 3}),
        {"uncalled_for": 0, "longest_wait_ms": 5_000, "beyond_ms": 0},
        ("patience",),
        alone=True,
    ),
    "leftovers": Line(
        "threads, sockets and files after close",
        "leftovers_proof",
        Form({"rounds": 3}, {"rounds": 3}),
        Form({"rounds": 100}, {"rounds": 100}),
        {"undelivered": 0, "threads": 0, "files": 0},
        ("close-lets-go",),
    ),
    "isolation": Line(
        "bundles and look-ups of strangers, and of 8 threads",
        "isolation_proof",
        Form({"operations": 20_000, "seed": 1}, {"served": 10_000}),
        Form({"operations": 1_000_000}, {"served": 1_000_000}),
        {"crossed": 0, "withheld": 0},
        ("exact-owner",),
    ),
    "tenants": Line(
        "tenants with users of the same names, at one server: prompts, pages, exports, logs",
        "tenants_proof",
        Form({"tenants": 6, "users": 3}, {"users": 18, "exports": 5}),
        Form({"tenants": 50, "users": 20}, {"users": 1_000, "exports": 49}),
        {"crossed": 0, "withheld": 0, "logged": 0},
        ("exact-owner",),
    ),
    "render": Line(
        "hostile texts in a prompt",
        "render_proof",
        Form({"texts": 8_000, "seed": 1}, {"blocks": 200}),
        Form({"texts": 1_000_000}, {"blocks": 25_000}),
        {"malformed": 0, "moved": 0},
        ("cleaned-text",),
    ),
    "prompts": Line(
        "planted payloads through real chains and providers",
        "suite_proof",
        Form({"tests": ["safety/test_prompt_safety.py"], "chosen": "stays_inside"}, {"cases": 20}),
        Form({"tests": ["safety/test_prompt_safety.py"]}, {"cases": 150}),
        {"failed": 0},
        ("cleaned-text",),
    ),
    "attacks": Line(
        "attacks on the local server",
        "suite_proof",
        Form({"tests": ["unit/test_server_gate.py"]}, {"cases": 100}),
        Form(
            {
                "tests": [
                    "unit/test_server_gate.py",
                    "live/test_dev_safety.py",
                    "live/test_dev_bad_input.py",
                    "live/test_inspector_pages.py",
                    "live/test_inspector_door.py",
                    "live/test_inspector_events.py",
                    "properties/test_server_bodies.py",
                    "properties/test_server_isolation.py",
                ]
            },
            {"cases": 250},
        ),
        {"failed": 0},
        ("host-check",),
    ),
    "canary": Line(
        "a key in logs, outputs, errors and files",
        "canary_proof",
        Form({"tests": []}, {"sent": 1, "looked_at": 1_000}),
        Form(
            {
                "tests": [
                    "unit",
                    "live",
                    "faults",
                    "contracts",
                    "safety",
                    "crash",
                    "zero_code",
                    "properties",
                    "conformance",
                    "frameworks",
                ],
                # They start tests or measurements in processes of their own, which have another key.
                "without": ["faults/test_faults_sabotage.py", "unit/test_benchmarks.py"],
            },
            {"sent": 1, "tests": 4_000, "looked_at": 1_000_000},
        ),
        {"failed": 0, "found": 0},
        ("secret-key",),
    ),
    "growth": Line(
        "memory over many turns",
        "growth_proof",
        Form({"turns": 20_000}, {"turns": 20_000}),
        Form({"turns": 1_000_000}, {"turns": 1_000_000}),
        {"grown_kb": 5_000, "largest_file": 64_000_000},
        ("lanes-end",),
    ),
    "growth-in-use": Line(
        "memory of an application in use: handler, prompts, desk, client, a platform's sockets",
        "use_growth_proof",
        Form({"calls": 200, "full_after": 400}, {"turns": 400, "shown": 5}),
        Form({"calls": 10_000}, {"turns": 20_000, "shown": 500}),
        {"grown_kb": 5_000, "undelivered": 0},
        ("runs-end",),
    ),
}
