"""Statistics of a feature in several parts of the data, side by side, from TFDV's protos.

What a person typed is not shown: of text only how much is missing and how long it is, of categories only values that
at least LEAST_ROWS rows of the training part have, of hashed personal data nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.drift import feature_statistics, missing_share

Floats = NDArray[np.float64]

BINS = 16
TOP_VALUES = 6
LEAST_ROWS = 10
UNNAMED = frozenset({"text", "date"})
"""Kinds whose values are never shown."""


@dataclass(frozen=True)
class DescribedColumn:
    """A column of tf.Examples as people know it.

    Attributes:
      name: its name there.
      kind: numeric, categorical, text or date for features; for others what it is, e.g. label.
      what: one line for people.
      is_list: whether it holds an entry per event.
    """

    name: str
    kind: str
    what: str = ""
    is_list: bool = False


@dataclass(frozen=True)
class PartStatistics:
    """One feature in one part of the data.

    Attributes:
      rows: examples.
      missing: share without a value, 0-1.
      mean, deviation, least, median, most: of numbers; NaN for others.
      zeros: share of zeros among the numbers present; NaN for others.
      distinct: number of different words, an estimate where there are many; NaN for numbers.
      length: mean length of the words, characters; NaN for numbers.
    """

    rows: int
    missing: float
    mean: float = math.nan
    deviation: float = math.nan
    least: float = math.nan
    median: float = math.nan
    most: float = math.nan
    zeros: float = math.nan
    distinct: float = math.nan
    length: float = math.nan


@dataclass(frozen=True)
class FeatureSummary:
    """One feature in all parts.

    Attributes:
      name, kind, description: see DescribedColumn.
      parts: by name of the part.
      edges: ends of the bins of numbers, [b + 1]; the first and last bin hold everything beyond, too.
      labels: frequent words, most frequent first; () for numbers.
      shares: by part, share of the values present in each bin, or of each word; [b] or [labels].
    """

    name: str
    kind: str
    description: str
    parts: dict[str, PartStatistics]
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    shares: dict[str, tuple[float, ...]] | None = None


def summarize(statistics: Mapping[str, Any], columns: Iterable[DescribedColumn]) -> list[FeatureSummary]:
    """Summaries of the columns that the statistics know, in their order.

    Args:
      statistics: TFDV's DatasetFeatureStatistics by part; `train` decides which words are shown.
      columns: those to show; no ids, no hashed personal data.
    """
    by_part = {part: feature_statistics(table) for part, table in statistics.items()}
    found = []
    for column in columns:
        features = {part: table[column.name] for part, table in by_part.items() if column.name in table}
        if not features:
            continue
        rows = {part: int(statistics[part].num_examples) for part in features}
        found.append(_summary(column, features, rows))
    return found


def _summary(column: DescribedColumn, features: Mapping[str, Any], rows: Mapping[str, int]) -> FeatureSummary:
    parts = {part: _part(feature, rows[part], column.is_list) for part, feature in features.items()}
    numbers = any(feature.HasField("num_stats") for feature in features.values())
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    shares: dict[str, tuple[float, ...]] | None = None
    if numbers:
        curves = {part: _distribution(feature.num_stats) for part, feature in features.items()}
        known = [curve for curve in curves.values() if len(curve[0])]
        whole = all(_is_whole(feature.num_stats) for feature in features.values())
        edges = _edges(known, whole)
        if edges:
            shares = {part: _binned(curve, edges, whole) for part, curve in curves.items()}
    elif column.kind not in UNNAMED:
        labels, shares = _words(features)
    return FeatureSummary(column.name, column.kind, column.what, parts, edges, labels, shares)


def _part(feature: Any, rows: int, is_list: bool) -> PartStatistics:
    missing = missing_share(feature, is_list)
    if feature.HasField("num_stats"):
        n = feature.num_stats
        values = max(int(n.common_stats.tot_num_values), 0)
        if not values:
            return PartStatistics(rows, missing)
        return PartStatistics(
            rows, missing, n.mean, n.std_dev, n.min, n.median, n.max, n.num_zeros / values if values else math.nan
        )
    strings = feature.string_stats
    return PartStatistics(rows, missing, distinct=float(strings.unique), length=float(strings.avg_length))


def _distribution(numbers: Any) -> tuple[Floats, Floats]:
    """Values, ascending, and the share of values up to each: what both of TFDV's histograms know; [k] each."""
    points: list[tuple[float, float]] = []
    for histogram in numbers.histograms:
        buckets = [b for b in histogram.buckets if math.isfinite(b.low_value) and math.isfinite(b.high_value)]
        total = sum(b.sample_count for b in buckets)
        if not buckets or total <= 0:
            continue
        shares = np.cumsum([b.sample_count for b in buckets]) / total
        points.append((buckets[0].low_value, 0.0))
        points += [(b.high_value, float(s)) for b, s in zip(buckets, shares, strict=True)]
    if not points:
        return np.zeros(0), np.zeros(0)
    ordered = np.array(sorted(points))
    values, starts = np.unique(ordered[:, 0], return_index=True)
    return values, np.maximum.accumulate(np.maximum.reduceat(ordered[:, 1], starts))


