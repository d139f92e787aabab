"""Weighted histograms of predictions by label: the one accumulator from which every binary metric derives.

A prediction is a float32 in [0, 1], and the bit patterns of non-negative floats sort like the floats themselves. So the
bins are the bit patterns, shifted right by `shift`: with `shift` 0 every distinct prediction has its own bin and all
metrics are exact. Only when more than `MAX_BINS` distinct predictions meet is `shift` raised, by the least amount
that fits. A bin then spans a relative width of 2**(shift - 23) and most of `MAX_BINS` stay in use, so memory is
bounded while the error of the area under the ROC curve stays below 1e-4 (`curves.auc_error_bound` gives the bound
for the data at hand).

Bins of different shifts nest, and the final shift depends only on the set of predictions seen, so merging is
commutative and associative: the order in which Beam merges does not matter.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from modules.errors import DataError

MAX_BINS = 1 << 17

# Predictions are clipped to [CLIP, 1 - CLIP] inside the logarithm only, as scikit-learn does for float32 predictions.
CLIP = float(np.finfo(np.float32).eps)

SUM_NAMES = (
    "count",
    "weight",
    "weighted_label",
    "weighted_prediction",
    "weighted_log_loss",
    "weighted_squared_error",
    "true_positives",
    "false_positives",
    "true_negatives",
    "false_negatives",
)


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """Weights of negatives and positives per prediction bin, with the sums that need no bins.

    Attributes:
      keys: uint32 [m], ascending: bit pattern of the float32 prediction, shifted right by `shift`.
      negatives: float64 [m], sum of the weights of the examples with label 0.
      positives: float64 [m], sum of the weights of the examples with label 1.
      sums: float64 [len(SUM_NAMES)], exact sums over the examples, in the order of `SUM_NAMES`.
      shift: number of low bits dropped, 0-30.
    """

    keys: np.ndarray
    negatives: np.ndarray
    positives: np.ndarray
    sums: np.ndarray
    shift: int = 0

    def total(self, name: str) -> float:
        """The sum called `name`, one of `SUM_NAMES`."""
        return float(self.sums[SUM_NAMES.index(name)])

    def predictions(self) -> np.ndarray:
        """float64 [m], ascending: the prediction that stands for each bin, exact when `shift` is 0."""
        bits = self.keys.astype(np.uint32) << np.uint32(self.shift)
        if self.shift:
            bits = bits + np.uint32(1 << (self.shift - 1))
        # The middle of the last bin may lie above one.
        return np.minimum(bits.view(np.float32).astype(np.float64), 1.0)

    def __reduce__(self) -> tuple:
        # What travels between Beam stages: counts are mostly small whole numbers.
        return (
            _unpack,
            (self.keys, _shrink(self.negatives), _shrink(self.positives), self.sums, self.shift),
        )


def _shrink(values: np.ndarray) -> np.ndarray:
    for dtype in (np.uint8, np.uint16, np.uint32):
        if not values.size or values.max() <= np.iinfo(dtype).max:
            small = values.astype(dtype)
            if np.array_equal(small, values):
                return small
            break
    return values


def _unpack(
    keys: np.ndarray, negatives: np.ndarray, positives: np.ndarray, sums: np.ndarray, shift: int
) -> ScoreHistogram:
    return ScoreHistogram(keys, negatives.astype(np.float64), positives.astype(np.float64), sums, shift)


def empty() -> ScoreHistogram:
    """The histogram of no examples."""
    none = np.zeros(0)
    return ScoreHistogram(np.zeros(0, np.uint32), none, none, np.zeros(len(SUM_NAMES)))


def _checked(
    labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels as bool, predictions as float32 without negative zeros, weights as float64; all `[n]`."""
    labels = np.asarray(labels).ravel()
    predictions = np.asarray(predictions, dtype=np.float32).ravel()
    weights = np.ones(labels.size) if weights is None else np.asarray(weights, dtype=np.float64).ravel()
    if not labels.size == predictions.size == weights.size:
        raise DataError(
            "Evaluation needs one label, one prediction and one weight per example, but received "
            f"{labels.size} labels, {predictions.size} predictions and {weights.size} weights."
        )
    positive = labels == 1
    wrong = ~(positive | (labels == 0))
    if wrong.any():
        raise DataError(
            f"Labels must be 0 or 1, but {int(wrong.sum())} of {labels.size} are not; the first is "
            f"{labels[wrong.argmax()]!r}. Check the label key of the evaluation and how ingest maps the label."
        )
    wrong = ~((predictions >= 0) & (predictions <= 1))
    if wrong.any():
        raise DataError(
            f"Predictions must be probabilities in [0, 1], but {int(wrong.sum())} of {labels.size} are not; the first "
            f"is {predictions[wrong.argmax()]!r}. Check the prediction key of the evaluation and the model's output."
        )
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        raise DataError(
            f"Example weights must be finite and not negative, but {int(wrong.sum())} of {labels.size} are not; the "
            f"first is {weights[wrong.argmax()]!r}. Check the column of the example weights."
        )
    return positive, np.abs(predictions), weights


def _sum_columns(
    positive: np.ndarray, predictions: np.ndarray, weights: np.ndarray, threshold: float
) -> Iterable[np.ndarray]:
    """float64 `[n]` per name in `SUM_NAMES`: what each example adds to the sum."""
    p = predictions.astype(np.float64)
    clipped = np.clip(p, CLIP, 1 - CLIP)
    above = p > threshold
    yield np.ones(p.size)
    yield weights
    yield weights * positive
    yield weights * p
    yield -weights * np.log(np.where(positive, clipped, 1 - clipped))
    yield weights * np.square(p - positive)
    yield weights * (above & positive)
    yield weights * (above & ~positive)
    yield weights * (~above & ~positive)
    yield weights * (~above & positive)


