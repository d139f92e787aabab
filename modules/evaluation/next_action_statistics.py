"""Additive statistics of next-action predictions: the one accumulator from which every such metric derives.

A decision becomes one row of `COLUMNS`. Statistics of a set of decisions are sums over its rows: scalar sums, counts
per action, counts per length of the history, and a reliability diagram; beside them the histogram of conversion
probabilities (`modules.evaluation.histogram`), which is additive too. So merging is addition, in any order, and memory
depends on the number of actions, not of decisions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from modules.evaluation import histogram

UNKNOWN = -1
"""Label of an action that is not in the vocabulary, and prediction of a baseline that has none: never correct."""

LEAST_PROBABILITY = 1e-7
"""Probabilities are raised to this inside the logarithm; an action outside of the vocabulary counts as this."""

TOP_BINS = 20
"""Intervals of equal width over [0, 1] of the reliability diagram of the top probability."""

LONGEST = 1023
"""Histories of more events count as this long in the accuracy per length."""

BASELINES = ("majority", "last_action", "prefix")
PREDICTORS = ("model", *BASELINES)

COLUMNS = (
    "label",
    "predicted",
    "rank",
    "probability",
    "top_probability",
    "conversion",
    "outcome",
    "history_length",
    *BASELINES,
)
"""label and predictions: indices in the vocabulary or UNKNOWN; rank: of the label, from 1, inf when it is unknown;
probability: of the label, 0 when it is unknown; conversion: if the label is next, NaN when it is unknown; outcome: 0, 1
or NaN; history_length: NaN when absent."""

SUMS = (
    "count",
    "top_3",
    "reciprocal_rank",
    "ndcg_at_5",
    "log_loss",
    "unknown",
    *(f"{predictor}_correct" for predictor in PREDICTORS),
)

CLASS_COUNTS = (
    "label",
    *(f"{predictor}_{count}" for predictor in PREDICTORS for count in ("predicted", "correct")),
)
RELIABILITY = ("count", "probability", "correct")
LENGTH_COUNTS = ("count", "correct")

MOST_CONFUSED = 65
"""Rows of the confusion of actions: the unknown one, and 64 of the vocabulary."""

# Numbers of one kind, over all groups, that are counted at a time.
_BLOCK = 1 << 21


@dataclasses.dataclass(frozen=True, eq=False)
class ActionStatistics:
    """Sums over decisions.

    Attributes:
      sums: float64 [len(SUMS)].
      classes: float64 [a, len(CLASS_COUNTS)]: decisions by action; row 0 is UNKNOWN, row i + 1 is action i. Actions
        behind the last row have none.
      reliability: float64 [TOP_BINS, len(RELIABILITY)]: decisions by the model's top probability.
      lengths: float64 [l, len(LENGTH_COUNTS)]: decisions by length of the history, 0 to l - 1.
      confusion: float64 [c, c]: decisions by action taken (row) and by the model's prediction (column), numbered as
        in `classes`; the last of MOST_CONFUSED stands for all actions from there on.
      conversion: conversion probabilities of the actions taken by outcome, where both are known.
    """

    sums: np.ndarray
    classes: np.ndarray
    reliability: np.ndarray
    lengths: np.ndarray
    confusion: np.ndarray
    conversion: histogram.ScoreHistogram

    def total(self, name: str) -> float:
        """The sum called `name`, one of `SUMS`."""
        return float(self.sums[SUMS.index(name)])

    def by_class(self, name: str) -> np.ndarray:
        """Counts by action called `name`, one of `CLASS_COUNTS`; float64 [a]."""
        return self.classes[:, CLASS_COUNTS.index(name)]


def empty() -> ActionStatistics:
    """The statistics of no decisions."""
    return ActionStatistics(
        np.zeros(len(SUMS)),
        np.zeros((0, len(CLASS_COUNTS))),
        np.zeros((TOP_BINS, len(RELIABILITY))),
        np.zeros((0, len(LENGTH_COUNTS))),
        np.zeros((0, 0)),
        histogram.empty(),
    )


def rows_of(
    labels: np.ndarray,
    probabilities: np.ndarray,
    conversion: np.ndarray,
    outcomes: np.ndarray,
    history_lengths: np.ndarray,
    baselines: np.ndarray,
) -> np.ndarray:
    """One row of `COLUMNS` per decision.

    The rank of the label is 1 + the number of actions that are more probable + the number of equally probable ones
    before it in the vocabulary. So it is 1 exactly where the label is the first of the most probable actions.

    Args:
      labels: int [n], index in the vocabulary or UNKNOWN.
      probabilities: float [n, A], 0-1.
      conversion: float [n, A], 0-1.
      outcomes: float [n], 0, 1 or NaN.
      history_lengths: float [n], events before the decision or NaN.
      baselines: int [n, len(BASELINES)], what they predict, or UNKNOWN.

    Returns:
      float64 [n, len(COLUMNS)].
    """
    n, num_actions = probabilities.shape
    labels = labels.astype(np.int64)
    known = labels >= 0
    at = np.maximum(labels, 0)[:, np.newaxis]
    of_label = np.take_along_axis(probabilities, at, axis=1)
    before = np.arange(num_actions) < at
    rank = 1 + ((probabilities > of_label) | ((probabilities == of_label) & before)).sum(axis=1)
    table = np.empty((n, len(COLUMNS)))
    table[:, 0] = labels
    table[:, 1] = probabilities.argmax(axis=1)
    table[:, 2] = np.where(known, rank, np.inf)
    table[:, 3] = np.where(known, of_label[:, 0], 0.0)
    table[:, 4] = probabilities.max(axis=1)
    table[:, 5] = np.where(known, np.take_along_axis(conversion, at, axis=1)[:, 0], np.nan)
    table[:, 6] = outcomes
    table[:, 7] = history_lengths
    table[:, 8:] = baselines
    return table


def build(table: np.ndarray) -> ActionStatistics:
    """Statistics of all rows of `table`, float64 [n, len(COLUMNS)]."""
    return build_groups(np.zeros(len(table), np.int64), 1, table)[0]


def build_groups(
    groups: np.ndarray, num_groups: int, table: np.ndarray, rows: np.ndarray | None = None
) -> list[ActionStatistics]:
    """Statistics of all groups at once, see `modules.evaluation.aggregation.Aggregation.build_groups`."""
    rows = np.arange(len(table)) if rows is None else rows
    order = np.argsort(groups, kind="stable")
    groups, rows = groups[order], rows[order]
    conversions = _conversions(groups, num_groups, table, rows)
    columns = dict(zip(COLUMNS, table.T, strict=True))
    num_classes = 2 + int(max(columns[name].max(initial=-1) for name in ("label", "predicted", *BASELINES)))
    lengths = np.minimum(columns["history_length"], LONGEST)
    num_lengths = 1 + int(np.nan_to_num(lengths, nan=-1).max(initial=-1))
    num_confused = min(num_classes, MOST_CONFUSED)
    step = max(1, _BLOCK // max(num_classes, num_lengths, TOP_BINS, num_confused**2))
    result = []
    for start in range(0, num_groups, step):
        stop = min(start + step, num_groups)
        low, high = np.searchsorted(groups, [start, stop])
        count = _Counter(groups[low:high] - start, stop - start)
        part = {name: column[rows[low:high]] for name, column in columns.items()}
        part["history_length"] = lengths[rows[low:high]]
        sums, classes = count.sums(part), count.classes(part, num_classes)
        reliability, by_length = count.reliability(part), count.lengths(part, num_lengths)
        confusion = count.confusion(part, num_confused)
        result += [
            ActionStatistics(sums[g], classes[g], reliability[g], by_length[g], confusion[g], conversions[start + g])
            for g in range(stop - start)
        ]
    return result


class _Counter:
    """Counts entries by group, and by something else: every result is float64 [groups, ...]."""

    def __init__(self, groups: np.ndarray, num_groups: int) -> None:
        self._groups = groups
        self._num_groups = num_groups

    def _by(self, index: np.ndarray, size: int, columns: Iterable[np.ndarray]) -> np.ndarray:
        flat = self._groups * size + index
        counts = [np.bincount(flat, column, self._num_groups * size) for column in columns]
        # Counts of nothing are integers, whatever their weights.
        stacked = np.stack(counts, axis=1).astype(np.float64, copy=False)
        return stacked.reshape(self._num_groups, size, len(counts))

    def sums(self, part: dict[str, np.ndarray]) -> np.ndarray:
        return self._by(np.zeros_like(self._groups), 1, _sum_columns(part))[:, 0]

    def classes(self, part: dict[str, np.ndarray], size: int) -> np.ndarray:
        label = part["label"].astype(np.int64) + 1
        ones = np.ones(label.size)
        counts = [self._by(label, size, [ones])]
        for predictor in PREDICTORS:
            predicted = _predicted(part, predictor).astype(np.int64) + 1
            right = ((predicted == label) & (label > 0)).astype(np.float64)
            counts.append(self._by(predicted, size, [ones, right]))
        return np.concatenate(counts, axis=2)

    def reliability(self, part: dict[str, np.ndarray]) -> np.ndarray:
        top = part["top_probability"]
        index = np.clip((top * TOP_BINS).astype(np.int64), 0, TOP_BINS - 1)
        correct = (part["rank"] == 1).astype(np.float64)
        return self._by(index, TOP_BINS, [np.ones(top.size), top, correct])

    def lengths(self, part: dict[str, np.ndarray], size: int) -> np.ndarray:
        if not size:
            return np.zeros((self._num_groups, 0, len(LENGTH_COUNTS)))
        known = ~np.isnan(part["history_length"])
        index = np.where(known, part["history_length"], 0).astype(np.int64)
        counted = [known, known & (part["rank"] == 1)]
        return self._by(index, size, [column.astype(np.float64) for column in counted])

    def confusion(self, part: dict[str, np.ndarray], size: int) -> np.ndarray:
        label, predicted = (np.minimum(part[name].astype(np.int64) + 1, size - 1) for name in ("label", "predicted"))
        pairs = self._by(label * size + predicted, size * size, [np.ones(label.size)])
        return pairs.reshape(self._num_groups, size, size)


def _predicted(part: dict[str, np.ndarray], predictor: str) -> np.ndarray:
    return part["predicted" if predictor == "model" else predictor]


def _sum_columns(part: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
    """float64 [k] per name in `SUMS`: what each decision adds to the sum."""
    label, rank = part["label"], part["rank"]
    yield np.ones(rank.size)
    yield (rank <= 3).astype(np.float64)
    yield 1 / rank
    # One action is relevant, so the ideal discounted gain is 1.
    yield np.where(rank <= 5, 1 / np.log2(1 + rank), 0.0)
    yield -np.log(np.clip(part["probability"], LEAST_PROBABILITY, 1.0))
    yield (label == UNKNOWN).astype(np.float64)
    for predictor in PREDICTORS:
        yield ((_predicted(part, predictor) == label) & (label != UNKNOWN)).astype(np.float64)


def _conversions(
    groups: np.ndarray, num_groups: int, table: np.ndarray, rows: np.ndarray
) -> list[histogram.ScoreHistogram]:
    conversion, outcome = table[:, COLUMNS.index("conversion")], table[:, COLUMNS.index("outcome")]
    known = ~np.isnan(outcome) & (table[:, 0] != UNKNOWN)
    position = np.cumsum(known) - 1
    kept = known[rows]
    return histogram.build_groups(
        groups[kept], num_groups, outcome[known], conversion[known], None, 0.5, rows=position[rows[kept]]
    )


def merge(left: ActionStatistics, right: ActionStatistics) -> ActionStatistics:
    """The statistics of the decisions of both."""
    return dataclasses.replace(_add(left, right), conversion=histogram.merge([left.conversion, right.conversion]))


def _add(left: ActionStatistics, right: ActionStatistics) -> ActionStatistics:
    """The sum of everything but the histogram, which stays that of `left`."""
    return ActionStatistics(
        left.sums + right.sums,
        _padded_sum(left.classes, right.classes),
        left.reliability + right.reliability,
        _padded_sum(left.lengths, right.lengths),
        _padded_sum(left.confusion, right.confusion),
        left.conversion,
    )


def _padded_sum(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    longer, shorter = (left, right) if len(left) >= len(right) else (right, left)
    total = longer.copy()
    total[tuple(slice(size) for size in shorter.shape)] += shorter
    return total


class ActionBuilder:
    """Adds up statistics: sums at once, histograms lazily (`modules.evaluation.histogram.HistogramBuilder`)."""

    def __init__(self) -> None:
        self._sum = empty()
        self._conversion = histogram.HistogramBuilder()

    def add(self, statistics: ActionStatistics) -> None:
        """Adds the decisions behind `statistics`."""
        self._sum = _add(self._sum, statistics)
        self._conversion.add(statistics.conversion)

    @property
    def num_bins(self) -> int:
        """Numbers held."""
        counts = sum(s.size for s in (self._sum.classes, self._sum.lengths, self._sum.reliability, self._sum.confusion))
        return self._conversion.num_bins + counts

    def result(self) -> ActionStatistics:
        """The statistics of everything added so far."""
        return dataclasses.replace(self._sum, conversion=self._conversion.result())
