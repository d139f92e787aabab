"""Curves and figures of a binary classifier from counts of both labels in intervals of its score."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.reporting.intervals import LEVEL, Interval, bootstrap, from_error, wilson

Floats = NDArray[np.float64]

CLIP = float(np.finfo(np.float32).eps)
"""Predictions stay this far from 0 and 1 inside logarithms, as in modules/evaluation/histogram.py."""


@dataclass(frozen=True, eq=False)
class ScoreBins:
    """Counts of both labels by score.

    Attributes:
      lower: float64 [m], ascending: where each interval of scores begins.
      positives, negatives: float64 [m], examples with label 1 and 0.
      predictions: float64 [m], sum of the scores.
    """

    lower: Floats
    positives: Floats
    negatives: Floats
    predictions: Floats

    @classmethod
    def from_buckets(cls, buckets: Iterable[Any]) -> ScoreBins:
        """From the buckets of TFMA's CalibrationHistogramBuckets; empty ones are left out."""
        rows = [
            (
                bucket.lower_threshold_inclusive,
                bucket.total_weighted_label.value,
                bucket.num_weighted_examples.value,
                bucket.total_weighted_refined_prediction.value,
            )
            for bucket in buckets
            if bucket.num_weighted_examples.value > 0
        ]
        lower, labels, weights, predictions = np.array(rows, np.float64).reshape(-1, 4).T
        return cls(lower, labels, weights - labels, predictions)

    @property
    def counts(self) -> Floats:
        """Examples by interval, float64 [m]."""
        return self.positives + self.negatives

    @property
    def total(self) -> float:
        return float(self.counts.sum())

    @property
    def rate(self) -> float:
        """Share of label 1, 0-1; NaN without examples."""
        return _ratio(float(self.positives.sum()), self.total)

    def above(self) -> tuple[Floats, Floats, Floats]:
        """Thresholds, and true and false positives when everything from the threshold on counts as positive.

        float64 [m + 1] each; the first threshold is infinite, then they fall.
        """
        true = np.concatenate(([0.0], np.cumsum(self.positives[::-1])))
        false = np.concatenate(([0.0], np.cumsum(self.negatives[::-1])))
        return np.concatenate(([np.inf], self.lower[::-1])), true, false

    def roc(self) -> tuple[Floats, Floats, Floats]:
        """False positive rate, true positive rate, thresholds; NaN rates where a label is missing."""
        thresholds, true, false = self.above()
        return _share(false, false[-1]), _share(true, true[-1]), thresholds

    def precision_recall(self) -> tuple[Floats, Floats, Floats]:
        """Recall, precision, thresholds, without the empty selection; float64 [m]."""
        thresholds, true, false = self.above()
        return _share(true, true[-1])[1:], true[1:] / (true + false)[1:], thresholds[1:]

    def gains(self) -> tuple[Floats, Floats]:
        """Share of examples selected, best first, and share of the positives among them."""
        _, true, false = self.above()
        return _share(true + false, self.total), _share(true, true[-1])

    def lift(self) -> tuple[Floats, Floats]:
        """Share of examples selected, best first, and how many times the base rate of positives they hold."""
        selected, captured = self.gains()
        return selected[1:], captured[1:] / selected[1:]

    def captured(self, share: float) -> float:
        """Share of the positives among the best `share` of the examples; linear inside an interval."""
        selected, captured = self.gains()
        return float(np.interp(share, selected, captured))

    def auc(self) -> float:
        """Area under the ROC curve, ties counted half."""
        below = np.cumsum(self.negatives) - self.negatives
        pairs = float(self.positives.sum() * self.negatives.sum())
        return _ratio(float(self.positives @ (below + self.negatives / 2)), pairs)

    def auc_error(self) -> float:
        """Standard error of the area under the ROC curve after DeLong; NaN with fewer than two of a label.

        The variance of the share of negatives below a positive, over positives, plus that of the share of positives
        above a negative, over negatives.
        """
        p, n = float(self.positives.sum()), float(self.negatives.sum())
        if p < 2 or n < 2:
            return math.nan
        below = (np.cumsum(self.negatives) - self.negatives / 2) / n
        above = 1 - (np.cumsum(self.positives) - self.positives / 2) / p
        area = self.auc()
        of_positives = float(self.positives @ np.square(below - area)) / (p - 1)
        of_negatives = float(self.negatives @ np.square(above - area)) / (n - 1)
        return math.sqrt(of_positives / p + of_negatives / n)

    def mean_error(self, of_positive: Floats, of_negative: Floats) -> float:
        """Standard error of the mean of a loss that is `of_positive` [m] or `of_negative` [m] by label."""
        total = self.total
        if total < 2:
            return math.nan
        mean = (self.positives @ of_positive + self.negatives @ of_negative) / total
        squares = self.positives @ np.square(of_positive - mean) + self.negatives @ np.square(of_negative - mean)
        return math.sqrt(float(squares) / (total - 1) / total)

    def metric_interval(self, metric: str, value: float, level: float = LEVEL) -> Interval:
        """The interval of a metric whose exact value is known; without ends where none can be given.

        Of `auc` (DeLong), `log_loss` and `brier_score` (standard error of the mean), `mean_label` (Wilson), and
        `average_precision` and `auc_precision_recall` (bootstrap of the counts, moved to the exact value).
        """
        if not len(self.lower) or not math.isfinite(value):
            return Interval(value)
        if metric == "auc":
            return from_error(value, self.auc_error(), level, 0.0, 1.0)
        p = np.clip(self.predictions / self.counts, CLIP, 1 - CLIP)
        if metric == "log_loss":
            return from_error(value, self.mean_error(-np.log(p), -np.log1p(-p)), level, 0.0)
        if metric == "brier_score":
            return from_error(value, self.mean_error(np.square(1 - p), np.square(p)), level, 0.0, 1.0)
        if metric == "mean_label":
            return wilson(float(self.positives.sum()), self.total, level)
        if metric in ("average_precision", "auc_precision_recall"):
            found = bootstrap(np.concatenate([self.positives, self.negatives]), _average_precision, level=level)
            moved = value - found.value
            return Interval(value, max(0.0, found.low + moved), min(1.0, found.high + moved))
        return Interval(value)

    def calibration(self, groups: int, level: float = LEVEL) -> list[CalibrationPoint]:
        """Mean score and share of positives in about equally large groups, lowest scores first."""
        counts = self.counts
        if not len(counts):
            return []
        middle = np.cumsum(counts) - counts / 2
        group = np.minimum((middle / self.total * groups).astype(np.int64), groups - 1)
        found = []
        for g in np.unique(group):
            inside = group == g
            size, positives = float(counts[inside].sum()), float(self.positives[inside].sum())
            found.append(
                CalibrationPoint(
                    predicted=float(self.predictions[inside].sum()) / size,
                    observed=wilson(positives, size, level),
                    examples=size,
                )
            )
        return found


@dataclass(frozen=True)
class CalibrationPoint:
    """Examples of similar scores: what was predicted on average, and the share that happened."""

    predicted: float
    observed: Interval
    examples: float


def _average_precision(counts: Floats) -> float:
    positives, negatives = counts.reshape(2, -1)
    true, false = np.cumsum(positives[::-1]), np.cumsum(negatives[::-1])
    if true[-1] <= 0:
        return math.nan
    predicted = true + false
    precision = np.divide(true, predicted, out=np.zeros_like(true), where=predicted > 0)
    return float(np.diff(true / true[-1], prepend=0.0) @ precision)


def _share(part: Floats, whole: float) -> Floats:
    return part / whole if whole > 0 else np.full_like(part, np.nan)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan
