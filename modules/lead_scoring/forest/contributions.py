"""Contributions of features to a margin along the way that a row takes through each tree.

Each node has an expected value, the mean of its leaves weighted by the hessians of the training rows that reached them.
The root's is the tree's part of the bias. Each step down credits the feature that was asked with what the step changed:

    contribution[f] = sum over trees, over steps that ask f: expected value of the child - that of its parent
    margin = base margin + sum over trees of the root's expected value + sum over f of contribution[f]

That is what XGBoost gives for `predict(pred_contribs=True, approx_contribs=True)` (Saabas 2014). A leaf knows the whole
way to it, so all of it is worked out beforehand: what is left is to find the leaves that rows reach, and to add up what
stands there. Columns that stand for one feature are one feature here from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from modules.lead_scoring.forest.bitslice import bitslice_look_up, planes_of_conditions, rows_in_order
from modules.lead_scoring.forest.compile import WALK_ROWS, Forest, in_chunks
from modules.lead_scoring.forest.parse import ForestArrays
from modules.lead_scoring.forest.shallow_walk import shallow_leaves
from modules.lead_scoring.forest.walk import walk_leaves


@dataclass(frozen=True)
class LeafTables:
    """What the way to each of the L leaves of a forest contributes.

    Attributes:
        bias: base margin and the expected values of all roots.
        leaf: int32 [num_nodes], number of the leaf; 0 at inner nodes.
        feature: unsigned [L, w], the features with a contribution; 0 in unused places.
        value: float32 [L, w], their contributions; 0 in unused places.
    """

    bias: np.float32
    leaf: NDArray[np.int32]
    feature: NDArray[Any]
    value: NDArray[np.float32]


def expected_values(forest: ForestArrays) -> NDArray[np.float32]:
    """Each node's mean leaf, weighted by cover, in float32 as XGBoost computes it: float32 [num_nodes].

    Where no hessian reached a node both children count the same; XGBoost has NaN there.
    """
    mean = forest.value.copy()
    for depth in range(int(forest.depth.max(initial=0)) - 1, -1, -1):
        nodes = np.flatnonzero((forest.depth == depth) & ~forest.is_leaf)
        left, right, cover = forest.left[nodes], forest.right[nodes], forest.cover[nodes]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            weighted = (mean[left] * forest.cover[left] + mean[right] * forest.cover[right]) / cover
        mean[nodes] = np.where(np.isfinite(weighted) & (cover > 0), weighted, (mean[left] + mean[right]) / 2)
    return mean


def build_leaf_tables(forest: ForestArrays, shares: NDArray[np.float64]) -> LeafTables:
    """Works out what the way to each leaf contributes.

    Args:
        forest: the trees.
        shares: [num_features, features], how much of a column's contribution each feature gets; rows sum to 1.
    """
    mean = expected_values(forest)
    leaves = np.flatnonzero(forest.is_leaf)
    parent = np.full(forest.num_nodes, -1, np.int64)
    inner = np.flatnonzero(~forest.is_leaf)
    parent[forest.left[inner]] = parent[forest.right[inner]] = inner
    # Every step of every way: which leaf it leads to, which column was asked, what it changed.
    leaf, column, change = [], [], []
    here = leaves
    number = np.arange(len(leaves))
    while len(number):
        above = parent[here]
        number, here, above = number[above >= 0], here[above >= 0], above[above >= 0]
        leaf.append(number)
        column.append(forest.feature[above])
        change.append(mean[here].astype(np.float64) - mean[above])
        here = above
    none = np.zeros(0, np.int64)
    feature, value = _merged(
        np.concatenate([none, *leaf]),
        np.concatenate([none, *column]),
        np.concatenate([none, *change]),
        shares,
        len(leaves),
    )
    leaf_of = np.zeros(forest.num_nodes, np.int32)
    leaf_of[leaves] = np.arange(len(leaves))
    bias = np.float64(forest.base_margin) + mean[forest.roots].sum(dtype=np.float64)
    return LeafTables(np.float32(bias), leaf_of, feature, value)


def _merged(
    leaf: NDArray[Any], column: NDArray[Any], change: NDArray[Any], shares: NDArray[np.float64], leaves: int
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """`feature` and `value` of LeafTables: the steps to a leaf, added up by feature."""
    features = max(shares.shape[1], 1)
    columns, owners = np.nonzero(shares)
    # The owners of a column stand next to each other: repeat each step for each owner.
    count = np.bincount(columns, minlength=len(shares))
    begin = np.cumsum(count) - count
    repeats = count[column.astype(np.int64)]
    step = np.repeat(np.arange(len(column)), repeats)
    nth = np.arange(len(step)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    place = begin[column[step].astype(np.int64)] + nth
    owner = owners[place]
    credited = change[step] * shares[columns[place], owner]
    pairs, which = np.unique(leaf[step].astype(np.int64) * features + owner, return_inverse=True)
    total = np.bincount(which, credited, minlength=len(pairs))
    rows = pairs // features
    per_leaf = np.bincount(rows, minlength=leaves)
    slot = np.arange(len(pairs)) - np.repeat(np.cumsum(per_leaf) - per_leaf, per_leaf)
    width = max(int(per_leaf.max(initial=0)), 1)
    feature = np.zeros((leaves, width), np.min_scalar_type(features - 1))
    value = np.zeros((leaves, width), np.float32)
    feature[rows, slot], value[rows, slot] = pairs % features, total
    return feature, value


class ForestContributions(tf.Module):
    """A booster's contributions as a TensorFlow function.

    As `Forest.margin`, a few rows walk the trees and more are sliced, in chunks; both give the same numbers to the bit,
    whatever rows a row travels with.

    Args:
        forest: the compiled booster, whose tables are shared.
        shares: as in `build_leaf_tables`; by default each column is a feature.
    """

    def __init__(self, forest: Forest, shares: NDArray[np.float64] | None = None) -> None:
        super().__init__(name="contributions")
        self._forest = forest
        shares = np.eye(forest.arrays.num_features) if shares is None else shares
        self._width = shares.shape[1]
        self._tables = build_leaf_tables(forest.arrays, shares)
        self._sliced = tf.function(
            self._sliced_rows,
            input_signature=[tf.TensorSpec([None, forest.arrays.num_features], tf.float32)],
            autograph=False,
            experimental_attributes={"_noinline": True},
        )

    @property
    def bias(self) -> float:
        """What the margin is where nothing is known of a row, log-odds."""
        return float(self._tables.bias)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Contributions of each feature.

        Args:
            x: float32 [n, num_features], as `Forest.margin` takes it.

        Returns:
            float32 [n, features], log-odds; with `bias` they sum to the margin, up to rounding.
        """
        x = tf.ensure_shape(tf.convert_to_tensor(x, tf.float32), [None, self._forest.arrays.num_features])
        if not self._forest.conditions.count:  # no tree has an inner node
            return tf.zeros([tf.shape(x)[0], self._width])
        return tf.cond(tf.shape(x)[0] <= WALK_ROWS, lambda: self._walked(x), lambda: self._sliced(x))

    def _walked(self, x: tf.Tensor) -> tf.Tensor:
        forest, constant = self._forest, self._forest.constant
        if forest.shallow is not None:
            leaves = shallow_leaves(forest.shallow, constant, x, self._tables.leaf[forest.shallow.leaf_nodes])[1:]
        else:
            leaves = walk_leaves(forest.walk, constant, x, look_up_in=self._tables.leaf[forest.walk.node])
        trees = [len(block.order) for block in forest.blocks]
        return self._added(tf.split(leaves, trees))

    def _sliced_rows(self, x: tf.Tensor) -> tf.Tensor:
        """Contributions for at least one row."""
        forest, constant = self._forest, self._forest.constant

        def chunk(rows: tf.Tensor) -> tf.Tensor:
            planes = planes_of_conditions(forest.conditions, constant, rows)
            per_node = self._tables.leaf[forest.walk.node]
            found = [
                bitslice_look_up(
                    block, self._tables.leaf[block.leaf_nodes], per_node, planes, forest.walk, constant, rows
                )[: len(block.order)]
                for block in forest.blocks
            ]
            return rows_in_order(self._added(found))

        return in_chunks(chunk, x, forest.arrays.num_features, self._width)

    def _added(self, leaves: Sequence[tf.Tensor]) -> tf.Tensor:
        """Leaves int32 [trees, n] of each block -> contributions float32 [n, features]."""
        constant, tables = self._forest.constant, self._tables
        parts = []
        for block in leaves:
            numbers = tf.transpose(block)
            shape = tf.stack([tf.shape(numbers)[0], numbers.shape[1] * tables.value.shape[1]])
            features = tf.reshape(tf.gather(constant(tables.feature), numbers), shape)
            values = tf.reshape(tf.gather(constant(tables.value), numbers), shape)
            parts.append(
                tf.raw_ops.DenseBincount(
                    input=tf.cast(features, tf.int32), size=self._width, weights=values, binary_output=False
                )
            )
        return tf.add_n(parts)


def shares_of(owners: Sequence[Sequence[str]], names: Sequence[str]) -> NDArray[np.float64]:
    """`shares` for columns that come from one or more raw features each, which share equally.

    Args:
        owners: for each column, the raw features behind it.
        names: all raw features, in the order of the result's columns.
    """
    place = {name: i for i, name in enumerate(names)}
    shares = np.zeros((len(owners), len(names)))
    for column, found in enumerate(owners):
        for name in found:
            shares[column, place[name]] += 1 / len(found)
    return shares
