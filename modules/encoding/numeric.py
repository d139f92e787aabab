"""Numbers as columns: clipped, filled, scaled or put into buckets, in this order.

    step      option                value
    clip      [a, b]                x between the training quantiles a and b; a flag, 1 where that changed x
    fill      mean, median, number  x, or the training mean or median (of clipped values) or the number where x is
                                    missing; an indicator, 1 where it is. native: missing stays NaN, no indicator
    scaling   z_score               (x - mean) / deviation, population deviation
              min_max               (x - min) / (max - min)
              quantile              share of the training values below x, 0-1; halfway through equal values
              log                   sign(x) log(1 + |x|)
    buckets   k or boundaries       number of boundaries that are not above x, in place of scaling

Mean, deviation, smallest and largest value and quantiles are those of the training values that are there, after
clipping. A column of one value keeps the deviation and the width 1. Quantiles are exact until a column holds more than
modules.quantiles.CELLS different values; the error beyond is stated there. Scaled values outside of float32's range
become its ends, never infinite.

The block has one column for each row, then the flags, then the indicators. Everything is done on all rows at once, and
in float64, so that a value does not depend on the size of the batch it comes in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from modules.analysis import Analyzer
from modules.encoding.batch import Batch, Learning, Words
from modules.encoding.columns import TransformedFeature, column
from modules.features import Feature, Kind
from modules.quantiles import Distribution, MergeDistribution, batch_counts
from modules.transform_config import TransformConfig

NUMBERS = "numbers"
"""Key of custom_config: what was learned of numeric rows by name, see `learned_numbers`."""

QUANTILES = 1000
"""Most quantiles of which `scaling: quantile` interpolates, as in scikit-learn's QuantileTransformer."""

_LARGEST = float(np.finfo(np.float32).max)
_OPEN = (-np.inf, np.inf)


@dataclass(frozen=True)
class Numbers(Analyzer):
    """Learns what a numeric row's options need; its column is numbers of any shape."""

    row: Feature
    key: ClassVar[str] = NUMBERS

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.row.name

    def reduce(self, *columns: Any) -> Sequence[tf.Tensor]:
        return batch_counts(columns[0])

    def combiner(self) -> beam.CombineFn:
        return MergeDistribution()

    def write(self, found: Distribution, folder: str, index: int) -> dict[str, Any]:
        return learned_numbers(self.row, found)


def rows(config: TransformConfig) -> tuple[Feature, ...]:
    table = config.dataset.encoded
    return (*table.of_kind(Kind.NUMERIC), *table.of_kind(Kind.RATIO))


def learnings(rows: Sequence[Feature], config: TransformConfig) -> list[Learning]:
    wanted = [row for row in rows if learns(row)]
    return [Learning(Numbers(row), functools.partial(_numbers, row), row.raw) for row in wanted]


def _numbers(row: Feature, batch: Batch) -> list[tf.Tensor]:
    return [batch.numbers([row])]


def learns(row: Feature) -> bool:
    """Whether the options of a numeric row need something to be learned."""
    return (
        row.clip is not None
        or row.fill in ("mean", "median")
        or row.scaling in ("z_score", "min_max", "quantile")
        or isinstance(row.buckets, int)
    )


