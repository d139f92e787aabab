"""Order-preserving integer keys of float32 values.

TensorFlow's threads flush denormal numbers to zero, XGBoost's do not: comparing floats, a value next to a threshold
of 0 can go the other way. Comparing integer keys is exact on every machine, and faster.

`key(x) = i if i >= 0 else INT_MIN - i`, i = x's bits as int32: `key(a) < key(b)` if and only if `a < b`, both zeros
have key 0, and NaN has the largest key of all, `MISSING`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

INT_MIN = np.int32(-(2**31))
MISSING = np.int32(2**31 - 1)
INFINITY = np.int32(0x7F800000)

# XGBoost treats values from here on as no category (common::OutOfRangeCat).
FIRST_INVALID_CATEGORY = 2**24


def keys_of(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """The keys of an array, same shape."""
    bits = np.ascontiguousarray(values, np.float32).view(np.int32)
    keys = np.where(bits < 0, INT_MIN - np.minimum(bits, 0), bits).astype(np.int32)
    return np.where(np.isnan(values), MISSING, keys).astype(np.int32)


def key_tensor(x: Any) -> Any:
    """The keys of a float32 tensor, int32, same shape."""
    import tensorflow as tf

    bits = tf.bitcast(x, tf.int32)
    keys = tf.where(bits < 0, INT_MIN - bits, bits)
    return tf.where(tf.abs(keys) > INFINITY, MISSING, keys)


def category_tensor(x: Any, keys: Any, sizes: Any) -> Any:
    """Which of `size + 2` cases a categorical value is: its category, `size` for any other, `size + 1` for missing.

    Args:
        x: float32 tensor, category codes as XGBoost takes them.
        keys: `key_tensor(x)`.
        sizes: int32, broadcast against `x`: one more than the largest category that any split names.

    Returns:
        int32, the shape of `x`.
    """
    import tensorflow as tf

    # tf.equal, not ==: in a TensorFlow 1 graph == compares the Tensor objects.
    valid = (keys >= 0) & (keys < keys_of(np.asarray(FIRST_INVALID_CATEGORY, np.float32)))
    code = tf.minimum(tf.cast(tf.where(valid, x, 0.0), tf.int32), sizes)
    return tf.where(tf.equal(keys, MISSING), sizes + 1, tf.where(valid, code, sizes))
