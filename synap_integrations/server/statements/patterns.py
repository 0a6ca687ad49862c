"""What users say about themselves in so many words, found without a model. Pure functions, English.

Strict on purpose: a sentence counts if it stands in the user's own turn, begins with the user ("I …", "My …"), says one
thing plainly and can be understood alone. Questions, wishes, doubts, quotations, and turns that hand over somebody's
text ("Translate this: …") count for nothing. Whatever is found is the user's sentence, word for word, and is marked
with how it was found; most of what a turn says is not found, and the turn itself is always kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Final, NamedTuple

from synap_integrations.server.records import Kind, NewStatement
from synap_integrations.server.retrieval.ranking import named

from .dates import named_times

CONFIDENCE: Final = 0.6
MOST: Final[dict[Kind, int]] = {"facts": 5, "preferences": 4, "temporal_events": 3}
"""Most statements of each kind that are kept of a user; the newest stay."""
_TURN_CHARS: Final = 1_000
"""A longer turn is a paste, which is about anybody."""
_SENTENCE_CHARS: Final = 160
_MOST_WORDS: Final = 9
"""Most words of what is liked, where one lives and so on; a longer one says more than the pattern understands."""


_NOT_THEIR_OWN: Final = re.compile(
    r"\b(?:translat\w*|rewrit\w*|rephras\w*|paraphras\w*|proofread\w*|summari[sz]\w*|draft\w*|lyrics|poems?"
    r"|stor(?:y|ies)|role-?play\w*|pretend\w*|imagin\w*|characters?|novel|essay|example|sentences?|grammar|following"
    r"|write|say|quot\w*|suppos\w*|hypothetical\w*|act as|persona|caption|tweet|letter|email|reply|respond|paste\w*)\b"
    r"|[\"“”„«»`]|^>|https?:",
    re.IGNORECASE | re.MULTILINE,
)
"""A turn with one of these may hold somebody else's words."""
_DOUBTFUL: Final = re.compile(
    r"\?|\b(?:if|unless|when|whenever|would|could|might|maybe|perhaps|probably|wish\w*|hope|hoping|used to|almost"
    r"|kidding|jok(?:e|ing)|not sure|guess|think|thinking|supposedly|apparently|until|sometimes|anymore|no longer"
    r"|as long as|whether|because you|than|but|though|although|except)\b|\b(?:lol|haha)",
    re.IGNORECASE,
)
_DANGLING: Final = re.compile(
    r"\b(?:it|its|this|that|these|those|they|them|their|theirs|he|him|his|she|her|hers|you|your|yours|one|ones|here|there"
    r"|same|such|both|everything|anything|something|nothing|somebody|someone|stuff|things?|what|how|where|which"
    r"|who|why|so|too|either|neither|above|below)\b",
    re.IGNORECASE,
)
"""Words that point at something outside the sentence."""
_OPENING: Final = re.compile(
    r"(?:(?:hi|hello|hey|yes|yeah|yep|no|sure|ok|okay|thanks|thank you|well|actually|also|and|oh|by the way|btw|fyi"
    r"|just so you know|for your information)(?: there| again)?[,!:. -]+\s*)*",
    re.IGNORECASE,
)
_BREAK: Final = re.compile(r"(?<=[.!?…])(?<!\bDr\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bSt\.)(?<!\bMrs\.)\s+|\n+")

_IAM: Final = r"i(?:'m| am)"
_NOW: Final = r"(?: (?:currently|now|just|recently|also|originally|actually|still|really|absolutely|always|usually))?"
_REST: Final = r"(?P<value>.+?)"
_NAME: Final = r"(?P<value>[^\W\d_][\w'-]*(?: [A-Z][\w'.-]*){0,3})"
_DATE: Final = r"(?P<value>(?:\d{1,2}(?:st|nd|rd|th)? (?:of )?[a-z]+|[a-z]+ \d{1,2}(?:st|nd|rd|th)?))"
_MANY: Final = r"(?:an?|one|two|three|four|five|six|\d)"
_KIN: Final = (
    r"(?:wife|husband|partner|girlfriend|boyfriend|fianc[eé]e?|son|daughter|mother|mom|mum|father|dad|brother|sister"
    r"|grandmother|grandfather|grandson|granddaughter|nephew|niece|cousin|boss|dog|cat|puppy|kitten|horse|parrot|rabbit)"
)
_HAD: Final = r"(?:kids?|children|sons?|daughters?|brothers?|sisters?|siblings|dogs?|cats?|puppy|horses?|parrots?)"
_JOB: Final = (
    r"(?:[\w-]+ ){0,2}?(?:accountant|actor|actress|analyst|architect|artist|attorney|baker|barber|biologist|bookkeeper"
    r"|carpenter|chef|chemist|coach|consultant|cook|counsel+or|dancer|dentist|designer|developer|doctor|driver|economist"
    r"|editor|electrician|engineer|farmer|filmmaker|firefighter|florist|gardener|geologist|hairdresser|historian"
    r"|illustrator|journalist|judge|lawyer|lecturer|librarian|machinist|mathematician|mechanic|midwife|musician|nurse"
    r"|optician|painter|paramedic|pharmacist|photographer|physicist|physiotherapist|pilot|plumber|police officer"
    r"|producer|professor|programmer|psychologist|realtor|receptionist|researcher|scientist|sculptor|secretary"
    r"|social worker|soldier|student|surgeon|surveyor|tailor|teacher|technician|therapist|translator|tutor|vet"
    r"|veterinarian|waiter|waitress|welder|writer)"
)
_STATUS: Final = (
    r"(?P<value>married|divorced|engaged|widowed|retired|left-handed|pregnant|colou?r-?blind|deaf|dyslexic|diabetic"
    r"|unemployed|self-employed|bilingual)"
)
_DIET: Final = r"(?P<value>(?:an? )?(?:strict )?(?:vegan|vegetarian|pescatarian|teetotal(?:ler)?|coeliac|celiac))"


