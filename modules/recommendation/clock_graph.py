"""The codes of modules/recommendation/clock.py as TensorFlow operations, for the Transform graph."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from modules.clock import hour, weekday
from modules.recommendation import clock
from modules.recommendation.layout import FIRST_WORD, UNKNOWN

_TABLES = (clock.GAP_BOUNDARIES, clock.AGE_BOUNDARIES)

# Rows of one length, so that one operation searches both; what is added lies behind every time.
_BOUNDARIES = np.full((2, max(map(len, _TABLES))), np.iinfo(np.int64).max)
for _row, _table in zip(_BOUNDARIES, _TABLES, strict=True):
    _row[: len(_table)] = _table


def clock_codes(times: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Codes of the times of events, as `clock.codes` gives them; UNKNOWN where a time it needs is not known.

    Args:
      times: int64 [n, T], seconds since 1970 UTC; 0 or less is unknown.
      start: int64 [n], the journey's start; 0 or less is unknown.

    Returns:
      int64 [n, T, columns], columns as in `clock.COLUMNS`; slots without an event get codes too.
    """
    start = start[:, None]
    before = tf.concat([start, times[:, :-1]], axis=1)
    known = times > 0
    seconds = tf.maximum(tf.stack([times - before, times - start]), 0)
    found = tf.raw_ops.UpperBound(
        sorted_inputs=tf.constant(_BOUNDARIES), values=tf.reshape(seconds, [2, -1]), out_type=tf.int64
    )
    gap_and_age = tf.reshape(found, tf.shape(seconds))
    values = tf.stack([gap_and_age[0], gap_and_age[1], hour(times), weekday(times)], axis=2)
    all_known = tf.stack([known & (before > 0), known & (start > 0), known, known], axis=2)
    return tf.where(all_known, FIRST_WORD + values, np.int64(UNKNOWN))
