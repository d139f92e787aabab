"""Ratios: the quotient of two numbers as one number, encoded as a numeric feature.

A ratio is missing where numerator or denominator is missing, where the denominator is 0 and where the quotient is too
large for float32. Both numbers are the raw ones, before any option of their own rows.
"""

from __future__ import annotations

import tensorflow as tf


def quotients(numerators: tf.Tensor, denominators: tf.Tensor) -> tf.Tensor:
    """Quotients of two float32 tensors of one shape; missing, NaN, where there is none."""
    found = numerators / denominators
    return tf.where(tf.math.is_finite(found), found, float("nan"))
