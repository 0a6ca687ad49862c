"""Which HTTP requests are let in. Pure; `http_app` asks for every request before anything else happens.

A page that the user looks at may send requests to this machine, and a name that a page's owner controls may resolve to
it. So the Host must be ours by name, an Origin must be the same as the Host, a browser must call the request its own,
and what changes something must be JSON, which a page cannot send elsewhere without being asked; the one path that
takes a form still wants a key in a header, which no form can set. No answer carries a CORS header.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from synap_integrations.server.rest.uploads import FORMS, UPLOAD

from .access import Access
from .limits import Limits

LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "[::1]", "localhost"})
_SINGLE: Final = frozenset(
    {"host", "origin", "authorization", "content-type", "content-length", "sec-fetch-site", "idempotency-key"}
)
_LAST: Final = {"connection": "close"}
"""Whatever else is on such a connection, nobody can know where it begins."""
_READING: Final = frozenset({"GET", "HEAD"})
_METHODS: Final = _READING | {"POST", "PUT", "PATCH", "DELETE"}


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request; ``headers`` as they came, in order."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """The first header of this name, which is in lower case."""
        return next((value for known, value in self.headers if known.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not let in."""

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    to_reader: bool = False
    """True if somebody looks at it in a browser, and only the key is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What is asked of every request. ``public`` paths hold no data; below ``basic`` a browser may ask for the key."""

    access: Access
    port: int
    limits: Limits
    names: frozenset[str] = LOOPBACK_NAMES
    any_address: bool = False
    """Besides the names any IP address will do: nobody can make one of theirs resolve to us."""
    public: frozenset[str] = frozenset({"/health"})
    basic: tuple[str, ...] = ()
    forms: frozenset[str] = frozenset({UPLOAD})
    """Paths that take a form, as files are uploaded."""

    def refusal(self, head: Head) -> Refusal | None:
        """None for a request that may come in."""
        return self._not_whole(head) or self._not_here(head) or self._not_ours(head) or self._not_known(head)

    def _not_whole(self, head: Head) -> Refusal | None:
        size = sum(len(name) + len(value) + 4 for name, value in head.headers) + len(head.path)
        if size > self.limits.head_bytes:
            detail = f"headers of at most {self.limits.head_bytes} bytes are read"
            return Refusal(431, "HEADERS_TOO_LARGE", detail, _LAST)
        names = [name.lower() for name, _ in head.headers]
        if repeated := sorted(name for name in _SINGLE if names.count(name) > 1):
            return Refusal(400, "INVALID_INPUT", f"{repeated[0]} is there twice", _LAST)
        if "content-length" in names and "transfer-encoding" in names:
            detail = "content-length and transfer-encoding contradict each other"
            return Refusal(400, "INVALID_INPUT", detail, _LAST)
        length = head.get("content-length") or "0"
        if not (length.isascii() and length.isdecimal()):
            return Refusal(400, "INVALID_INPUT", "content-length is no number", _LAST)
        if int(length) > self.limits.body_bytes:
            return Refusal(413, "TOO_LARGE", f"a body of at most {self.limits.body_bytes} bytes is read")
        return None

    def _not_here(self, head: Head) -> Refusal | None:
        if not self._is_ours(head.get("host") or ""):
            detail = f"this is a local Synap: call it 127.0.0.1:{self.port}, [::1]:{self.port} or localhost:{self.port}"
            return Refusal(421, "MISDIRECTED", detail)
        return None

    def _is_ours(self, authority: str) -> bool:
        name, colon, port = authority.rpartition(":")
        if not colon or port != str(self.port):
            return False
        return name in self.names or (self.any_address and _is_address(name))

    def _not_ours(self, head: Head) -> Refusal | None:
        origin, site = head.get("origin"), head.get("sec-fetch-site")
        if origin is not None and origin != f"http://{head.get('host')}":
            return Refusal(403, "FORBIDDEN", "a page of another origin may not ask")
        if site not in {None, "same-origin", "none"}:
            return Refusal(403, "FORBIDDEN", "a page of another site may not ask")
        if head.method not in _METHODS:
            return Refusal(405, "METHOD_NOT_ALLOWED", f"{head.method} is not possible here")
        if head.method not in _READING and not (_is_json(head) or (head.path in self.forms and _is_form(head))):
            return Refusal(415, "UNSUPPORTED_MEDIA_TYPE", "send content-type: application/json")
        return None

    def _not_known(self, head: Head) -> Refusal | None:
        given = head.get("authorization")
        if head.path in self.public or self.access.bearer(given):
            return None
        reader = head.method in _READING and _reads_pages(head)
        challenge = {"www-authenticate": "Bearer"}
        if head.method in _READING and below(head.path, self.basic):
            if self.access.basic(given):
                return None
            # A browser that is challenged shows a prompt and no page: only where the prompt is the way in, or failed.
            if not reader or given is not None or head.path in self.basic:
                challenge = {"www-authenticate": 'Basic realm="Synap: the key is the password", charset="UTF-8"'}
        detail = "the key is missing or wrong: set SYNAP_API_KEY"
        return Refusal(401, "UNAUTHORIZED", detail, challenge, to_reader=reader)


def _reads_pages(head: Head) -> bool:
    """True for a browser that opens an address, which asks for HTML by name."""
    wanted = (head.get("accept") or "").lower()
    return "text/html" in wanted and "json" not in wanted


def _is_json(head: Head) -> bool:
    given = head.get("content-type")
    if given is None:  # nothing to read: a browser asks before it sends a DELETE to another origin
        return head.method == "DELETE"
    return given.partition(";")[0].strip().lower() == "application/json"


def _is_form(head: Head) -> bool:
    return (head.get("content-type") or "").partition(";")[0].strip().lower() in FORMS


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def below(path: str, folders: Iterable[str]) -> bool:
    """True if the path is one of these folders, or lies in one."""
    return any(path == folder.rstrip("/") or path.startswith(folder) for folder in folders)
