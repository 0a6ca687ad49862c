"""Which versions of a framework are known to work: those that its folder's ``integration.toml`` requires."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from .errors import InvalidInputError

# Read without `tomllib`, which takes longer to import than many programs to start.
_REQUIRES: Final = re.compile(r'^requires = \["(([\w.-]+)>=([\d.]+),<([\d.]+))"', re.MULTILINE)


def refuse_unsupported(island: str, version: str) -> None:
    """Do nothing for a version of the framework that the folder ``island`` works with.

    Raises: InvalidInputError, naming the versions that work, for any other one.
    """
    manifest = Path(__file__).with_name(island) / "integration.toml"
    found = _REQUIRES.search(manifest.read_text(encoding="utf-8"))
    if found is None:
        message = f"{island}/integration.toml does not say which versions it requires, as name>=oldest,<first unknown"
        raise InvalidInputError(message, details={"version": version})
    requirement, name, oldest, first_unknown = found.groups()
    if not _numbers(oldest) <= _numbers(version) < _numbers(first_unknown):
        message = f"{name} {version} is not supported: install {requirement}"
        raise InvalidInputError(message, details={"version": version})


def _numbers(version: str) -> tuple[int, ...]:
    return tuple([int(part) for part in version.split(".")[:3] if part.isdecimal()])
