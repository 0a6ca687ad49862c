"""No stored text, however made, changes the structure of the block it is shown in: judged by an independent parser."""

from block_parser import parse_block
from hypothesis import given
from hypothesis import strategies as st
from render_proof import FRAGMENTS, measure

from synap_integrations.context.cleaning import clean
from synap_integrations.context.render import as_prompt, beside, has_context, without_context
from synap_integrations.model import Context, ContextItem

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


def test_twenty_thousand_hostile_texts_stay_inside():
    """A random seed, forty texts to a block: the parser finds every structure intact."""
    figures = measure(texts=20_000)
    assert (figures.malformed, figures.moved) == (0, 0)
