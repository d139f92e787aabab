"""The linear term as TensorFlow operations; NumPy's `LinearTerm` says what they compute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from modules.lead_scoring.forest.contributions import shares_of
from modules.lead_scoring.linear import LinearTerm


class LinearGraph:
    """Effects of the columns of a linear term, in float64 like NumPy's, a handful of operations whatever their number.

    Args:
      term: the fitted term.
      names: the raw features, in the order that `contributions` gives them.
    """

    def __init__(self, term: LinearTerm, names: Sequence[str]) -> None:
        numbers = [c for c in term.columns if c.weights is None]
        tables = [c for c in term.columns if c.weights is not None]
        self.bias = term.bias
        self._shares = shares_of([c.raw for c in (*numbers, *tables)], names)
        self._numbers = [c.position for c in numbers]
        self._tables = [c.position for c in tables]
        self._mean, self._weight, self._offset, self._missing = (
            np.array([getattr(c, name) for c in numbers], np.float64)
            for name in ("mean", "weight", "offset", "missing")
        )
        # Of each table: its weights, then the effect of larger values, then the one of a missing value.
        lines = [[*(c.weights or ()), c.offset, c.missing] for c in tables]
        self._lines = np.array([weight for line in lines for weight in line], np.float64)
        self._largest = np.array([len(line) - 2 for line in lines], np.float64)
        self._first = np.cumsum([0, *map(len, lines)])[: len(lines)].astype(np.float64)

    def effects(self, features: tf.Tensor) -> tf.Tensor:
        """Transform's `features`, float32 [n, F] -> effects in log-odds, float64 [n, columns]: numbers, then tables."""
        parts = []
        if self._numbers:
            x = tf.cast(tf.gather(features, self._numbers, axis=1), tf.float64)
            parts.append(tf.where(tf.math.is_nan(x), self._missing, self._weight * (x - self._mean) + self._offset))
        if self._tables:
            x = tf.cast(tf.gather(features, self._tables, axis=1), tf.float64)
            absent = tf.math.is_nan(x)
            known = tf.minimum(tf.where(absent, tf.zeros_like(x), x), self._largest)
            line = tf.where(absent, tf.broadcast_to(self._largest + 1, tf.shape(x)), known)
            parts.append(tf.gather(tf.constant(self._lines), tf.cast(line + self._first, tf.int32)))
        return tf.concat(parts, axis=1)

    def contributions(self, effects: tf.Tensor) -> tf.Tensor:
        """Effects, float64 [n, columns] -> what each raw feature contributes, float32 [n, features]."""
        return tf.cast(effects @ tf.constant(self._shares, tf.float64), tf.float32)

    def margin(self, effects: tf.Tensor) -> tf.Tensor:
        """Effects, float64 [n, columns] -> log-odds, float32 [n]."""
        return tf.cast(self.bias + tf.reduce_sum(effects, axis=1), tf.float32)
