"""Which turns answer a question: words first, then the turns around them, newer ones a little first.

Pure functions; `store.Store.search` runs the query that `expression` writes. In a dialogue the answer often shares no
word with the question while the turn before it does, so that each hit gives its neighbours a share of its score. On
LoCoMo that is worth ten points of recall at 10; `benchmarks/bench_retrieval.py` measures it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import nlargest
from typing import Final

from synap_integrations.server.records import Hit, Place, Statement

SHARES: Final = ((0, 1.0), (1, 0.5), (2, 0.35), (-1, 0.25), (-2, 0.1))
"""Distance from the hit in turns, and the share of its score that the turn there gets."""
RECENCY: Final = 0.25
"""How much more a turn of this moment counts than an ancient one."""
HALF_LIFE_US: Final = 30 * 24 * 3600 * 1_000_000
CANDIDATES: Final = 200
NOTED: Final = 0.7
"""How much of its own score a note lends to its turns."""
MEANING: Final = 0.7
"""What a cosine of 1 adds, in shares of the best score by words."""
NEAR: Final = 0.5
"""Least cosine of a turn that is pushed although it shares no words with what was said."""
MAX_TERMS: Final = 48
"""Most words of a query that are looked up; a pasted page must not cost seconds."""
WEAK: Final = 0.2
"""Least share of a query's words that a pushed window must hold."""

_WORD: Final = re.compile(r"\w+")
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
"""Kana, Han and Hangul: no spaces between words, or endings glued to them."""
_SPEAKER: Final = re.compile(r"([A-Z][\w.'-]*(?: [A-Z][\w.'-]*){0,3}): (?=\S)")
_ENDING: Final = re.compile(r"(?<=\w{3})(?:ing|ied|ies|ed|es|ly|s|e|y)$")
_STOP_WORDS: Final = """
a about above after again against ain all am an and any are aren as at be because been before being below between
both but by can could couldn d did didn do does doesn doing don down during each few for from further had hadn has
hasn have haven having he her here hers herself him himself his how i if in into is isn it its itself just ll m me
more most my myself no nor not now o of off on once only or other our ours ourselves out over own re s same she
should shouldn so some such t than that the their theirs them themselves then there these they this those through to
too under until up ve very was wasn we were weren what when where which while who whom why will with won would
wouldn y you your yours yourself yourselves hello hi hey ok okay please thank thanks yes
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())


def terms(query: str) -> list[str]:
    """The words of a query that say something, each once; all of its words, if none does."""
    words = list(dict.fromkeys(_WORD.findall(_spaced_pairs(query.lower()))))
    return ([word for word in words if word not in STOP_WORDS] or words)[:MAX_TERMS]


def telling(query: str) -> bool:
    """True if the query has a word that says something; "ok, thanks" asks for nothing."""
    return not STOP_WORDS.issuperset(_WORD.findall(query.lower()))


def expression(
    words: Sequence[str], *, owner: int, conversation: int | None = None, columns: str = "speaker body"
) -> str:
    """The FTS5 query for what one owner, or one conversation, has that holds any of the words in these columns.

    Every word is a quoted string, so that nothing in it is syntax.
    """
    whose = f'owner:"{owner}"' if conversation is None else f'owner:"{owner}" AND conversation:"{conversation}"'
    return f"{whose} AND {holding(words, columns=columns)}"


def counting(match: str, besides: Sequence[str], *, owner: int) -> str:
    """The FTS5 query for the same turns of the owner; those that hold some of these words, too, score higher."""
    # Always true of the owner's turns, and its words count in the score nevertheless.
    return f'{match} AND (owner:"{owner}" OR {holding(besides)})' if besides else match


def holding(words: Sequence[str], *, columns: str = "speaker body") -> str:
    """The FTS5 query for what holds any of the words, whoever's it is: for the person at the machine."""
    alternatives = " OR ".join(f'"{spaced(word)}"' for word in words)
    return f"{{{columns}}}:({alternatives})"


def indexed(content: str, speaker: str | None) -> tuple[str, str]:
    """Speaker and words as they are indexed. ``Ana: hello`` is something Ana said, wherever the name was put."""
    if speaker is None:
        speaker, content = named(content)
    return speaker or "", spaced(content)


