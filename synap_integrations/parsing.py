"""What a setting's text means. Each parser raises a ValueError that says what it accepts instead."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

from .secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    N = TypeVar("N", int, float)

ON: Final = frozenset({"1", "true", "yes", "on"})
OFF: Final = frozenset({"0", "false", "no", "off"})
_OUTBOX_KEY_BYTES: Final = 32
_URL_SAFE: Final = str.maketrans("-_", "+/")


def _number(kind: Callable[[str], N], raw: str) -> N | int:
    """The number; one that no setting takes, if it is none."""
    try:
        return kind(raw)
    except ValueError:
        return -1


def text(raw: str) -> str:
    """Itself."""
    return raw


def flag(raw: str) -> bool:
    """A flag, in one of eight words."""
    if raw.lower() in ON:
        return True
    if raw.lower() in OFF:
        return False
    message = "is neither 1/true/yes/on nor 0/false/no/off"
    raise ValueError(message)


def seconds(raw: str) -> float:
    """A number of seconds."""
    value = _number(float, raw)
    if not 0 <= value < float("inf"):
        message = "is not a number of seconds from 0 up, such as 0.15"
        raise ValueError(message)
    return value


def share(raw: str) -> float:
    """A number from 0 to 1."""
    value = _number(float, raw)
    if not 0 <= value <= 1:
        message = "is not a share from 0 to 1"
        raise ValueError(message)
    return value


def count(raw: str) -> int:
    """A whole number that is not negative."""
    value = _number(int, raw)
    if value < 0:
        message = "is not a whole number from 0 up"
        raise ValueError(message)
    return value


def port(raw: str) -> int:
    """A port that can be connected to."""
    value = _number(int, raw)
    if not 0 < value < 65536:
        message = "is not a port (1 to 65535)"
        raise ValueError(message)
    return value


def certificates(raw: str) -> Path:
    """A file of certificates, as PEM, which can be read."""
    import ssl  # noqa: PLC0415 - for who has such a file

    path = Path(raw).expanduser()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError as error:
        why = "there is none in it" if isinstance(error, ssl.SSLError) else error.strerror
        message = f"is no file of certificates as PEM ({why}): ask for your company's, or unset it"
        raise ValueError(message) from None
    return path


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser of a fixed set of words."""

    def parse(raw: str) -> str:
        if raw not in choices:
            message = f"is not one of {', '.join(choices)}"
            raise ValueError(message)
        return raw

    return parse


def words(raw: str) -> tuple[str, ...]:
    """What stands between commas, without spaces around it."""
    return tuple(word for part in raw.split(",") if (word := part.strip()))


def outbox_keys(raw: str) -> tuple[Secret, ...]:
    """Keys of 32 bytes as base64, with commas between them. Raises: ValueError, which does not repeat them."""
    return tuple(Secret(base64.b64encode(_octets_of_key(word)).decode()) for word in words(raw))


def _octets_of_key(word: str) -> bytes:
    try:
        digits = word.translate(_URL_SAFE).rstrip("=")
        key = base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except ValueError:
        key = b""
    if len(key) != _OUTBOX_KEY_BYTES:
        message = f"is not {_OUTBOX_KEY_BYTES} bytes as base64 (make some: openssl rand -base64 32)"
        raise ValueError(message)
    return key
