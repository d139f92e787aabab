"""Curves from score bins against scikit-learn, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from modules.evaluation import histogram, plots
from modules.reporting.score_bins import ScoreBins


def bins_of(labels, scores, buckets: int = plots.QUANTILES) -> ScoreBins:
    return ScoreBins.from_buckets(plots.quantile_plot(histogram.build(labels, scores), buckets).buckets)


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    """600 examples of 40 distinct scores, so that bins are exact and ties frequent."""
    random = np.random.default_rng(5)
    labels = random.integers(0, 2, 600)
    scores = (np.clip(random.normal(0.4 + 0.15 * labels, 0.2), 0, 1) * 40).round() / 40
    return labels, scores.astype(np.float32)


def test_roc_curve_and_area_are_those_of_scikit_learn(sample):
    bins = bins_of(*sample)
    fpr, tpr, thresholds = metrics.roc_curve(*sample, drop_intermediate=False)
    for ours, theirs in zip(bins.roc(), (fpr, tpr, thresholds), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)
    assert bins.auc() == pytest.approx(metrics.roc_auc_score(*sample))


def test_precision_recall_curve_is_that_of_scikit_learn(sample):
    recall, precision, thresholds = bins_of(*sample).precision_recall()
    expected_precision, expected_recall, expected_thresholds = metrics.precision_recall_curve(*sample)
    np.testing.assert_allclose(recall[::-1], expected_recall[:-1])
    np.testing.assert_allclose(precision[::-1], expected_precision[:-1])
    np.testing.assert_allclose(thresholds[::-1], expected_thresholds, atol=1e-7)


def test_gains_and_lift_by_hand():
    # Best first: 0.9 (1), 0.8 (1), 0.6 (0), 0.4 (1), 0.1 (0).
    bins = bins_of([1, 1, 0, 1, 0], [0.9, 0.8, 0.6, 0.4, 0.1])
    selected, captured = bins.gains()
    np.testing.assert_allclose(selected, [0, 0.2, 0.4, 0.6, 0.8, 1])
    np.testing.assert_allclose(captured, [0, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    share, lift = bins.lift()
    np.testing.assert_allclose(share, [0.2, 0.4, 0.6, 0.8, 1])
    np.testing.assert_allclose(lift, [5 / 3, 5 / 3, 10 / 9, 1.25, 1])
    assert bins.captured(0.3) == pytest.approx(0.5)
    assert bins.rate == 0.6


def test_error_of_the_area_is_delongs_written_out_over_pairs(sample):
    labels, scores = sample
    positive, negative = scores[labels == 1], scores[labels == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / len(negative)
    assert bins_of(*sample).auc_error() == pytest.approx(math.sqrt(variance))


def test_interval_of_the_area_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(11)
    truth = 0.5 * math.erfc(-1 / math.sqrt(2) / math.sqrt(2))  # of normals a standard deviation apart
    covered = 0
    for _ in range(300):
        labels = random.random(200) < 0.3
        scores = 1 / (1 + np.exp(-random.normal(labels * 1.0, 1.0)))
        bins = bins_of(labels.astype(int), scores)
        found = bins.metric_interval("auc", bins.auc())
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / 300 <= 0.98


def test_intervals_of_mean_losses_come_from_their_standard_error(sample):
    labels, scores = sample
    scores = np.clip(scores, 0.025, 0.975)
    bins = bins_of(labels, scores)
    for name, losses in (
        ("log_loss", -np.log(np.where(labels == 1, scores, 1 - scores))),
        ("brier_score", np.square(scores - labels)),
    ):
        found = bins.metric_interval(name, float(losses.mean()))
        half = 1.959964 * losses.std(ddof=1) / math.sqrt(600)
        assert (found.low, found.high) == pytest.approx((losses.mean() - half, losses.mean() + half), rel=1e-5)


def test_a_bootstrapped_interval_stays_around_the_exact_value(sample):
    value = metrics.average_precision_score(*sample)
    found = bins_of(*sample).metric_interval("average_precision", value)
    assert found.low < value < found.high and 0.04 < found.high - found.low < 0.2
    assert not bins_of(*sample).metric_interval("expected_calibration_error", 0.1).known


def test_calibration_groups_by_hand():
    bins = bins_of([0, 0, 1, 1, 0, 1], [0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    low, high = bins.calibration(2)
    assert (low.examples, high.examples) == (3, 3)
    assert (low.predicted, high.predicted) == pytest.approx((0.2, 0.7), rel=1e-6)
    assert (low.observed.value, high.observed.value) == pytest.approx((1 / 3, 2 / 3))
    # Wilson of 1 in 3.
    assert (low.observed.low, low.observed.high) == pytest.approx((0.0615, 0.7923), abs=1e-4)


def test_one_label_only_leaves_rates_undefined():
    bins = bins_of([0, 0], [0.1, 0.2])
    assert np.isnan(bins.roc()[1]).all() and math.isnan(bins.auc()) and math.isnan(bins.auc_error())
    empty = ScoreBins.from_buckets([])
    assert empty.calibration(5) == [] and math.isnan(empty.rate)
