"""No stored text, however made, changes the structure of the block it is shown in: judged by an independent parser."""

import random

from block_parser import parse_block
from hypothesis import given
from hypothesis import strategies as st

from synap_integrations.context.cleaning import clean
from synap_integrations.context.render import as_prompt, beside, has_context, without_context
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

hostile = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=5)), max_size=40).map("".join)
items = st.builds(
    lambda item_id, kind, text: ContextItem(item_id, kind, text=text),
    hostile,
    st.one_of(st.just("facts"), hostile),
    hostile,
)


@given(st.lists(items, max_size=6))
def test_structure_is_independent_of_content(stored):
    """One block, one closing mark, items in order, and nothing in them that could act."""
    block = as_prompt(Context(tuple(stored)))
    visible = [item for item in stored if clean(item.text, limit=1_000)]
    assert len(parse_block(block) if block else []) == len(visible)


@given(hostile, st.lists(items, min_size=1, max_size=3), hostile)
def test_taking_out_leaves_the_rest_to_the_letter(before, stored, after):
    """Whatever stands around a block is what remains when it is taken out."""
    block = as_prompt(Context(tuple(stored)))
    if block:
        assert has_context(beside(before, block))
        assert without_context(beside(before, block) + after) == before + after
    assert without_context(before + after) == before + after


@given(hostile)
def test_cleaning_is_within_its_limit_and_settles(text):
    """A cleaned text keeps its limit; cleaning what was shown changes nothing but the escapes."""
    assert len(clean(text, limit=50)) <= 50
    shown = clean(text, limit=10_000)
    unescaped = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert clean(unescaped, limit=40_000) == shown


def test_a_hundred_thousand_hostile_texts_stay_inside():
    """A fixed and a random seed, 10^5 texts in all, forty to a block: the parser finds every structure intact."""
    for seed in (20_250_601, random.SystemRandom().random()):
        dice = random.Random(seed)
        texts = ["x" + "".join(dice.choices(FRAGMENTS, k=dice.randrange(1, 12))) for _ in range(50_000)]
        for start in range(0, len(texts), 40):
            stored = tuple(
                ContextItem(f"m{at}", "facts", text=text) for at, text in enumerate(texts[start : start + 40])
            )
            parsed = parse_block(as_prompt(Context(stored)))
            assert [item.item_id for item in parsed] == [item.item_id for item in stored], f"seed {seed}"