def build(
    labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None, *, threshold: float = 0.5
) -> ScoreHistogram:
    """Histogram of one group of examples.

    Args:
      labels: numbers [n], 0 or 1.
      predictions: numbers [n] in [0, 1], kept as float32.
      weights: numbers [n], finite and not negative; one each when None.
      threshold: an example counts as predicted positive when its prediction is above it (as in TFMA and Keras).

    Raises:
      DataError: a label, prediction or weight outside its range.
    """
    return build_groups(np.zeros(np.asarray(labels).size, np.int64), 1, labels, predictions, weights, threshold)[0]


def build_groups(
    groups: np.ndarray,
    num_groups: int,
    labels: np.ndarray,
    predictions: np.ndarray,
    weights: np.ndarray | None,
    threshold: float,
    rows: np.ndarray | None = None,
) -> list[ScoreHistogram]:
    """Histograms of all groups at once.

    Args:
      groups: int64 [k], 0 to num_groups - 1: the group of each entry.
      num_groups: number of histograms to return.
      labels: numbers [n], 0 or 1.
      predictions: numbers [n] in [0, 1].
      weights: numbers [n] or None.
      threshold: decision threshold, see `build`.
      rows: int64 [k], the example of each entry, so that an example may be in several groups; None when k = n and
        entry i is example i.
    """
    positive, score, weight = _checked(labels, predictions, weights)
    columns = list(_sum_columns(positive, score, weight, threshold))
    bits = score.view(np.uint32)
    if rows is not None:
        bits, positive, weight = bits[rows], positive[rows], weight[rows]
        columns = [column[rows] for column in columns]
    sums = np.stack([np.bincount(groups, column, num_groups) for column in columns], axis=1)
    keys, inverse = np.unique((groups.astype(np.uint64) << np.uint64(32)) | bits, return_inverse=True)
    positives = np.bincount(inverse, weight * positive, keys.size)
    negatives = np.bincount(inverse, weight * ~positive, keys.size)
    bounds = np.searchsorted(keys, np.arange(num_groups + 1, dtype=np.uint64) << np.uint64(32))
    low = keys.astype(np.uint32)
    return [
        _fit(ScoreHistogram(low[start:stop], negatives[start:stop], positives[start:stop], sums[group]))
        for group, (start, stop) in enumerate(itertools.pairwise(bounds))
    ]


def _fit(histogram: ScoreHistogram) -> ScoreHistogram:
    """Drops as few low bits as needed to hold at most `MAX_BINS` bins."""
    if histogram.keys.size <= MAX_BINS:
        return histogram
    drop = 1
    # The keys are sorted, so distinct ones can be counted without another sort.
    while 1 + np.count_nonzero(np.diff(histogram.keys >> np.uint32(drop))) > MAX_BINS:
        drop += 1
    return _coarser(histogram, histogram.shift + drop)


def _coarser(histogram: ScoreHistogram, shift: int) -> ScoreHistogram:
    if shift == histogram.shift or not histogram.keys.size:
        return dataclasses.replace(histogram, shift=shift)
    keys = histogram.keys >> np.uint32(shift - histogram.shift)
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return ScoreHistogram(
        keys[starts],
        np.add.reduceat(histogram.negatives, starts),
        np.add.reduceat(histogram.positives, starts),
        histogram.sums,
        shift,
    )


def merge(histograms: Sequence[ScoreHistogram]) -> ScoreHistogram:
    """The histogram of all examples of `histograms`, which may be none."""
    if not histograms:
        return empty()
    if len(histograms) == 1:
        return histograms[0]
    shift = max(histogram.shift for histogram in histograms)
    parts = [_coarser(histogram, shift) for histogram in histograms]
    keys, inverse = np.unique(np.concatenate([part.keys for part in parts]), return_inverse=True)
    return _fit(
        ScoreHistogram(
            keys,
            np.bincount(inverse, np.concatenate([part.negatives for part in parts]), keys.size),
            np.bincount(inverse, np.concatenate([part.positives for part in parts]), keys.size),
            np.sum([part.sums for part in parts], axis=0),
            shift,
        )
    )


class HistogramBuilder:
    """Gathers histograms and merges them lazily, so that adding stays cheap however many come.

    Merging costs a sort of all bins; it happens only when the waiting bins outnumber the merged ones. So n bins cost
    O(n log n) in all, and memory stays within a small multiple of `MAX_BINS`.
    """

    _LEAST_WAITING = 1 << 14

    def __init__(self) -> None:
        self._parts: list[ScoreHistogram] = []
        self._waiting = 0

    def add(self, histogram: ScoreHistogram) -> None:
        """Adds the examples of `histogram`."""
        self._parts.append(histogram)
        # One more, so that histograms of a single bin or none are merged some time too.
        self._waiting += histogram.keys.size + 1
        if self._waiting > max(self._LEAST_WAITING, self._parts[0].keys.size):
            self.result()

    @property
    def num_bins(self) -> int:
        """Bins held, waiting ones included."""
        return sum(part.keys.size for part in self._parts)

    def result(self) -> ScoreHistogram:
        """The histogram of everything added so far."""
        self._parts = [merge(self._parts)]
        self._waiting = 0
        return self._parts[0]

    def __reduce__(self) -> tuple:
        return (_builder_of, (self.result(),))


def _builder_of(histogram: ScoreHistogram) -> HistogramBuilder:
    builder = HistogramBuilder()
    builder.add(histogram)
    return builder
