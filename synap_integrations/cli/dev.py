"""`synap dev`: a local Synap as a server, for everything that speaks to the platform. No account, nothing leaves."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from synap_integrations.errors import InvalidInputError
from synap_integrations.settings import Secret, Settings

if TYPE_CHECKING:
    from synap_integrations.server.embedded import LocalSynap
    from synap_integrations.server.serve import DevServer

MEMORY: Final = ":memory:"
_PORT: Final = 8787


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line."""

    port: int | None
    grpc_port: int | None
    db: str | None
    api_key: str | None
    as_json: bool


@click.group("dev", invoke_without_command=True)
@click.option("--port", type=click.IntRange(0, 65535), help=f"Port of REST and pages; 0 = any. Default {_PORT}.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="Port of the stream. Default: the one after --port.")
@click.option("--db", help=f"The file, or {MEMORY}. Default: the embedded Synap's file.")
@click.option("--api-key", help="The key to ask for. Default: one that is made, and kept beside the file.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON when ready, instead of text.")
@click.pass_context
def command(context: click.Context, **given: object) -> None:
    """Run a local Synap as a server: REST, stream and pages on this machine."""
    context.obj = Wanted(**given)  # type: ignore[arg-type] # click has converted them
    if context.invoked_subcommand is None:
        _serve(context.obj)


def _serve(wanted: Wanted) -> None:
    with closing(_opened(wanted)) as synap:
        asyncio.run(_until_told(_server(synap, wanted), wanted))


async def _until_told(server: DevServer, wanted: Wanted) -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with server:
        sys.stdout.write(f"{_ready(server, wanted)}\n")
        sys.stdout.flush()
        await told.wait()


def _ready(server: DevServer, wanted: Wanted) -> str:
    synap = server.synap
    if wanted.as_json:
        return json.dumps(
            {
                "url": server.url,
                "grpc": f"{server.host}:{server.grpc_port}",
                "api_key": server.options.key.reveal(),
                "file": None if synap.engine.database.path is None else synap.name,
                "environment": server.environment,
            }
        )
    return "\n".join(f"export {name}={value}" for name, value in server.environment.items())


def _opened(wanted: Wanted) -> LocalSynap:
    from synap_integrations.server.database import Database  # noqa: PLC0415 - after --help
    from synap_integrations.server.embedded import FILE_NAME, LocalSynap  # noqa: PLC0415

    path = None if wanted.db == MEMORY else Path(wanted.db or Settings.read().root / FILE_NAME).expanduser()
    database = Database(path)
    database.open()
    return LocalSynap(database, MEMORY if path is None else str(path))


def _server(synap: LocalSynap, wanted: Wanted) -> DevServer:
    try:
        from synap_integrations.server.access import kept_key, new_key  # noqa: PLC0415
        from synap_integrations.server.serve import DevServer, ServerOptions  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"starlette", "uvicorn", "h11", "anyio"}:
            raise
        message = f"{error.name} is missing: pip install 'synap-integrations[server]'"
        raise InvalidInputError(message) from None
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    path = synap.engine.database.path
    key = (
        Secret(wanted.api_key) if wanted.api_key else new_key() if path is None else kept_key(path.with_suffix(".key"))
    )
    port = _PORT if wanted.port is None else wanted.port
    return DevServer(synap, ServerOptions(key=key, port=port, grpc_port=wanted.grpc_port))
