"""`synap ui`: look inside the embedded Synap of an application, whether it is running or not."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synap_integrations.errors import InvalidInputError
from synap_integrations.settings import Settings

from .serving import hush_uvicorn, server_packages, told_to_end

if TYPE_CHECKING:
    from synap_integrations.server.embedded import LocalSynap
    from synap_integrations.server.serving.page_server import PageServer
_EPILOG = """\b
Examples:
  synap ui --open
  synap ui --db ~/.synap/integrations/v1/local.db --write
  synap ui --json | jq -r .pages"""


@click.command("ui", epilog=_EPILOG)
@click.option("--db", type=click.Path(path_type=Path), metavar="FILE", help="[default: the embedded Synap's file]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the pages. [default: any that is free]")
@click.option("--write", is_flag=True, help="Allow to forget users.")
@click.option("--open", "in_browser", is_flag=True, help="Open the pages in a browser.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON when ready, instead of text.")
def command(*, db: Path | None, port: int, write: bool, in_browser: bool, as_json: bool) -> None:
    """Look inside the embedded Synap of an application: what was said, what was pushed, what a model saw.

    Reads only, unless --write is given, and shows what the application does while it does it. Ctrl-C stops it.
    """
    path = (db or Settings.read().root / _file_name()).expanduser().absolute()
    with _opened(path, write=write) as synap:
        asyncio.run(_until_told(_server(synap, port=port, write=write), as_json=as_json, in_browser=in_browser))


def _file_name() -> str:
    from synap_integrations.server.embedded import FILE_NAME  # noqa: PLC0415 - not for --help

    return FILE_NAME


@contextmanager
def _opened(path: Path, *, write: bool) -> Iterator[LocalSynap]:
    """Raises: InvalidInputError, if the file is not there or cannot be used, or a package is missing."""
    with server_packages():
        from synap_integrations.server.database import Database  # noqa: PLC0415 - not for --help
        from synap_integrations.server.embedded import LocalSynap  # noqa: PLC0415 - not for --help
        from synap_integrations.server.inspector.file import ReadOnlyDatabase  # noqa: PLC0415 - may be missing
    if write and not path.exists():
        message = f"{path} is not there: nothing was recorded here yet, or it is elsewhere; pass --db FILE"
        raise InvalidInputError(message)
    database = Database(path) if write else ReadOnlyDatabase(path)
    try:
        database.open()
    except (OSError, sqlite3.Error) as error:
        message = f"{path} cannot be used ({error}): pass the file of an embedded Synap with --db"
        raise InvalidInputError(message) from None
    synap = LocalSynap(database, str(path))
    try:
        yield synap
    finally:
        synap.close()


def _server(synap: LocalSynap, *, port: int, write: bool) -> PageServer:
    """Raises: InvalidInputError, if a package is missing."""
    with server_packages():
        from synap_integrations.server.serving.access import new_key  # noqa: PLC0415 - not for --help
        from synap_integrations.server.serving.page_server import PageOptions, PageServer  # noqa: PLC0415 - may be missing

    from .surroundings import outside  # noqa: PLC0415 - not for --help

    hush_uvicorn()
    around = outside(Settings.read(), file=synap.name, writable=write)
    return PageServer(synap, PageOptions(key=new_key(), port=port), outside=around)


async def _until_told(server: PageServer, *, as_json: bool, in_browser: bool) -> None:
    told = told_to_end()
    async with server:
        sys.stdout.write(f"{_json(server) if as_json else _text(server)}\n")
        sys.stdout.flush()
        if in_browser:
            webbrowser.open(server.pages)
        await told.wait()


def _json(server: PageServer) -> str:
    """One line: ``url``, ``pages`` (with the key), ``file``, ``writable``."""
    around = server.outside
    return json.dumps({"url": server.url, "pages": server.pages, "file": around.file, "writable": around.writable})


def _text(server: PageServer) -> str:
    home = str(Path.home())
    about = "" if server.outside.writable else ", which is only read"
    lines = [
        f"The memory in {server.outside.file.replace(home, '~', 1)}{about}:",
        "",
        f"  {server.pages}",
        "",
        "Ctrl-C stops it.",
    ]
    return "\n".join(lines)
