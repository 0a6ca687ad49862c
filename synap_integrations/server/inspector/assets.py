"""The files of the pages, as a table: nothing in an address is ever part of a path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from typing import Final

_SCRIPT: Final = "text/javascript; charset=utf-8"
_STYLE: Final = "text/css; charset=utf-8"
_FILES: Final = {
    "app.js": _SCRIPT,
    "door.js": _SCRIPT,
    "page.js": _SCRIPT,
    "live.js": _SCRIPT,
    "plots.js": _SCRIPT,
    "style.css": _STYLE,
    "favicon.svg": "image/svg+xml",
    "uPlot.iife.min.js": _SCRIPT,
    "uPlot.min.css": _STYLE,
    "uPlot.LICENSE.txt": "text/plain; charset=utf-8",
}


def _read(name: str) -> bytes:
    return files(__package__).joinpath("static").joinpath(name).read_bytes()


ASSETS: Final[Mapping[str, tuple[str, Callable[[], bytes]]]] = {
    f"/ui/{name}": (kind, partial(_read, name)) for name, kind in _FILES.items()
} | {"/favicon.ico": (_FILES["favicon.svg"], partial(_read, "favicon.svg"))}
"""Kind and content of every file, by its address."""
