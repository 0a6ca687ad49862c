"""Every knob once: name, variable, unit, default, help.

Explicit argument, then environment, then default. Nothing else in the package reads ``os.environ``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from .errors import InvalidInputError
from .model import Scope

CLOUD_URL: Final = "https://synap-cloud-prod.maximem.ai"
"""Source: maximem-synap 0.6.9, transport/http_client.py."""

_HANDED_ON: Final = frozenset({"SYNAP_RUN"})
"""What `synap run` tells the program that it starts; no setting, because nobody sets it."""
_OUTBOX_KEY_BYTES: Final = 32
_URL_SAFE: Final = str.maketrans("-_", "+/")
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


_environ: Final[Mapping[bytes, bytes]] = os.environ._data  # type: ignore[attr-defined] # noqa: SLF001 - see `_said`


def _said(name: str) -> str | None:
    """What the environment says now. `os.environ` raises and catches an exception for each variable that is not set,
    which costs ten times as much, and a few of ours are asked for in every run.

    Source: CPython 3.11 to 3.14, Lib/os.py, _Environ on POSIX
    """
    value = _environ.get(name.encode("ascii"))
    return None if value is None else os.fsdecode(value)


class Secret:
    """A key that cannot be printed, pickled or shown in a traceback by accident; ``reveal()`` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself. Only the wire needs it."""
        return self._value

    def fingerprint(self) -> str:
        """8 hex digits that tell two keys apart and give neither away."""
        return hmac.new(self._value.encode(), b"synap key fingerprint", hashlib.sha256).hexdigest()[:8]

    def __repr__(self) -> str:
        """Never the key."""
        return f"Secret({self.fingerprint()})"

    def __copy__(self) -> Secret:
        """The same secret: it does not change."""
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        """The same secret: it does not change."""
        return self

    def __reduce__(self) -> str:
        """Refuse to be pickled."""
        message = "a key is not pickled: read it from the environment where it is needed"
        raise TypeError(message)

    def __eq__(self, other: object) -> bool:
        """Equal keys, compared in constant time."""
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        """Consistent with equality."""
        return hash(self._value)


def _text(raw: str) -> str:
    return raw


def _flag(raw: str) -> bool:
    if raw.lower() in _TRUE:
        return True
    if raw.lower() in _FALSE:
        return False
    message = "is neither 1/true/yes/on nor 0/false/no/off"
    raise ValueError(message)


def _seconds(raw: str) -> float:
    value = float(raw)
    if not 0 <= value < float("inf"):
        message = "is not a number of seconds from 0 up"
        raise ValueError(message)
    return value


def _share(raw: str) -> float:
    value = float(raw)
    if not 0 <= value <= 1:
        message = "is not a share from 0 to 1"
        raise ValueError(message)
    return value


def _count(raw: str) -> int:
    value = int(raw)
    if value < 0:
        message = "is not a whole number from 0 up"
        raise ValueError(message)
    return value


def _port(raw: str) -> int:
    value = int(raw)
    if not 0 < value < 65536:
        message = "is not a port (1 to 65535)"
        raise ValueError(message)
    return value


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in choices:
            message = f"is not one of {', '.join(choices)}"
            raise ValueError(message)
        return raw

    return parse


def _words(raw: str) -> tuple[str, ...]:
    return tuple(word for part in raw.split(",") if (word := part.strip()))


def outbox_keys(raw: str) -> tuple[Secret, ...]:
    """Keys of 32 bytes as base64, with commas between them. Raises: ValueError, which does not repeat them."""
    return tuple(Secret(base64.b64encode(_octets_of_key(word)).decode()) for word in _words(raw))


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


def _setting(variable: str, default: Any, parse: Callable[[str], Any], text: str) -> Any:  # noqa: ANN401 - dataclass field
    return field(default=default, metadata={"variable": variable, "parse": parse, "help": text}, kw_only=True)


_SECRETS: Final = (Secret, outbox_keys)
"""Parsers of what no error repeats."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set, and nothing else. Build it with `Settings.read`, which knows the environment."""

    api_key: Secret | None = _setting(
        "SYNAP_API_KEY", None, Secret, "The platform's key. Without one, the embedded Synap is used."
    )
    base_url: str | None = _setting(
        "SYNAP_BASE_URL", None, _text, "`local` (embedded), `cloud`, or the address of a Synap server."
    )
    grpc_host: str | None = _setting(
        "SYNAP_GRPC_HOST", None, _text, "Host of the stream; default: the host of base_url."
    )
    grpc_port: int | None = _setting(
        "SYNAP_GRPC_PORT", None, _port, "Port of the stream; default: 443, or base_url's port + 1 on loopback."
    )
    grpc_use_tls: bool | None = _setting(
        "SYNAP_GRPC_USE_TLS", None, _flag, "TLS on the stream; default: on, except on loopback with http."
    )
    storage_path: Path | None = _setting(
        "SYNAP_STORAGE_PATH", None, Path, "Folder of the outbox and the embedded Synap; default `~/.synap`."
    )
    capture: bool = _setting("SYNAP_CAPTURE", True, _flag, "0 switches capture off for the process.")
    turns: str = _setting(
        "SYNAP_TURNS", "rest", _one_of("rest", "stream"), "How turns travel: `rest` (record_message) or `stream`."
    )
    conversation_id: str | None = _setting(
        "SYNAP_CONVERSATION_ID", None, _text, "Conversation, where nothing else says."
    )
    user_id: str | None = _setting("SYNAP_USER_ID", None, _text, "User, where nothing else says.")
    customer_id: str | None = _setting("SYNAP_CUSTOMER_ID", None, _text, "Customer (tenant), where nothing else says.")
    session_id: str | None = _setting("SYNAP_SESSION_ID", None, _text, "Session, where nothing else says.")
    recall_timeout_s: float = _setting(
        "SYNAP_RECALL_TIMEOUT_S", 0.15, _seconds, "Longest a recall waits for the platform, in seconds; 0 = never."
    )
    lookup_timeout_s: float = _setting(
        "SYNAP_LOOKUP_TIMEOUT_S", 2.0, _seconds, "Longest a retriever or an agent's tool waits for it, in seconds."
    )
    context_max_tokens: int = _setting(
        "SYNAP_CONTEXT_MAX_TOKENS", 800, _count, "Most tokens of context that go into one prompt."
    )
    context: str = _setting(
        "SYNAP_CONTEXT",
        "inject",
        _one_of("inject", "quarantine", "off"),
        "What becomes of context: `inject`, `quarantine` (say in the receipt what would be shown) or `off`.",
    )
    context_levels: tuple[str, ...] = _setting(
        "SYNAP_CONTEXT_LEVELS",
        ("conversation", "user", "customer"),
        _words,
        "Whose context may be shown: any of `conversation`, `user`, `customer`, with commas.",
    )
    inject: bool = _setting(
        "SYNAP_INJECT", False, _flag, "1 puts context into the prompts of an application that is captured without code."
    )
    inject_max_tokens: int | None = _setting(
        "SYNAP_INJECT_MAX_TOKENS", None, _count, "Most tokens of it in one prompt; default: context_max_tokens."
    )
    inject_timeout_ms: int | None = _setting(
        "SYNAP_INJECT_TIMEOUT_MS", None, _count, "Longest a prompt waits for it, in ms; default: recall_timeout_s."
    )
    mask: str | None = _setting(
        "SYNAP_MASK", None, _text, "`module:function` from text to text, called on every text before it is kept."
    )
    hide_inputs: bool = _setting("SYNAP_HIDE_INPUTS", False, _flag, "Keep no word of what users say.")
    hide_outputs: bool = _setting("SYNAP_HIDE_OUTPUTS", False, _flag, "Keep no word of answers and reasoning.")
    hide_tools: bool = _setting("SYNAP_HIDE_TOOLS", False, _flag, "Keep no arguments and no results of tools.")
    sample_rate: float = _setting(
        "SYNAP_SAMPLE_RATE", 1.0, _share, "Share of conversations that is captured, 0 to 1; whole conversations."
    )
    shutdown_timeout_s: float = _setting(
        "SYNAP_SHUTDOWN_TIMEOUT_S", 2.0, _seconds, "Longest the exit of the process waits for delivery, in seconds."
    )
    dedupe_horizon_s: float = _setting(
        "SYNAP_DEDUPE_HORIZON_S", 86_400.0, _seconds, "Longest a platform is relied on to know an event id, in seconds."
    )
    capture_wait_s: float = _setting(
        "SYNAP_CAPTURE_WAIT_S", 0.025, _seconds, "Longest a callback waits for the disk, in seconds."
    )
    durability: str = _setting(
        "SYNAP_DURABILITY",
        "process",
        _one_of("process", "power"),
        "What a recorded turn survives: `process` or `power` loss.",
    )
    on_unknown: str = _setting(
        "SYNAP_ON_UNKNOWN",
        "send",
        _one_of("send", "hold"),
        "What becomes of a turn that may have arrived, where nobody can tell: `send` it again, or `hold` it.",
    )
    strict_order: bool = _setting(
        "SYNAP_STRICT_ORDER",
        False,
        _flag,
        "1: what follows a dead letter in its conversation waits until it is dealt with.",
    )
    outbox_max_rows: int = _setting("SYNAP_OUTBOX_MAX_ROWS", 200_000, _count, "Most turns that wait on disk.")
    outbox_max_mb: int = _setting("SYNAP_OUTBOX_MAX_MB", 256, _count, "Most megabytes that wait on disk.")
    outbox_key: tuple[Secret, ...] = _setting(
        "SYNAP_OUTBOX_KEY",
        (),
        outbox_keys,
        "Encrypts what waits on disk: 32 bytes as base64; after a comma, keys of before that only open.",
    )
    extraction_max_tokens: int = _setting(
        "SYNAP_EXTRACTION_MAX_TOKENS", 200_000, _count, "Most tokens an extractor may spend in one process."
    )
    connect_timeout_s: float = _setting(
        "SYNAP_CONNECT_TIMEOUT_S", 5.0, _seconds, "Longest a connect takes, in seconds."
    )
    request_timeout_s: float = _setting(
        "SYNAP_REQUEST_TIMEOUT_S", 30.0, _seconds, "Longest a request takes in all, in seconds."
    )

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None, **explicit: object) -> Self:
        """Explicit values first, then the environment, then the defaults. An explicit None counts as not given.

        Raises: InvalidInputError, naming the argument or variable, what is wrong with it, and what it accepts.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        known = {row.name: row for row in fields(cls)}
        if unknown := explicit.keys() - known.keys():
            message = f"unknown setting {min(unknown)!r}: the settings are {', '.join(known)}"
            raise InvalidInputError(message)
        for name, row in known.items():
            variable: str = row.metadata["variable"]
            if (given := explicit.get(name)) is not None:
                values[name] = _parsed(row.metadata["parse"], given, name) if isinstance(given, str) else given
            elif raw := environ.get(variable, "").strip():
                values[name] = _parsed(row.metadata["parse"], raw, variable)
        return cls(**values)

    @classmethod
    def origins(cls, environ: Mapping[str, str] | None = None, **explicit: object) -> dict[str, str]:
        """Where `read` takes each setting from: ``"argument"``, ``"environment"`` or ``"default"``."""
        environ = os.environ if environ is None else environ
        found = {row.name: environ.get(row.metadata["variable"], "").strip() for row in fields(cls)}
        return {
            name: "argument" if explicit.get(name) is not None else "environment" if raw else "default"
            for name, raw in found.items()
        }

    @classmethod
    def variables(cls) -> frozenset[str]:
        """The variable of every setting."""
        return frozenset(row.metadata["variable"] for row in fields(cls))

    @classmethod
    def strangers(cls, environ: Mapping[str, str] | None = None) -> frozenset[str]:
        """Variables that look like ours and are no setting: misspelt, or of another version."""
        environ = os.environ if environ is None else environ
        return frozenset(name for name in environ if name.startswith("SYNAP_")) - cls.variables() - _HANDED_ON

    def but(self, **changes: object) -> Self:
        """The same settings with some replaced."""
        return replace(self, **changes)  # type: ignore[arg-type] # dataclasses.replace checks the names

    @classmethod
    def identity(cls, environ: Mapping[str, str] | None = None) -> Scope:
        """The scope that the environment names now; cheap enough to ask for every run."""
        said = _said if environ is None else environ.get
        return Scope(
            said("SYNAP_CONVERSATION_ID") or None,
            said("SYNAP_USER_ID") or None,
            customer_id=said("SYNAP_CUSTOMER_ID") or None,
            session_id=said("SYNAP_SESSION_ID") or None,
        )

    @staticmethod
    def addresses_of_the_environment(environ: Mapping[str, str] | None = None) -> frozenset[str]:
        """What the environment says about where to send things, as it says it."""
        environ = os.environ if environ is None else environ
        named = (environ.get(name, "").strip() for name in ("SYNAP_BASE_URL", "SYNAP_GRPC_HOST"))
        return frozenset(value for value in named if value)

    @staticmethod
    def capturing(environ: Mapping[str, str] | None = None) -> bool:
        """False if ``SYNAP_CAPTURE`` says so now; a value nobody understands does not switch capture off."""
        value = _said("SYNAP_CAPTURE") if environ is None else environ.get("SYNAP_CAPTURE")
        return value is None or value.strip().lower() not in _FALSE

    @property
    def embedded(self) -> bool:
        """True if the embedded Synap is meant: asked for by name, or there is neither an address nor a key."""
        return self.base_url == "local" or (self.base_url is None and self.api_key is None)

    @property
    def root(self) -> Path:
        """The folder that holds everything of ours."""
        return (self.storage_path or Path("~/.synap")).expanduser() / "integrations" / "v1"

    @property
    def rest_url(self) -> str:
        """The address of the REST surface."""
        return CLOUD_URL if self.base_url in (None, "cloud") else self.base_url.rstrip("/")

    @property
    def stream_address(self) -> tuple[str, int, bool]:
        """Host, port and TLS of the stream. What is not set follows ``rest_url``: same host, and its port + 1 on
        plain http, so that a local server needs one variable and a local REST address never means a remote stream.
        """
        parts = urlsplit(self.rest_url)
        plain = parts.scheme == "http"
        host = self.grpc_host or parts.hostname or ""
        port = self.grpc_port or ((parts.port or 80) + 1 if plain and not self.grpc_host else 443)
        tls = self.grpc_use_tls if self.grpc_use_tls is not None else not plain or bool(self.grpc_host)
        return host, port, tls


def environment_with(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that we start: ours, and these variables."""
    return {**os.environ, **variables}


def state_home() -> Path:
    """The folder for what a user's programs keep between runs. Raises: RuntimeError, if there is no home."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()


def _parsed(parse: Callable[[str], Any], raw: str, name: str) -> Any:  # noqa: ANN401 - any setting's type
    try:
        return parse(raw)
    except ValueError as error:
        shown = "its value" if parse in _SECRETS else repr(raw)
        message = f"{name}: {shown} {error}"
        raise InvalidInputError(message, details={"argument": name}) from None
