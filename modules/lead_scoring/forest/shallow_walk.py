"""Walks shallow trees for a few rows: two lookups per row, tree and level.

What a few rows cost is the number of operations and of lookups, so everything else is taken out of the walk:

- all distinct conditions are answered beforehand, comparing a value's key with its feature's thresholds side by side,
  so that a step looks up a truth value instead of a threshold, a column and a value;
- trees are padded to perfect ones, so that the child is `2 node + went_right` and needs no lookup;
- the base margin is the leaf of one more tree, the first, so that the sum needs no operations to start from it.

Forests with deeper trees or categorical splits take `walk.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.lead_scoring.forest.keys import INT_MIN, MISSING, keys_of
from modules.lead_scoring.forest.parse import ForestArrays

MAX_DEPTH = 8  # a padded tree has up to 256 leaves
_WIDTHS = (4, 16, 64, 256)
_ROW_COST = 16  # of a row of `last_left`, in comparisons


@dataclass(frozen=True)
class ShallowTables:
    """Tables of a walk; tree 0 is the base margin, the booster's trees follow.

    Attributes:
        column: int32 [k], column in the keys of each row of `last_left`: `feature` where missing values go right,
            `num_features + feature` where they go left.
        last_left: int32 [k, width], largest keys of each distinct condition that go left, `MISSING` in unused places.
        conditions: for each level l int32 [trees * 2^l], the node's condition.
        values: float32 [trees * 2^depth], leaves.
        leaf_nodes: int32 [trees * 2^depth], the node in the forest that each of these leaves is; 0 in tree 0.
    """

    column: NDArray[np.int32]
    last_left: NDArray[np.int32]
    conditions: tuple[NDArray[np.int32], ...]
    values: NDArray[np.float32]
    leaf_nodes: NDArray[np.int32]


def build_shallow(forest: ForestArrays) -> ShallowTables | None:
    """Tables of a forest; None if it is too deep, has categorical splits or no inner node."""
    depth = int(forest.tree_depths.max(initial=0))
    if not 0 < depth <= MAX_DEPTH or forest.categorical.any():
        return None
    leaf = forest.is_leaf
    column, last_left, condition = _conditions(forest)
    own = np.arange(forest.num_nodes)
    left, right = np.where(leaf, own, forest.left), np.where(leaf, own, forest.right)
    levels = []
    nodes = forest.roots[:, None].astype(np.int64)
    for level in range(depth):
        base = np.zeros((1, 2**level), np.int32)
        levels.append(np.concatenate([base, condition[nodes]]).ravel())
        nodes = np.stack([left[nodes], right[nodes]], axis=2).reshape(len(nodes), -1)
    base_leaves = np.full((1, 2**depth), forest.base_margin, np.float32)
    values = np.concatenate([base_leaves, forest.value[nodes]]).ravel()
    leaf_nodes = np.concatenate([np.zeros((1, 2**depth), np.int64), nodes]).ravel().astype(np.int32)
    return ShallowTables(column, last_left, tuple(levels), values, leaf_nodes)


def _conditions(forest: ForestArrays) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """`column` and `last_left`, and for each node its condition, 0 at leaves (either child is the leaf)."""
    inner = np.flatnonzero(~forest.is_leaf)
    columns = forest.feature[inner] + np.where(forest.default_left[inner], forest.num_features, 0)
    pairs = np.stack([columns.astype(np.int64), keys_of(forest.threshold[inner]).astype(np.int64) - 1], axis=1)
    distinct, which = np.unique(pairs, axis=0, return_inverse=True)
    used, start, count = np.unique(distinct[:, 0], return_index=True, return_counts=True)
    width = min(_WIDTHS, key=lambda w: int((-(-count // w)).sum()) * (w + _ROW_COST))
    rows = -(-count // width)
    within = np.arange(len(distinct)) - np.repeat(start, count)
    place = np.repeat((np.cumsum(rows) - rows) * width, count) + within
    last_left = np.full(rows.sum() * width, MISSING, np.int32)
    last_left[place] = distinct[:, 1]
    condition = np.zeros(forest.num_nodes, np.int32)
    condition[inner] = place[which.ravel()]
    return np.repeat(used, rows).astype(np.int32), last_left.reshape(-1, width), condition


def shallow_leaves(
    tables: ShallowTables, constant: Callable[[Any], Any], x: Any, look_up_in: NDArray[Any] | None = None
) -> Any:
    """The base margin and the values of the leaves that rows reach.

    Args:
        tables: from `build_shallow`.
        constant: function that turns an array into a tensor of the graph being built.
        x: float32 [n, num_features], NaN = missing.
        look_up_in: [trees * 2^depth], by default `tables.values`.

    Returns:
        [1 + trees, n] of the type of `look_up_in`.
    """
    import tensorflow as tf

    bits = tf.bitcast(x, tf.int32)
    keys = tf.where(bits < 0, INT_MIN - bits, bits)
    missing = tf.math.is_nan(x)
    columns = tf.concat([tf.where(missing, MISSING, keys), tf.where(missing, INT_MIN, keys)], axis=1)
    # Tables are [k, 1] and indices [..., 1], so that no operation is spent on reshaping. tf.gather copies with memcpy;
    # the inner loop of gather_nd reads a single number twice as fast.
    right = tf.gather(columns, constant(tables.column), axis=1)[:, :, None] > constant(tables.last_left)
    right = tf.reshape(tf.cast(right, tf.int32), [-1, 1])
    start = tf.range(0, tf.size(right), tables.last_left.size)[:, None]
    roots = tables.conditions[0]
    first = constant(np.arange(0, 2 * len(roots), 2, dtype=np.int32)[:, None, None])
    node = first + tf.gather_nd(right, constant(roots[:, None, None]) + start)
    for conditions in tables.conditions[1:]:
        place = tf.gather_nd(constant(conditions[:, None]), node) + start
        node = tf.add_n([node, node, tf.gather_nd(right, place)])
    return tf.gather_nd(constant(tables.values if look_up_in is None else look_up_in), node)
