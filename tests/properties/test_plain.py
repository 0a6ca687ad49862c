"""Whatever is handed over, the kept form is strict JSON, stable and free of what cannot travel."""

import json

from hypothesis import given
from hypothesis import strategies as st

from synap_integrations.plain import plain, text

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.text(st.characters(categories=("Cs", "Cc", "Lo"))),
    st.binary(),
    st.datetimes(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.complex_numbers(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(SCALARS, inner),
        st.tuples(inner, inner),
        st.sets(SCALARS.filter(lambda value: value == value)),  # noqa: PLR0124 - NaN is not equal to itself
        st.builds(lambda value: type("Thing", (), {"value": value})(), inner),
    ),
    max_leaves=30,
)


@given(VALUES)
def test_every_value_becomes_strict_json(value):
    """No NaN, no lone surrogate, no NUL, only string keys; and what was kept survives a round trip."""
    kept = plain(value)
    written = json.dumps(kept, allow_nan=False, ensure_ascii=False)
    written.encode()
    assert "\\u0000" not in written
    assert json.loads(written) == kept


@given(VALUES)
def test_the_kept_form_is_its_own_kept_form(value):
    """Keeping what was kept changes nothing."""
    kept = plain(value)
    assert plain(kept) == kept


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")))
def test_letters_are_kept_byte_for_byte(value):
    """No normalisation: joiners, direction marks and combining letters stay where they were."""
    assert text(value) is value
