"""Boosters with trees of any shape, written through XGBoost's own model format, and rows that probe them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb
from hypothesis import strategies as st

NO_PARENT = 2147483647
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1.1754944e-38, 3.4e38, -3.4e38], np.float32)


@dataclass(frozen=True)
class Shape:
    """What random trees look like: each inner node has two children, a node at `depth` is a leaf."""

    trees: int
    depth: int
    features: int
    split_chance: float = 0.8  # of a node above `depth`
    chain: bool = False  # only one child of each node may split: as deep as can be
    thresholds: int = 20  # distinct ones per feature
    seed: int = 0


def native_margin(booster: xgb.Booster, rows: np.ndarray, **arguments: Any) -> np.ndarray:
    if not len(rows):
        return np.zeros(0, np.float32)
    return booster.inplace_predict(rows, predict_type="margin", **arguments)


def trained(parameters: dict[str, Any], rounds: int = 5, seed: int = 0, **arguments: Any) -> xgb.Booster:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(400, 5)).astype(np.float32)
    rows[random.random(rows.shape) < 0.2] = np.nan
    label = (np.nansum(rows[:, :2], axis=1) + random.normal(size=400) > 0).astype(np.float32)
    settings = {"max_depth": 3, "objective": "binary:logistic", "nthread": 1} | parameters
    return xgb.train(settings, xgb.DMatrix(rows, label), rounds, **arguments)


def random_booster(shape: Shape) -> xgb.Booster:
    """A booster with random trees; thresholds include both zeros, denormals and the largest numbers."""
    random = np.random.default_rng(shape.seed)
    pool = random.normal(size=(shape.features, shape.thresholds)).astype(np.float32)
    mask = random.random(pool.shape) < 0.2
    pool[mask] = random.choice(SPECIAL[3:], mask.sum())
    template = xgb.train(
        {"max_depth": 1, "objective": "binary:logistic", "nthread": 1},
        xgb.DMatrix(np.zeros((2, shape.features), np.float32), np.array([0.0, 1.0])),
        1,
    )
    document = json.loads(template.save_raw("json"))
    document["learner"]["learner_model_param"]["base_score"] = "[3E-1]"
    model = document["learner"]["gradient_booster"]["model"]
    model["trees"] = [_tree(number, shape, pool, random) for number in range(shape.trees)]
    model["tree_info"] = [0] * shape.trees
    model["iteration_indptr"] = list(range(shape.trees + 1))
    model["gbtree_model_param"]["num_trees"] = str(shape.trees)
    return xgb.Booster({"nthread": 1}, model_file=bytearray(json.dumps(document).encode()))


def _tree(number: int, shape: Shape, pool: np.ndarray, random: np.random.Generator) -> dict[str, Any]:
    left, right, parents, depth = [-1], [-1], [NO_PARENT], [0]
    queue = [0]
    while queue:
        node = queue.pop(0)
        if depth[node] >= shape.depth or random.random() >= shape.split_chance:
            continue
        left[node], right[node] = len(left), len(left) + 1
        for _ in range(2):
            left.append(-1), right.append(-1), parents.append(node), depth.append(depth[node] + 1)
        children = [left[node], right[node]]
        queue += [children[random.integers(2)]] if shape.chain else children
    count = len(left)
    feature = random.integers(0, shape.features, count)
    threshold = pool[feature, random.integers(0, shape.thresholds, count)]
    leaf = np.array(left) < 0
    value = np.where(leaf, random.normal(size=count).astype(np.float32) * 0.1, threshold)
    return {
        "base_weights": [0.0] * count,
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": random.integers(0, 2, count).tolist(),
        "id": number,
        "left_children": left,
        "loss_changes": [0.0] * count,
        "parents": parents,
        "right_children": right,
        "split_conditions": [float(v) for v in value],
        "split_indices": feature.tolist(),
        "split_type": [0] * count,
        "sum_hessian": [1.0] * count,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(shape.features),
            "num_nodes": str(count),
            "size_leaf_vector": "1",
        },
    }


def probing_rows(thresholds: np.ndarray, rows: int, features: int, seed: int) -> np.ndarray:
    """Rows of thresholds, their two neighbours in float32, special values and random numbers."""
    random = np.random.default_rng(seed)
    thresholds = thresholds if len(thresholds) else np.zeros(1, np.float32)
    with np.errstate(over="ignore", under="ignore"):
        candidates = np.concatenate(
            [
                thresholds,
                np.nextafter(thresholds, np.float32(np.inf)),
                np.nextafter(thresholds, np.float32(-np.inf)),
                np.resize(SPECIAL, len(thresholds)),
                random.normal(size=len(thresholds)).astype(np.float32),
            ]
        ).astype(np.float32)
    return random.choice(candidates, size=(rows, features)).astype(np.float32)


def shapes(trees: int) -> st.SearchStrategy[Shape]:
    """Shapes of random forests of up to so many trees."""
    return st.builds(
        Shape,
        trees=st.integers(1, trees),
        depth=st.integers(0, 8),
        features=st.integers(1, 12),
        split_chance=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
        chain=st.booleans(),
        thresholds=st.integers(1, 60),
        seed=st.integers(0, 2**31),
    )
