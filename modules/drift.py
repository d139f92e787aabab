"""Distance between two distributions of a feature, from their TFDV statistics alone.

Numbers: Jensen-Shannon divergence over the quantiles of either side. TFDV's own comparator uses equal-width buckets
between minimum and maximum, which one extreme value stretches: two samples of one log-normal distribution come out
0.1 to 0.7 apart. Quantiles do not have that weakness. Categories: L-infinity, as in TFDV. In both, "missing" is one
more value, so that a column that goes empty drifts. Of a list (the history of a lead) the entries are compared,
wherever they stand; '' and NaN are missing entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from modules.columns import Column

Measure = Literal["Jensen-Shannon", "L-infinity"]


@dataclass(frozen=True)
class Distance:
    """How far a feature has moved.

    column: the feature's name.
    measure: Jensen-Shannon divergence (base 2) for numbers, L-infinity for categories and text.
    value: 0 (same) to 1 (disjoint).
    threshold: largest accepted value; None if nobody asked.
    reason: what moved most, with numbers.
    """

    column: str
    measure: Measure
    value: float
    threshold: float | None
    reason: str

    @property
    def drifted(self) -> bool:
        return self.threshold is not None and self.value > self.threshold


def feature_statistics(
    statistics: statistics_pb2.DatasetFeatureStatistics,
) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    """Statistics by feature name."""
    return {(f.path.step[0] if f.path.step else f.name): f for f in statistics.features}


def entries(feature: statistics_pb2.FeatureNameStatistics | None) -> int:
    """Number of values, those of lists counted one by one; '' and NaN are values."""
    if feature is None:
        return 0
    return int(_common(feature).tot_num_values)


def missing_share(feature: statistics_pb2.FeatureNameStatistics | None, is_list: bool = False) -> float:
    """Share of rows without a value, NaN included, 0-1; 1 for a column that the statistics do not know.

    Of a list it is the share of entries that are '' or NaN; 1 when there is no entry at all.
    """
    if feature is None:
        return 1.0
    nan = max((h.num_nan for h in feature.num_stats.histograms), default=0)
    if is_list:
        empty = sum(b.sample_count for b in feature.string_stats.rank_histogram.buckets if not b.label)
        return (nan + empty) / entries(feature) if entries(feature) else 1.0
    common = _common(feature)
    rows = common.num_missing + common.num_non_missing
    return (common.num_missing + nan) / rows if rows else 1.0


def _common(feature: statistics_pb2.FeatureNameStatistics) -> statistics_pb2.CommonStatistics:
    return getattr(feature, feature.WhichOneof("stats") or "string_stats").common_stats


def distances(
    current: statistics_pb2.DatasetFeatureStatistics,
    baseline: statistics_pb2.DatasetFeatureStatistics,
    columns: Iterable[Column],
) -> list[Distance]:
    """Distance of every column that can drift between two sets of rows.

    Args:
      current: statistics of the rows in question.
      baseline: statistics they are compared with.
      columns: those with a `measure` are compared; id, times and the like have none.

    Returns:
      One `Distance` per such column, in their order.
    """
    new, old = feature_statistics(current), feature_statistics(baseline)
    result = []
    for column in columns:
        if column.measure is None:
            continue
        a, b = new.get(column.name), old.get(column.name)
        if column.type == "bytes":
            value, reason = categorical_distance(a, b, column.measure == "values", column.is_list)
            result.append(Distance(column.name, "L-infinity", value, column.max_drift, reason))
        else:
            value, reason = numeric_distance(a, b, column.is_list)
            result.append(Distance(column.name, "Jensen-Shannon", value, column.max_drift, reason))
    return result


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence JS(p, q) = KL(p, m) / 2 + KL(q, m) / 2, m = (p + q) / 2, base 2, 0-1.

    Args:
      p: float `[cells]`, non-negative, sums to 1.
      q: as p.
    """
    m = (p + q) / 2

    def kl(a: np.ndarray) -> float:
        used = a > 0
        return float(np.sum(a[used] * np.log2(a[used] / m[used])))

    return min(1.0, max(0.0, (kl(p) + kl(q)) / 2))


def numeric_distance(
    current: statistics_pb2.FeatureNameStatistics | None,
    baseline: statistics_pb2.FeatureNameStatistics | None,
    is_list: bool = False,
) -> tuple[float, str]:
    """Jensen-Shannon divergence over the quantile cells of either side, the larger one, and what moved.

    Merging values into cells can only lower the divergence: for N(0, 1) and N(1, 1), whose divergence is 0.161, the
    deciles of TFDV's statistics give 0.149.
    """
    a, b = _Distribution.of(current, is_list), _Distribution.of(baseline, is_list)
    value = 0.0
    for edges in (a.edges, b.edges):
        value = max(value, jensen_shannon(a.masses(edges), b.masses(edges)))
    if abs(a.missing - b.missing) >= 0.05:
        return value, f"missing {_percent(b.missing)} before, {_percent(a.missing)} now"
    return value, f"mean {b.mean:.4g} before, {a.mean:.4g} now"


