"""Raw features of a batch as dense columns, whatever way the schema represents them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft


def dense_column(tensor: Any, missing: Any) -> tf.Tensor:
    """[n, 1] of the default type for `missing`, whatever way the schema represents the feature.

    Args:
      tensor: dense [n] or [n, 1], or sparse with at most one value per row.
      missing: '', 0 or NaN, which stands where a sparse tensor has no value; string, int64 or float32.
    """
    dtype = {str: tf.string, float: tf.float32, int: tf.int64}[type(missing)]
    if isinstance(tensor, tf.SparseTensor):
        values = tensor.values if dtype is tf.string else tf.cast(tensor.values, dtype)
        sparse = tf.SparseTensor(tensor.indices, values, tensor.dense_shape)
        return tft.sparse_tensor_to_dense_with_shape(sparse, [None, 1], missing)
    dense = tensor if dtype is tf.string else tf.cast(tensor, dtype)
    return tf.reshape(dense, [-1, 1])