class _Rule(NamedTuple):
    """A way to say something. ``fits`` says whether what was matched as ``value`` is of the right sort."""

    kind: Kind
    slot: str
    pattern: str
    fits: Callable[[str], bool]


def _rule(kind: Kind, slot: str, pattern: str, fits: Callable[[str], bool] = bool) -> _Rule:
    return _Rule(kind, slot, rf"{pattern}[.!…]*", fits)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled when the first sentence comes: all of them together take longer than a server may to start."""
    return re.compile(pattern, re.IGNORECASE)


_CALENDAR: Final = re.compile(r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|tomorrow|today|crazy", re.IGNORECASE)
_WHEN: Final = re.compile(
    r"(?:the |a )?(?:moment|weekends?|week|time|mornings?|evenings?|nights?|afternoons?|dark|best|end|hours?|living|lot"
    r"|while|bit|long|past|present|future|world|dream|fear|same)\b",
    re.IGNORECASE,
)
_OF_THE_TALK: Final = re.compile(
    r"\b(?:options?|versions?|numbers?|draft|answers?|suggestions?|proposals?|approach|choice|idea|plan|results?|output"
    r"|response|sound|look|way|fact|first|second|third|last|former|latter|other|part|thank|hear|admit|complain|know|see"
    r"|believe|be|break|bother|interrupt|ask|add|point|note|mention|agree|feel)\b",
    re.IGNORECASE,
)
"""What is said about the conversation itself, which nobody wants to be reminded of."""
_THE: Final = re.compile(
    r"the (?!beach|ocean|sea|mountains|outdoors|rain|snow|sun|countryside|forest|desert|theat|opera|cold|heat|[A-Z])"
)


def _proper(value: str) -> bool:
    """A name: it has a capital, and is no day."""
    return value[0].isupper() and not _CALENDAR.match(value)


def _place(value: str) -> bool:
    """A name, or ``a small town near Porto``."""
    return not _WHEN.match(value) and (_proper(value) or value.lower().startswith(("a ", "an ", "the ")))


def _liked(value: str) -> bool:
    """Something that somebody who was not there understands."""
    return (
        len(value.split()) <= _MOST_WORDS
        and not value.lower().endswith("to")
        and not _OF_THE_TALK.search(value)
        and not _THE.match(value)
    )


def _subject(value: str) -> bool:
    return not re.match(r"(?:for|hard|late|tonight|today|alone|at|in|with|all|on|a lot|as|now)\b", value, re.IGNORECASE)


_RULES: Final = (
    _rule("facts", "name", rf"my (?:full |first )?name(?: is|'s) {_NAME}", _proper),
    _rule("facts", "name", rf"(?:people|everyone|everybody|(?:my )?friends) calls? me {_NAME}", _proper),
    _rule("facts", "home", rf"i{_NOW} live{_NOW} in {_REST}", _place),
    _rule("facts", "home", rf"{_IAM}{_NOW} (?:living|based) in {_REST}", _place),
    _rule("facts", "home", rf"i(?:'ve| have)? (?:just|recently) moved to {_REST}", _proper),
    _rule("facts", "origin", rf"(?:{_IAM}{_NOW}|i{_NOW} come) from {_REST}", _proper),
    _rule("facts", "work", rf"i{_NOW} work{_NOW} (?:at|for|in) {_REST}", _place),
    _rule("facts", "work", rf"i{_NOW} work{_NOW} as {_REST}", lambda value: value.lower().startswith(("a ", "an "))),
    _rule("facts", "work", rf"{_IAM}{_NOW} an? (?P<value>{_JOB}(?: (?:at|for|in|from) .+)?)"),
    _rule("facts", "studies", rf"(?:i{_NOW} study|{_IAM}{_NOW} studying) {_REST}", _subject),
    _rule("facts", "age", rf"{_IAM}{_NOW} (?P<value>\d{{1,2}}) years old"),
    _rule("facts", "birthday", rf"my birthday(?: is|'s)(?: on)? {_DATE}"),
    _rule("facts", "family", rf"my {_KIN}(?: is (?:called|named)|'s name is) {_NAME}", _proper),
    _rule("facts", "family", rf"i{_NOW} have (?P<value>{_MANY} (?:\w+ )?{_HAD}(?: (?:named|called) .+| and .+)?)"),
    _rule("facts", "status", rf"{_IAM}{_NOW} {_STATUS}"),
    _rule("facts", "allergy", rf"{_IAM}{_NOW}(?: severely| very| highly)? allergic to {_REST}"),
    _rule("facts", "allergy", r"i have an? (?:severe )?(?P<value>[\w ]+) allergy"),
    _rule("facts", "languages", rf"i{_NOW} speak {_REST}", _proper),
    _rule("preferences", "diet", rf"{_IAM}{_NOW} {_DIET}"),
    _rule("preferences", "likes", rf"i{_NOW} (?:love|like|enjoy|adore) {_REST}", _liked),
    _rule("preferences", "likes", rf"{_IAM}{_NOW} (?:fond of|into|(?:a )?(?:big|huge) fan of|keen on) {_REST}", _liked),
    _rule("preferences", "prefers", rf"i{_NOW} prefer {_REST}", _liked),
    _rule(
        "preferences",
        "dislikes",
        rf"i{_NOW} (?:hate|dislike|detest|loathe|avoid|can(?:'?t|not) stand) {_REST}",
        _liked,
    ),
    _rule("preferences", "dislikes", rf"i (?:do not|don'?t|never) (?:like|enjoy|eat|drink) {_REST}", _liked),
    _rule("preferences", "favourite", r"my favou?rite (?P<value>(?:[\w-]+ ){1,3}(?:is|are) .+)", _liked),
)
_SEVERAL: Final = frozenset({"family", "status", "allergy", "likes", "prefers", "dislikes", "favourite", "event"})
"""What people may say of more than one thing. Of everything else the newest counts."""
_CUT: Final = re.compile(
    r"(?:,| and| with| since| because| where| for| these days| now| currently| at the moment)(?= |$)"
)
_BEGINNING: Final = re.compile(
    r"(?:i|my|we|our|people|everyone|everybody|friends|on|in|last|next|this|yesterday|tomorrow|\d+|an?|[a-z]+ (?:days?"
    r"|weeks?|months?|years?) ago|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*)\b",
    re.IGNORECASE,
)
"""With what a sentence begins that may say something; everything else is not looked at."""
_TOLD: Final = re.compile(r"(?:i|i'(?:m|ve|ll|d)|my|we|we'(?:re|ve|ll|d)|our)\b", re.IGNORECASE)
_NO_EVENT: Final = re.compile(
    r"\b(?:not|never|no|every|each|usually|always|often|birthday|born|today|try|see|check|back|let|talk|later|again"
    r"|continue|busy|tired|free|feel\w*|want\w*|need\w*)\b|n't\b",
    re.IGNORECASE,
)


def replaces(slot: str) -> bool:
    """True if a newer statement about this takes the place of the older one."""
    return slot not in _SEVERAL


def stated(content: str, *, said_at: datetime) -> list[NewStatement]:
    """What a user's turn says about the user, in the order of its sentences."""
    if len(content) > _TURN_CHARS:
        return []
    sentences = list(_sentences(named(content)[1]))
    if not sentences or _NOT_THEIR_OWN.search(content):
        return []
    return [found for sentence in sentences for found in _found(sentence, said_at)]


