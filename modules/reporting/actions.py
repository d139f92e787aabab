"""What a next-action model takes for what: decisions by action taken and action predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.reporting.intervals import LEVEL, Interval, wilson

UNKNOWN = "(not in the vocabulary)"
OTHERS = "(all others)"
LARGEST_CLASS = 63
"""Class id from which on actions are counted together (modules/evaluation/next_action_statistics.py)."""


@dataclass(frozen=True)
class ActionRow:
    """One action: decisions in which it was taken, predicted, both; shares with intervals, 0-1."""

    action: str
    taken: float
    predicted: float
    correct: float
    precision: Interval
    recall: Interval

    @property
    def f1(self) -> float:
        """2 correct / (taken + predicted); 0 without any."""
        return 2 * self.correct / (self.taken + self.predicted) if self.taken + self.predicted else 0.0


@dataclass(frozen=True, eq=False)
class ActionConfusion:
    """Decisions by action taken (row) and predicted (column).

    Attributes:
      actions: names, most often taken first, [a].
      counts: float64 [a, a].
    """

    actions: tuple[str, ...]
    counts: NDArray[np.float64]

    @classmethod
    def from_entries(cls, entries: Iterable[Any], vocabulary: Sequence[str]) -> ActionConfusion:
        """From TFMA's MultiClassConfusionMatrixAtThresholds.

        Args:
          entries: of one matrix; class ids are indices in the vocabulary, -1 stands for an action outside of it.
          vocabulary: names of the actions.
        """
        rows = [(e.actual_class_id, e.predicted_class_id, e.num_weighted_examples) for e in entries]
        classes = sorted({c for a, p, _ in rows for c in (a, p)})
        at = {c: i for i, c in enumerate(classes)}
        counts = np.zeros((len(classes), len(classes)))
        for actual, predicted, count in rows:
            counts[at[actual], at[predicted]] += count
        order = np.argsort(-counts.sum(axis=1), kind="stable")
        names = [_name(classes[i], vocabulary) for i in order]
        return cls(tuple(names), counts[np.ix_(order, order)])

    def rows(self, level: float = LEVEL) -> list[ActionRow]:
        """Precision and recall by action."""
        taken, predicted, correct = self.counts.sum(axis=1), self.counts.sum(axis=0), np.diag(self.counts)
        return [
            ActionRow(
                action=action,
                taken=float(t),
                predicted=float(p),
                correct=0.0 if action == UNKNOWN else float(c),
                precision=wilson(0.0 if action == UNKNOWN else float(c), float(p), level),
                recall=wilson(0.0 if action == UNKNOWN else float(c), float(t), level),
            )
            for action, t, p, c in zip(self.actions, taken, predicted, correct, strict=True)
        ]

    def shares(self) -> NDArray[np.float64]:
        """Rows that sum to one: of the decisions in which an action was taken, the share predicted as each; [a, a]."""
        taken = self.counts.sum(axis=1, keepdims=True)
        return np.divide(self.counts, taken, out=np.zeros_like(self.counts), where=taken > 0)


def _name(class_id: int, vocabulary: Sequence[str]) -> str:
    if class_id < 0:
        return UNKNOWN
    if class_id == LARGEST_CLASS and len(vocabulary) > LARGEST_CLASS + 1:
        return OTHERS
    return vocabulary[class_id] if class_id < len(vocabulary) else f"action {class_id}"
