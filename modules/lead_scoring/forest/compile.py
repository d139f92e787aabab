"""Compiles an XGBoost booster to stock TensorFlow operations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from numpy.typing import NDArray

from modules.lead_scoring.forest.bitslice import WORD, bitslice_margin, build_blocks
from modules.lead_scoring.forest.conditions import find_conditions
from modules.lead_scoring.forest.parse import ForestArrays, parse_forest
from modules.lead_scoring.forest.shallow_walk import build_shallow, shallow_leaves
from modules.lead_scoring.forest.sums import add_in_order
from modules.lead_scoring.forest.walk import build_walk, walk_leaves

if TYPE_CHECKING:
    import xgboost

# Measured on forests of 1000 trees, see docs/forest.md.
WALK_ROWS = 12
CHUNK_ROWS = 512
PARALLEL_CHUNKS = 4


class Forest(tf.Module):
    """A booster's margin as a TensorFlow function; made by `compile_forest`.

    Up to `WALK_ROWS` rows walk the trees (`walk.py`), more are evaluated in chunks of up to `CHUNK_ROWS` rows, several
    at a time, by bit slices (`bitslice.py`). Both give the same number as XGBoost's predictor on a CPU.

    Attributes:
        conditions, walk, shallow, blocks: the tables of both; `shallow` is None where trees are deep or categorical.
    """

    def __init__(self, arrays: ForestArrays) -> None:
        super().__init__(name="forest")
        self._arrays = arrays
        self.conditions = find_conditions(arrays)
        self.walk = build_walk(arrays, self.conditions)
        self.shallow = build_shallow(arrays)
        self.blocks = build_blocks(arrays, self.conditions)
        # Not inlined: skipping this branch operation by operation would take a single row 25 µs, a sixth of its time.
        self._sliced = tf.function(
            self._sliced_margin,
            input_signature=[tf.TensorSpec([None, arrays.num_features], tf.float32)],
            autograph=False,
            experimental_attributes={"_noinline": True},
        )
        self._constants: dict[tuple[Any, ...], tf.Tensor] = {}

    @property
    def arrays(self) -> ForestArrays:
        """The trees, for explanations and audits."""
        return self._arrays

    def margin(self, x: tf.Tensor) -> tf.Tensor:
        """Sums the base margin and the leaves that each row reaches, in float32 and in the booster's order.

        May be called eagerly, in any `tf.function` and in a TensorFlow 1 graph.

        Args:
            x: float32 [n, num_features], any n, zero included; NaN = missing, infinities are ordinary values.
                A categorical feature holds its category's code.

        Returns:
            float32 [n], log-odds for the logistic objectives, the prediction itself for `reg:squarederror`.
        """
        x = tf.ensure_shape(tf.convert_to_tensor(x, tf.float32), [None, self._arrays.num_features])
        if not self.conditions.count:  # no tree has an inner node
            return self._walk_margin(x)
        return tf.cond(tf.shape(x)[0] <= WALK_ROWS, lambda: self._walk_margin(x), lambda: self._sliced(x))

    def _walk_margin(self, x: tf.Tensor) -> tf.Tensor:
        if self.shallow is not None:
            return add_in_order(None, shallow_leaves(self.shallow, self.constant, x), self._arrays.num_trees + 1)
        values = walk_leaves(self.walk, self.constant, x)
        return add_in_order(tf.fill([tf.shape(x)[0]], self._arrays.base_margin), values, self._arrays.num_trees)

    def _sliced_margin(self, x: tf.Tensor) -> tf.Tensor:
        """Margins of at least one row, in equal chunks of whole words."""

        def chunk_margin(chunk: tf.Tensor) -> tf.Tensor:
            return bitslice_margin(self._arrays, self.conditions, self.blocks, self.walk, self.constant, chunk)

        return in_chunks(chunk_margin, x, self._arrays.num_features)

    def constant(self, array: NDArray[Any]) -> tf.Tensor:
        """A constant of the graph being built; all functions capture the same one, so a table is stored once."""
        if not tf.compat.v1.executing_eagerly_outside_functions():
            return tf.constant(array)
        key = (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in self._constants:
            with tf.init_scope():
                self._constants[key] = tf.constant(array)
        return self._constants[key]


def in_chunks(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, features: int, width: int | None = None) -> Any:
    """A function of rows, applied to equal chunks of whole words of at least one row, several at a time.

    Args:
        function: float32 [rows, features], rows a multiple of `WORD` -> float32 [rows], or [rows, width].
        x: float32 [n, features], n at least 1.
        features: static number of columns.
        width: of the function's result; None for [rows].

    Returns:
        float32 [n], or [n, width].
    """
    rows = tf.shape(x)[0]
    chunks = (rows + CHUNK_ROWS - 1) // CHUNK_ROWS
    chunk_rows = (rows + chunks * WORD - 1) // (chunks * WORD) * WORD
    padded = tf.reshape(tf.pad(x, [[0, chunks * chunk_rows - rows], [0, 0]]), [chunks, chunk_rows, features])
    rest = [] if width is None else [width]
    found = tf.map_fn(
        function,
        padded,
        parallel_iterations=PARALLEL_CHUNKS,
        fn_output_signature=tf.TensorSpec([None, *rest], tf.float32),
    )
    return tf.reshape(found, [-1, *rest])[:rows]


def compile_forest(booster: xgboost.Booster, *, iteration_range: tuple[int, int] | None = None) -> Forest:
    """Compiles a booster.

    Args:
        booster: a trained gbtree booster with one output and a supported objective, see `parse_forest`.
        iteration_range: half-open range of boosting rounds; (0, 0) means all. By default the rounds up to and
            including `best_iteration` if training stopped early, else all.

    Example:
        >>> forest = compile_forest(booster)                    # doctest: +SKIP
        >>> probability = tf.sigmoid(forest.margin(features))   # doctest: +SKIP

    Raises:
        UnsupportedModelError: names what the booster has that is not supported, and what is.
    """
    return Forest(parse_forest(booster, iteration_range=iteration_range))
