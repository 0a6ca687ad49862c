"""Stored text in a form that is inert inside a prompt and reads the same to a person. Pure.

What goes: control and invisible characters (the carriers of hidden instructions), every line break but the plain one,
markdown images and script links, the control tokens of chat templates. What stays: every letter of every script, the
joiners that Persian, Hindi and emoji are spelled with, tabs, and the line breaks that structure a text.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final

_SLACK: Final = 4
"""Text is cut to this many times its limit before it is cleaned, so that cleaning takes bounded time."""

_LINE_ENDS: Final = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_JOINERS: Final = "\u200c\u200d"
_SELECTORS: Final = "\ufe00-\ufe0f\u180b-\u180d\u180f\U000e0100-\U000e01ef"
_HIDDEN: Final = (
    "\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f"  # C0 and C1, less tab and the line ends
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065\u206a-\u206f\u2800\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\ufdd0-\ufdef\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # invisible, and no characters at all
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"  # tags and what is reserved beside them
)
_HIDDEN_CHARS: Final = re.compile(f"[{_HIDDEN}]")
_LINE_END: Final = re.compile(f"\r\n|[{_LINE_ENDS}]")
_BLANK_LINES: Final = re.compile(r"\n\s*\n")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_JOINER_RUN: Final = re.compile(f"[{_JOINERS}]+")
_SELECTOR_RUN: Final = re.compile(f"[{_SELECTORS}]+")
_JOINED_SCRIPTS: Final = re.compile(
    "[\u0590-\u109f\u1700-\u1aff\ua800-\uabff\U00010a00-\U00011fff\U0001e900-\U0001e95f]"
)
"""Scripts whose spelling uses joiners: Arabic and its kin, those of South and South East Asia, Mongolian, Adlam."""

_ESCAPES: Final = str.maketrans(
    dict.fromkeys("&\uff06\ufe60", "&amp;")
    | dict.fromkeys("<\uff1c\ufe64", "&lt;")
    | dict.fromkeys(">\uff1e\ufe65", "&gt;")
)
_CUT_ENTITY: Final = re.compile(r"&[a-z]{0,3}$")
_TEMPLATE_TOKEN: Final = re.compile(
    r"\[(/?(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|synap-context)\b[^\]\n]{0,40})\]",
    re.IGNORECASE,
)
_IMAGE: Final = re.compile(r"!\[([^\[\]\n]*)\](?:\([^()\n]*\)|\[[^\[\]\n]*\])")
_LINK: Final = re.compile(r"\[([^\[\]\n]*)\]\(([^()\n]*)(\([^()\n]*\)[^()\n]*)*\)")
_SCHEME: Final = re.compile(
    r"((?<=\]\()(?:javascript|vbscript|data)|(?:javascript|vbscript)(?=\s*:\S)|data(?=\s*:[\w.+-]+/[\w.+-]+\s*[;,]))\s*:",
    re.IGNORECASE,
)
_SCHEMES: Final = ("javascript:", "vbscript:", "data:")

_PRINTABLE_TROUBLE: Final = re.compile(
    f"[\uff06\ufe60\uff1c\ufe64\uff1e\ufe65{_SELECTORS}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]"
)
"""What ``str.isprintable`` lets through although it has to go."""


def clean(text: str, *, limit: int) -> str:
    """The text, inert, at most ``limit`` characters long as it will be shown; a cut is marked with ``…``."""
    text = text[: limit * _SLACK]
    if not _is_plain(text):
        text = _visible(text)
        text = _TEMPLATE_TOKEN.sub(r"(\1)", _without_active_markdown(text)).translate(_ESCAPES)
    if "\n" in text:
        text = _BLANK_LINES.sub("\n", text)
    text = text.strip()
    return text if len(text) <= limit else _cut(text, limit)


def _is_plain(text: str) -> bool:
    """True if there is nothing to clean, which most stored text is: found out without a pass in Python."""
    if "<" in text or ">" in text or "&" in text or "[" in text:
        return False
    if not (text.replace("\n", " ") if "\n" in text else text).isprintable():
        return False
    if ":" in text and ("script" in (lowered := text.lower()) or "data" in lowered):
        return False
    return text.isascii() or _PRINTABLE_TROUBLE.search(text) is None


def _cut(text: str, limit: int) -> str:
    return _CUT_ENTITY.sub("", text[: limit - 1]).rstrip() + "…"


def _visible(text: str) -> str:
    """The text without the characters that nobody sees, its line breaks all alike."""
    text = _SURROGATE.sub("\ufffd", text)
    text = _LINE_END.sub("\n", text)
    text = _HIDDEN_CHARS.sub("", text)
    text = _SELECTOR_RUN.sub(_kept_selector, text)
    return _JOINER_RUN.sub(_kept_joiner, text)


def _kept_selector(run: re.Match[str]) -> str:
    """The one selector that says whether a sign is shown as text or as emoji; longer runs carry hidden data."""
    text, before, after = run.string, run.start() - 1, run.end()
    chosen = run.group()[0]
    if before < 0 or chosen not in "\ufe0e\ufe0f":
        return ""
    if text[before] in "0123456789#*":
        return chosen if text[after : after + 1] == "\u20e3" else ""
    emoji_too = unicodedata.category(text[before]) in {"So", "Sm"} or text[before] in "\u203c\u2049\u2139\u3030"
    return chosen if emoji_too else ""


def _kept_joiner(run: re.Match[str]) -> str:
    """One joiner between letters or emoji that need it; none elsewhere, and never a run of them."""
    text, start, end = run.string, run.start(), run.end()
    before, after = text[start - 1 : start], text[end : end + 1]
    chosen = run.group()[0]
    if before and _JOINED_SCRIPTS.match(before):
        # A half form at the end of a word (ക്‍) has nothing after it but needs its joiner; it follows a virama.
        return chosen if _JOINED_SCRIPTS.match(after) or unicodedata.combining(before) == 9 else ""
    return chosen if chosen == "\u200d" and _is_emoji(before) and _is_emoji(after) else ""


def _is_emoji(char: str) -> bool:
    """An emoji, or what modifies one: a selector, a keycap, a skin tone."""
    if not char or char in "\ufe0f\u20e3":
        return bool(char)
    return unicodedata.category(char) == "So" or "\U0001f3fb" <= char <= "\U0001f3ff"


def _without_active_markdown(text: str) -> str:
    """Images become their caption, links that run something become their text; taking one apart can reveal another."""
    if "![" in text:
        while (reduced := _IMAGE.sub(r"\1", text)) != text:
            text = reduced
        text = text.replace("![", "! [")
    if "](" in text:
        while (reduced := _LINK.sub(_inert_link, text)) != text:
            text = reduced
    return _SCHEME.sub(r"\1 :", text)


def _inert_link(link: re.Match[str]) -> str:
    address = re.sub(r"[\s\x00-\x20<]", "", html.unescape(link.group(2))).lower()
    return link.group(1) if address.startswith(_SCHEMES) else link.group()
