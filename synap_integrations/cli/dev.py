"""`synap dev`: a local Synap as a server, for everything that speaks to the platform. No account, nothing leaves."""

from __future__ import annotations

import asyncio
import gc
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from synap_integrations.errors import InvalidInputError
from synap_integrations.secret import Secret
from synap_integrations.settings import Settings, environment_of_dev_exec

from .dev_banner import as_json, as_text
from .serving import hush_uvicorn, server_packages, told_to_end, when_told

if TYPE_CHECKING:
    from synap_integrations.server.embedded import LocalSynap
    from synap_integrations.server.serving.dev_server import DevServer

MEMORY: Final = ":memory:"
_PORT: Final = 8787
_LEAST_KEY_CHARS: Final = 32
_NO: Final = 1
_EPILOG: Final = """\b
Examples:
  synap dev
  synap dev --port 0 --db :memory: --json
  synap dev --seed turns.jsonl --reset --yes
  synap dev exec -- pytest"""
_EXEC_EPILOG: Final = """\b
Examples:
  synap dev exec -- pytest
  synap dev exec -- python app.py
  synap dev --seed turns.jsonl exec -- python app.py"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line."""

    port: int | None
    grpc_port: int | None
    db: str | None
    api_key: str | None
    seed: Path | None
    reset: bool
    yes: bool
    as_json: bool
    unsafe_bind: str | None
    allow_host: tuple[str, ...]
    embeddings: str | None
    extractor: str | None
    push_tool_results: bool


@click.group("dev", invoke_without_command=True, epilog=_EPILOG)
@click.option("--port", type=click.IntRange(0, 65535), help=f"Port of REST and pages; 0 = any. [default: {_PORT}]")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="Port of the stream. [default: the one after --port]")
@click.option("--db", metavar="FILE", help=f"The database, or {MEMORY}. [default: the embedded Synap's file]")
@click.option("--api-key", metavar="KEY", help="The key to ask for. [default: one is made, and kept beside the file]")
@click.option("--seed", type=click.Path(path_type=Path), metavar="FILE", help="Turns to begin with, one JSON a line.")
@click.option("--reset", is_flag=True, help="Forget everything in the file first; asks before it does.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON when ready, instead of text.")
@click.option("--unsafe-bind", metavar="ADDRESS", help="Serve others, too, in clear text; needs --api-key.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name it is called by, with --unsafe-bind.")
@click.option("--embeddings", metavar="MODULE:FACTORY", help="Also find by meaning, with the encoder that this makes.")
@click.option("--extractor", metavar="MODULE:FACTORY", help="Note what users say, with the chat model that this makes.")
@click.option("--push-tool-results", is_flag=True, help="Also push what answers a tool's result.")
@click.pass_context
def command(context: click.Context, /, **given: object) -> int:
    """Run a local Synap as a server: REST, stream and pages on this machine.

    Ctrl-C stops it. Exit code 1: you answered no when --reset asked.
    """
    context.obj = wanted = Wanted(**given)  # type: ignore[arg-type] # click has converted them
    if context.invoked_subcommand is not None:
        return 0
    with _opened(wanted) as synap:
        if not _ready_to_begin(synap, wanted):
            return _NO
        asyncio.run(_until_told(_server(synap, wanted), wanted))
    return 0


