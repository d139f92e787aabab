"""The true probability: exact for the row as written, calibrated, and of the intended difficulty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from marketplace_files import rows

from modules.marketplace.columns import BY_NAME, CATEGORICAL, NUMERIC
from modules.marketplace.conversion import log_odds, probability
from modules.marketplace.drift import parse_drift
from modules.marketplace.enquiry import INTENT_PHRASES, URGENCY_PHRASES, texts
from modules.marketplace.generate import Chunk, generate_chunk
from modules.marketplace.leads import Leads
from modules.marketplace.settings import MarketplaceSettings
from modules.marketplace.write import MarketplaceReport


@pytest.fixture(scope="module")
def chunk() -> Chunk:
    return generate_chunk(MarketplaceSettings(rows=50_000, seed=11), 0)


def _group_of(text: str, phrases: dict[str, tuple[str, ...]]) -> int:
    """Index of the group whose phrase stands in the text; the longest one where several do; 0 for none."""
    found = [(len(p), i) for i, group in enumerate(phrases.values()) for p in group if p and f" {p} " in f" {text} "]
    return max(found)[1] if found else 0


def test_truth_can_be_recomputed_from_the_written_row(marketplace: tuple[Path, MarketplaceReport]) -> None:
    out, _ = marketplace
    table = rows(out / "leads.csv")
    leads = Leads(
        time=np.zeros(len(table), dtype=np.int64),
        numeric={name: np.array([float(row[name] or "nan") for row in table]) for name in NUMERIC},
        codes={
            name: np.array([BY_NAME[name].categories.index(row[name]) if row[name] else -1 for row in table])
            for name in CATEGORICAL
        },
        intent=np.array([_group_of(row["enquiry"], INTENT_PHRASES) for row in table]),
        urgency=np.array([_group_of(row["enquiry"], URGENCY_PHRASES) for row in table]),
        concept=np.zeros(len(table)),
    )
    written = np.array([float(row["probability"]) for row in rows(out / "truth.csv")])
    np.testing.assert_allclose(probability(leads), written, atol=0.6e-5)


def test_outcomes_are_calibrated_against_the_true_probability(chunk: Chunk) -> None:
    p, y = chunk.probability, chunk.journeys.converted
    order = np.argsort(p)
    chi_square = 0.0
    for part in np.array_split(order, 20):
        variance = (p[part] * (1 - p[part])).sum()
        chi_square += (y[part].sum() - p[part].sum()) ** 2 / variance
    assert chi_square < 45.3  # 99.9 % of a chi-square with 20 degrees of freedom


def test_base_rate_and_difficulty_are_as_intended(chunk: Chunk) -> None:
    p = chunk.probability
    assert 0.12 < p.mean() < 0.15
    # AUC of p itself, in expectation over outcomes: P(p of a converted lead > p of another), from ranks.
    order = np.argsort(p)
    positive, negative = p[order], (1 - p)[order]
    below = np.cumsum(negative) - 0.5 * negative
    auc = (positive * below).sum() / (positive.sum() * negative.sum())
    assert 0.85 < auc < 0.88


def test_a_missing_value_never_makes_the_probability_undefined(chunk: Chunk) -> None:
    assert any(np.isnan(values).any() for values in chunk.leads.numeric.values())
    assert np.isfinite(log_odds(chunk.leads)).all()


def test_concept_drift_moves_every_log_odds_by_its_amount() -> None:
    settings = MarketplaceSettings(rows=500, seed=2)
    before = generate_chunk(settings, 0)
    after = generate_chunk(MarketplaceSettings(rows=500, seed=2, drift=parse_drift("conversion:+0.3")), 0)
    np.testing.assert_allclose(log_odds(after.leads) - log_odds(before.leads), 0.3, atol=1e-12)


def test_enquiries_are_short_and_none_is_empty(chunk: Chunk) -> None:
    written = texts(chunk.leads.intent, chunk.leads.urgency, np.random.default_rng(0))
    words = np.array([len(text.split(" ")) for text in written.drop_null().to_pylist()])
    assert written.null_count == (chunk.leads.intent == 0).sum()
    assert words.min() == 2
    assert 22 <= words.max() <= 25
    assert not any('"' in text or "\n" in text or "  " in text for text in written.drop_null().to_pylist())


def test_every_phrase_tells_its_intent() -> None:
    for index, group in enumerate(INTENT_PHRASES.values()):
        for phrase in filter(None, group):
            assert _group_of(phrase, INTENT_PHRASES) == index


def test_traits_that_should_go_together_do(chunk: Chunk) -> None:
    x = chunk.leads.numeric
    together = [("visits", "listings_viewed"), ("visits", "time_on_site_s"), ("email_opens", "email_clicks")]
    for first, second in together:
        both = ~np.isnan(x[first]) & ~np.isnan(x[second])
        assert np.corrcoef(np.log1p(x[first][both]), np.log1p(x[second][both]))[0, 1] > 0.4


def test_summer_brings_more_leads_than_winter_and_the_second_year_more_than_the_first() -> None:
    from modules.marketplace.arrivals import arrival_times

    settings = MarketplaceSettings(rows=40_000, seed=1)
    times = arrival_times(settings, 0, 40_000, np.random.default_rng(0))
    month = times.astype("datetime64[s]").astype("datetime64[M]").astype(int) - 12 * 54
    assert (np.diff(times) >= 0).all()
    counts = np.bincount(month, minlength=24)
    assert counts[4:7].sum() > 1.3 * counts[[0, 1, 11]].sum()
    assert counts[12:].sum() > 1.08 * counts[:12].sum()
