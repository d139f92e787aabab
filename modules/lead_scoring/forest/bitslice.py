"""Evaluates all trees for many rows: 64 rows in each bit operation.

The plane of something that is true or false for each row is its bits, 64 rows to an int64 word. For a chunk of rows:

1. rank every value among its feature's thresholds (a binary search over integer keys), one byte per window;
2. gather the bytes per distinct condition (a copy), compare, and pack the truth values into planes;
3. per block of trees, padded to perfect trees of depth d, gather the planes of all inner nodes (a copy) in preorder;
   the root's plane is one bit of the leaf's index, and it selects, by `right ^ (plane & (left ^ right))`, of each
   row the half of the remaining nodes that its way leads through: a perfect tree of depth d - 1. Repeat: d planes;
4. transpose the planes, 8 bits by 8 bits, into bytes that hold the index of the leaf for one row and tree;
5. look up the leaves and add them in XGBoost's order.

Trees deeper than `MAX_DEPTH` are walked instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.lead_scoring.forest.conditions import Conditions
from modules.lead_scoring.forest.keys import MISSING, category_tensor, key_tensor
from modules.lead_scoring.forest.parse import ForestArrays
from modules.lead_scoring.forest.sums import add_in_order
from modules.lead_scoring.forest.walk import WalkTables, walk_leaves

MAX_DEPTH = 8  # the index of a leaf is one byte
# Blocks are independent up to the sum: a single chunk of rows then keeps several threads busy. On one thread a single
# block of 1024 trees is a few percent faster.
BLOCK_TREES = 256
ALIGNED_TREES = 8  # parts of an aligned tensor are not copied
WORD = 64
_MASKS = {4: 0x0F0F0F0F0F0F0F0F, 2: 0x3333333333333333, 1: 0x5555555555555555}
_PACK = 0x0102040810204080


@dataclass(frozen=True)
class Block:
    """Consecutive trees, those up to `MAX_DEPTH` deep padded to perfect ones.

    Attributes:
        depth: depth of the padded trees, 1-8.
        perfect: int64 [t], which trees of the forest they are.
        nodes: int32 [2^depth - 1, t'], condition of each inner node, preorder; t' is t rounded up to whole
            multiples of `ALIGNED_TREES` with trees whose leaves are all 0.
        leaves: float32 [t' * 2^depth]; bit l of a leaf's index says whether the row went left at level l.
        leaf_nodes: int32 [t' * 2^depth], the node that each of these leaves is; 0 in the trees that fill up.
        walked: int64 [u], trees of the block that are too deep for that.
        order: int32 [t + u], where to find each tree of the block in the t' trees followed by `walked`.
    """

    depth: int
    perfect: NDArray[np.int64]
    nodes: NDArray[np.int32]
    leaves: NDArray[np.float32]
    leaf_nodes: NDArray[np.int32]
    walked: NDArray[np.int64]
    order: NDArray[np.int32]


def build_blocks(forest: ForestArrays, conditions: Conditions) -> tuple[Block, ...]:
    """Pads the trees of a forest, block by block."""
    blocks = []
    for begin in range(0, forest.num_trees, BLOCK_TREES):
        trees = np.arange(begin, min(begin + BLOCK_TREES, forest.num_trees))
        deep = forest.tree_depths[trees] > MAX_DEPTH
        perfect, walked = trees[~deep], trees[deep]
        depth = max(int(forest.tree_depths[perfect].max(initial=0)), 1)
        nodes, leaves, leaf_nodes = _pad(forest, conditions, perfect, depth)
        place = np.concatenate([np.arange(len(perfect)), nodes.shape[1] + np.arange(len(walked))])
        order = place[np.argsort(np.concatenate([perfect, walked]))].astype(np.int32)
        blocks.append(Block(depth, perfect, nodes, leaves, leaf_nodes, walked, order))
    return tuple(blocks)


def _pad(
    forest: ForestArrays, conditions: Conditions, trees: NDArray[np.int64], depth: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
    """`nodes`, `leaves` and `leaf_nodes` of a block; below a leaf every padded leaf is that leaf."""
    count = len(trees) + -len(trees) % ALIGNED_TREES
    nodes = np.zeros((2**depth - 1, count), np.int32)
    leaves = np.zeros((count, 2**depth), np.float32)
    leaf_nodes = np.zeros((count, 2**depth), np.int32)
    # Nodes of one level: those at position p lie at preorder index preorder[p]; p's bit l = went left at level l.
    level_nodes = forest.roots[trees][None, :]
    preorder = np.zeros(1, np.int64)
    for level in range(depth):
        nodes[preorder, : len(trees)] = np.where(forest.is_leaf[level_nodes], 0, conditions.of_node[level_nodes])
        below = 2 ** (depth - level - 1) - 1  # inner nodes of a child's subtree
        preorder = np.concatenate([preorder + 1 + below, preorder + 1])
        stay = forest.is_leaf[level_nodes]
        level_nodes = np.concatenate(
            [
                np.where(stay, level_nodes, forest.right[level_nodes]),
                np.where(stay, level_nodes, forest.left[level_nodes]),
            ]
        )
    leaves[: len(trees)] = forest.value[level_nodes].T
    leaf_nodes[: len(trees)] = level_nodes.T
    return nodes, leaves.ravel(), leaf_nodes.ravel()


def planes_of_conditions(conditions: Conditions, constant: Callable[[Any], Any], x: Any) -> Any:
    """Truth of every distinct condition: int64 [conditions, rows / 64], bit i of word w belongs to row 64 w + i.

    Args:
        conditions: from `find_conditions`.
        constant: function that turns an array into a tensor of the graph being built.
        x: float32 [rows, num_features], rows a multiple of 64.
    """
    import tensorflow as tf

    rows = tf.shape(x)[0]
    columns = tf.transpose(x)
    parts = []
    if len(conditions.byte):
        keys = key_tensor(tf.gather(columns, constant(conditions.features)))
        rank = tf.searchsorted(constant(conditions.thresholds), keys, side="right")
        windows = tf.gather(rank, constant(conditions.window_feature))
        if conditions.num_right < len(conditions.window):
            present = tf.cast(tf.not_equal(keys, MISSING), tf.int32)
            missing_left = tf.gather(rank * present, constant(conditions.window_feature[conditions.num_right :]))
            windows = tf.concat([windows[: conditions.num_right], missing_left], axis=0)
        windows = tf.clip_by_value(windows - constant(conditions.window_first[:, None]), 0, 255)
        parts.append(
            tf.gather_nd(tf.cast(windows, tf.uint8), constant(conditions.window[:, None]))
            < constant(conditions.byte[:, None])
        )
    for feature in conditions.categorical:
        column = columns[feature.feature]
        cases = category_tensor(column, key_tensor(column), feature.size)
        parts.append(tf.transpose(tf.gather(constant(feature.goes_left), cases)) > 0)
    truth = tf.cast(parts[0] if len(parts) == 1 else tf.concat(parts, axis=0), tf.uint8)
    # Multiplying moves the lowest bits of eight bytes next to one another, into the highest byte.
    eights = tf.bitcast(tf.reshape(truth, [conditions.count, rows // 8, 8]), tf.int64)
    packed = tf.cast(tf.bitwise.right_shift(eights * tf.constant(_PACK, tf.int64), tf.constant(56, tf.int64)), tf.uint8)
    return tf.bitcast(tf.reshape(packed, [conditions.count, rows // WORD, 8]), tf.int64)


def _leaf_index_planes(planes: Any, nodes: Any, depth: int) -> list[Any]:
    """Step 3: int64 [1, t, words] for each bit of the leaf's index; `nodes` is [2^depth - 1, t, 1]."""
    import tensorflow as tf

    tree = tf.gather_nd(planes, nodes)
    index = []
    for level in range(depth - 1):
        half = 2 ** (depth - level - 1) - 1
        root, left, right = tf.split(tree, [1, half, half])
        both = tf.bitwise.bitwise_xor(left, right)
        tree = tf.bitwise.bitwise_xor(right, tf.bitwise.bitwise_and(both, root))
        index.append(root)
    return [*index, tree]


def _transpose_bits(index: list[Any]) -> Any:
    """Step 4: planes of up to eight bits [1, t, words] to bytes of eight bits.

    Returns:
        int64 [1, 2, 2, 2, t, words]: with k = 4 a + 2 b + c, byte j of word w of slice [0, c, b, a] is the leaf of row
        64 w + 8 j + k.
    """
    import tensorflow as tf

    zero = tf.zeros_like(index[0])
    words = tf.concat(index + [zero] * (8 - len(index)), axis=0)
    for half in (4, 2, 1):
        low, high = tf.split(words, 2)
        shift = tf.constant(half, tf.int64)
        swap = tf.bitwise.bitwise_and(
            tf.bitwise.bitwise_xor(tf.bitwise.right_shift(low, shift), high), tf.constant(_MASKS[half], tf.int64)
        )
        high = tf.bitwise.bitwise_xor(high, swap)
        low = tf.bitwise.bitwise_xor(low, tf.bitwise.left_shift(swap, shift))
        words = tf.stack([low, high], axis=1)
    return words


def bitslice_look_up(
    block: Block,
    per_leaf: NDArray[Any],
    per_node: NDArray[Any],
    planes: Any,
    walk: WalkTables,
    constant: Callable[[Any], Any],
    x: Any,
) -> Any:
    """What is known of the leaves that rows reach in the trees of a block.

    Args:
        block: the trees.
        per_leaf: [t' * 2^depth], what is looked up, as `Block.leaves`.
        per_node: [nodes], the same for the trees that are walked, in the order of `walk`.
        planes: from `planes_of_conditions`.
        walk: tables of the trees that are walked.
        constant: function that turns an array into a tensor of the graph being built.
        x: float32 [rows, num_features], rows a multiple of 64; NaN = missing.

    Returns:
        [trees, rows] in the order of the trees, or [t', rows] where none is walked; rows as `rows_in_order` takes them.
    """
    import tensorflow as tf

    rows = tf.shape(x)[0]
    parts = []
    count = block.nodes.shape[1]
    if count:
        index = _leaf_index_planes(planes, constant(block.nodes[..., None]), block.depth)
        bits = tf.reshape(_transpose_bits(index), [8, count, rows // WORD])
        leaf = tf.bitcast(tf.transpose(bits, [1, 0, 2]), tf.uint8)
        first_leaf = np.arange(count, dtype=np.int32) * 2**block.depth
        leaf = tf.cast(tf.reshape(leaf, [count, rows, 1]), tf.int32) + constant(first_leaf.reshape(-1, 1, 1))
        parts.append(tf.gather_nd(constant(per_leaf), leaf))
    if not len(block.walked):
        return parts[0]
    values = walk_leaves(walk, constant, x, block.walked, per_node)
    # into the order of the bytes, see _transpose_bits
    values = tf.reshape(values, [len(block.walked), rows // 8, 2, 2, 2])
    parts.append(tf.reshape(tf.transpose(values, [0, 4, 3, 2, 1]), [len(block.walked), rows]))
    return tf.gather(tf.concat(parts, axis=0), constant(block.order))


def rows_in_order(values: Any) -> Any:
    """[rows, ...] in the order of bytes that `_transpose_bits` leaves -> the same in the order of the rows."""
    import tensorflow as tf

    shape = tf.shape(values)
    rest = list(range(4, 3 + values.shape.rank))
    apart = tf.reshape(values, tf.concat([[2, 2, 2, shape[0] // 8], shape[1:]], axis=0))
    return tf.reshape(tf.transpose(apart, [3, 2, 1, 0, *rest]), shape)


def bitslice_margin(
    forest: ForestArrays,
    conditions: Conditions,
    blocks: tuple[Block, ...],
    walk: WalkTables,
    constant: Callable[[Any], Any],
    x: Any,
) -> Any:
    """Margins of a chunk of rows.

    Args:
        x: float32 [rows, num_features], rows a multiple of 64; NaN = missing.

    Returns:
        float32 [rows].
    """
    import tensorflow as tf

    planes = planes_of_conditions(conditions, constant, x)
    total = tf.fill([tf.shape(x)[0]], forest.base_margin)
    for block in blocks:
        values = bitslice_look_up(block, block.leaves, walk.value, planes, walk, constant, x)
        total = add_in_order(total, values, len(block.order) if len(block.walked) else block.nodes.shape[1])
    return rows_in_order(total)
