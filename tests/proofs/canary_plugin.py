"""A pytest plugin: the platforms of the tests have a key that exists nowhere else, and everything is logged to a file.

``CANARY`` is the key and ``CANARY_LOG`` the folder for the logs; each process writes its own. At the end, COUNTS in
that folder says how many tests passed, and which failed.
"""

import json
import logging
import os
import sys
from pathlib import Path

EQUIPMENT = Path(__file__).resolve().parents[1] / "equipment"
COUNTS = "counts.json"


def pytest_configure(config) -> None:
    """Before any test module takes the key over."""
    sys.path.append(str(EQUIPMENT))
    import dev_server  # noqa: PLC0415 - found through the path above
    import socket_platform  # noqa: PLC0415 - see above

    canary = os.environ["CANARY"]
    socket_platform.KEY = dev_server.KEY = dev_server.Reached.key = canary
    dev_server.Reached.__init__.__defaults__ = (canary,)
    dev_server.start_dev_server.__kwdefaults__["key"] = canary
    log = logging.FileHandler(Path(os.environ["CANARY_LOG"]) / f"{os.getpid()}.log")
    log.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)r"))
    logging.getLogger().addHandler(log)
    logging.getLogger().setLevel(logging.DEBUG)


def pytest_terminal_summary(terminalreporter) -> None:
    """In the process that sees the outcome of every test."""
    stats, root = terminalreporter.stats, terminalreporter.config.rootpath
    bad = {report.nodeid for kind in ("failed", "error") for report in stats.get(kind, ())}
    found = {"passed": len(stats.get("passed", ())), "bad": sorted(str(root / name) for name in bad)}
    (Path(os.environ["CANARY_LOG"]) / COUNTS).write_text(json.dumps(found), encoding="utf-8")
