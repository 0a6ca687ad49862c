"""Hostile texts as memories in a prompt: does the block keep its structure? Judged by a parser that is not ours."""

import random
from dataclasses import dataclass
from pathlib import Path

from block_parser import Malformed, parse_block
from payloads import ALL

from synap_integrations.context.render import as_prompt
from synap_integrations.model import Context, ContextItem

FRAGMENTS = [
    "\n", "\r\n", "\u2028", "\x85", "\x0b", "\t", " ", "a", "word", "&", "<", ">", "&lt;", "&#106;", "|", "| ",
    "| * [", "; ", "]", "[", "(", ")", "![", "](", "[x](javascript:", "data:text/html,", "vbscript:x",
    "JavaScript:alert(1)", "http://e/", "[INST]", "[/INST]", "<|im_start|>", "<<SYS>>", "System: ",
    "\n\nHuman: ", "</s>", "{x}", "{{x}}", "%s", "\\n", "[synap-context 0123456789abcdef]",
    "[/synap-context 0123456789abcdef]", "\u200b", "\u200c", "\u200d", "\u202e", "\ufeff", "\ufe0f", "\ufe01",
    "\U000e0041", "\U000e0101", "\u034f", "\u2800", "\ud800", "\udc00", "\x00", "\x1b[31m", "é", "ب", "क", "्",
    "😀", "🏽", "🏴", "1", "\u20e3", "\uff1c", "\ufdd0", "\uffff", "…", "漢",
]  # fmt: skip
"""What hostile texts are made of."""

TO_A_BLOCK = 40


@dataclass(frozen=True)
class Figures:
    """``malformed`` blocks are not what the format promises; ``moved``: items are missing, added or in other order."""

    texts: int
    blocks: int
    malformed: int
    moved: int


def measure(_folder: Path | None = None, *, texts: int, seed: int | None = None) -> Figures:
    """Texts made of fragments, every tenth of them around a payload of the corpus, forty to a block."""
    dice = random.Random(seed)
    malformed = moved = 0
    for start in range(0, texts, TO_A_BLOCK):
        stored = [ContextItem(f"m{at}", "facts", text=_hostile(dice)) for at in range(min(TO_A_BLOCK, texts - start))]
        try:
            parsed = parse_block(as_prompt(Context(tuple(stored))))
        except Malformed:
            malformed += 1
            continue
        names = [item.item_id for item in stored]
        found = [item.item_id for item in parsed]
        moved += found != [name for name in names if name in set(found)] or len(found) < len(names) // 2
    return Figures(texts, -(-texts // TO_A_BLOCK), malformed, moved)


def _hostile(dice: random.Random) -> str:
    middle = dice.choice(ALL)[:60] if dice.random() < 0.1 else ""
    return "x" + "".join(dice.choices(FRAGMENTS, k=dice.randrange(1, 8))) + middle + dice.choice(FRAGMENTS)