def categorical_distance(
    current: statistics_pb2.FeatureNameStatistics | None,
    baseline: statistics_pb2.FeatureNameStatistics | None,
    values: bool = True,
    is_list: bool = False,
) -> tuple[float, str]:
    """Largest change of the share of a value (L-infinity), and which value that is.

    TFDV keeps the 1000 most frequent values; rarer ones cannot be the largest change. With `values` False only the
    share of missing values is compared.
    """
    a, b = _shares(current, values, is_list), _shares(baseline, values, is_list)
    if not a and not b:
        return 0.0, "no values"
    worst = max(sorted(a.keys() | b.keys(), key=str), key=lambda v: abs(a.get(v, 0.0) - b.get(v, 0.0)))
    before, now = b.get(worst, 0.0), a.get(worst, 0.0)
    name = "missing" if worst is None else repr(worst)
    return abs(now - before), f"{name} {_percent(before)} before, {_percent(now)} now"


@dataclass(frozen=True)
class _Distribution:
    """Cumulative distribution of a number, as far as two histograms tell: linear between known points.

    x: `[k]`, increasing. left, right: `[k]`, limits of F at x from either side, so that atoms are kept.
    edges: unique quantile edges.
    """

    x: np.ndarray
    left: np.ndarray
    right: np.ndarray
    edges: np.ndarray
    missing: float
    mean: float

    @classmethod
    def of(cls, feature: statistics_pb2.FeatureNameStatistics | None, is_list: bool = False) -> _Distribution:
        points: list[tuple[float, float]] = []
        edges: list[float] = []
        if feature is not None:
            for histogram in feature.num_stats.histograms:
                low = np.array([b.low_value for b in histogram.buckets])
                high = np.array([b.high_value for b in histogram.buckets])
                count = np.array([b.sample_count for b in histogram.buckets])
                if not len(count) or count.sum() <= 0:
                    continue
                points.append((float(low[0]), 0.0))
                points += zip(high.tolist(), (np.cumsum(count) / count.sum()).tolist(), strict=True)
                if histogram.type == statistics_pb2.Histogram.QUANTILES:
                    edges += [float(low[0]), *high.tolist()]
        missing = missing_share(feature, is_list)
        if not points:
            empty = np.zeros(0)
            return cls(empty, empty, empty, empty, 1.0, float("nan"))
        known = np.array(sorted(points))
        known = known[np.isfinite(known[:, 0])]
        x, start = np.unique(known[:, 0], return_index=True)
        left = known[start, 1]
        right = np.maximum.accumulate(known[np.append(start[1:], len(known)) - 1, 1])
        left[1:] = np.maximum(left[1:], right[:-1])
        assert feature is not None
        return cls(x, left, right, np.unique(edges or x), missing, feature.num_stats.mean)

    def masses(self, edges: np.ndarray) -> np.ndarray:
        """Shares of the cells (-inf, e0], (e0, e1], ..., (e_last, inf), and of missing: float `[edges + 2]`."""
        if not len(self.x):
            return np.append(np.zeros(len(edges) + 1), 1.0)
        at = np.clip(np.searchsorted(self.x, edges, side="right") - 1, 0, len(self.x) - 1)
        after = np.minimum(at + 1, len(self.x) - 1)
        width = self.x[after] - self.x[at]
        part = np.divide(edges - self.x[at], width, out=np.zeros(len(edges)), where=width > 0)
        cumulative = self.right[at] + part * (self.left[after] - self.right[at]) * (width > 0)
        cumulative = np.where(edges < self.x[0], 0.0, np.where(edges >= self.x[-1], 1.0, cumulative))
        present = np.diff(np.concatenate([[0.0], cumulative, [1.0]]))
        return np.append(np.maximum(present, 0) * (1 - self.missing), self.missing)


def _shares(
    feature: statistics_pb2.FeatureNameStatistics | None, values: bool, is_list: bool
) -> dict[str | None, float]:
    missing = missing_share(feature, is_list)
    result: dict[str | None, float] = {None: missing}
    if feature is None or not values:
        return result
    total = max(1, entries(feature))
    for bucket in feature.string_stats.rank_histogram.buckets:
        if bucket.label or not is_list:
            result[bucket.label] = bucket.sample_count / total * (1.0 if is_list else 1 - missing)
    return result


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
