"""Reading a booster, and refusing one that cannot be evaluated exactly."""

import numpy as np
import pytest
import xgboost as xgb
from forest_boosters import trained

from modules.errors import UnsupportedModelError
from modules.lead_scoring.forest.keys import MISSING, keys_of
from modules.lead_scoring.forest.parse import parse_forest


def stump() -> xgb.Booster:
    rows = np.array([[1.0, 9.0], [2.0, 9.0], [3.0, 9.0], [4.0, 9.0]], np.float32)
    settings = {"max_depth": 1, "objective": "reg:squarederror", "base_score": 10.0, "eta": 1.0, "lambda": 0.0}
    return xgb.train(settings | {"min_child_weight": 0, "nthread": 1}, xgb.DMatrix(rows, [8, 8, 14, 14]), 1)


def test_a_stump_is_read_as_a_person_would_draw_it() -> None:
    """Residuals -2, -2, 4, 4 around the base score 10 part between 2 and 3."""
    forest = parse_forest(stump())
    assert forest.num_trees == 1
    assert forest.num_features == 2
    assert forest.left.tolist() == [1, -1, -1]
    assert forest.right.tolist() == [2, -1, -1]
    assert forest.feature[0] == 0
    assert 2 < forest.threshold[0] <= 3
    assert forest.value.tolist() == [0, -2, 4]
    assert forest.cover.tolist() == [4, 2, 2]
    assert forest.depth.tolist() == [0, 1, 1]
    assert forest.base_margin == 10


@pytest.mark.parametrize(
    ("objective", "margin"),
    [
        ("binary:logistic", -np.log(4)),
        ("reg:logistic", -np.log(4)),
        ("reg:squarederror", 0.2),
        ("binary:logitraw", 0.2),
    ],
)
def test_base_score_is_a_probability_for_logistic_objectives_only(objective: str, margin: float) -> None:
    forest = parse_forest(trained({"objective": objective, "base_score": 0.2}))
    assert forest.base_score == pytest.approx(0.2)
    assert forest.base_margin == pytest.approx(margin, abs=1e-6)


def test_nodes_of_a_tree_are_contiguous_and_siblings_are_neighbours() -> None:
    forest = parse_forest(trained({"max_depth": 6, "gamma": 1.0, "tree_method": "exact"}, rounds=8))
    inner = ~forest.is_leaf
    assert (forest.right[inner] == forest.left[inner] + 1).all()
    tree_of = np.searchsorted(forest.roots, np.arange(forest.num_nodes), side="right")
    assert (tree_of[forest.left[inner]] == tree_of[inner]).all()
    assert (forest.depth[forest.left[inner]] == forest.depth[inner] + 1).all()


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"booster": "dart"}, "'dart'"),
        ({"booster": "gblinear", "max_depth": None}, "'gblinear'"),
        ({"num_parallel_tree": 3}, "num_parallel_tree=3"),
        ({"objective": "multi:softprob", "num_class": 3}, "'multi:softprob'"),
        ({"objective": "count:poisson"}, "'count:poisson'"),
    ],
)
def test_what_cannot_be_compiled_is_named_with_what_can(parameters: dict, found: str) -> None:
    booster = trained({key: value for key, value in parameters.items() if value is not None})
    with pytest.raises(UnsupportedModelError, match=rf"{found}.*supported are boosters of type gbtree"):
        parse_forest(booster)


def test_several_outputs_are_refused() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3))
    booster = xgb.train({"objective": "reg:squarederror", "nthread": 1}, xgb.DMatrix(rows, rows[:, :2]), 2)
    with pytest.raises(UnsupportedModelError, match="num_target=2"):
        parse_forest(booster)


def test_rounds_the_booster_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match=r"within 0 and 5.*\(0, 6\)"):
        parse_forest(trained({}, rounds=5), iteration_range=(0, 6))


def test_integer_keys_order_floats_and_equate_both_zeros() -> None:
    ascending = np.array([-np.inf, -3e38, -1.5, -1e-45, 0.0, 1e-45, 1.1754944e-38, 2.0, 3e38, np.inf], np.float32)
    assert (np.diff(keys_of(ascending).astype(np.int64)) > 0).all()
    assert keys_of(np.float32([-0.0, 0.0])).tolist() == [0, 0]
    assert keys_of(np.float32([np.nan, -np.nan])).tolist() == [MISSING, MISSING]
