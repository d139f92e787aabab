"""Reads an XGBoost booster into frozen arrays: what every evaluation of the trees in this package starts from.

The booster is read through its public JSON format (`Booster.save_raw("json")`), whose numbers are the shortest
decimals that round-trip to the same float32, so nothing is lost and nothing is pickled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modules.errors import UnsupportedModelError

if TYPE_CHECKING:
    import xgboost

LOGISTIC_OBJECTIVES = ("binary:logistic", "reg:logistic")  # base_score is a probability
IDENTITY_OBJECTIVES = ("binary:logitraw", "reg:squarederror")  # base_score is a margin
SUPPORTED = (
    "supported are boosters of type gbtree with one output, num_parallel_tree=1 and one of the objectives "
    + ", ".join(LOGISTIC_OBJECTIVES + IDENTITY_OBJECTIVES)
)


@dataclass(frozen=True)
class ForestArrays:
    """The trees of a booster, node by node; nodes of one tree are contiguous, its root first.

    The margin of a row is `base_margin` plus the value of the leaf it reaches in each tree, in tree order. At an
    inner node with a numeric split a row goes left if `x[feature] < threshold`; with a categorical split it goes
    right if its category is one of `categories[category_begin : category_begin + category_count]`, and left for any
    other category, known or not. A missing value (NaN) goes left if `default_left`, else right.

    Attributes:
        num_features: number of features the booster was trained on.
        objective: XGBoost's name of the objective.
        base_score: XGBoost's base score, a probability for `binary:logistic` and `reg:logistic`, else a margin.
        base_margin: the margin of a forest without trees: logit(base_score) or base_score.
        feature_names: names the booster carries, or empty.
        roots: int32 [num_trees], index of each tree's root.
        left: int32 [num_nodes], index of the left child; -1 at a leaf.
        right: int32 [num_nodes], index of the right child; -1 at a leaf.
        feature: int32 [num_nodes], feature of the split; 0 at a leaf.
        threshold: float32 [num_nodes], threshold of a numeric split; 0 elsewhere.
        default_left: bool [num_nodes], whether a missing value goes left.
        categorical: bool [num_nodes], whether the split is categorical.
        category_begin: int32 [num_nodes], start in `categories`; 0 elsewhere.
        category_count: int32 [num_nodes], number of `categories`; 0 elsewhere.
        categories: int32 [...], categories that go right, of all nodes one after the other.
        value: float32 [num_nodes], value of a leaf; 0 at an inner node.
        cover: float32 [num_nodes], sum of the hessians of the training rows that passed the node.
        depth: int32 [num_nodes], number of edges between the root and the node.
    """

    num_features: int
    objective: str
    base_score: float
    base_margin: np.float32
    feature_names: tuple[str, ...]
    roots: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    default_left: NDArray[np.bool_]
    categorical: NDArray[np.bool_]
    category_begin: NDArray[np.int32]
    category_count: NDArray[np.int32]
    categories: NDArray[np.int32]
    value: NDArray[np.float32]
    cover: NDArray[np.float32]
    depth: NDArray[np.int32]

    @property
    def num_trees(self) -> int:
        return len(self.roots)

    @property
    def num_nodes(self) -> int:
        return len(self.left)

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """bool [num_nodes]."""
        return self.left < 0

    @property
    def tree_depths(self) -> NDArray[np.int32]:
        """int32 [num_trees], depth of each tree's deepest leaf; 0 for a tree that is only a leaf."""
        if not self.num_trees:
            return np.zeros(0, np.int32)
        return np.maximum.reduceat(self.depth, self.roots)


def parse_forest(booster: xgboost.Booster, *, iteration_range: tuple[int, int] | None = None) -> ForestArrays:
    """Reads a booster's trees.

    Args:
        booster: a trained gbtree booster with one output.
        iteration_range: half-open range of boosting rounds, as XGBoost's `predict` takes it; (0, 0) means all. By
            default the rounds up to and including `best_iteration` if training stopped early, else all.

    Raises:
        UnsupportedModelError: for boosters that this package cannot evaluate exactly.
    """
    learner = json.loads(booster.save_raw("json"))["learner"]
    _check_supported(learner)
    model = learner["gradient_booster"]["model"]
    begin, end = _rounds(learner, len(model["trees"]), iteration_range)
    objective = learner["objective"]["name"]
    base_score = _scalar(learner["learner_model_param"]["base_score"])
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in _NODE_COLUMNS}
    roots: list[int] = []
    categories: list[NDArray[np.int32]] = []
    num_nodes = num_categories = 0
    for tree in model["trees"][begin:end]:
        nodes = _tree_nodes(tree, num_nodes, num_categories)
        for name, column in nodes.items():
            columns[name].append(column)
        categories.append(np.asarray(tree["categories"], np.int32))
        num_categories += len(categories[-1])
        roots.append(num_nodes)
        num_nodes += len(nodes["left"])
    arrays = {
        name: np.concatenate([np.zeros(0, dtype), *columns[name]]).astype(dtype)
        for name, dtype in _NODE_COLUMNS.items()
    }
    return ForestArrays(
        num_features=int(learner["learner_model_param"]["num_feature"]),
        objective=objective,
        base_score=base_score,
        base_margin=_base_margin(base_score, objective),
        feature_names=tuple(learner.get("feature_names", ())),
        roots=np.asarray(roots, np.int32),
        categories=np.concatenate([np.zeros(0, np.int32), *categories]),
        **arrays,
    )


