"""The plots of TFMA, in TFMA's own protos, from a histogram of predictions by label.

`tfma.view.render_plot` draws them; the keys are those of TFMA's `CalibrationPlot` and `ConfusionMatrixPlot`.
"""

from __future__ import annotations

import itertools

import numpy as np
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from modules.evaluation.histogram import ScoreHistogram

QUANTILES = 200
"""Intervals of `quantile_plot`."""


def calibration_plot(histogram: ScoreHistogram, buckets: int) -> metrics_for_slice_pb2.CalibrationHistogramBuckets:
    """Sums of labels, predictions and weights in `buckets` intervals of equal width over [0, 1).

    As in TFMA there is one more at either end: (-inf, 0), always empty, and [1, inf).
    """
    predictions = histogram.predictions()
    index = np.floor(predictions * buckets).astype(np.int64)
    weights = histogram.positives + histogram.negatives
    size = buckets + 1
    return calibration_buckets(
        np.bincount(index, histogram.positives, size),
        np.bincount(index, weights * predictions, size),
        np.bincount(index, weights, size),
        buckets,
    )


def quantile_plot(
    histogram: ScoreHistogram, buckets: int = QUANTILES
) -> metrics_for_slice_pb2.CalibrationHistogramBuckets:
    """Sums of labels, predictions and weights in at most `buckets` intervals that hold about equally many examples.

    Curves over all thresholds follow from it however narrow the range is in which the predictions lie: with 200
    intervals of equal weight each step of a ROC or gains curve is half a percent of the examples. Equal predictions
    share an interval, so with few distinct ones the plot is exact. An interval ends where the next one begins.
    """
    predictions = histogram.predictions()
    weights = histogram.positives + histogram.negatives
    plot = metrics_for_slice_pb2.CalibrationHistogramBuckets()
    total = float(weights.sum())
    if total <= 0:
        return plot
    middle = np.cumsum(weights) - weights / 2
    group = np.minimum((middle / total * buckets).astype(np.int64), buckets - 1)
    starts = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
    edges = [*predictions[starts].tolist(), float(np.nextafter(np.float32(predictions[-1]), np.float32(np.inf)))]
    sums = np.add.reduceat(np.stack([histogram.positives, weights * predictions, weights]), starts, axis=1)
    for (low, high), (label, prediction, weight) in zip(itertools.pairwise(edges), sums.T.tolist(), strict=True):
        bucket = plot.buckets.add(lower_threshold_inclusive=low, upper_threshold_exclusive=high)
        bucket.total_weighted_label.value = label
        bucket.total_weighted_refined_prediction.value = prediction
        bucket.num_weighted_examples.value = weight
    return plot


def action_confusion_plot(confusion: np.ndarray) -> metrics_for_slice_pb2.MultiClassConfusionMatrixAtThresholds:
    """Decisions by action taken and action predicted, at the threshold 0; only pairs that occur.

    Args:
      confusion: float64 [c, c], see `modules.evaluation.next_action_statistics.ActionStatistics.confusion`; class ids
        in the plot are rows less one, so -1 is an action outside of the vocabulary.
    """
    plot = metrics_for_slice_pb2.MultiClassConfusionMatrixAtThresholds()
    matrix = plot.matrices.add(threshold=0.0)
    for actual, predicted in np.argwhere(confusion > 0).tolist():
        matrix.entries.add(
            actual_class_id=actual - 1,
            predicted_class_id=predicted - 1,
            num_weighted_examples=float(confusion[actual, predicted]),
        )
    return plot


def calibration_buckets(
    labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray, buckets: int | None = None
) -> metrics_for_slice_pb2.CalibrationHistogramBuckets:
    """The plot of sums made elsewhere.

    Args:
      labels: sum of the weighted labels per interval, float64 [buckets], or [buckets + 1] with [1, inf) at the end.
      predictions: sum of the weighted predictions, the same shape.
      weights: sum of the weights, the same shape.
      buckets: intervals of equal width over [0, 1); None when there is nothing at the end.
    """
    buckets = labels.size if buckets is None else buckets
    edges = [-np.inf, *(np.arange(buckets + 1) / buckets).tolist(), np.inf]
    plot = metrics_for_slice_pb2.CalibrationHistogramBuckets()
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        bucket = plot.buckets.add(lower_threshold_inclusive=low, upper_threshold_exclusive=high)
        inside = 0 < i <= labels.size
        bucket.total_weighted_label.value = labels[i - 1] if inside else 0.0
        bucket.total_weighted_refined_prediction.value = predictions[i - 1] if inside else 0.0
        bucket.num_weighted_examples.value = weights[i - 1] if inside else 0.0
    return plot


def confusion_matrix_plot(histogram: ScoreHistogram, points: int) -> metrics_for_slice_pb2.ConfusionMatrixAtThresholds:
    """Confusion matrices at the thresholds -1e-6, 0, 1/points, ..., 1; positive is a prediction above the threshold."""
    thresholds = np.concatenate(([-1e-6], np.arange(points + 1) / points))
    at = np.searchsorted(histogram.predictions(), thresholds, side="right")
    positives = np.concatenate(([0.0], np.cumsum(histogram.positives)))
    negatives = np.concatenate(([0.0], np.cumsum(histogram.negatives)))
    fn, tn = positives[at], negatives[at]
    tp, fp = positives[-1] - fn, negatives[-1] - tn

    def share(part: np.ndarray, whole: np.ndarray, otherwise: float) -> np.ndarray:
        return np.divide(part, whole, out=np.full_like(part, otherwise), where=whole > 0)

    # Undefined precision is 1 and undefined recall 0, as in TFMA.
    precision, recall = share(tp, tp + fp, 1.0), share(tp, tp + fn, 0.0)
    columns = {
        "threshold": thresholds,
        "true_positives": tp,
        "false_positives": fp,
        "true_negatives": tn,
        "false_negatives": fn,
        "precision": precision,
        "recall": recall,
        "f1": share(2 * precision * recall, precision + recall, 0.0),
        "accuracy": share(tp + tn, tp + fp + tn + fn, 0.0),
        "false_positive_rate": share(fp, fp + tn, 0.0),
        "false_omission_rate": share(fn, fn + tn, np.nan),
    }
    plot = metrics_for_slice_pb2.ConfusionMatrixAtThresholds()
    rows = np.stack(list(columns.values()), axis=1).tolist()
    for row in rows:
        plot.matrices.add(**dict(zip(columns, row, strict=True)))
    return plot
