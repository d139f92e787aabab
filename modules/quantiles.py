"""Quantiles of a numeric column over any number of rows, in bounded memory and the same whatever the order.

The finite float32 numbers in their order are 2^32 - 2^24 cells, each with a count. As long as no more than CELLS of
them are occupied, all is exact. When more are, neighbouring cells are joined two by two, all over the line, as often
as it takes ("level" times); a cell then holds 2^level neighbouring numbers, so that

    |found - true| <= 2^(level - 23) |true|

for every order statistic whose absolute value is a normal float32. CELLS = 2^16 suffice for any data at level 16 (an
error of 0.8 %); a million values over ten octaves reach level 11 (0.02 %). The level is the smallest at which all
values seen fit, which no order of merging can change, and counts are integers: the result is always the same.

Reference: Epicoco et al. (2020), UDDSketch: accurate tracking of quantiles in data streams (uniform collapse).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

CELLS = 1 << 16
"""Most cells that are kept of a column."""


@dataclass(frozen=True)
class Distribution:
    """What is known of the values of a column.

    Attributes:
      level: 2^level neighbouring float32 numbers share a cell; at 0 all is exact.
      cells: int64 [m], occupied cells, ascending.
      counts: int64 [m], values in each.
      low, high: smallest and largest value, exact; NaN without values.
    """

    level: int
    cells: NDArray[np.int64]
    counts: NDArray[np.int64]
    low: float
    high: float

    @property
    def size(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    def quantiles(self, shares: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Quantiles by linear interpolation of order statistics, as `numpy.quantile` finds them.

        Args:
          shares: [k], 0-1.

        Returns:
          float64 [k]; NaN without values.
        """
        shares = np.asarray(shares, np.float64)
        if not self.size:
            return np.full(shares.shape, np.nan)
        place = (self.size - 1) * shares
        below = np.floor(place).astype(np.int64)
        t = place - below
        a, b = self.order_statistics(below), self.order_statistics(np.minimum(below + 1, self.size - 1))
        # numpy's two forms: each is exact at its end.
        return np.where(t < 0.5, a + (b - a) * t, b - (b - a) * (1 - t))

    def moments(self, low: float = -np.inf, high: float = np.inf) -> tuple[float, float]:
        """Mean and population standard deviation of the values, each clipped to [low, high]; 0 and 0 without values."""
        if not self.size:
            return 0.0, 0.0
        values = np.clip(self._middles(), low, high)
        mean = float(np.dot(values, self.counts) / self.size)
        return mean, float(np.sqrt(np.dot((values - mean) ** 2, self.counts) / self.size))

    def order_statistics(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Order statistics, rank 0 the smallest; values are spread evenly within their cell."""
        ends = np.cumsum(self.counts)
        at = np.searchsorted(ends, ranks, "right")
        within = (ranks - (ends[at] - self.counts[at]) + 0.5) / self.counts[at]
        first, last = self._bounds()
        return np.clip(first[at] + (last[at] - first[at]) * within, self.low, self.high)

    def _middles(self) -> NDArray[np.float64]:
        first, last = self._bounds()
        return np.clip(first + (last - first) / 2, self.low, self.high)

    def _bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Smallest and largest number of each cell."""
        first = self.cells << self.level
        return _value(first), _value(first + (1 << self.level) - 1)


def batch_counts(column: tf.Tensor) -> list[tf.Tensor]:
    """Distinct finite values of a tensor of any shape, float32 [m], and how often each occurs, int64 [m]."""
    values = tf.cast(tf.reshape(column, [-1]), tf.float32)
    # Adding 0 makes one zero of two.
    values = tf.boolean_mask(values, tf.math.is_finite(values)) + 0.0
    distinct, _, counts = tf.unique_with_counts(values, out_idx=tf.int64)
    return [distinct, counts]


class MergeDistribution(beam.CombineFn):
    """What `batch_counts` found in each batch -> Distribution; an accumulator holds 2 CELLS and a batch at most."""

    def __init__(self, most: int = CELLS) -> None:
        self._most = most

    def create_accumulator(self) -> list[Distribution]:
        return []

    def add_input(self, accumulator: list[Distribution], element: Any) -> list[Distribution]:
        values, counts = np.asarray(element[0], np.float32), np.asarray(element[1], np.int64)
        order = np.argsort(values)
        if len(values):
            low, high = float(values[order[0]]), float(values[order[-1]])
            accumulator.append(Distribution(0, _cell(values[order]), counts[order], low, high))
        return self._smaller(accumulator)

    def merge_accumulators(self, accumulators: Iterable[list[Distribution]]) -> list[Distribution]:
        merged: list[Distribution] = []
        for accumulator in accumulators:
            merged.extend(accumulator)
            self._smaller(merged)
        return self.compact(merged)

    def compact(self, accumulator: list[Distribution]) -> list[Distribution]:
        return [merged(accumulator, self._most)] if len(accumulator) > 1 else accumulator

    def extract_output(self, accumulator: list[Distribution]) -> Distribution:
        return merged(accumulator, self._most)

    def _smaller(self, accumulator: list[Distribution]) -> list[Distribution]:
        # The first is the merged one: paying for it again only when the rest has grown keeps this linear.
        if sum(len(d.cells) for d in accumulator[1:]) > self._most:
            accumulator[:] = [merged(accumulator, self._most)]
        return accumulator


def merged(parts: Sequence[Distribution], most: int = CELLS) -> Distribution:
    """The distribution of the values of all parts, in at most `most` cells."""
    level = max((d.level for d in parts), default=0)
    cells = np.concatenate([np.zeros(0, np.int64), *(d.cells >> (level - d.level) for d in parts)])
    counts = np.concatenate([np.zeros(0, np.int64), *(d.counts for d in parts)])
    order = np.argsort(cells, kind="stable")
    cells, counts = _added(cells[order], counts[order])
    while len(cells) > most:
        level += 1
        cells, counts = _added(cells >> 1, counts)
    low = min((d.low for d in parts), default=np.nan)
    high = max((d.high for d in parts), default=np.nan)
    return Distribution(level, cells, counts, low, high)


def _added(cells: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts of equal cells, which are neighbours, added up."""
    if not len(cells):
        return cells, counts
    first = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))
    return cells[first], np.add.reduceat(counts, first)


def _cell(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Position of float32 numbers in their order; 0 for 0, negative for negative numbers."""
    bits = np.ascontiguousarray(values, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))


def _value(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """The numbers at these positions; what lies beyond the finite ones is the largest."""
    size = np.minimum(np.abs(cells), 0x7F7FFFFF).astype(np.int32).view(np.float32).astype(np.float64)
    return np.where(cells >= 0, size, -size)
