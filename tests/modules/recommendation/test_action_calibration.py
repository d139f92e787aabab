"""Temperature and Platt scaling against brute force and against a truth that is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from modules.errors import DataError
from modules.recommendation.calibration import LARGEST, SMALLEST, Calibration, fit, fit_platt, fit_temperature


def draw(probabilities: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return (random.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)).sum(axis=1)


def action_loss(logits: np.ndarray, action: np.ndarray, temperature: float) -> float:
    return -special.log_softmax(logits / temperature, axis=1)[np.arange(len(action)), action].mean()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 8), st.integers(2, 5), st.integers(1, 200))
def test_no_other_temperature_is_likelier(seed, scale, actions, rows):
    random = np.random.default_rng(seed)
    logits = random.normal(0, scale, (rows, actions))
    action = random.integers(0, actions, rows)
    found = fit_temperature(logits, action)
    grid = np.geomspace(SMALLEST, LARGEST, 300)
    assert action_loss(logits, action, found) <= min(action_loss(logits, action, t) for t in grid) + 1e-9


def test_the_temperature_of_the_truth_is_found():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (100_000, 6))
    action = draw(special.softmax(logits, axis=1), random)
    assert fit_temperature(3 * logits, action) == pytest.approx(3, rel=0.02)
    found = fit(3 * logits, action, np.zeros(len(action)), None)
    assert found.slope is None
    rounded = found.probabilities(3 * logits)
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded, special.softmax(logits, axis=1), atol=0.01)
    assert not found.conversion(np.ones((2, 3))).any()


def test_slope_and_bias_of_the_truth_are_found():
    random = np.random.default_rng(1)
    logits = random.normal(4, 1.5, 200_000)
    outcome = (random.random(200_000) < special.expit(0.5 * logits - 3)).astype(float)
    slope, bias = fit_platt(logits, outcome)
    assert slope == pytest.approx(0.5, abs=0.01)
    assert bias == pytest.approx(-3, abs=0.05)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0.01, 30))
def test_no_other_slope_and_bias_are_likelier(seed, rows, spread):
    random = np.random.default_rng(seed)
    z = random.normal(2, spread, rows)
    y = (random.random(rows) < 0.3).astype(float)
    target = np.where(y > 0, (y.sum() + 1) / (y.sum() + 2), 1 / (rows - y.sum() + 2))

    def loss(slope: float, bias: float) -> float:
        margin = slope * z + bias
        return float((np.logaddexp(0, margin) - target * margin).mean())

    slope, bias = fit_platt(z, y)
    assert SMALLEST <= slope <= LARGEST
    best = loss(slope, bias)
    for step in (1e-3, 1e-1):
        for more, further in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, -1)):
            other = min(max(slope + step * more, SMALLEST), LARGEST)
            assert best <= loss(other, bias + step * further + (slope - other) * z.mean()) + 1e-9


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_one_class_gives_finite_probabilities_off_0_and_1(outcome):
    logits = np.linspace(-3, 3, 50)
    slope, bias = fit_platt(logits, np.full(50, outcome))
    p = Calibration(temperature=1, slope=slope, bias=bias, decisions=50, outcomes=50).conversion(logits)
    assert ((p > 0.001) & (p < 0.999)).all()
    assert abs(p.mean() - outcome) == pytest.approx(1 / 52, abs=1e-5)


def test_equal_logits_give_the_share_of_conversions():
    slope, bias = fit_platt(np.full(8, 2.5), np.array([1, 0, 0, 0] * 2, float))
    assert special.expit(slope * 2.5 + bias) == pytest.approx((2 * 3 / 4 + 6 / 8) / 8)


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(DataError, match="holds no decision"):
        fit(np.zeros((0, 2)), np.zeros(0, int), np.zeros(0), None)
    with pytest.raises(DataError, match="known outcome"):
        fit(np.zeros((2, 2)), np.zeros(2, int), np.zeros(2), np.full(2, np.nan))
    with pytest.raises(DataError, match="diverged"):
        fit(np.full((2, 2), np.nan), np.zeros(2, int), np.zeros(2), None)


def test_it_survives_json():
    found = Calibration(temperature=1 / 3, slope=0.1 + 0.2, bias=-1e-17, decisions=3, outcomes=2)
    assert Calibration.model_validate_json(found.model_dump_json()) == found
