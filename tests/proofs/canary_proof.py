"""A key that exists nowhere else: does it turn up in a log, an output, an error, a representation or a file?"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import logging
import os
import pickle
import secrets
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from canary_plugin import COUNTS
from programs import EQUIPMENT, ROOT, python
from socket_platform import Answer, SocketPlatform

from synap_integrations import Scope, Synap
from synap_integrations.client import SynapClient
from synap_integrations.errors import SynapError
from synap_integrations.model import ToolCall, UserMessage

SCOPE = Scope("2f0f8d3c-4f0e-4e0a-9a63-1b6a39d6b6a1", "ana")
LOUD = ("-rA", "-p", "no:cacheprovider", "-p", "canary_plugin", "--log-level=DEBUG", "--timeout", "300")
LONGEST_S = 2_400.0
TOGETHER, ALONE = ("-n", "2", "--dist", "worksteal"), ("-p", "no:xdist")


@dataclass(frozen=True)
class Figures:
    """``looked_at``: bytes of logs, outputs and files. ``found``: how often the key was in them.

    ``tests`` passed. ``again`` of them had failed among the others, as tests with deadlines do on a machine that is
    busy and logs everything, and passed alone; ``failed`` did not. ``sent``: requests that carried the key to the
    platform, as they must.
    """

    tests: int
    again: int
    failed: int
    sent: int
    looked_at: int
    found: int


def measure(folder: Path, *, tests: list[str], without: Sequence[str] = ()) -> Figures:
    """Show all that can be shown of a Synap in use; then run the tests with the key, loudly.

    ``without``: files among them that only start tests in processes of their own, which have another key.
    """
    canary, logs = f"synap_canary_{secrets.token_hex(16)}", folder / "logs"
    logs.mkdir()
    shown, sent = _shown(canary, folder, logs)
    ran, passed, again, failed = _suite(canary, folder, logs, tests, without) if tests else ("", 0, 0, 0)
    (folder / "shown").write_text(f"{shown}\n{ran}", encoding="utf-8")
    looked_at = found = 0
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with suppress(PermissionError):
                data = path.read_bytes()
                looked_at, found = looked_at + len(data), found + data.count(canary.encode())
    return Figures(passed, again, failed, sent, looked_at, found)


def _shown(canary: str, folder: Path, logs: Path) -> tuple[str, int]:
    """Everything that an application, a crash reporter or a notebook could show of it, and requests with the key."""
    log = logging.FileHandler(logs / "own.log")
    logging.getLogger().addHandler(log)
    logging.getLogger().setLevel(logging.DEBUG)
    with SocketPlatform() as platform:
        platform.rest_script += [Answer(500), Answer(429), Answer(401)]
        address = platform.address | {"api_key": canary}
        with Synap(**address, storage_path=folder / "synap") as synap:
            synap.record(UserMessage("hello"), scope=SCOPE)
            synap.record(ToolCall("search", {}, "call-1"), scope=SCOPE)
            synap.flush(1)
            settings = synap.settings
            things = [synap, settings, vars(synap), dataclasses.asdict(settings), synap.status(), settings.api_key]
            shown = [form(thing) for thing in things for form in (repr, str, "{}".format)]
            shown += [repr(copy.copy(settings.api_key)), *_pickled(settings)]
            logging.getLogger("application").debug("%r %s", settings, settings.api_key)
        shown.append(_failure(platform, address))
        sent = sum(canary in str(request.headers) for request in platform.requests)
    logging.getLogger().removeHandler(log)
    log.close()
    return "\n".join(shown), sent


def _pickled(settings: object) -> list[str]:
    try:
        return [pickle.dumps(settings).decode("latin-1")]
    except (TypeError, pickle.PicklingError) as error:
        return [str(error)]


def _failure(platform: SocketPlatform, address: dict) -> str:
    """An error of the client's as a crash reporter shows it, with the local variables of our frames."""

    async def fail() -> str:
        async with SynapClient(**address) as client:
            platform.answers["/v1/conversations/messages"] = Answer(403, body={"detail": "no"})
            try:
                await client.conversation.record_message(SCOPE.conversation_id, "user", "hello", user_id="ana")
            except SynapError as error:
                frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
                ours = [str(frame.locals) for frame in frames if "synap_integrations" in frame.filename]
                return f"{error!r} {vars(error)} {ours}"
        return "no error"

    return asyncio.run(fail())


def _suite(
    canary: str, folder: Path, logs: Path, tests: list[str], without: Sequence[str]
) -> tuple[str, int, int, int]:
    """What the tests print; how many passed, how many of them at the second try, and how many failed twice."""
    left_out = [f"--ignore={ROOT / 'tests' / name}" for name in without]
    paths = [str(ROOT / "tests" / test) for test in tests]
    said, first = _run(canary, folder / "tests", logs, [*TOGETHER, *left_out, *paths])
    if not (bad := first["bad"]):
        return said, first["passed"], 0, 0
    more, second = _run(canary, folder / "alone", logs, [*ALONE, *bad])
    sys.stderr.write("".join(f"failed twice: {name}\n" for name in second["bad"]))
    failed = len(second["bad"])
    return f"{said}\n{more}", first["passed"] + len(bad) - failed, len(bad) - failed, failed


def _run(canary: str, scratch: Path, logs: Path, arguments: list[str]) -> tuple[str, dict]:
    path = os.pathsep.join(map(str, (ROOT, EQUIPMENT, Path(__file__).parent)))
    more = {"CANARY": canary, "CANARY_LOG": str(logs), "PYTHONPATH": path, "HOME": str(scratch.parent)}
    rest = [f"--basetemp={scratch}", f"--rootdir={ROOT}", "-m", "not soak"]
    done = python("-m", "pytest", *LOUD, *rest, *arguments, timeout=LONGEST_S, **more)
    said = done.stdout + done.stderr
    if done.returncode not in {0, 1}:
        raise RuntimeError(said.strip().rpartition("\n")[2])
    return said, json.loads((logs / COUNTS).read_text(encoding="utf-8"))