def _is_whole(numbers: Any) -> bool:
    """Whether the values look like whole numbers: the ends of all quantiles are."""
    quantiles = [h for h in numbers.histograms if h.type == h.QUANTILES]
    ends = [x for h in quantiles for b in h.buckets for x in (b.low_value, b.high_value)]
    return bool(ends) and all(math.isfinite(x) and x == round(x) for x in [*ends, numbers.min, numbers.max])


def _edges(curves: Sequence[tuple[Floats, Floats]], whole: bool) -> tuple[float, ...]:
    """Equally wide bins over what is not far out: from the lowest value to a little beyond the upper tenth.

    Bins of whole numbers hold equally many of them each, and end half way between two.
    """
    if not curves:
        return ()
    low = min(float(np.interp(0.02, shares, values)) for values, shares in curves)
    least, most = min(float(v[0]) for v, _ in curves), max(float(v[-1]) for v, _ in curves)
    high = max(float(np.interp(0.98, shares, values)) for values, shares in curves)
    middle, upper = (max(float(np.interp(q, shares, values)) for values, shares in curves) for q in (0.5, 0.9))
    lower = min(float(np.interp(0.1, shares, values)) for values, shares in curves)
    high = min(most, high, upper + 2 * max(upper - middle, 0.0)) if upper > middle else high
    low = max(least, low, lower - 2 * max(middle - lower, 0.0)) if middle > lower else low
    if not high > low:
        low, high = least, most
    if whole:
        low, high = math.floor(low), math.ceil(high)
        width = math.ceil((high - low + 1) / BINS)
        return tuple(low - 0.5 + width * i for i in range(math.ceil((high - low + 1) / width) + 1))
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return tuple(np.linspace(low, high, BINS + 1).tolist())


def _binned(curve: tuple[Floats, Floats], edges: tuple[float, ...], whole: bool) -> tuple[float, ...]:
    values, shares = curve
    if not len(values):
        return (0.0,) * (len(edges) - 1)
    # Below 2.5 lies what is at most 2.
    at = np.interp(np.floor(edges) if whole else edges, values, shares, left=0.0, right=1.0)
    at[0], at[-1] = 0.0, 1.0
    return tuple(np.diff(at).tolist())


def _words(features: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, tuple[float, ...]] | None]:
    counts = {
        part: {b.label: b.sample_count for b in feature.string_stats.rank_histogram.buckets if b.label}
        for part, feature in features.items()
    }
    first = counts.get("train") or next(iter(counts.values()))
    frequent = sorted((w for w, n in first.items() if n >= LEAST_ROWS), key=lambda w: (-first[w], w))[:TOP_VALUES]
    if not frequent:
        return (), None
    shares = {}
    for part, feature in features.items():
        total = max(1, int(feature.string_stats.common_stats.tot_num_values))
        shares[part] = tuple(counts[part].get(word, 0.0) / total for word in frequent)
    return tuple(frequent), shares
