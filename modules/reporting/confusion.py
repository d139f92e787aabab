"""The confusion matrix at a threshold, and the rates that follow from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modules.reporting.intervals import LEVEL, Interval, bootstrap, wilson


@dataclass(frozen=True)
class Confusion:
    """Counts of examples. Positive means: score above the threshold."""

    true_positives: float
    false_positives: float
    true_negatives: float
    false_negatives: float

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, float]) -> Confusion | None:
        """From the Evaluator's metrics at its threshold; None where they are missing."""
        names = ("true_positives", "false_positives", "true_negatives", "false_negatives")
        if any(name not in metrics for name in names):
            return None
        return cls(*(metrics[name] for name in names))

    def __sub__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.true_positives - other.true_positives,
            self.false_positives - other.false_positives,
            self.true_negatives - other.true_negatives,
            self.false_negatives - other.false_negatives,
        )

    @property
    def total(self) -> float:
        return self.positives + self.negatives

    @property
    def positives(self) -> float:
        """Examples with label 1."""
        return self.true_positives + self.false_negatives

    @property
    def negatives(self) -> float:
        """Examples with label 0."""
        return self.true_negatives + self.false_positives

    @property
    def selected(self) -> float:
        """Examples above the threshold."""
        return self.true_positives + self.false_positives

    def rate(self, name: str, level: float = LEVEL) -> Interval:
        """One of RATES with its Wilson interval, or `f1_score` with one from a bootstrap of the four counts."""
        if name == "f1_score":
            cells = (self.true_positives, self.false_positives, self.true_negatives, self.false_negatives)
            return bootstrap(np.array(cells), _f1, level=level)
        successes, trials = RATES[name](self)
        return wilson(successes, trials, level)


RATES: dict[str, Callable[[Confusion], tuple[float, float]]] = {
    "selection_rate": lambda c: (c.selected, c.total),
    "true_positive_rate": lambda c: (c.true_positives, c.positives),
    "false_positive_rate": lambda c: (c.false_positives, c.negatives),
    "recall": lambda c: (c.true_positives, c.positives),
    "precision": lambda c: (c.true_positives, c.selected),
    "accuracy": lambda c: (c.true_positives + c.true_negatives, c.total),
    "mean_label": lambda c: (c.positives, c.total),
}
"""Successes and trials of the rates of a confusion matrix."""


def _f1(cells: np.ndarray) -> float:
    twice = 2 * float(cells[0])
    whole = twice + float(cells[1]) + float(cells[3])
    return twice / whole if whole > 0 else math.nan


@dataclass(frozen=True)
class ThresholdTable:
    """Confusion matrices by threshold, ascending; equal lengths."""

    thresholds: tuple[float, ...]
    matrices: tuple[Confusion, ...]

    @classmethod
    def from_matrices(cls, matrices: Iterable[Any]) -> ThresholdTable:
        """From TFMA's ConfusionMatrixAtThresholds; thresholds outside of [0, 1] are left out."""
        rows = [
            (
                m.threshold,
                Confusion(m.true_positives, m.false_positives, m.true_negatives, m.false_negatives),
            )
            for m in matrices
            if 0 <= m.threshold <= 1
        ]
        rows.sort(key=lambda row: row[0])
        return cls(tuple(t for t, _ in rows), tuple(c for _, c in rows))

    def with_row(self, threshold: float, matrix: Confusion) -> ThresholdTable:
        """The same with one more threshold in its place; an equal one is replaced."""
        rows = {round(t, 9): (t, m) for t, m in zip(self.thresholds, self.matrices, strict=True)}
        rows[round(threshold, 9)] = (threshold, matrix)
        ordered = sorted(rows.values(), key=lambda row: row[0])
        return ThresholdTable(tuple(t for t, _ in ordered), tuple(m for _, m in ordered))

    def nearest(self, threshold: float) -> int:
        """Index of the threshold that is closest."""
        return min(range(len(self.thresholds)), key=lambda i: abs(self.thresholds[i] - threshold))
