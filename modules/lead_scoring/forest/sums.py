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
        total: float32 [n]; None if the sum starts with `values[0]`.
        values: float32 [trees, n], `trees` known statically.
        trees: static number of trees.

    Returns:
        float32 [n].
    """
    import tensorflow as tf

    total = None if total is None else total[None]
    for begin in range(0, trees, BLOCK):
        terms = values[begin : min(begin + BLOCK, trees)]
        if total is not None:
            terms = tf.concat([total, terms], axis=0)
        total = tf.matmul(tf.ones([1, terms.shape[0]]), terms)
    return total[0]
