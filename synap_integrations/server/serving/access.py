"""Who may come in: one key for REST, stream and pages, made here and kept where only its user can read it."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from synap_integrations.errors import InvalidInputError
from synap_integrations.secret import Secret

_PREFIX: Final = "synap_local_"
_RANDOM_BYTES: Final = 32


class Access:
    """Tells the holder of the key from everybody else, in the same time for every wrong key."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def bearer(self, authorization: str | None) -> bool:
        """True for ``Bearer <key>``."""
        scheme, _, given = (authorization or "").partition(" ")
        return scheme.lower() == "bearer" and self._is_key(given.strip())

    def basic(self, authorization: str | None) -> bool:
        """True for HTTP Basic with the key as password, whoever the user is."""
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            _, _, password = base64.b64decode(given.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return self._is_key(password)

    def _is_key(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self._key.reveal().encode())


def new_key() -> Secret:
    """A key that nobody can guess: 256 random bits."""
    return Secret(_PREFIX + secrets.token_hex(_RANDOM_BYTES))


def kept_key(path: Path) -> Secret:
    """The key in this file, made now if there is none, so that what was exported once stays right.

    Raises: InvalidInputError, if others can read the file or it holds no key; OSError, if none can be made.
    """
    with suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = new_key()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:  # somebody else was faster
        return _read(path)
    with os.fdopen(handle, "w") as file:
        os.fchmod(handle, 0o600)
        file.write(f"{key.reveal()}\n")
    return key


def _read(path: Path) -> Secret:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        held = os.fstat(handle)
        if held.st_uid != os.geteuid() or stat.S_IMODE(held.st_mode) & 0o077:
            message = f"{path} can be read by others: run `chmod 600 {path}`, or delete it for a new key"
            raise InvalidInputError(message)
        text = file.read(4096).decode("ascii", errors="replace").strip()
    if len(text) < 2 * _RANDOM_BYTES or not text.isprintable() or " " in text:
        message = f"{path} holds no key: delete it, and a new one is made"
        raise InvalidInputError(message)
    return Secret(text)
