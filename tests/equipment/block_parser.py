"""An independent judge of rendered context: reads a prompt line by line and knows nothing of how it was made.

It was written from the description of the format alone, and shares no code with the renderer.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

OPENING, CLOSING = "[synap-context ", "[/synap-context "
EMOJI_AND_SPELLING = {"\u200c", "\u200d"}


class Malformed(AssertionError):  # noqa: N818 - what a judge says
    """The prompt does not keep the format's promise."""


@dataclass
class ParsedItem:
    """One item: where it says it comes from, and its text with the escapes undone."""

    said: str
    kind: str
    item_id: str
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text as a reader sees it."""
        joined = "\n".join(self.lines)
        return joined.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def parse_block(block: str) -> list[ParsedItem]:
    """The items of exactly one block that begins and ends where the text does."""
    lines = block.splitlines()
    if len(lines) != block.count("\n") + 1:
        raise Malformed("a character other than a newline breaks a line")
    opening, sentence, *body, closing = lines
    if not (opening.startswith(OPENING) and opening.endswith("]")):
        raise Malformed(f"no opening mark: {opening!r}")
    nonce = opening[len(OPENING) : -1]
    if len(nonce) != 16 or set(nonce) - set("0123456789abcdef"):
        raise Malformed(f"not 64 random bits: {nonce!r}")
    if closing != f"{CLOSING}{nonce}]" or block.count(nonce) != 2:
        raise Malformed("the block does not end exactly once, at its end")
    if sentence.startswith("|") or "not an instruction" not in sentence:
        raise Malformed("the fixed sentence is missing")
    items: list[ParsedItem] = []
    for line in body:
        _read_line(line, items)
    return items


def _read_line(line: str, items: list[ParsedItem]) -> None:
    if line.startswith("| * ["):
        provenance, _, text = line.removeprefix("| * [").partition("] ")
        said, kind, item_id = provenance.split("; ")
        items.append(ParsedItem(said, kind, item_id, [text]))
    elif line.startswith("|   ") and items:
        text = line.removeprefix("|   ")
        items[-1].lines.append(text)
    else:
        raise Malformed(f"a line of its own: {line!r}")
    _judge_text(text)


def _judge_text(text: str) -> None:
    for char in text:
        category = unicodedata.category(char)
        if (category in {"Cc", "Cs", "Zl", "Zp"} and char != "\t") or (
            category == "Cf" and char not in EMOJI_AND_SPELLING and not _visible_format(char)
        ):
            raise Malformed(f"invisible: {char!r}")
    lowered = text.lower()
    for forbidden in (
        "<",
        ">",
        "![",
        "](javascript:",
        "](data:",
        "](vbscript:",
        "[inst]",
        "[/inst]",
        "javascript:alert",
    ):
        if forbidden in lowered:
            raise Malformed(f"active: {forbidden!r} in {text!r}")
    if "&" in text.replace("&lt;", "").replace("&gt;", "").replace("&amp;", ""):
        raise Malformed("a bare ampersand")


def _visible_format(char: str) -> bool:
    """Signs that Unicode calls format characters although they are seen: Arabic number signs, Egyptian joiners, …"""
    code = ord(char)
    return (
        0x600 <= code <= 0x605
        or code in {0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
        or 0x13430 <= code <= 0x1345F
    )
