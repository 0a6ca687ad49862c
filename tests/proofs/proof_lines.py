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
        ("commit-before-return", "adoption"),
    ),
    "killpoints": Line(
        "kill -9 at 17 named places",
        "killpoint_proof",
        Form({"rounds": 1}, {"reached": 18}),
        Form({"rounds": 5}, {"reached": 90}),
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
        Form({"steps": 20_000}, {"steps": 20_000}),
        {"lost": 0, "early": 0, "late": 0, "inversions": 0, "unaccounted": 0},
        ("monotonic-pauses",),
    ),
    "order": Line(
        "lost streams and answers in mid-sentence (virtual)",
        "weather_proof",
        Form({"turns": 2_000, "hours": 0.4, "every_s": 6, "conversations": 3}, {"outages": 20, "streams_lost": 10}),
        Form({"turns": 50_000, "hours": 10, "every_s": 6, "conversations": 3}, {"outages": 500, "streams_lost": 300}),
        SETTLED,
        ("one-lane-each",),
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
        Form({"turns": 1_000, "hours": 24, "every_s": 300}, {"outages": 50, "streams_lost": 30}),
        Form({"turns": 10_000, "hours": 24, "every_s": 120, "seed": 11}, {"outages": 200, "streams_lost": 100}),
        SETTLED,
        ("ack-after-delivery", "one-lane-each"),
    ),
    "growth": Line(
        "memory over many turns",
        "growth_proof",
        Form({"turns": 20_000}, {"turns": 20_000}),
        Form({"turns": 1_000_000}, {"turns": 1_000_000}),
        {"grown_kb": 5_000},
        ("lanes-end",),
    ),
}
