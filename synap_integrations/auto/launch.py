"""Become another program, with `boot` in front of its path."""

from __future__ import annotations

import os
import sys

from synap_integrations.import_strings import is_name

from .run_options import HEADERS, VARIABLE, Terms
from .startup_guard import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

BOOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "boot")
OF_PYTHON = ("-m", "-c")
"""What a program may begin with, to be run by this Python."""
_OFF = ("0", "false", "no", "off")
_DEAF = "IES"
"""Options of Python that keep it from reading ``PYTHONPATH``, or from running what it finds there at its start."""


def become(program: Sequence[str], terms: Terms) -> NoReturn:
    """Replace this process by the program.

    Raises: OSError, if there is no such program or it cannot be run.
    """
    words, environment = commanded(program), os.environ
    if not capturing(environment):
        os.execvpe(words[0], words, dict(environment))  # noqa: S606 - what the user has named
    if unheard := _deaf(words):
        say(f"not captured: Python reads no PYTHONPATH under {unheard}; the program runs as it is")
    sys.stdout.flush()
    os.execvpe(words[0], words, prepared(environment, terms))  # noqa: S606 - see above


def prepared(environment: Mapping[str, str], terms: Terms) -> dict[str, str]:
    """The environment of the program."""
    places = [BOOT, *[place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place != BOOT]]
    path = os.pathsep.join([place for place in places if place])
    terms.drain = environment.get("SYNAP_DRAIN_ON_SIGTERM", "").strip().replace(";", ",") or None
    return {**environment, VARIABLE: str(terms) or "capture", "PYTHONPATH": path}


def capturing(environment: Mapping[str, str]) -> bool:
    """`Settings.capturing`, without the rest of the settings."""
    return environment.get("SYNAP_CAPTURE", "1").strip().lower() not in _OFF


def commanded(program: Sequence[str]) -> list[str]:
    """The words to execute: Python in front of what only Python runs, and what is installed beside it found there."""
    first = program[0]
    if first in OF_PYTHON or first.endswith((".py", ".pyz")) or os.path.isdir(first):
        return [sys.executable, *program]
    if os.sep not in first and not any(os.access(os.path.join(place, first), os.X_OK) for place in os.get_exec_path()):
        beside = os.path.join(os.path.dirname(sys.executable), first)
        if os.access(beside, os.X_OK):
            return [beside, *program[1:]]
    return list(program)


def can_identify(value: str) -> bool:
    """True for ``headers`` and for the form ``module:function``."""
    return value == HEADERS or is_name(value)


def _deaf(words: Sequence[str]) -> str:
    """The option that will keep Python from hearing of us, if the words run Python with one."""
    if not os.path.basename(words[0]).startswith("python"):
        return ""
    for word in words[1:]:
        if word[:1] != "-" or word[:2] in OF_PYTHON or word[:2] == "--":
            return ""
        if any(letter in word for letter in _DEAF):
            return word
    return ""
