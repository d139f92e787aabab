"""Metrics from histograms against scikit-learn and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from modules.evaluation import curves, histogram


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("decimals", [None, 2, 1])
def test_metrics_equal_those_of_scikit_learn(decimals, weighted):
    random = np.random.default_rng(3)
    predictions = random.beta(2, 5, 4000).astype(np.float32)
    if decimals is not None:
        predictions = predictions.round(decimals)
    labels = (random.random(4000) < predictions).astype(np.int64)
    weights = random.integers(1, 5, 4000) / 4 if weighted else None
    got = curves.all_metrics(histogram.build(labels, predictions, weights, threshold=0.3))
    chosen = predictions.astype(np.float64) > 0.3
    w = {"sample_weight": weights}
    expected = {
        "accuracy": reference.accuracy_score(labels, chosen, **w),
        "precision": reference.precision_score(labels, chosen, **w),
        "recall": reference.recall_score(labels, chosen, **w),
        "f1_score": reference.f1_score(labels, chosen, **w),
        "auc": reference.roc_auc_score(labels, predictions, **w),
        "average_precision": reference.average_precision_score(labels, predictions, **w),
        "log_loss": reference.log_loss(labels, predictions, **w),
        "brier_score": reference.brier_score_loss(labels, predictions, **w),
        "mean_label": np.average(labels, weights=weights),
        "mean_prediction": np.average(predictions.astype(np.float64), weights=weights),
    }
    for name, value in expected.items():
        # scikit-learn computes the logarithms of the log loss in float32.
        assert got[name] == pytest.approx(value, rel=1e-6 if name == "log_loss" else 1e-9), name
    (tn, fp), (fn, tp) = reference.confusion_matrix(labels, chosen, **w)
    names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    assert [got[name] for name in names] == pytest.approx([tn, fp, fn, tp])
    assert got["calibration"] == pytest.approx(got["mean_prediction"] / got["mean_label"])
    assert got["example_count"] == 4000


def test_four_leads_by_hand():
    built = histogram.build([0, 0, 1, 1], [0.125, 0.5, 0.25, 0.75])
    # Of the four pairs only (0.5, 0.25) is in the wrong order.
    assert curves.auc(built) == 0.75
    # Recall 1/2 at precision 1, then recall 1 at precision 2/3.
    assert curves.average_precision(built) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # The last positive comes with the third prediction: from (1 of 2) to (2 of 3) precision grows as (t + 0) / (t + 1).
    assert curves.auc_precision_recall(built) == pytest.approx((1 + 1 - math.log(3 / 2)) / 2)
    assert curves.METRICS["brier_score"](built) == (0.125**2 + 0.5**2 + 0.75**2 + 0.25**2) / 4


def test_certain_and_wrong_costs_the_clipped_log_loss():
    built = histogram.build([1], [0.0])
    assert curves.METRICS["log_loss"](built) == pytest.approx(-math.log(np.finfo(np.float32).eps))


def test_calibration_error_of_fifteen_equal_groups_by_hand():
    # Thirty leads in fifteen groups of two; every group predicts 0.1 too much, but for the first, which is exact.
    predictions = np.repeat(np.arange(15) / 20 + 0.1, 2)
    rates = np.arange(15) / 20
    rates[0] = 0.1
    built = histogram.ScoreHistogram(
        keys=np.unique(predictions.astype(np.float32)).view(np.uint32),
        negatives=2 * (1 - rates),
        positives=2 * rates,
        sums=np.zeros(len(histogram.SUM_NAMES)),
    )
    assert curves.expected_calibration_error(built) == pytest.approx(14 / 15 * 0.1, abs=1e-7)


def test_calibration_error_never_splits_equal_predictions():
    # A constant model at the prior is calibrated, whatever the order of its examples.
    assert curves.expected_calibration_error(histogram.build([1] * 30 + [0] * 70, [0.3] * 100)) == pytest.approx(
        0, abs=1e-7
    )


@pytest.mark.parametrize("label", [0, 1])
def test_one_label_only_leaves_ranking_undefined(label):
    got = curves.all_metrics(histogram.build([label] * 3, [0.1, 0.2, 0.9]))
    assert math.isnan(got["auc"])
    assert math.isnan(got["recall"]) == (label == 0)
    assert math.isnan(got["average_precision"]) == (label == 0)
    assert got["mean_label"] == label
    assert math.isfinite(got["log_loss"])


def test_no_examples_leave_everything_but_counts_undefined():
    got = curves.all_metrics(histogram.empty())
    counts = {name for name, value in got.items() if value == 0}
    assert counts == {
        "example_count",
        "weighted_example_count",
        "true_positives",
        "false_positives",
        "true_negatives",
        "false_negatives",
    }
    assert all(math.isnan(value) for name, value in got.items() if name not in counts)


def test_equal_predictions_rank_like_a_coin():
    assert curves.auc(histogram.build([0, 1, 0, 1, 1], [0.4] * 5)) == 0.5
