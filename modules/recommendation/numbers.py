"""Numbers of journeys as inputs of the network: standardised, or as their row of the feature table says.

    scaling           value, x after clip and fill
    none given        (x - mean) / deviation, as z_score
    z_score           (x - mean) / deviation
    log               the same of sign(x) log(1 + |x|): for amounts and other numbers with a long tail
    min_max           (x - min) / (max - min)
    quantile          share of the training values below x, 0-1
    none              x

The scaled value is held within plus or minus LIMIT, but for `quantile`, which is within 0 and 1, and `none`. A network
cannot take NaN: with `fill: native` a missing number is 0, the mean of a standardised one; `fill: mean`, `median` or a
number puts the scaled value of that in its place. In either case a column of its own says that it was missing. `clip`
works as for leads and adds a flag. Means, deviations and quantiles are those of the training values.

What an option computes is in modules/encoding/numeric.py; here is only what a network needs beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modules.encoding import numeric
from modules.encoding.numeric import NUMBERS, Numbers
from modules.errors import ConfigError
from modules.features import Feature
from modules.recommendation.layout import missing_name

LIMIT = 5.0
"""Scaled numbers are clipped to plus or minus this many deviations."""

_UNLIMITED = ("quantile", "none")


def is_plain(row: Feature) -> bool:
    """Whether a number is standardised and nothing else: the default."""
    return row.scaling in (None, "z_score") and row.clip is None and row.fill == "native"


def number_names(rows: Sequence[Feature]) -> tuple[str, ...]:
    """Names of the columns that `number_columns` makes of numeric rows, in order."""
    return (
        *(row.name for row in rows),
        *(missing_name(row.name) for row in rows),
        *(f"{row.name}#clipped" for row in rows if row.clip is not None),
    )


def analyzers(rows: Sequence[Feature]) -> list[Numbers]:
    """What the analysis pass has to learn of rows that are not plain; their columns are those of `analysed`."""
    return [Numbers(_prepared(row)) for row in _learned(rows)]


def analysed(rows: Sequence[Feature], values: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
    """The columns of `analyzers` from the values of each row by name, float32 [m]."""
    return [_unskewed(tf.expand_dims(values[row.name], 1), [row]) for row in _learned(rows)]


def learned_of(rows: Sequence[Feature], custom_config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """What the analysis pass learned for `analyzers`, by name.

    Raises:
      ConfigError: the pass did not run.
    """
    learned = custom_config.get(NUMBERS, {})
    absent = [row.name for row in _learned(rows) if row.name not in learned]
    if absent:
        raise ConfigError(
            f"what {', '.join(map(repr, absent))} needs is learned by the analysis pass of "
            "pipeline.components.transform.Transform, which did not run before preprocessing_fn. Use that component, "
            "or remove scaling, clip and fill of these features."
        )
    return learned


def number_columns(
    values: tf.Tensor, rows: Sequence[Feature], standards: tf.Tensor, learned: Mapping[str, Mapping[str, Any]]
) -> tf.Tensor:
    """Numbers as the network takes them.

    Args:
      values: float32 [..., K]; NaN and infinities are missing.
      rows: K numeric rows.
      standards: float32 [K, 2], mean and deviation; looked at for plain rows.
      learned: see `learned_of`.

    Returns:
      float32 [..., 2 K + clipped rows], finite: the scaled numbers, then 1 where missing and 0 elsewhere, then 1 where
      clipped and 0 elsewhere.
    """
    found = tf.math.is_finite(values)
    scaled = tf.where(found, standardised(values, standards), 0.0)
    flags: list[tf.Tensor] = []
    places = [i for i, row in enumerate(rows) if not is_plain(row)]
    if places:
        chosen = [rows[i] for i in places]
        some = tf.gather(tf.where(found, values, float("nan")), places, axis=-1)
        made, *blocks = numeric.transform(_unskewed(some, chosen), [_prepared(row) for row in chosen], learned)
        limits = np.array([np.inf if row.scaling in _UNLIMITED else LIMIT for row in chosen], np.float32)
        made = tf.where(tf.math.is_nan(made), 0.0, tf.clip_by_value(made, -limits, limits))
        plain = np.array([i for i in range(len(rows)) if i not in places], np.int32)
        joined = tf.concat([tf.gather(scaled, plain, axis=-1), made], axis=-1)
        scaled = tf.gather(joined, np.argsort([*plain, *places]), axis=-1)
        # Flags come first, and only if there are any; the indicators behind them are ours as well.
        flags = blocks[: int(any(row.clip is not None for row in chosen))]
    return tf.concat([scaled, tf.where(found, 0.0, 1.0), *flags], axis=-1)


def standardised(values: tf.Tensor, standards: tf.Tensor) -> tf.Tensor:
    """(x - mean) / deviation, within plus or minus LIMIT: float32 [..., K] and [K, 2] -> [..., K]."""
    return tf.clip_by_value((values - standards[:, 0]) / standards[:, 1], -LIMIT, LIMIT)


def _learned(rows: Sequence[Feature]) -> list[Feature]:
    return [row for row in rows if not is_plain(row) and numeric.learns(_prepared(row))]


def _prepared(row: Feature) -> Feature:
    """The row as modules/encoding/numeric.py gets it: `log` has been taken, and the default named."""
    if row.scaling != "log":
        return row.model_copy(update={"scaling": row.scaling or "z_score"})
    fill = row.fill
    if isinstance(fill, float):
        fill = float(np.sign(fill) * np.log1p(abs(fill)))
    return row.model_copy(update={"scaling": "z_score", "fill": fill})


def _unskewed(values: tf.Tensor, rows: Sequence[Feature]) -> tf.Tensor:
    """The logarithm where a row asks for it: float32 [..., rows] -> the same shape."""
    scalings = ["log" if row.scaling == "log" else "none" for row in rows]
    if "log" not in scalings:
        return values
    # The logarithm of infinity would be held to be a number.
    values = tf.where(tf.math.is_finite(values), values, float("nan"))
    steps = [Feature(name=r.name, kind=r.kind, scaling=s) for r, s in zip(rows, scalings, strict=True)]  # type: ignore[arg-type]
    return numeric.transform(values, steps, {})[0]
