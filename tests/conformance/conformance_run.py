"""The conformance run as a program: ``python conformance_run.py DRIVER SERVER_PYTHON FOLDER [KEY…]``.

Prints one JSON verdict a line. DRIVER is the module of a client: ``sdk_driver`` or ``own_driver``. The interpreter that
runs this has that client; SERVER_PYTHON has the local Synap.
"""

import asyncio
import importlib
import json
import os
import sys
from pathlib import Path

from conformance_checks import CHECKS, judged
from conformance_world import World


async def main(driver_name: str, python: str, folder: str, *keys: str) -> None:
    """Run every check, or those with these keys."""
    for variable in [name for name in os.environ if name.startswith("SYNAP_")]:
        del os.environ[variable]
    os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    driver = importlib.import_module(driver_name)
    world = World(python, Path(folder))
    try:
        for one in CHECKS:
            if not keys or one.key in keys:
                print(json.dumps(await judged(one, world, driver)), flush=True)  # noqa: T201 - its output
    finally:
        world.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
