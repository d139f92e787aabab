"""Contributions of the compiled trees against the booster's own, and against what a person can add up."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
import xgboost as xgb
from forest_boosters import Shape, probing_rows, random_booster, shapes, trained
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.lead_scoring.forest.compile import CHUNK_ROWS, WALK_ROWS, compile_forest
from modules.lead_scoring.forest.contributions import ForestContributions, expected_values, shares_of

TOLERANCE = 1e-4
TREES = {"max_depth": 4, "objective": "binary:logistic", "nthread": 1}
BOUNDARIES = [0, 1, WALK_ROWS, WALK_ROWS + 1, 64, 65, 300, CHUNK_ROWS + 1]


def with_covers(booster: xgb.Booster, seed: int) -> xgb.Booster:
    """The same trees; the hessian of a leaf is random, that of an inner node the sum of its leaves'."""
    random = np.random.default_rng(seed)
    document = json.loads(booster.save_raw("json"))
    for tree in document["learner"]["gradient_booster"]["model"]["trees"]:
        left, right = tree["left_children"], tree["right_children"]
        cover = random.uniform(0.5, 50, len(left)).astype(np.float32)
        for node in reversed(range(len(left))):  # children come after their parents
            if left[node] >= 0:
                cover[node] = cover[left[node]] + cover[right[node]]
        tree["sum_hessian"] = [float(c) for c in cover]
    return xgb.Booster({"nthread": 1}, model_file=bytearray(json.dumps(document).encode()))


def native(booster: xgb.Booster, rows: np.ndarray, types: list[str] | None = None) -> np.ndarray:
    """XGBoost's approximate contributions and, last, the bias: float32 [n, features + 1]."""
    if not len(rows):
        return np.zeros((0, rows.shape[1] + 1), np.float32)
    matrix = xgb.DMatrix(rows, feature_types=types, enable_categorical=types is not None, nthread=1)
    return booster.predict(matrix, pred_contribs=True, approx_contribs=True, validate_features=False)


def check(booster: xgb.Booster, rows: np.ndarray, types: list[str] | None = None) -> np.ndarray:
    """Contributions, after comparing them with the booster's and their sum with the margin."""
    forest = compile_forest(booster)
    explain = ForestContributions(forest)
    found, wanted = explain(tf.constant(rows)).numpy(), native(booster, rows, types)
    assert found.shape == rows.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted[:, :-1], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(np.full(len(rows), explain.bias), wanted[:, -1], rtol=0, atol=TOLERANCE)
    margin = forest.margin(tf.constant(rows)).numpy()
    np.testing.assert_allclose(found.sum(axis=1) + explain.bias, margin, rtol=0, atol=TOLERANCE)
    return found


def probing(booster: xgb.Booster, rows: int, seed: int) -> np.ndarray:
    """Thresholds and their neighbours; XGBoost's matrix takes no infinity, so the largest numbers stand for it."""
    arrays = compile_forest(booster).arrays
    found = probing_rows(arrays.threshold[~arrays.is_leaf], rows, arrays.num_features, seed)
    return np.clip(found, -3.4e38, 3.4e38)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    shape=shapes(30),
    rows=st.one_of(st.sampled_from(BOUNDARIES), st.integers(0, 200)),
)
def test_any_forest_gives_the_contributions_of_the_booster(shape: Shape, rows: int) -> None:
    booster = with_covers(random_booster(shape), shape.seed)
    check(booster, probing(booster, rows, shape.seed))


@pytest.mark.parametrize("depth", [9, 40])
def test_deep_trees_that_are_walked(depth: int) -> None:
    booster = random_booster(Shape(trees=300, depth=depth, features=6, split_chance=0.93, chain=True, seed=depth))
    booster = with_covers(booster, 1)
    for rows in (3, 200):
        check(booster, probing(booster, rows, 2))


def test_more_trees_than_a_block_and_more_rows_than_a_chunk() -> None:
    booster = with_covers(random_booster(Shape(trees=700, depth=5, features=10, seed=4)), 4)
    rows = probing(booster, 2 * CHUNK_ROWS + 1, 4)
    found = check(booster, rows)
    # To the bit: a row's reasons do not depend on the rows it travels with.
    few = ForestContributions(compile_forest(booster))(tf.constant(rows[:WALK_ROWS])).numpy()
    np.testing.assert_array_equal(few, found[:WALK_ROWS])


@pytest.mark.parametrize(
    "parameters",
    [
        {"monotone_constraints": "(1,0,-1,0,0)"},
        {"max_depth": 0, "max_leaves": 12, "grow_policy": "lossguide"},
        {"min_child_weight": 0, "max_depth": 9, "reg_lambda": 0},
        {"scale_pos_weight": 7, "subsample": 0.5, "base_score": 0.9},
        {"max_delta_step": 0.1, "gamma": 2},
        {"objective": "reg:squarederror"},
    ],
    ids=["monotone", "by leaves", "leaves of one row", "weights", "pruned", "regression"],
)
def test_trained_boosters_with_missing_values(parameters: dict) -> None:
    random = np.random.default_rng(5)
    rows = random.normal(size=(300, 5)).astype(np.float32)
    rows[random.random(rows.shape) < 0.3] = np.nan
    rows[0], rows[1] = np.nan, 3e38
    check(trained(parameters, rounds=20), rows)


