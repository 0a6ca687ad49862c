"""Measure one line in a process of its own: ``measure_one.py NAME short|full FOLDER`` prints the figures as JSON.

The variable SABOTAGE names a protection to do without, here and in whatever the line starts.
"""

import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parents[1]), str(HERE.parent / "equipment")]


def main() -> None:
    """Measure, and say so."""
    from proof_lines import LINES  # noqa: PLC0415 - found through the path above
    from sabotage import from_environment  # noqa: PLC0415 - see above

    name, form, folder = sys.argv[1:]
    for variable in [variable for variable in os.environ if variable.startswith("SYNAP_")]:
        del os.environ[variable]
    os.environ["SYNAP_STORAGE_PATH"] = f"{folder}/synap"
    from_environment()
    line = LINES[name]
    measure = importlib.import_module(line.module).measure
    figures = measure(Path(folder), **line.form(short=form == "short").arguments)
    sys.stdout.write(f"\n{json.dumps(dataclasses.asdict(figures))}\n")


if __name__ == "__main__":
    main()
