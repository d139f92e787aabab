from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb

from modules.lead_scoring import shadows


def leads(rows=3000, seed=0):
    """One true column, one group of three true indicators, a number of noise and a category of 500 values."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=rows)
    group = rng.integers(0, 4, rows)
    indicators = np.stack([group == k for k in range(3)], axis=1)
    noise, category = rng.normal(size=rows), rng.integers(0, 500, rows)
    odds = 1.2 * true + np.array([1.5, -1.5, 0, 0])[group] - 0.5
    y = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.float32)
    return np.column_stack([true, indicators, noise, category]).astype(np.float32), y


UNITS = [[0], [1, 2, 3], [4], [5]]


@pytest.fixture(scope="module")
def ranking():
    x, y = leads()
    return shadows.rank(x, y, UNITS, rounds=8, seed=0, nthread=2)


def test_what_is_true_beats_every_shadow_and_noise_does_not(ranking):
    assert ranking.hits[:2].tolist() == [8, 8]
    assert (ranking.hits[2:] <= 1).all()


def test_noise_of_many_values_has_the_higher_gain_and_the_lower_score():
    rng = np.random.default_rng(0)
    flag, category = rng.integers(0, 2, 2000), rng.integers(0, 500, 2000)
    x = np.column_stack([flag, category]).astype(np.float32)
    y = (rng.random(2000) < np.where(flag == 1, 0.55, 0.45)).astype(np.float32)
    booster = xgb.train(shadows.PARAMETERS, xgb.QuantileDMatrix(x, y, max_bin=shadows.BINS), shadows.TREES)
    gain = booster.get_score(importance_type="total_gain")
    assert gain["f1"] > 1.5 * gain["f0"]
    scores = shadows.rank(x, y, [[0], [1]], rounds=6, seed=0).scores.mean(axis=0)
    assert scores[0] > 0.001 > 0 > scores[1]


def test_a_score_is_the_loss_gained_when_the_mean_stands_for_the_contributions():
    # Two leads with P 3/4 of what happened; without the first unit P is 1/2, the second says the same about both.
    three = np.log(3)
    parts = np.array([[three, 5], [-three, 5]])
    margin, y = np.array([three, -three]), np.array([1, 0], np.float32)
    found = shadows.loss_without(parts, margin, y, np.ones(2, np.float32))
    assert found == pytest.approx([np.log(2) - np.log(4 / 3), 0], abs=1e-12)
    # A contribution that speaks against what happened: without it P rises from 1/4 to 1/2.
    against = shadows.loss_without(parts[:, :1], margin, 1 - y, np.ones(2, np.float32))
    assert against == pytest.approx([np.log(2) - np.log(4)])
    # Weighted: the mean contribution is ln(3) / 2, so that the margins become ln(3) / 2 for both.
    half = np.sqrt(3)
    weighted = shadows.loss_without(parts[:, :1], margin, y, np.array([3, 1], np.float32))
    expected = 0.75 * np.log(1 + 1 / half) + 0.25 * np.log(1 + half) - np.log(4 / 3)
    assert weighted == pytest.approx([expected])


def test_the_same_seed_gives_the_same_scores_with_any_number_of_threads():
    x, y = leads(600)
    first, second = (shadows.rank(x, y, UNITS, rounds=3, seed=5, nthread=n) for n in (1, 3))
    assert np.array_equal(first.scores, second.scores)
    assert np.array_equal(first.best_shadow, second.best_shadow)
    other = shadows.rank(x, y, UNITS, rounds=3, seed=6, nthread=1)
    assert not np.array_equal(first.scores, other.scores)


def test_rows_without_weight_do_not_count():
    x, y = leads(4000)
    misled = y.copy()
    misled[2000:] = 1 - misled[2000:]
    weights = np.repeat([1.0, 0.0], 2000).astype(np.float32)
    weighted = shadows.rank(x, misled, UNITS, rounds=3, seed=0, weights=weights)
    assert (weighted.scores[:, 0] > 0.05).all()
    assert (shadows.rank(x, misled, UNITS, rounds=3, seed=0).scores[:, 0] < 0.01).all()


@pytest.mark.parametrize(
    ("rounds", "level", "needed"),
    [
        (20, 0.05, 6),  # P(at most 5 of 20 heads) = 0.021, at most 6: 0.058
        (10, 0.05, 2),  # 1: 0.011, 2: 0.055
        (5, 0.05, 1),  # 0: 0.031
        (5, 0.01, 0),  # 0: 0.031, nothing can be ruled out
    ],
)
def test_hits_needed_are_those_of_a_coin(rounds, level, needed):
    assert shadows.needed_hits(rounds, level) == needed
