"""Sums of leaf values in the order in which XGBoost adds them."""

from __future__ import annotations

from typing import Any

# Longest sum that is handed to one matrix product: short enough that no implementation splits it.
BLOCK = 512


def add_in_order(total: Any, values: Any, trees: int) -> Any:
    """`total + values[0] + values[1] + ...` in float32, from left to right.

    XGBoost starts at the base margin and adds leaf after leaf in float32. A forest of a thousand trees and a margin
    of 8 rounds off up to 1e-5 on the way: only the same order gives the same number. `tf.reduce_sum` adds in pairs.
    A row of ones times the values adds from left to right for every column, vectorised over the columns.

    Args:
        total: float32 [n].
        values: float32 [trees, n].
        trees: static number of trees.

    Returns:
        float32 [n].
    """
    import tensorflow as tf

    for begin in range(0, trees, BLOCK):
        end = min(begin + BLOCK, trees)
        terms = tf.concat([total[None], values[begin:end]], axis=0)
        total = tf.matmul(tf.ones([1, end - begin + 1]), terms)[0]
    return total