def learned_numbers(row: Feature, found: Distribution) -> dict[str, Any]:
    """What the options of a row need, by name, as JSON.

    Args:
      row: a numeric or ratio row.
      found: its training values.

    Returns:
      `clip`: [low, high]; `fill`: what stands for a missing value; `shift` and `scale`, of which the scaled value is
      (x - shift) / scale; `quantiles`: ascending; `boundaries`: rising. Each only where the row needs it.
    """
    learned: dict[str, Any] = {}
    ends, some = _OPEN, found.size > 0
    if row.clip is not None and some:
        # As float32, the type of the values that are compared with it.
        ends = tuple(found.quantiles(row.clip).astype(np.float32).tolist())
        learned["clip"] = ends
    if row.fill == "mean":
        learned["fill"] = found.moments(*ends)[0]
    elif row.fill == "median":
        learned["fill"] = float(np.clip(found.quantiles([0.5])[0], *ends)) if some else 0.0
    low, high = (float(np.clip(v, *ends)) for v in ((found.low, found.high) if some else (0.0, 0.0)))
    if row.scaling == "z_score":
        mean, deviation = found.moments(*ends)
        # Equal values leave a rounding error behind; two different floats of 32 bits lie further apart.
        constant = deviation <= 1e-9 * abs(mean)
        learned |= {"shift": mean, "scale": 1.0 if constant else deviation}
    elif row.scaling == "min_max":
        learned |= {"shift": low, "scale": high - low if high > low else 1.0}
    elif row.scaling == "quantile":
        shares = np.linspace(0, 1, max(2, min(QUANTILES, found.size)))
        learned["quantiles"] = np.clip(found.quantiles(shares), *ends).tolist() if some else [0.0, 0.0]
    if isinstance(row.buckets, int):
        inner = np.clip(found.quantiles(np.arange(1, row.buckets) / row.buckets), *ends) if some else np.zeros(0)
        # A boundary at the smallest value would leave an empty bucket below it.
        learned["boundaries"] = np.unique(inner[inner > low]).tolist()
    return learned


def columns(rows: Sequence[Feature], config: TransformConfig, words: Words) -> list[TransformedFeature | None]:
    found: list[TransformedFeature | None] = [
        column(row, row.name, "numeric" if row.buckets is None else "bucket", monotone=row.monotone) for row in rows
    ]
    found += [column(row, f"{row.name}#clipped", "clipped") for row in rows if row.clip is not None]
    found += [column(row, f"{row.name}=?", "missing") for row in rows if row.fill != "native"]
    return found


def encode(rows: Sequence[Feature], batch: Batch) -> tf.Tensor:
    """[n, columns]; without options the numbers as they are, NaN for missing and for infinities."""
    blocks = transform(batch.numbers(rows), rows, batch.learned.get(NUMBERS, {}))
    return tf.concat(blocks, axis=1) if len(blocks) > 1 else blocks[0]


def transform(values: tf.Tensor, rows: Sequence[Feature], learned: Mapping[str, Mapping[str, Any]]) -> list[tf.Tensor]:
    """Applies the options of rows to their values.

    Args:
      values: float32 [..., rows], missing is NaN.
      rows: numeric rows, one for each place of the last axis.
      learned: by row, see `learned_numbers`.

    Returns:
      float32 [..., rows], the values; then, if there are any, [..., clipped rows], the flags, and [..., filled rows],
      the indicators.
    """
    blocks = []
    clipped = [i for i, row in enumerate(rows) if row.clip is not None]
    if clipped:
        ends = [learned.get(row.name, {}).get("clip", _OPEN) for row in rows]
        low, high = (np.array([pair[k] for pair in ends], np.float32) for k in (0, 1))
        below, above = values < low, values > high
        values = tf.where(below, low, tf.where(above, high, values))
        blocks.append(tf.cast(_some(below | above, clipped), tf.float32))
    filled = [i for i, row in enumerate(rows) if row.fill != "native"]
    if filled:
        with_ = [_fill(row, learned) for row in rows]
        missing = tf.math.is_nan(values)
        values = tf.where(missing, np.array(with_, np.float32), values)
        blocks.append(tf.cast(_some(missing, filled), tf.float32))
    return [_scaled(values, rows, learned), *blocks]


def _fill(row: Feature, learned: Mapping[str, Mapping[str, Any]]) -> float:
    if row.fill == "native":
        return float("nan")
    return row.fill if isinstance(row.fill, float) else learned[row.name]["fill"]


def _some(values: tf.Tensor, places: Sequence[int]) -> tf.Tensor:
    """Some places of the last axis."""
    return values if len(places) == values.shape[-1] else tf.gather(values, places, axis=-1)


