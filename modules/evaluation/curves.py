"""Metrics of a binary classifier, derived from one histogram of predictions by label.

Every function takes a `ScoreHistogram` and returns a float, NaN where the metric is not defined (for instance the area
under the ROC curve of examples with one label only). With `shift` 0 all of them are exact; otherwise those that rank
(AUC, precision-recall) are off by at most the bound of `auc_error_bound`, and sums and confusion counts stay exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from modules.evaluation.histogram import ScoreHistogram

CALIBRATION_BINS = 15


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def auc(histogram: ScoreHistogram) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative), ties counted half.

    Equals `sklearn.metrics.roc_auc_score`. NaN unless both labels have weight.
    """
    positives, negatives = histogram.positives, histogram.negatives
    below = np.cumsum(negatives) - negatives
    pairs = positives.sum() * negatives.sum()
    return _ratio(float(positives @ (below + negatives / 2)), float(pairs))


def auc_error_bound(histogram: ScoreHistogram) -> float:
    """Largest possible difference between `auc` of the bins and of the predictions themselves; 0 when exact.

    Pairs in different bins are ordered exactly; a pair inside one bin counts half instead of 0, 0.5 or 1.
    """
    if histogram.shift == 0:
        return 0.0
    pairs = float(histogram.positives.sum() * histogram.negatives.sum())
    return _ratio(float(histogram.positives @ histogram.negatives) / 2, pairs)


def _descending(histogram: ScoreHistogram) -> tuple[np.ndarray, np.ndarray]:
    """Weights of true and false positives, float64 [m], when the threshold falls from one to zero bin by bin."""
    return np.cumsum(histogram.positives[::-1]), np.cumsum(histogram.negatives[::-1])


def average_precision(histogram: ScoreHistogram) -> float:
    """Sum over thresholds of (recall_n - recall_{n-1}) precision_n, as `sklearn.metrics.average_precision_score`."""
    true, false = _descending(histogram)
    if not true.size or true[-1] <= 0:
        return math.nan
    predicted = true + false
    precision = np.divide(true, predicted, out=np.zeros_like(true), where=predicted > 0)
    return float(np.diff(true / true[-1], prepend=0.0) @ precision)


def auc_precision_recall(histogram: ScoreHistogram) -> float:
    """Area under the precision-recall curve, interpolated between thresholds as in Keras and TFMA.

    Davis and Goadrich, The Relationship Between Precision-Recall and ROC Curves (ICML 2006): between two thresholds
    true positives grow linearly with predicted positives. Unlike `average_precision` this is smooth in the bins.
    """
    true, false = _descending(histogram)
    if not true.size or true[-1] <= 0:
        return math.nan
    predicted = true + false
    true, predicted = np.insert(true, 0, 0.0), np.insert(predicted, 0, 0.0)
    step = np.diff(true)
    width = np.diff(predicted)
    slope = np.divide(step, width, out=np.zeros_like(step), where=width > 0)
    intercept = true[:-1] - slope * predicted[:-1]
    ratio = np.divide(predicted[1:], predicted[:-1], out=np.ones_like(step), where=predicted[:-1] > 0)
    return float(slope @ (step + intercept * np.log(ratio)) / true[-1])


def expected_calibration_error(histogram: ScoreHistogram, bins: int = CALIBRATION_BINS) -> float:
    """Sum over `bins` groups of equal weight of weight share x |mean label - mean prediction|, 0-1.

    Groups are cut along the sorted predictions; equal predictions are never split, they go to the group in which the
    middle of their weight falls.
    """
    weights = histogram.positives + histogram.negatives
    total = float(weights.sum())
    if total <= 0:
        return math.nan
    middle = np.cumsum(weights) - weights / 2
    group = np.minimum((middle / total * bins).astype(np.int64), bins - 1)
    labels = np.bincount(group, histogram.positives, bins)
    predictions = np.bincount(group, weights * histogram.predictions(), bins)
    return float(np.abs(labels - predictions).sum() / total)


def _accuracy(h: ScoreHistogram) -> float:
    return _ratio(h.total("true_positives") + h.total("true_negatives"), h.total("weight"))


def _precision(h: ScoreHistogram) -> float:
    return _ratio(h.total("true_positives"), h.total("true_positives") + h.total("false_positives"))


def _recall(h: ScoreHistogram) -> float:
    return _ratio(h.total("true_positives"), h.total("true_positives") + h.total("false_negatives"))


def _f1_score(h: ScoreHistogram) -> float:
    twice = 2 * h.total("true_positives")
    return _ratio(twice, twice + h.total("false_positives") + h.total("false_negatives"))


def _total(name: str) -> Callable[[ScoreHistogram], float]:
    return lambda h: h.total(name)


def _mean(name: str) -> Callable[[ScoreHistogram], float]:
    return lambda h: _ratio(h.total(name), h.total("weight"))


METRICS: dict[str, Callable[[ScoreHistogram], float]] = {
    "example_count": _total("count"),
    "weighted_example_count": _total("weight"),
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1_score": _f1_score,
    "auc": auc,
    "auc_precision_recall": auc_precision_recall,
    "average_precision": average_precision,
    "log_loss": _mean("weighted_log_loss"),
    "brier_score": _mean("weighted_squared_error"),
    "calibration": lambda h: _ratio(h.total("weighted_prediction"), h.total("weighted_label")),
    "mean_label": _mean("weighted_label"),
    "mean_prediction": _mean("weighted_prediction"),
    "expected_calibration_error": expected_calibration_error,
    "true_positives": _total("true_positives"),
    "false_positives": _total("false_positives"),
    "true_negatives": _total("true_negatives"),
    "false_negatives": _total("false_negatives"),
}

LOWER_IS_BETTER = frozenset(
    {"log_loss", "brier_score", "expected_calibration_error", "false_positives", "false_negatives"}
)

# More is not better of these, nor is less: a candidate cannot improve on them.
WITHOUT_DIRECTION = frozenset(
    {"example_count", "weighted_example_count", "calibration", "mean_label", "mean_prediction"}
)


def all_metrics(histogram: ScoreHistogram) -> dict[str, float]:
    """Every metric of `METRICS` by name."""
    return {name: function(histogram) for name, function in METRICS.items()}
