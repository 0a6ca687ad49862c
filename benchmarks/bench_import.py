"""How long our imports take, each in a fresh process."""

from __future__ import annotations

from measuring import Effort, Figure, Report, Spread, python

TARGET_MS = 30.0
FRAMEWORK = (
    "import langchain_core.callbacks, langchain_core.chat_history, langchain_core.language_models, "
    "langchain_core.output_parsers, langchain_core.prompts, langchain_core.runnables.history, langchain_core.tools"
)
"""What a program with a chain has imported before it imports us."""
IMPORTS = {
    "import synap_integrations": ("pass", "import synap_integrations"),
    "import synap_integrations.langchain, over langchain_core": (
        FRAMEWORK,
        "from synap_integrations.langchain import SynapCallbackHandler",
    ),
}
PROGRAM = "{before}\nimport time\nbegan = time.perf_counter()\n{subject}\nprint(time.perf_counter() - began)"


def measure(effort: Effort) -> Report:
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(effort.of(10)):
        for name, (before, subject) in IMPORTS.items():
            taken[name].append(float(python("-c", PROGRAM.format(before=before, subject=subject))))
    spreads = {name: Spread.of(seconds).times(1e3) for name, seconds in taken.items()}
    return Report([Figure(name, spread.median, "ms", TARGET_MS, spread=spread) for name, spread in spreads.items()])
