from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from modules.errors import DataError
from modules.lead_scoring.calibration import Calibration, fit
from modules.lead_scoring.export import calibrate_tensor
from modules.lead_scoring.settings import CalibrationSettings
from modules.probability import expected_calibration_error

SETTINGS = CalibrationSettings()
MARGINS = {
    "linear": lambda z, base: 0.8 * z + base,
    "overconfident": lambda z, base: 2 * z,
    "saturating": lambda z, base: 3 * np.tanh(z / 1.5) + 1.5,
}


def leads(rng, rows, base, noise, shape):
    """Margins, true probabilities and labels; `noise` is what the model cannot see, `shape` how it distorts."""
    z = 1.1 * rng.normal(size=rows)
    p = expit(base + z + noise * rng.normal(size=rows))
    return MARGINS[shape](z, base), p, (rng.random(rows) < p).astype(float)


@pytest.mark.parametrize(
    ("base", "noise", "shape"), [(-1, 0.3, "linear"), (-3, 0.8, "overconfident"), (-2, 0.5, "saturating")]
)
def test_interval_holds_the_true_rate_of_a_bin_about_nine_times_in_ten(base, noise, shape):
    rng = np.random.default_rng(5)
    held, errors = [], []
    for _ in range(6):
        m, p, y = leads(rng, 60_000, base, noise, shape)
        found = fit(m[:20_000], y[:20_000], SETTINGS)(m[20_000:])
        for part in np.array_split(np.argsort(m[20_000:], kind="stable"), 50):
            low, high = (found[name][part].mean() for name in ("probability_low", "probability_high"))
            held.append(low <= p[20_000:][part].mean() <= high)
        errors.append(expected_calibration_error(found["probability"], y[20_000:]))
    assert 0.86 <= np.mean(held) <= 0.96
    assert np.mean(errors) < 0.01


def test_class_weights_are_undone():
    rng = np.random.default_rng(1)
    m, p, y = leads(rng, 40_000, -3, 0, "linear")
    shifted = fit(m + np.log(20), y, SETTINGS)(m + np.log(20))["probability"]
    assert abs(shifted.mean() - y.mean()) < 1e-3
    np.testing.assert_allclose(shifted.mean(), p.mean(), atol=0.005)


def test_ranking_by_probability_is_ranking_by_margin():
    rng = np.random.default_rng(2)
    m, _, y = leads(rng, 5_000, -4, 0.5, "overconfident")
    margins = np.unique(m.astype(np.float32))
    found = fit(m, y, SETTINGS)(margins)
    assert (np.diff(found["probability"]) >= 0).all()
    assert len(np.unique(found["probability"])) > 0.99 * len(margins)
    assert (np.diff(found["score"]) >= 0).all()
    assert (np.diff(found["probability_low"]) >= -1e-7).all()
    assert (np.diff(found["probability_high"]) >= -1e-7).all()


def test_score_is_the_percentile_among_the_calibration_leads():
    rng = np.random.default_rng(3)
    m = rng.exponential(size=20_000)
    calibration = fit(m, rng.random(20_000) < 0.3, SETTINGS)
    for share in (0.01, 0.25, 0.5, 0.9, 0.999):
        assert abs(calibration(np.quantile(m, [share]))["score"][0] - 100 * share) < 0.1
    assert calibration(np.array([-5.0]))["score"][0] == pytest.approx(0, abs=0.01)
    assert calibration(np.array([1e9]))["score"][0] == pytest.approx(100, abs=0.01)


def test_a_constant_margin_gets_the_base_rate_in_the_middle_of_the_scale():
    y = np.repeat([1, 0], [30, 70])
    found = fit(np.full(100, 0.7), y, SETTINGS)(np.array([-1, 0.7, 3]))
    np.testing.assert_allclose(found["probability"], 30.5 / 101, rtol=1e-5)
    np.testing.assert_array_equal(found["score"], 50)
    # Jeffreys: 90 % of Beta(30.5, 70.5) lies between 0.2295 and 0.3798; the bootstrap may narrow it.
    assert (found["probability_low"] > 0.2294).all() and (found["probability_low"] < 0.302).all()
    assert (found["probability_high"] > 0.302).all() and (found["probability_high"] < 0.3810).all()


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 300),
    distinct=st.integers(1, 50),
    rate=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    scale=st.sampled_from([1e-6, 1.0, 50.0]),
    seed=st.integers(0, 2**31),
)
def test_small_and_odd_samples_give_ordered_probabilities(rows, distinct, rate, scale, seed):
    rng = np.random.default_rng(seed)
    m = scale * rng.normal(size=distinct).astype(np.float32)[rng.integers(0, distinct, rows)]
    calibration = fit(m, rng.random(rows) < rate, SETTINGS)
    points = np.concatenate([m, [-1e30, 1e30, 0]]).astype(np.float32)
    found = calibration(points)
    for values in found.values():
        assert np.isfinite(values).all()
    assert (found["probability_low"] <= found["probability"]).all()
    assert (found["probability"] <= found["probability_high"]).all()
    assert ((found["probability"] >= 0) & (found["probability"] <= 1)).all()
    np.testing.assert_allclose(
        found["confidence"], 1 - (found["probability_high"] - found["probability_low"]), atol=1e-6
    )
    in_graph = calibrate_tensor(tf.constant(points), calibration)
    for name, values in found.items():
        np.testing.assert_allclose(in_graph[name], values, atol=2e-5 if name == "score" else 1e-6)


def test_json_restores_the_calibration_bit_for_bit():
    rng = np.random.default_rng(4)
    m, _, y = leads(rng, 2_000, -1, 0.3, "linear")
    calibration = fit(m, y, SETTINGS)
    restored = Calibration.from_json(calibration.to_json())
    np.testing.assert_array_equal(restored.values, calibration.values)
    np.testing.assert_array_equal(restored.margins, calibration.margins)
    assert restored.rows == 2_000


def test_no_leads_and_broken_margins_are_refused():
    with pytest.raises(DataError, match="at least one lead"):
        fit(np.array([]), np.array([]), SETTINGS)
    with pytest.raises(DataError, match="1 of 2 margins"):
        fit(np.array([0, np.nan]), np.array([0, 1]), SETTINGS)


def test_calibration_error_by_hand():
    # Two bins of two: |0.1 + 0.3 - 1| and |0.6 + 0.8 - 1|, over four rows.
    assert expected_calibration_error([0.1, 0.3, 0.6, 0.8], np.array([0, 1, 1, 0]), bins=2) == pytest.approx(0.25)


def test_beyond_the_calibration_leads_the_log_odds_go_on_and_the_score_stays():
    rng = np.random.default_rng(11)
    m = rng.normal(-1, 1.5, 4000).astype(np.float32)
    y = (rng.random(4000) < expit(m)).astype(np.float32)
    found = fit(m, y, SETTINGS)
    low, high = m.min(), m.max()
    at = found(np.array([low - 3, low, high, high + 1, high + 3], np.float32))
    log_odds = logit(at["probability"].astype(np.float64))
    slope = (log_odds[2] - log_odds[1]) / (high - low)
    np.testing.assert_allclose(log_odds[[0, 3, 4]], log_odds[[1, 2, 2]] + slope * np.array([-3, 1, 3]), atol=1e-3)
    assert at["score"][0] == at["score"][1] and at["score"][2] == at["score"][3] == at["score"][4]
    width = logit(at["probability_high"].astype(float)) - logit(at["probability_low"].astype(float))
    np.testing.assert_allclose(width[3:], width[2], rtol=1e-2)