def test_a_booster_continued_from_another_one() -> None:
    """Warm start: the first trees come from other data and other settings."""
    random = np.random.default_rng(6)
    rows = random.normal(size=(400, 5)).astype(np.float32)
    base = trained({}, rounds=15)
    more = xgb.train(TREES | {"max_depth": 5}, xgb.DMatrix(rows, rows[:, 3] > 0), 10, xgb_model=base)
    check(more, rows)
    check(more[:12], rows)


def test_categories_by_code_and_by_indicator() -> None:
    random = np.random.default_rng(7)
    codes = random.integers(0, 9, 500).astype(np.float32)
    codes[random.random(500) < 0.1] = np.nan
    other = random.normal(size=500).astype(np.float32)
    label = (np.isin(codes, [1, 4, 7]) + 0.5 * other + random.normal(size=500) > 0.5).astype(np.float32)
    rows = np.stack([codes, other], axis=1)
    for limit in (1, 20):  # sets of categories, and one against the rest
        booster = xgb.train(
            TREES | {"max_cat_to_onehot": limit},
            xgb.DMatrix(rows, label, feature_types=["c", "q"], enable_categorical=True),
            20,
        )
        check(booster, rows, ["c", "q"])
    indicators = np.concatenate([codes[:, None] == np.arange(9), other[:, None]], axis=1).astype(np.float32)
    booster = xgb.train(TREES, xgb.DMatrix(indicators, label), 20)
    columns = check(booster, indicators)
    # Nine columns are one feature: what they contribute is added up.
    shares = shares_of([["job"]] * 9 + [["age"]], ["age", "job"])
    found = ForestContributions(compile_forest(booster), shares)(tf.constant(indicators)).numpy()
    np.testing.assert_allclose(found[:, 0], columns[:, 9], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[:, 1], columns[:, :9].sum(axis=1), rtol=0, atol=1e-5)


def test_a_tree_added_up_by_hand() -> None:
    """x0 < 0 ? (x1 < 0 ? -1 : 3) : 0.5 with hessians 2, 6 and 8: expected values 2, 1.25."""
    document = json.loads(
        random_booster(Shape(trees=1, depth=2, features=2, split_chance=1.0, seed=1)).save_raw("json")
    )
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    tree |= {
        "base_weights": [0.0] * 5, "left_children": [1, 3, -1, -1, -1], "right_children": [2, 4, -1, -1, -1],
        "parents": [2147483647, 0, 0, 1, 1], "split_indices": [0, 1, 0, 0, 0], "split_type": [0] * 5,
        "split_conditions": [0.0, 0.0, 0.5, -1.0, 3.0], "default_left": [1, 0, 0, 0, 0],
        "loss_changes": [0.0] * 5, "sum_hessian": [16.0, 8.0, 8.0, 2.0, 6.0],
    }  # fmt: skip
    tree["tree_param"]["num_nodes"] = "5"
    booster = xgb.Booster(model_file=bytearray(json.dumps(document).encode()))
    arrays = compile_forest(booster).arrays
    np.testing.assert_array_equal(sorted(expected_values(arrays)), [-1, 0.5, 1.25, 2, 3])
    nan = np.nan
    found = check(booster, np.array([[-1, -1], [-1, 1], [1, 1], [nan, nan]], np.float32))
    # 1.25 -> 2 asks x0, 2 -> -1 asks x1; ...; a missing x0 goes left, a missing x1 right
    np.testing.assert_allclose(found, [[0.75, -3], [0.75, 1], [-0.75, 0], [0.75, 1]], atol=1e-6)
    explain = ForestContributions(compile_forest(booster))
    assert explain.bias == pytest.approx(np.log(0.3 / 0.7) + 1.25)
    # Half of what the column of a ratio contributes goes to each side.
    halves = ForestContributions(compile_forest(booster), shares_of([["a", "b"], ["b"]], ["a", "b", "unused"]))
    np.testing.assert_allclose(halves(np.zeros((1, 2), np.float32)), [[-0.375, -0.375, 0]], atol=1e-6)


def test_forests_without_a_question() -> None:
    """A forest of leaves, and one without a tree: everything is bias."""
    rows = np.zeros((3, 4), np.float32)
    for trees in (0, 3):
        booster = random_booster(Shape(trees=trees, depth=0, features=4, seed=1))
        explain = ForestContributions(compile_forest(booster))
        np.testing.assert_array_equal(explain(rows).numpy(), np.zeros((3, 4)))
        assert explain.bias == pytest.approx(float(compile_forest(booster).margin(rows)[0]), abs=1e-6)


def test_a_node_that_no_hessian_reached_is_finite() -> None:
    arrays = compile_forest(random_booster(Shape(trees=3, depth=3, features=2, split_chance=1.0, seed=2))).arrays
    empty = dataclasses.replace(arrays, cover=np.zeros_like(arrays.cover))
    left, right = (arrays.value[child[arrays.depth == 2]] for child in (arrays.left, arrays.right))
    np.testing.assert_allclose(expected_values(empty)[arrays.depth == 2], (left + right) / 2, rtol=1e-6)
    assert np.isfinite(expected_values(empty)).all()
