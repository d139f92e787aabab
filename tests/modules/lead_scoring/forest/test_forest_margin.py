"""The compiled trees against the booster itself."""

import numpy as np
import pytest
import tensorflow as tf
import xgboost as xgb
from forest_boosters import Shape, native_margin, probing_rows, random_booster, shapes, trained
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.lead_scoring.forest.compile import CHUNK_ROWS, WALK_ROWS, compile_forest

TOLERANCE = 1e-5
BOUNDARIES = sorted(
    {0, 1, 2, WALK_ROWS - 1, WALK_ROWS, WALK_ROWS + 1, 63, 64, 65, 127, 128, 129, 200}
    | {CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 2 * CHUNK_ROWS + 1}
)


def largest_difference(booster: xgb.Booster, rows: np.ndarray) -> float:
    compiled = compile_forest(booster).margin(tf.constant(rows)).numpy()
    assert compiled.shape == (len(rows),)
    assert compiled.dtype == np.float32
    return float(np.abs(compiled - native_margin(booster, rows)).max(initial=0))


def probing_rows_of(booster: xgb.Booster, rows: int, seed: int) -> np.ndarray:
    arrays = compile_forest(booster).arrays
    return probing_rows(arrays.threshold[~arrays.is_leaf], rows, arrays.num_features, seed)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=shapes(40),
    rows=st.one_of(st.sampled_from(BOUNDARIES), st.integers(0, 300)),
)
def test_any_forest_gives_the_margin_of_the_booster(shape: Shape, rows: int) -> None:
    booster = random_booster(shape)
    assert largest_difference(booster, probing_rows_of(booster, rows, shape.seed)) <= TOLERANCE


@pytest.mark.parametrize("rows", BOUNDARIES)
def test_any_number_of_rows_is_accepted(rows: int) -> None:
    booster = random_booster(Shape(trees=20, depth=5, features=6, seed=rows))
    assert largest_difference(booster, probing_rows_of(booster, rows, rows)) <= TOLERANCE


@pytest.mark.parametrize("depth", [9, 12, 40])
def test_trees_too_deep_for_bit_slices_keep_their_place_in_the_sum(depth: int) -> None:
    """Chains and bushes in turn, so that walked and sliced trees alternate."""
    booster = random_booster(Shape(trees=60, depth=depth, features=6, split_chance=0.93, chain=True, seed=depth))
    depths = compile_forest(booster).arrays.tree_depths
    assert (depths > 8).any()
    assert (depths <= 8).any()
    for rows in (3, 300):
        assert largest_difference(booster, probing_rows_of(booster, rows, 1)) <= TOLERANCE


def test_more_distinct_thresholds_than_one_byte_can_rank() -> None:
    booster = random_booster(Shape(trees=60, depth=6, features=2, split_chance=1.0, thresholds=2000, seed=1))
    arrays = compile_forest(booster).arrays
    assert len(np.unique(arrays.threshold[arrays.feature == 1])) > 3 * 255
    assert largest_difference(booster, probing_rows_of(booster, 900, 1)) <= TOLERANCE


def test_two_thousand_trees_are_added_in_the_boosters_order() -> None:
    """With margins beyond 5, adding in another order already rounds to another number."""
    booster = random_booster(Shape(trees=2000, depth=4, features=10, split_chance=0.9, seed=5))
    rows = probing_rows_of(booster, 700, 5)
    assert np.abs(native_margin(booster, rows)).max() > 5
    assert largest_difference(booster, rows) == 0
    assert largest_difference(booster, rows[:WALK_ROWS]) == 0


def test_trees_that_are_only_a_leaf() -> None:
    booster = random_booster(Shape(trees=3, depth=0, features=2))
    for rows in (0, 1, 100):
        assert largest_difference(booster, np.full((rows, 2), np.nan, np.float32)) <= TOLERANCE


@pytest.mark.parametrize("neighbour", [-np.inf, 0.0, np.inf])
@pytest.mark.parametrize("threshold", [0.0, -0.0, 1e-45, 1.1754944e-38, 1.5, -2.25, 3e38])
def test_a_value_on_or_one_ulp_beside_a_threshold(threshold: float, neighbour: float) -> None:
    """Below 1.2e-38 floats are denormal: TensorFlow flushes them to zero, the trees must not."""
    value = np.float32(threshold)
    with np.errstate(under="ignore"):
        value = np.nextafter(value, np.float32(neighbour)) if neighbour else value
    booster = random_booster(Shape(trees=1, depth=1, features=1, split_chance=1.0))
    document = bytes(booster.save_raw("json")).decode()
    old = compile_forest(booster).arrays.threshold[0]
    booster.load_model(bytearray(_replace_threshold(document, old, threshold)))
    assert compile_forest(booster).arrays.threshold[0] == np.float32(threshold)
    for rows in (1, 70):
        assert largest_difference(booster, np.full((rows, 1), value, np.float32)) == 0