@command.command(
    "exec",
    short_help="Run a command against a fresh server.",
    epilog=_EXEC_EPILOG,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
@click.pass_obj
def execute(wanted: Wanted, words: tuple[str, ...]) -> int:
    """Run COMMAND against a fresh server and stop it; returns COMMAND's exit code.

    COMMAND finds the server through its environment. The server is in memory and on free ports unless told otherwise.
    """
    fresh = replace(wanted, db=wanted.db or MEMORY, port=wanted.port or 0)
    with _opened(fresh) as synap:
        if not _ready_to_begin(synap, fresh):
            return _NO
        return asyncio.run(_around(_server(synap, fresh), words))


# --- what is served ----------------------------------------------------------------------------------------------


@contextmanager
def _opened(wanted: Wanted) -> Iterator[LocalSynap]:
    """The Synap over the file that was asked for."""
    from synap_integrations.server.database import Database  # noqa: PLC0415 - not for --help
    from synap_integrations.server.embedded import FILE_NAME, LocalSynap  # noqa: PLC0415 - not for --help
    from synap_integrations.server.push.pusher import causes  # noqa: PLC0415 - not for --help

    settings = Settings.read()
    path = None if wanted.db == MEMORY else Path(wanted.db or settings.root / FILE_NAME).expanduser().absolute()
    database = Database(path, synchronous="FULL" if settings.durability == "power" else "NORMAL")
    try:
        database.open()
    except (OSError, sqlite3.Error) as error:
        message = f"{path} cannot be used ({error}): pass another --db, or --db {MEMORY}"
        raise InvalidInputError(message) from None
    patterns = causes(tool_results=wanted.push_tool_results or settings.push_tool_results)
    synap = LocalSynap(database, MEMORY if path is None else str(path), patterns=patterns)
    try:
        if wanted.embeddings or wanted.extractor:
            from .lent_models import lent_by  # noqa: PLC0415 - only for those who have models

            synap.engine.lend(lent_by(embeddings=wanted.embeddings, extractor=wanted.extractor))
        yield synap
    finally:
        synap.close()


def _ready_to_begin(synap: LocalSynap, wanted: Wanted) -> bool:
    """Forget and remember what is to be forgotten and remembered. False if the user does not want that after all."""
    from synap_integrations.server.seeds import sow  # noqa: PLC0415 - not for --help
    from synap_integrations.server.store.erasure import erase  # noqa: PLC0415 - not for --help

    if wanted.reset:
        if not (wanted.yes or _may_forget(synap, wanted)):
            return False
        try:
            erase(synap.engine.database)
        except sqlite3.Error as error:
            message = f"{synap.name} cannot be emptied now ({error}): stop what is using it"
            raise InvalidInputError(message) from None
    if wanted.seed is not None:
        try:
            sow(synap.engine, wanted.seed)
        except OSError as error:
            message = f"{wanted.seed} cannot be read ({error.strerror}): pass a file with one JSON object a line"
            raise InvalidInputError(message) from None
    return True


def _may_forget(synap: LocalSynap, wanted: Wanted) -> bool:
    counts = synap.engine.stats()
    if not any(counts.values()):
        return True
    held = f"{counts['turns']} turns of {counts['users']} users in {synap.name}"
    if wanted.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        message = f"--reset forgets {held}: add --yes to say that this is meant"
        raise InvalidInputError(message)
    return click.confirm(f"Forget {held}?")


def _server(synap: LocalSynap, wanted: Wanted) -> DevServer:
    """Raises: InvalidInputError, if a package is missing, or the key is not good enough for where it is to serve."""
    with server_packages():
        from synap_integrations.server.serving.dev_server import DevServer, ServerOptions  # noqa: PLC0415 - may be missing
    from .surroundings import outside  # noqa: PLC0415 - not for --help

    hush_uvicorn()
    options = ServerOptions(
        key=_key(synap, wanted),
        port=_PORT if wanted.port is None else wanted.port,
        grpc_port=wanted.grpc_port,
        address=wanted.unsafe_bind,
        names=frozenset(wanted.allow_host),
    )
    # What was loaded by now stays: a search, which makes thousands of small objects, need not wait for a look at it.
    gc.freeze()
    return DevServer(synap, options, outside=outside(Settings.read(), file=synap.name))


def _key(synap: LocalSynap, wanted: Wanted) -> Secret:
    from synap_integrations.server.serving.access import kept_key, new_key  # noqa: PLC0415 - not for --help

    given, path = wanted.api_key, synap.engine.database.path
    if wanted.unsafe_bind is not None and len(given or "") < _LEAST_KEY_CHARS:
        message = f"--unsafe-bind lets others try: add --api-key with at least {_LEAST_KEY_CHARS} characters"
        raise InvalidInputError(message)
    if given is not None:
        if not (given.isascii() and given.isprintable() and given and " " not in given):
            message = "--api-key: a key is of printable ASCII characters without spaces"
            raise InvalidInputError(message)
        return Secret(given)
    if path is None:
        return new_key()
    try:
        return kept_key(path.with_suffix(".key"))
    except OSError as error:
        message = f"{path.with_suffix('.key')} cannot be used ({error.strerror}): pass --api-key"
        raise InvalidInputError(message) from None


# --- how long ----------------------------------------------------------------------------------------------------


async def _until_told(server: DevServer, wanted: Wanted) -> None:
    told = told_to_end()
    async with server:
        if wanted.unsafe_bind is not None:
            click.echo(
                f"synap dev: whoever reaches {wanted.unsafe_bind} and listens in can read everything: no TLS", err=True
            )
        sys.stdout.write(f"{as_json(server) if wanted.as_json else as_text(server)}\n")
        sys.stdout.flush()
        await told.wait()


async def _around(server: DevServer, words: tuple[str, ...]) -> int:
    """The exit code of the command, as a shell would say it."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(server)
        variables = dict(server.environment)
        if Settings.origins()["storage_path"] == "default":
            # What waits for a server that is gone in a moment must not stay in the user's own outbox.
            variables["SYNAP_STORAGE_PATH"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="synap-dev-"))
        try:
            process = await asyncio.create_subprocess_exec(*words, env=environment_of_dev_exec(variables))
        except OSError as error:
            message = f"cannot run {words[0]!r}: {_why(error)}"
            raise InvalidInputError(message) from None
        when_told(partial(_pass_on, process))
        code = await process.wait()
        return code if code >= 0 else 128 - code


def _why(error: OSError) -> str:
    """In the words of a shell, where there are such."""
    if isinstance(error, FileNotFoundError):
        return "command not found"
    return (error.strerror or str(error)).lower()


def _pass_on(process: asyncio.subprocess.Process, number: int) -> None:
    # Ctrl-C reaches the command by itself: it belongs to the same terminal.
    if number != signal.SIGINT and process.returncode is None:
        process.send_signal(number)
