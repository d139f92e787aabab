"""Drift changes exactly what it names, by exactly what it says, from the span it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.errors import ConfigError
from modules.marketplace.columns import BY_NAME, code
from modules.marketplace.drift import Drift, drifted_category, drifted_number, parse_drift
from modules.marketplace.generate import Chunk, generate_chunk
from modules.marketplace.settings import MarketplaceSettings


def _chunk(drift: str = "", spans: int = 1) -> Chunk:
    return generate_chunk(MarketplaceSettings.parse(rows=2000, seed=6, spans=spans, drift=drift), 0)


def test_grammar() -> None:
    assert parse_drift("mortgage_rate:+2.0, source=portal:0.4,age:*1.2@2,visits:-1,conversion:+0.3@3") == (
        Drift("mortgage_rate", "shift", 2.0),
        Drift("source", "share", 0.4, "portal"),
        Drift("age", "scale", 1.2, from_span=2),
        Drift("visits", "shift", -1.0),
        Drift("conversion", "shift", 0.3, from_span=3),
    )
    assert parse_drift("") == ()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mortgage_rat:+2", "did you mean 'mortgage_rate'"),
        ("age:2", "expected +, - or * and a number behind age:"),
        ("age", "expected column:+2.0"),
        ("source:+1", "source is categorical"),
        ("age=old:0.1", "age is a number"),
        ("source=portl:0.4", "did you mean 'portal'"),
        ("source=portal:1.4", "share from 0 to 1"),
        ("source=portal", "share from 0 to 1"),
        ("conversion:*2", "shift of the log-odds"),
        ("age:+1@0", "span of 1 or more"),
        ("enquiry=x:0.1", "unknown 'enquiry'"),
    ],
)
def test_what_cannot_be_read_is_explained(spec: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_drift(spec)
    assert message in str(caught.value)


def test_shift_moves_one_column_by_its_amount_and_the_truth_follows() -> None:
    before, after = _chunk(), _chunk("mortgage_rate:+2.0")
    np.testing.assert_allclose(after.leads.numeric["mortgage_rate"] - before.leads.numeric["mortgage_rate"], 2.0)
    for name in before.leads.numeric:
        if name != "mortgage_rate":
            np.testing.assert_array_equal(after.leads.numeric[name], before.leads.numeric[name])
    for name in before.leads.codes:
        np.testing.assert_array_equal(after.leads.codes[name], before.leads.codes[name])
    assert (after.probability < before.probability).all()


def test_scale_rounds_and_keeps_to_the_legal_range_and_to_missing() -> None:
    ages = np.array([20.0, 33.0, 90.0, np.nan])
    drift = parse_drift("age:*1.2")[0]
    np.testing.assert_array_equal(drifted_number(drift, ages, np.ones(4, dtype=bool)), [24.0, 40.0, 100.0, np.nan])


def test_drift_starts_at_its_span() -> None:
    before, after = _chunk(spans=4), _chunk("visits:+3@3", spans=4)
    change = after.leads.numeric["visits"] - before.leads.numeric["visits"]
    np.testing.assert_array_equal(change, np.where(before.span >= 3, 3.0, 0.0))
    assert 0 < (before.span >= 3).sum() < 2000


@given(
    codes=st.lists(st.integers(-1, 8), min_size=1, max_size=60),
    share=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_share_is_met_exactly_and_missing_cells_stay_missing(codes: list[int], share: float, seed: int) -> None:
    cells = np.array(codes)
    drift = Drift("source", "share", share, "social")
    after = drifted_category(drift, cells, np.ones(len(cells), dtype=bool), np.random.default_rng(seed))
    known = cells >= 0
    assert (after == code("source", "social")).sum() == round(share * known.sum())
    np.testing.assert_array_equal(after < 0, ~known)
    assert after.max() < len(BY_NAME["source"].categories)


def test_share_holds_in_a_sample() -> None:
    sources = _chunk("source=portal:0.4").leads.codes["source"]
    assert (sources == code("source", "portal")).sum() == 800