def _sentences(content: str) -> Iterator[str]:
    """Sentences that can stand alone and leave no doubt, without greetings in front of them."""
    for sentence in _BREAK.split(content):
        said = sentence[match.end() :].strip() if (match := _OPENING.match(sentence)) else sentence
        if not _BEGINNING.match(said) or len(said) > _SENTENCE_CHARS:
            continue
        if not _DOUBTFUL.search(said) and not _DANGLING.search(said):
            yield said


def _found(sentence: str, said_at: datetime) -> Iterator[NewStatement]:
    plain = sentence.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    for rule in _RULES:
        match = _compiled(rule.pattern).fullmatch(plain)
        if match and rule.fits(match["value"]):
            value = match["value"] if rule.slot in _SEVERAL else _CUT.split(match["value"])[0]
            yield _statement(rule.kind, rule.slot, value.strip(" .!"), sentence)
            return
    times = named_times(sentence, said_at=said_at)
    if len(times) == 1 and _is_event(plain, times[0].words):
        yield replace(_statement("temporal_events", "event", times[0].words, sentence), when=times[0].span)


def _is_event(sentence: str, words: str) -> bool:
    """Whether the user tells something that happened or will, and not only when."""
    told = re.sub(rf"^(?:on )?{re.escape(words)},? ", "", sentence, flags=re.IGNORECASE)
    rest = sentence.replace(words, "")
    return bool(_TOLD.match(told)) and len(rest.split()) > 3 and not _NO_EVENT.search(rest)


def _statement(kind: Kind, slot: str, value: str, sentence: str) -> NewStatement:
    return NewStatement(
        kind=kind, slot=slot, value=value, content=sentence, extraction="pattern", confidence=CONFIDENCE
    )
