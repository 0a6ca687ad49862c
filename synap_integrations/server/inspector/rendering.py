"""Templates: every value is escaped, unless it is markup that was made here.

With redaction, what people said and who they are is masked before it reaches the page, letter by letter, so that a
screenshot shows shapes and figures only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from synap_integrations.server.retrieval.ranking import coverage, terms

from .timeline import Entry, at, key

_LETTER: Final = re.compile(r"[^\W_]")
_WORD: Final = re.compile(r"\w+")
_EXCERPT: Final = 220
_LEAD: Final = 60
_LONG_ID: Final = 36
_SCANNED: Final = 20_000
_JUST_NOW_S: Final = 5
_AGES: Final = ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"), (86400 * 60, 86400, "days"))


@cache
def environment() -> Environment:
    """The templates of this package."""
    made = Environment(
        loader=PackageLoader("synap_integrations.server.inspector"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "said": said,
        "name": name,
        "excerpt": excerpt,
        "ago": ago,
        "stamp": stamp,
        "iso": datetime.isoformat,
        "pretty": pretty,
        "ms": milliseconds,
        "counted": counted,
        "plural": plural,
        "at": at,
        "key": key,
    }
    made.tests |= {"entry_kind": _is_kind}
    made.globals |= {"link": link}
    return made


def page(template: str, values: Mapping[str, object], *, redact: bool, now: datetime) -> str:
    """A page, as HTML."""
    return environment().get_template(template).render(**values, redact=redact, now=now)


def _is_kind(entry: Entry, kind: str) -> bool:
    return type(entry).__name__ == kind


@pass_context
def said(context: Context, text: str) -> str:
    """What somebody said, or who they are; masked, if the page is for a screenshot."""
    return _LETTER.sub("•", text) if context["redact"] else text


@pass_context
def name(context: Context, text: str) -> Markup:
    """An id: of a long one both ends, and all of it as the title."""
    whole = said(context, text)
    if len(whole) <= _LONG_ID:
        return Markup('<bdi class="id">{}</bdi>').format(whole)
    return Markup('<bdi class="id" title="{}">{}…{}</bdi>').format(whole, whole[:16], whole[-12:])


@pass_context
def excerpt(context: Context, text: str, query: str = "") -> Markup:
    """The beginning of a text, or the part around the first word of the query, with its words marked."""
    asked = " ".join(terms(query))
    hits = [found for found in _WORD.finditer(text[:_SCANNED]) if asked and coverage([found[0].lower()], asked)]
    start = max(hits[0].start() - _LEAD, 0) if hits else 0
    end = min(start + _EXCERPT, len(text))
    made, done = escape("…" if start else ""), start
    for hit in hits:
        if hit.start() >= done and hit.end() <= end:
            before, word = said(context, text[done : hit.start()]), said(context, hit[0])
            made += escape(before) + Markup("<mark>{}</mark>").format(word)
            done = hit.end()
    return made + escape(said(context, text[done:end])) + ("…" if end < len(text) else "")


@pass_context
def ago(context: Context, moment: datetime) -> str:
    """How long ago, roughly."""
    passed = (context["now"] - moment).total_seconds()
    if 0 <= passed < _JUST_NOW_S:
        return "just now"
    for limit, unit, word in _AGES:
        if 0 <= passed < limit:
            return f"{passed / unit:.0f} {word} ago"
    return f"{moment:%-d %b %Y}"


def stamp(moment: datetime) -> str:
    """A time to the second, UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def milliseconds(value: float) -> str:
    """A duration with as many digits as mean something."""
    if value >= 10_000:
        return f"{value / 1000:,.1f} s"
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def counted(count: int, word: str) -> str:
    """How many of something: ``1 turn``, ``1,200 turns``."""
    return f"{count:,} {plural(count, word)}"


def plural(count: int, word: str) -> str:
    """The word for so many."""
    return word if count == 1 else f"{word}s"


def pretty(text: str) -> str:
    """JSON with line breaks; anything else as it is."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text


@pass_context
def link(context: Context, path: str, **query: Any) -> str:  # noqa: ANN401 - whatever a template knows
    """An address of ours, with the query, and with the redaction of the page it stands on."""
    asked: dict[str, object] = {known: value for known, value in query.items() if value not in (None, "", 0)}
    if context["redact"] and "redact" not in query:
        asked["redact"] = 1
    return f"{path}?{urlencode(asked)}" if asked else path
