"""The distinct conditions of a forest.

A forest of tens of thousands of nodes asks only a few thousand different questions, since the histogram method knows
few thresholds. `find_conditions` lists them in a form that is cheap to evaluate for many rows at once: a numeric
condition compares one byte, the value's rank among a window of up to 255 of its feature's thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modules.lead_scoring.forest.keys import MISSING, keys_of
from modules.lead_scoring.forest.parse import ForestArrays

WINDOW = 255


@dataclass(frozen=True)
class CategoricalFeature:
    """Conditions on one categorical feature.

    Attributes:
        feature: index of the feature.
        size: one more than the largest category that any split names; case `size` is any other category and
            case `size + 1` a missing value.
        goes_left: uint8 [size + 2, conditions], 1 where a row of that case goes left.
    """

    feature: int
    size: int
    goes_left: NDArray[np.uint8]


@dataclass(frozen=True)
class Conditions:
    """Distinct conditions, numeric ones first, then those of each categorical feature.

    Let `rank[f]` be the number of thresholds of numeric feature f that are <= the value. Numeric condition c of
    window w, `window_feature[w] = f`, holds (the row goes left) if
    `clip(rank[f] - window_first[w], 0, 255) < byte[c]`; for windows from `num_right` on, rank is 0 where the value
    is missing, before that it is above every threshold.

    Attributes:
        features: int32 [k], the numeric features in use.
        thresholds: int32 [k, m], keys of their distinct thresholds, ascending, padded with `MISSING`.
        num_right: number of windows whose missing values go right.
        window_feature: int32 [windows], index into `features`.
        window_first: int32 [windows].
        window: int32 [numeric conditions].
        byte: uint8 [numeric conditions].
        categorical: one entry for each categorical feature in use.
        of_node: int32 [num_nodes], index of the node's condition; 0 at leaves.
    """

    features: NDArray[np.int32]
    thresholds: NDArray[np.int32]
    num_right: int
    window_feature: NDArray[np.int32]
    window_first: NDArray[np.int32]
    window: NDArray[np.int32]
    byte: NDArray[np.uint8]
    categorical: tuple[CategoricalFeature, ...]
    of_node: NDArray[np.int32]

    @property
    def count(self) -> int:
        return len(self.byte) + sum(feature.goes_left.shape[1] for feature in self.categorical)


def find_conditions(forest: ForestArrays) -> Conditions:
    """Lists the distinct conditions of a forest's inner nodes."""
    of_node = np.zeros(forest.num_nodes, np.int32)
    numeric = np.flatnonzero(~forest.is_leaf & ~forest.categorical)
    features, feature_of = np.unique(forest.feature[numeric], return_inverse=True)
    keys = keys_of(forest.threshold[numeric])
    distinct = [np.unique(keys[feature_of == f]) for f in range(len(features))]
    thresholds = np.full((len(features), max(map(len, distinct), default=0)), MISSING, np.int32)
    rank = np.zeros(len(numeric), np.int64)
    for f, values in enumerate(distinct):
        thresholds[f, : len(values)] = values
        rank[feature_of == f] = np.searchsorted(values, keys[feature_of == f])

    # One row per condition: does missing go left, feature, rank of the threshold; np.unique sorts them in that order.
    rows = np.stack([forest.default_left[numeric].astype(np.int64), feature_of.astype(np.int64), rank], axis=1)
    conditions, of_node[numeric] = np.unique(rows.reshape(-1, 3), axis=0, return_inverse=True)
    windows, window = np.unique(
        np.column_stack([conditions[:, :2], conditions[:, 2] // WINDOW]), axis=0, return_inverse=True
    )
    categorical = _categorical_conditions(forest, of_node, len(conditions))
    return Conditions(
        features=features.astype(np.int32),
        thresholds=thresholds,
        num_right=int((windows[:, 0] == 0).sum()),
        window_feature=windows[:, 1].astype(np.int32),
        window_first=(windows[:, 2] * WINDOW).astype(np.int32),
        window=window.ravel().astype(np.int32),
        byte=(conditions[:, 2] % WINDOW + 1).astype(np.uint8),
        categorical=categorical,
        of_node=of_node,
    )


def _categorical_conditions(
    forest: ForestArrays, of_node: NDArray[np.int32], first: int
) -> tuple[CategoricalFeature, ...]:
    """Lists the categorical conditions and writes their indices, from `first` on, into `of_node`."""
    found = []
    nodes = np.flatnonzero(forest.categorical)
    for feature in np.unique(forest.feature[nodes]):
        mine = nodes[forest.feature[nodes] == feature]
        begin, count = forest.category_begin[mine], forest.category_count[mine]
        position = np.repeat(begin - np.cumsum(count) + count, count) + np.arange(count.sum())
        named = forest.categories[position]
        size = int(named.max(initial=-1)) + 1
        goes_left = np.ones((len(mine), size + 2), np.uint8)
        goes_left[np.repeat(np.arange(len(mine)), count), named] = 0
        goes_left[:, size + 1] = forest.default_left[mine]
        distinct, index = np.unique(goes_left, axis=0, return_inverse=True)
        of_node[mine] = first + index.ravel()
        first += len(distinct)
        found.append(CategoricalFeature(int(feature), size, np.ascontiguousarray(distinct.T)))
    return tuple(found)