def _replace_threshold(document: str, old: np.float32, new: float) -> bytes:
    import json

    model = json.loads(document)
    tree = model["learner"]["gradient_booster"]["model"]["trees"][0]
    assert np.float32(tree["split_conditions"][0]) == old
    tree["split_conditions"][0] = new
    return json.dumps(model).encode()


@pytest.mark.parametrize("objective", ["binary:logistic", "binary:logitraw", "reg:logistic", "reg:squarederror"])
@pytest.mark.parametrize("tree_method", ["hist", "exact"])
def test_trained_boosters_of_every_objective(objective: str, tree_method: str) -> None:
    booster = trained({"objective": objective, "tree_method": tree_method}, rounds=20)
    for rows in (5, 500):
        assert largest_difference(booster, probing_rows_of(booster, rows, 2)) <= TOLERANCE


@pytest.mark.parametrize(
    "parameters",
    [
        {"grow_policy": "lossguide", "max_depth": 0, "max_leaves": 31, "min_child_weight": 0.0},
        {"gamma": 2.0, "max_depth": 6, "tree_method": "exact"},
        {"base_score": 0.99, "max_depth": 8},
        {"subsample": 0.3, "colsample_bytree": 0.5, "monotone_constraints": "(1,0,0,0,0)"},
    ],
)
def test_trained_boosters_of_every_shape(parameters: dict) -> None:
    booster = trained(parameters, rounds=20)
    for rows in (5, 500):
        assert largest_difference(booster, probing_rows_of(booster, rows, 2)) <= TOLERANCE


def categorical_booster(max_cat_to_onehot: int) -> xgb.Booster:
    random = np.random.default_rng(4)
    rows = np.column_stack(
        [random.integers(0, 70, 3000), random.normal(size=3000), random.integers(0, 4, 3000)]
    ).astype(np.float32)
    rows[random.random(rows.shape) < 0.1] = np.nan
    label = ((np.nan_to_num(rows[:, 0]) * 7 % 5 > 2) ^ (rows[:, 2] == 1)).astype(np.float32)
    matrix = xgb.DMatrix(rows, label, feature_types=["c", "float", "c"], enable_categorical=True)
    settings_ = {"max_depth": 5, "objective": "binary:logistic", "max_cat_to_onehot": max_cat_to_onehot, "nthread": 1}
    return xgb.train(settings_, matrix, 12)


@pytest.mark.parametrize("max_cat_to_onehot", [1, 1000])
@pytest.mark.parametrize("rows", [4, 600])
def test_categorical_splits_known_unknown_missing_and_invalid(max_cat_to_onehot: int, rows: int) -> None:
    """Sets of categories (1) and single ones (1000); codes nobody trained on, negative, fractional, huge, infinite."""
    booster = categorical_booster(max_cat_to_onehot)
    arrays = compile_forest(booster).arrays
    one_each = arrays.category_count[arrays.categorical] == 1
    assert one_each.all() if max_cat_to_onehot == 1000 else not one_each.all()
    odd = [np.nan, -1, -0.5, -0.0, 0.9, 2.5, 69, 70, 71, 500, 2.0**24 - 1, 2.0**24, 3e38, np.inf, -np.inf, -1e-45]
    random = np.random.default_rng(rows)
    x = random.choice(np.array([*range(72), *odd], np.float32), size=(rows, 3)).astype(np.float32)
    x[:, 1] = random.normal(size=rows)
    assert largest_difference(booster, x) <= TOLERANCE


def test_stopping_early_keeps_the_best_rounds_only() -> None:
    random = np.random.default_rng(0)
    rows, label = random.normal(size=(300, 4)).astype(np.float32), random.integers(0, 2, 300)
    booster = xgb.train(
        {"objective": "binary:logistic", "eval_metric": "logloss", "nthread": 1},
        xgb.DMatrix(rows[:200], label[:200]),
        50,
        evals=[(xgb.DMatrix(rows[200:], label[200:]), "validation")],
        early_stopping_rounds=5,
        verbose_eval=False,
    )
    best = booster.best_iteration + 1
    assert best < booster.num_boosted_rounds()
    for arguments, expected in (
        ({}, (0, best)),
        ({"iteration_range": (0, 0)}, (0, 0)),
        *[({"iteration_range": r}, r) for r in ((0, 1), (1, 3))],
    ):
        compiled = compile_forest(booster, **arguments).margin(tf.constant(rows)).numpy()
        np.testing.assert_allclose(
            compiled, native_margin(booster, rows, iteration_range=expected), rtol=0, atol=TOLERANCE
        )


def test_rows_of_the_wrong_width_are_refused() -> None:
    forest = compile_forest(trained({}))
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="5"):
        forest.margin(tf.zeros([2, 4]))