def _scaled(values: tf.Tensor, rows: Sequence[Feature], learned: Mapping[str, Mapping[str, Any]]) -> tf.Tensor:
    """Scaling and buckets: float32 [..., rows] -> the same shape."""
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(_SCALING[row.scaling or "none"] if row.buckets is None else "buckets", []).append(i)
    if list(groups) == ["none"]:
        return values
    parts = []
    for name, places in groups.items():
        some = _some(values, places)
        if name != "none":
            chosen = [(rows[i], learned.get(rows[i].name, {})) for i in places]
            found = _FUNCTIONS[name](tf.cast(some, tf.float64), chosen)
            some = tf.cast(tf.clip_by_value(found, -_LARGEST, _LARGEST), tf.float32)
        parts.append(some)
    order = [place for places in groups.values() for place in places]
    joined = tf.concat(parts, axis=-1)
    return joined if order == sorted(order) else tf.gather(joined, np.argsort(order), axis=-1)


_Chosen = Sequence[tuple[Feature, Mapping[str, Any]]]


def _linear(values: tf.Tensor, rows: _Chosen) -> tf.Tensor:
    """(x - shift) / scale."""
    shift, scale = (np.array([learned[name] for _, learned in rows], np.float64) for name in ("shift", "scale"))
    return (values - shift) / scale


def _log(values: tf.Tensor, rows: _Chosen) -> tf.Tensor:
    return tf.sign(values) * tf.math.log1p(tf.abs(values))


def _position(values: tf.Tensor, rows: _Chosen) -> tf.Tensor:
    """Where x lies among the quantiles, 0-1: linear between two, the middle of a run of equal ones, 0 up to the first
    and 1 from the last on."""
    tables = [np.array(learned["quantiles"]) for _, learned in rows]
    table = _padded(tables)
    last = np.array([[len(t) - 1.0] for t in tables])
    lows, highs = (np.array([[t[k]] for t in tables]) for k in (0, -1))

    def of(lines: tf.Tensor) -> tf.Tensor:
        # NaN has no place to be found; whatever is found there is NaN again in the end.
        first = tf.searchsorted(table, lines, side="left")
        behind = tf.searchsorted(table, lines, side="right")
        inside = tf.clip_by_value(behind - 1, 0, np.array(last - 1, np.int32))
        lower, upper = (tf.gather(table, inside + k, batch_dims=1) for k in (0, 1))
        between = tf.cast(inside, tf.float64) + tf.math.divide_no_nan(lines - lower, upper - lower)
        middle = tf.cast(first + behind - 1, tf.float64) / 2
        found = tf.where(behind > first, middle, between) / last
        found = tf.where(lines <= lows, tf.zeros_like(found), found)
        found = tf.where(lines >= highs, tf.ones_like(found), found)
        return tf.where(tf.math.is_nan(lines), lines, found)

    return _by_row(values, of)


def _bucket(values: tf.Tensor, rows: _Chosen) -> tf.Tensor:
    """Number of boundaries that are not above x."""
    table = _padded(
        [np.array(row.buckets if isinstance(row.buckets, tuple) else learned["boundaries"]) for row, learned in rows]
    )

    def of(lines: tf.Tensor) -> tf.Tensor:
        found = tf.cast(tf.searchsorted(table, lines, side="right"), tf.float64)
        return tf.where(tf.math.is_nan(lines), lines, found)

    return _by_row(values, of)


def _by_row(values: tf.Tensor, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Applies a function of [rows, m] to values [..., rows]."""
    lines = tf.transpose(tf.reshape(values, [-1, values.shape[-1]]))
    return tf.reshape(tf.transpose(function(lines)), tf.shape(values))


def _padded(tables: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Rising numbers of each row, [rows, most], infinity behind them."""
    most = max(1, *(len(t) for t in tables))
    return np.stack([np.pad(t, (0, most - len(t)), constant_values=np.inf) for t in tables])


_SCALING = {"none": "none", "z_score": "linear", "min_max": "linear", "log": "log", "quantile": "position"}
_FUNCTIONS: dict[str, Callable[[tf.Tensor, _Chosen], tf.Tensor]] = {
    "linear": _linear,
    "log": _log,
    "position": _position,
    "buckets": _bucket,
}