_NODE_COLUMNS: dict[str, Any] = {
    "left": np.int32,
    "right": np.int32,
    "feature": np.int32,
    "threshold": np.float32,
    "default_left": np.bool_,
    "categorical": np.bool_,
    "category_begin": np.int32,
    "category_count": np.int32,
    "value": np.float32,
    "cover": np.float32,
    "depth": np.int32,
}


def _tree_nodes(tree: dict[str, Any], first_node: int, first_category: int) -> dict[str, NDArray[Any]]:
    """One tree's columns, without the nodes that pruning left unreachable, with indices into the forest."""
    left = np.asarray(tree["left_children"], np.int32)
    right = np.asarray(tree["right_children"], np.int32)
    order, depth = [np.zeros(1, np.int32)], [np.zeros(1, np.int32)]
    while len(inner := order[-1][left[order[-1]] >= 0]):
        order.append(np.stack([left[inner], right[inner]], axis=1).ravel())
        depth.append(np.full(len(order[-1]), len(depth), np.int32))
    nodes = np.concatenate(order)
    position = np.full(len(left), -1, np.int32)
    position[nodes] = first_node + np.arange(len(nodes), dtype=np.int32)
    is_leaf = left[nodes] < 0
    condition = np.asarray(tree["split_conditions"], np.float32)[nodes]
    categorical = (np.asarray(tree["split_type"], np.int32)[nodes] == 1) & ~is_leaf
    begin, count = np.zeros(len(left), np.int32), np.zeros(len(left), np.int32)
    split_nodes = np.asarray(tree["categories_nodes"], np.int32)
    begin[split_nodes] = np.asarray(tree["categories_segments"], np.int32) + first_category
    count[split_nodes] = np.asarray(tree["categories_sizes"], np.int32)
    return {
        "left": np.where(is_leaf, -1, position[left[nodes]]),
        "right": np.where(is_leaf, -1, position[right[nodes]]),
        "feature": np.where(is_leaf, 0, np.asarray(tree["split_indices"], np.int32)[nodes]),
        "threshold": np.where(is_leaf | categorical, np.float32(0), condition),
        "default_left": np.asarray(tree["default_left"], np.bool_)[nodes] & ~is_leaf,
        "categorical": categorical,
        "category_begin": np.where(categorical, begin[nodes], 0),
        "category_count": np.where(categorical, count[nodes], 0),
        "value": np.where(is_leaf, condition, np.float32(0)),
        "cover": np.asarray(tree["sum_hessian"], np.float32)[nodes],
        "depth": np.concatenate(depth),
    }


def _check_supported(learner: dict[str, Any]) -> None:
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        raise UnsupportedModelError(f"cannot compile a booster of type {booster['name']!r}; {SUPPORTED}")
    objective = learner["objective"]["name"]
    if objective not in LOGISTIC_OBJECTIVES + IDENTITY_OBJECTIVES:
        raise UnsupportedModelError(f"cannot compile a booster with objective {objective!r}; {SUPPORTED}")
    parameters = learner["learner_model_param"]
    trees = booster["model"]["trees"]
    outputs = {
        "num_class": int(parameters["num_class"]),
        "num_target": int(parameters.get("num_target", 1)),
        "num_parallel_tree": int(booster["model"]["gbtree_model_param"]["num_parallel_tree"]),
        "size_leaf_vector": max([int(tree["tree_param"].get("size_leaf_vector", 1)) for tree in trees], default=1),
    }
    for name, number in outputs.items():
        if number > 1:
            raise UnsupportedModelError(f"cannot compile a booster with {name}={number}; {SUPPORTED}")


def _rounds(learner: dict[str, Any], rounds: int, iteration_range: tuple[int, int] | None) -> tuple[int, int]:
    if iteration_range is None:
        best = learner.get("attributes", {}).get("best_iteration")
        return (0, rounds) if best is None else (0, min(int(best) + 1, rounds))
    begin, end = iteration_range
    end = end or rounds
    if not 0 <= begin <= end <= rounds:
        raise ValueError(f"iteration_range must lie within 0 and {rounds}, the booster's rounds; got {iteration_range}")
    return begin, end


def _scalar(text: str) -> float:
    """XGBoost 3 writes the base score as a vector, "[5.03E-1]"; earlier versions as a number."""
    return float(np.float32(text.strip().strip("[]")))


def _base_margin(base_score: float, objective: str) -> np.float32:
    if objective in IDENTITY_OBJECTIVES:
        return np.float32(base_score)
    # XGBoost's own expression, in float32 as there: -log(1 / p - 1)
    odds = np.float32(1) / np.float32(base_score) - np.float32(1)
    return np.float32(-np.log(np.float64(odds)))
