"""Every knob once: name, variable, unit, default, help.

Explicit argument, then environment, then default. Nothing else in the package reads ``os.environ``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from .errors import InvalidInputError
from .model import Scope
from .parsing import OFF, certificates, count, flag, one_of, outbox_keys, port, seconds, share, text, words
from .secret import Secret

CLOUD_URL: Final = "https://synap-cloud-prod.maximem.ai"
"""Source: maximem-synap 0.6.9, transport/http_client.py."""

_UNDER_DEV_EXEC: Final = "SYNAP_DEV_EXEC"
_HANDED_ON: Final = frozenset({"SYNAP_RUN", _UNDER_DEV_EXEC})
"""What `synap run` and `synap dev exec` tell the program that they start; no settings, because nobody sets them."""


_environ: Final[Mapping[bytes, bytes]] = os.environ._data  # type: ignore[attr-defined] # noqa: SLF001 - see `_said`


def _said(name: str) -> str | None:
    """What the environment says now. `os.environ` raises and catches an exception for each variable that is not set,
    which costs ten times as much, and a few of ours are asked for in every run.

    Source: CPython 3.11 to 3.14, Lib/os.py, _Environ on POSIX
    """
    value = _environ.get(name.encode("ascii"))
    return None if value is None else os.fsdecode(value)


def _id(value: str | None) -> str | None:
    """Without the line end that a value from a file or a mounted secret brings along."""
    return (value.strip() or None) if value else None


def _setting(variable: str, default: Any, parse: Callable[[str], Any], says: str) -> Any:  # noqa: ANN401 - dataclass field
    return field(default=default, metadata={"variable": variable, "parse": parse, "help": says}, kw_only=True)


_SECRETS: Final = (Secret, outbox_keys)
"""Parsers of what no error repeats."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set, and nothing else. Build it with `Settings.read`, which knows the environment."""

    api_key: Secret | None = _setting(
        "SYNAP_API_KEY", None, Secret, "The platform's key. Without one, the embedded Synap is used."
    )
    base_url: str | None = _setting(
        "SYNAP_BASE_URL", None, text, "`local` (embedded), `cloud`, or the address of a Synap server."
    )
    grpc_host: str | None = _setting(
        "SYNAP_GRPC_HOST", None, text, "Host of the stream; default: the host of base_url."
    )
    grpc_port: int | None = _setting(
        "SYNAP_GRPC_PORT", None, port, "Port of the stream; default: 443, or base_url's port + 1 on loopback."
    )
    grpc_use_tls: bool | None = _setting(
        "SYNAP_GRPC_USE_TLS", None, flag, "TLS on the stream; default: on, except on loopback with http."
    )
    ca_file: Path | None = _setting(
        "SYNAP_CA_FILE", None, certificates, "PEM file of the authorities to trust instead of the public ones."
    )
    storage_path: Path | None = _setting(
        "SYNAP_STORAGE_PATH", None, Path, "Folder of the outbox and the embedded Synap; default `~/.synap`."
    )
    capture: bool = _setting("SYNAP_CAPTURE", True, flag, "0 switches capture off for the process.")
    turns: str = _setting(
        "SYNAP_TURNS",
        "rest",
        one_of("rest", "stream"),
        "How turns travel: `rest` (record_message) or `stream`.",
    )
    conversation_id: str | None = _setting(
        "SYNAP_CONVERSATION_ID", None, text, "Conversation, where nothing else says."
    )
    user_id: str | None = _setting("SYNAP_USER_ID", None, text, "User, where nothing else says.")
    customer_id: str | None = _setting("SYNAP_CUSTOMER_ID", None, text, "Customer (tenant), where nothing else says.")
    session_id: str | None = _setting("SYNAP_SESSION_ID", None, text, "Session, where nothing else says.")
    recall_timeout_s: float = _setting(
        "SYNAP_RECALL_TIMEOUT_S",
        0.15,
        seconds,
        "Longest a recall waits for the platform, in seconds; 0 = never.",
    )
    lookup_timeout_s: float = _setting(
        "SYNAP_LOOKUP_TIMEOUT_S",
        2.0,
        seconds,
        "Longest a retriever or an agent's tool waits for it, in seconds.",
    )
    context_max_tokens: int = _setting(
        "SYNAP_CONTEXT_MAX_TOKENS", 800, count, "Most tokens of context that go into one prompt."
    )
    context: str = _setting(
        "SYNAP_CONTEXT",
        "inject",
        one_of("inject", "quarantine", "off"),
        "What becomes of context: `inject`, `quarantine` (say in the receipt what would be shown) or `off`.",
    )
    context_levels: tuple[str, ...] = _setting(
        "SYNAP_CONTEXT_LEVELS",
        ("conversation", "user", "customer"),
        words,
        "Whose context may be shown: any of `conversation`, `user`, `customer`, with commas.",
    )
    inject: bool = _setting(
        "SYNAP_INJECT",
        False,
        flag,
        "1 puts context into the prompts of an application that is captured without code.",
    )
    inject_max_tokens: int | None = _setting(
        "SYNAP_INJECT_MAX_TOKENS", None, count, "Most tokens of it in one prompt; default: context_max_tokens."
    )
    inject_timeout_ms: int | None = _setting(
        "SYNAP_INJECT_TIMEOUT_MS",
        None,
        count,
        "Longest a prompt waits for it, in ms; default: recall_timeout_s.",
    )
    mask: str | None = _setting(
        "SYNAP_MASK", None, text, "`module:function` from text to text, called on every text before it is kept."
    )
    hide_inputs: bool = _setting("SYNAP_HIDE_INPUTS", False, flag, "Keep no word of what users say.")
    hide_outputs: bool = _setting("SYNAP_HIDE_OUTPUTS", False, flag, "Keep no word of answers and reasoning.")
    hide_tools: bool = _setting("SYNAP_HIDE_TOOLS", False, flag, "Keep no arguments and no results of tools.")
    sample_rate: float = _setting(
        "SYNAP_SAMPLE_RATE", 1.0, share, "Share of conversations that is captured, 0 to 1; whole conversations."
    )
    shutdown_timeout_s: float = _setting(
        "SYNAP_SHUTDOWN_TIMEOUT_S",
        2.0,
        seconds,
        "Longest the exit of the process waits for delivery, in seconds.",
    )
    drain_on_sigterm_s: float = _setting(
        "SYNAP_DRAIN_ON_SIGTERM", 0.0, seconds, "Longest SIGTERM waits for delivery, in seconds; 0 = no handler."
    )
    dedupe_horizon_s: float = _setting(
        "SYNAP_DEDUPE_HORIZON_S",
        86_400.0,
        seconds,
        "Longest a platform is relied on to know an event id, in seconds.",
    )
    capture_wait_s: float = _setting(
        "SYNAP_CAPTURE_WAIT_S", 0.025, seconds, "Longest a callback waits for the disk, in seconds."
    )
    durability: str = _setting(
        "SYNAP_DURABILITY",
        "process",
        one_of("process", "power"),
        "What a recorded turn survives: `process` or `power` loss.",
    )
    on_unknown: str = _setting(
        "SYNAP_ON_UNKNOWN",
        "send",
        one_of("send", "hold"),
        "What becomes of a turn that may have arrived, where nobody can tell: `send` it again, or `hold` it.",
    )
    strict_order: bool = _setting(
        "SYNAP_STRICT_ORDER",
        False,
        flag,
        "1: what follows a dead letter in its conversation waits until it is dealt with.",
    )
    outbox_max_rows: int = _setting("SYNAP_OUTBOX_MAX_ROWS", 200_000, count, "Most turns that wait on disk.")
    outbox_max_mb: int = _setting("SYNAP_OUTBOX_MAX_MB", 256, count, "Most megabytes that wait on disk.")
    outbox_key: tuple[Secret, ...] = _setting(
        "SYNAP_OUTBOX_KEY",
        (),
        outbox_keys,
        "Encrypts what waits on disk: 32 bytes as base64; after a comma, keys of before that only open.",
    )
    extraction_max_tokens: int = _setting(
        "SYNAP_EXTRACTION_MAX_TOKENS", 200_000, count, "Most tokens an extractor may spend in one process."
    )
    push_tool_results: bool = _setting(
        "SYNAP_PUSH_TOOL_RESULTS", False, flag, "1: a local Synap also pushes what answers a tool's result."
    )
    connect_timeout_s: float = _setting("SYNAP_CONNECT_TIMEOUT_S", 5.0, seconds, "Longest a connect takes, in seconds.")
    request_timeout_s: float = _setting(
        "SYNAP_REQUEST_TIMEOUT_S", 30.0, seconds, "Longest a request takes in all, in seconds."
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
            raise _unknown(min(unknown), known)
        for name, row in known.items():
            variable: str = row.metadata["variable"]
            if (given := explicit.get(name)) is not None:
                values[name] = _taken(row.metadata["parse"], given, name)
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
            _id(said("SYNAP_CONVERSATION_ID")),
            _id(said("SYNAP_USER_ID")),
            customer_id=_id(said("SYNAP_CUSTOMER_ID")),
            session_id=_id(said("SYNAP_SESSION_ID")),
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
        return value is None or value.strip().lower() not in OFF

    @property
    def embedded(self) -> bool:
        """True if the embedded Synap is meant: asked for by name, or there is neither an address nor a key."""
        return self.base_url == "local" or (self.base_url is None and self.api_key is None)

    def authorities(self, *, of_stream: bool = False, environ: Mapping[str, str] | None = None) -> Path | None:
        """The PEM file of those whose certificates are trusted, and no others': ``ca_file``, else what OpenSSL's own
        variable names; for both surfaces alike, unless gRPC's own variable says otherwise for the stream. None: the
        public ones, which the libraries bring.

        Source: httpx 0.28, _config.py, create_ssl_context; gRPC, doc/environment_variables.md
        """
        environ = os.environ if environ is None else environ
        if self.ca_file is not None:
            return self.ca_file
        if of_stream and environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
            return None
        named = environ.get("SSL_CERT_FILE", "").strip()
        return Path(named) if named else None

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


def environment_of_dev_exec(variables: Mapping[str, str]) -> dict[str, str]:
    """`environment_with`, for a program that is to use the server these variables name, see `by_dev_exec`."""
    return environment_with({**variables, _UNDER_DEV_EXEC: "1"})


def by_dev_exec() -> bool:
    """True in a program that `synap dev exec` has started."""
    return _UNDER_DEV_EXEC in os.environ


def state_home() -> Path:
    """The folder for what a user's programs keep between runs. Raises: RuntimeError, if there is no home."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()


def _unknown(name: str, known: Collection[str]) -> InvalidInputError:
    from difflib import get_close_matches  # noqa: PLC0415 - for who has misspelt one

    alike = get_close_matches(name, known, 1)
    hint = f"did you mean {alike[0]}?" if alike else f"the settings are {', '.join(known)}"
    return InvalidInputError(f"unknown setting {name!r}: {hint}", details={"argument": name})


_TYPES: Final[Mapping[Any, tuple[type, ...]]] = {
    Secret: (Secret,),
    flag: (bool,),
    seconds: (int, float),
    share: (int, float),
    count: (int,),
    port: (int,),
    words: (tuple, list, set, frozenset),
    outbox_keys: (tuple, list),
}
"""What an argument may be beside text, by its parser."""


def _taken(parse: Callable[[str], Any], given: object, name: str) -> Any:  # noqa: ANN401 - any setting's type
    """A setting that is given in code. Raises: InvalidInputError, if it is of a type that is none of the setting's."""
    if isinstance(given, str | Path):
        return _parsed(parse, str(given), name)
    types = _TYPES.get(parse, ())
    if isinstance(given, types):
        return given
    wanted = [kind.__name__ for kind in types if kind is not Secret] or ["str"]
    message = f"{name} must be {' or '.join(wanted)}, not {type(given).__name__}"
    raise InvalidInputError(message, details={"argument": name})


def _parsed(parse: Callable[[str], Any], raw: str, name: str) -> Any:  # noqa: ANN401 - any setting's type
    try:
        return parse(raw)
    except ValueError as error:
        shown = "its value" if parse in _SECRETS else repr(raw)
        message = f"{name}: {shown} {error}"
        raise InvalidInputError(message, details={"argument": name}) from None