def named(content: str) -> tuple[str | None, str]:
    """The name that a turn such as ``Ana: hello`` begins with, if it does, and what was said."""
    found = _SPEAKER.match(content)
    return (found[1], content[found.end() :]) if found else (None, content)


def spread(hits: Iterable[Hit], *, now_us: int, without: frozenset[Place] = frozenset()) -> list[tuple[Place, float]]:
    """Places by score, best first: each hit gives shares to its neighbours, and newer hits give a little more.

    Places in ``without`` neither give nor get. Ties are broken by place. What was forgotten leaves places that do not
    exist any more.
    """
    scores: defaultdict[tuple[int, int], float] = defaultdict(float)
    for conversation, position, said_at, score, last in hits:
        if without and (conversation, position) in without:
            continue
        fresh = score * (1 + RECENCY * 0.5 ** (max(now_us - said_at, 0) / HALF_LIFE_US))
        for distance, share in SHARES:
            if 0 < position + distance <= last:
                scores[conversation, position + distance] += share * fresh
    ranking = sorted((-score, place) for place, score in scores.items() if place not in without)
    return [(Place._make(place), -score) for score, place in ranking]


def with_notes(
    ranking: Iterable[tuple[Place, float]],
    noted: Iterable[tuple[Statement, float]],
    *,
    without: frozenset[Place] = frozenset(),
) -> list[tuple[Place, float]]:
    """The ranking with what notes lend to the turns they rest on: a share of the score of the best of them."""
    scores = dict(ranking)
    lent: dict[Place, float] = {}
    for statement, score in noted:
        for source in statement.sources:
            if source.place not in without:
                lent[source.place] = max(lent.get(source.place, 0.0), NOTED * score)
    for place, score in lent.items():
        scores[place] = scores.get(place, 0.0) + score
    return sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))


def with_meaning(ranking: Sequence[tuple[Place, float]], near: Mapping[Place, float]) -> list[tuple[Place, float]]:
    """The ranking by words, relative to its best, with what the meaning of each place adds; best first.

    Scores are added and not ranks: a place that is first by words alone stays near the top. Ties are broken by place.
    """
    best = ranking[0][1] if ranking else 1.0
    scores = defaultdict(float, {place: score / best for place, score in ranking})
    for place in {*scores, *nlargest(CANDIDATES, near, key=lambda place: (near[place], place))}:
        scores[place] += MEANING * max(near.get(place, 0.0), 0.0)
    return sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))


def interleaved(rankings: Sequence[Sequence[tuple[Place, float]]]) -> list[tuple[Place, float]]:
    """One ranking of several: the best of each, then the second of each; BM25 scores of two queries do not compare.

    Scores become relative to the best of their own ranking, 0..1.
    """
    if len(rankings) == 1:
        best = rankings[0][0][1] if rankings[0] else 0.0
        return [(place, score / best if best > 0 else 1.0) for place, score in rankings[0]]
    merged: dict[Place, float] = {}
    for rank in range(max(map(len, rankings), default=0)):
        for ranking in rankings:
            if rank < len(ranking):
                place, score = ranking[rank]
                relative = score / ranking[0][1] if ranking[0][1] > 0 else 1.0
                merged[place] = max(merged.get(place, 0.0), relative)
    return list(merged.items())


def coverage(words: Sequence[str], text: str) -> float:
    """The share of these words that the text holds, endings aside, 0..1."""
    if not words:
        return 0.0
    held = {_stem(word) for word in _WORD.findall(_spaced_pairs(text.lower()))}
    return sum(_stem(word) in held for word in words) / len(words)


def _stem(word: str) -> str:
    return _ENDING.sub("", word)


def spaced(text: str) -> str:
    """Letters of unspaced scripts as words of their own; in quotes they are a phrase."""
    return text if text.isascii() else _UNSPACED.sub(lambda run: f" {' '.join(run[0])} ", text)


def _spaced_pairs(text: str) -> str:
    """Runs of unspaced scripts as overlapping pairs: the nearest thing to words without a dictionary."""
    if text.isascii():
        return text
    return _UNSPACED.sub(
        lambda run: f" {' '.join(run[0][at : at + 2] for at in range(max(len(run[0]) - 1, 1)))} ", text
    )
