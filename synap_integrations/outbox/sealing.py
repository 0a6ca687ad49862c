"""Rows that only a key opens: what was said, and whose it is, as AES-256-GCM keeps it.

Off unless a key is given. A sealed `Row` is a row like any other: it is checked, moved, counted and deleted without
being opened. In clear text stay what the outbox works with: event id, kind, framework, time, size. The hash of the
conversation becomes a keyed one, so that nobody can try out ids. Each row names its key, so that keys can change.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from synap_integrations.errors import InvalidInputError
from synap_integrations.parsing import outbox_keys
from synap_integrations.secret import Secret

from .rows import Row, UnreadableRowError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from synap_integrations.settings import Settings

KeySource = str | Callable[[], str]
"""Keys as ``SYNAP_OUTBOX_KEY`` has them, or a function that fetches them."""

_NONCE: Final = 12
_PLACE: Final = 8
_MISSING: Final = "an outbox key needs the package cryptography: pip install 'synap-integrations[encrypt]'"


class LockedRowError(UnreadableRowError):
    """A row whose key was not given: it is whole, and stays where it is until somebody gives it."""


class _Key:
    """One key: what it is called, and what it does. Holds nothing that could be printed by accident."""

    __slots__ = ("_cipher", "_places", "name")

    def __init__(self, secret: Secret) -> None:
        octets = base64.b64decode(secret.reveal())
        self.name = secret.fingerprint()
        self._cipher = _cipher(_derived(octets, b"row"))
        self._places = _derived(octets, b"place")

    def seal(self, row: Row) -> Row:
        place = _octets(row.conversation)
        hashed = int.from_bytes(blake2b(place, digest_size=_PLACE, key=self._places).digest(), signed=True)
        sealed = row._replace(conversation=hashed, scope="", sealed_by=self.name)
        nonce = os.urandom(_NONCE)
        inside = b"".join((place, row.scope.encode(), b"\n", row.body))
        return sealed._replace(body=nonce + self._cipher.encrypt(nonce, inside, _outside(sealed)))

    def open(self, row: Row) -> Row:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - not for those who have no key

        try:
            inside = self._cipher.decrypt(row.body[:_NONCE], row.body[_NONCE:], _outside(row))
        except (InvalidTag, ValueError):
            message = f"a {row.kind} row is not what its key sealed"
            raise UnreadableRowError(message) from None
        place = int.from_bytes(inside[:_PLACE], signed=True)
        scope, _, body = inside[_PLACE:].partition(b"\n")
        return row._replace(conversation=place, scope=scope.decode(), body=body, sealed_by=None)


class Sealing:
    """Seals rows with the first key, opens them with any. Without keys, rows stay as they are. Thread-safe."""

    def __init__(self, secrets: Sequence[Secret] = ()) -> None:
        keys = [_Key(secret) for secret in secrets]
        self._keys = {key.name: key for key in keys}
        self._first = keys[0] if keys else None

    @classmethod
    def of(cls, settings: Settings, given: KeySource | None = None) -> Sealing:
        """With the keys that the application passed, or else those of the settings.

        Raises: InvalidInputError, if a key cannot be used, or the package for it is missing.
        """
        if given is None:
            return cls(settings.outbox_key)
        try:
            return cls(outbox_keys(given if isinstance(given, str) else given()))
        except ValueError as error:
            message = f"outbox_key: its value {error}"
            raise InvalidInputError(message, details={"argument": "outbox_key"}) from None

    def sealed(self, row: Row) -> Row:
        """The row as it is kept."""
        return row if self._first is None else self._first.seal(row)

    def opened(self, row: Row) -> Row:
        """The row as it was captured.

        Raises: LockedRowError, if its key is none of ours; UnreadableRowError, if it was changed.
        """
        if row.sealed_by is None:
            return row
        if (key := self._keys.get(row.sealed_by)) is None:
            message = f"sealed with the key {row.sealed_by}, which was not given"
            raise LockedRowError(message)
        return key.open(row)

    def discreet(self, reason: str) -> str:
        """Why a row was refused, as it is kept beside it: with a key, without what a platform may quote."""
        return reason if self._first is None else reason.partition(":")[0]

    def missing(self, row: Row) -> frozenset[str]:
        """The key that the row needs and we do not have, if there is one."""
        known = row.sealed_by is None or row.sealed_by in self._keys
        return frozenset() if known else frozenset({str(row.sealed_by)})


def _outside(row: Row) -> bytes:
    """What is in clear text and must not be changed. Not the place in the order, which an adopter gives anew."""
    return ascii((row.event_id, row.conversation, row.kind, row.framework, row.captured_at, row.sealed_by)).encode()


def _octets(place: int) -> bytes:
    return place.to_bytes(_PLACE, signed=True)


def _derived(octets: bytes, purpose: bytes) -> bytes:
    return blake2b(purpose, key=octets, digest_size=32).digest()


def _cipher(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra
    except ImportError:
        raise InvalidInputError(_MISSING, details={"argument": "outbox_key"}) from None
    return AESGCM(key)
