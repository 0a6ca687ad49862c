"""Forms, as files are uploaded: read with the standard library, into what a document's JSON would say.

Source: maximem-synap 0.6.9, memories/interface.py, ``create_from_file``: which fields are sent, and which as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from .bodies import refuse

if TYPE_CHECKING:
    from email.message import Message

UPLOAD: Final = "/api/v1/memories/upload"
"""The one path that takes a form."""
FORMS: Final = ("multipart/form-data", "application/x-www-form-urlencoded")
_KINDS: Final = {".eml": "email"}
"""What a file is by the end of its name; any other text is a document."""
_AS_JSON: Final = ("scope", "metadata")


def uploaded(content_type: str, body: bytes) -> dict[str, Any]:
    """The form as the body that creates a document.

    Raises: InvalidInputError, if it is no form, or if its file holds anything but text.
    """
    fields: dict[str, Any] = {}
    file: tuple[str, bytes] | None = None
    for name, file_name, content in _parts(content_type, body):
        if name == "file":
            file = file_name or "upload", content
        else:
            fields[name] = _text(name, content)
    for name in _AS_JSON:
        if name in fields:
            fields[name] = _json(name, fields[name])
    if (file is None) == ("text" not in fields):
        refuse("file", "or text is required, one of them")
    if file is None:
        document = fields.pop("text")
        return {"document_type": "document", **fields, "document": document}
    named, content = file
    kind = _KINDS.get(PurePosixPath(named).suffix.lower(), "document")
    metadata = {**(fields.get("metadata") or {}), "synap_file_name": named}
    return {"document_type": kind, **fields, "document": _text("file", content), "metadata": metadata}


def _parts(content_type: str, body: bytes) -> Iterator[tuple[str, str | None, bytes]]:
    """Name, file name and content of each part."""
    head = _head(b"Content-Type: " + content_type.encode("latin-1", "replace"))
    if head.get_content_type() == FORMS[1]:
        # What a client sends that has fields and no file.
        for field, value in parse_qsl(body.decode("latin-1"), keep_blank_values=True, errors="surrogateescape"):
            yield field, None, value.encode("utf-8", "surrogateescape")
        return
    boundary = head.get_boundary("")
    if head.get_content_type() != FORMS[0] or not boundary:
        refuse("body", f"must be a form ({FORMS[0]})")
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    if not parts or not parts[-1].startswith(b"--"):
        refuse("body", "is a form without an end")
    for part in parts[:-1]:
        said, _, content = part.partition(b"\r\n\r\n")
        about = _head(said.strip())
        name = about.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            refuse("body", "has a part without a name")
        yield name, about.get_filename(), content


def _head(raw: bytes) -> Message:
    # What is in a part is never parsed: a file may be a message itself.
    from email.parser import BytesHeaderParser  # noqa: PLC0415 - slow to import, and most never upload
    from email.policy import HTTP  # noqa: PLC0415 - as above

    return BytesHeaderParser(policy=HTTP).parsebytes(raw)


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        refuse(name, "must be text in UTF-8: the local Synap reads no PDF, image or sound; send their text")


def _json(name: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        refuse(name, "must be an object, as JSON")
    return found
