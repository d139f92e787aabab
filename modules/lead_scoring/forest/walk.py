"""Walks all trees for a few rows: level by level, one step of every row in every tree at a time.

The cost is one gather of each of four tables per row, tree and level, whatever the shape of the trees. That is the
fastest way for a handful of rows; for many, `bitslice.py` is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.lead_scoring.forest.conditions import Conditions
from modules.lead_scoring.forest.keys import INT_MIN, MISSING, category_tensor, key_tensor, keys_of
from modules.lead_scoring.forest.parse import ForestArrays


@dataclass(frozen=True)
class WalkTables:
    """Tables of a walk, one entry per node; a leaf is its own left child and sends every row there.

    Attributes:
        depths: int32 [trees], number of steps after which every row has reached its leaf.
        roots: int32 [trees].
        column: int32 [nodes], where to look up the feature's key: `feature` where missing values go right,
            `num_features + feature` where they go left.
        last_left: int32 [nodes], the largest key that goes left.
        left: int32 [nodes], index of the left child; the right child is the next one.
        value: float32 [nodes].
        node: int32 [nodes], index in the forest of each entry.
        sizes: int32 [num_features], see `category_tensor`; empty without categorical splits.
        case_offset: int32 [nodes], start in `goes_left` of a categorical split, -1 elsewhere; empty without them.
        goes_left: int32 [...], see `CategoricalFeature.goes_left`.
    """

    num_features: int
    depths: NDArray[np.int32]
    roots: NDArray[np.int32]
    column: NDArray[np.int32]
    last_left: NDArray[np.int32]
    left: NDArray[np.int32]
    value: NDArray[np.float32]
    node: NDArray[np.int32]
    sizes: NDArray[np.int32]
    case_offset: NDArray[np.int32]
    goes_left: NDArray[np.int32]


def build_walk(forest: ForestArrays, conditions: Conditions) -> WalkTables:
    """Tables to walk the trees of a forest."""
    # Level by level through all trees: the few nodes of the upper levels, which every row visits, share cache lines.
    order = np.argsort(forest.depth, kind="stable")
    position = np.empty(forest.num_nodes, np.int32)
    position[order] = np.arange(forest.num_nodes, dtype=np.int32)
    leaf = forest.is_leaf
    case_offset = np.full(forest.num_nodes, -1, np.int32)
    sizes = np.zeros(forest.num_features, np.int32)
    tables, start, first = [np.zeros(0, np.int32)], 0, len(conditions.byte)
    for feature in conditions.categorical:
        sizes[feature.feature] = feature.size
        cases, count = feature.goes_left.shape
        nodes = np.flatnonzero(forest.categorical & (forest.feature == feature.feature))
        case_offset[nodes] = start + (conditions.of_node[nodes] - first) * cases
        tables.append(feature.goes_left.T.ravel().astype(np.int32))
        start, first = start + cases * count, first + count
    any_categorical = bool(conditions.categorical)
    column = forest.feature + np.where(forest.default_left, forest.num_features, 0)
    return WalkTables(
        num_features=forest.num_features,
        depths=forest.tree_depths,
        roots=position[forest.roots],
        column=column[order].astype(np.int32),
        last_left=np.where(leaf, MISSING, keys_of(forest.threshold) - 1)[order].astype(np.int32),
        left=np.where(leaf, position, position[forest.left])[order].astype(np.int32),
        value=forest.value[order],
        node=order.astype(np.int32),
        sizes=sizes if any_categorical else sizes[:0],
        case_offset=case_offset[order] if any_categorical else case_offset[:0],
        goes_left=np.concatenate(tables),
    )


def walk_leaves(
    tables: WalkTables,
    constant: Any,
    x: Any,
    trees: NDArray[np.int64] | None = None,
    look_up_in: NDArray[Any] | None = None,
) -> Any:
    """What is known of the leaves that rows reach.

    Args:
        tables: from `build_walk`.
        constant: function that turns an array into a tensor of the graph being built.
        x: float32 [n, num_features], NaN = missing.
        trees: which trees to walk, by default all.
        look_up_in: [nodes], by default `tables.value`.

    Returns:
        [trees, n] of the type of `look_up_in`.
    """
    import tensorflow as tf

    # Tables are [k, 1] and indices [..., 1], so that no operation is spent on reshaping. tf.gather copies with memcpy;
    # the inner loop of gather_nd reads a single number twice as fast.
    def table(array: NDArray[Any]) -> Any:
        return constant(array.reshape(-1, 1))

    found = tables.value if look_up_in is None else look_up_in
    roots, depths = (tables.roots, tables.depths) if trees is None else (tables.roots[trees], tables.depths[trees])
    keys = key_tensor(x)
    columns = tf.concat([keys, tf.where(tf.equal(keys, MISSING), INT_MIN, keys)], axis=1)
    rows = tf.shape(x)[0]
    start = tf.reshape(tf.range(rows) * (2 * tables.num_features), [-1, 1])
    flat = tf.reshape(columns, [-1, 1])
    if len(tables.sizes):
        cases = category_tensor(x, keys, constant(tables.sizes))
        flat_cases = tf.reshape(tf.concat([cases, cases], axis=1), [-1, 1])
        goes_left = table(tables.goes_left)
    node = None
    for _ in range(int(depths.max(initial=0))):

        def look_up(array: NDArray[Any], node: Any = node) -> Any:
            # the roots' entries are known beforehand
            return constant(array[roots].reshape(-1, 1, 1)) if node is None else tf.gather_nd(table(array), node)

        place = look_up(tables.column) + start
        right = tf.cast(tf.gather_nd(flat, place) > look_up(tables.last_left), tf.int32)
        if len(tables.sizes):
            offset = look_up(tables.case_offset)
            case = tf.maximum(offset, 0) + tf.where(offset < 0, 0, tf.gather_nd(flat_cases, place))
            right = tf.where(offset < 0, right, 1 - tf.gather_nd(goes_left, case))
        node = look_up(tables.left) + right
    if node is None:
        return tf.tile(constant(found[roots][:, None]), [1, rows])
    return tf.gather_nd(constant(found), node)
