"""Exact Shapley values of trees: XGBoost's against their definition."""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest
import xgboost as xgb

from modules.lead_scoring.forest.parse import ForestArrays, parse_forest


def values_of_sets(forest: ForestArrays, x: np.ndarray) -> np.ndarray:
    """Expected margin of a lead of whom only the columns in a set are known: float64 [2^columns].

    Where a column is not known both ways are taken, weighted by the training rows that went there.
    """
    sets = np.arange(2**forest.num_features)
    value = np.repeat(forest.value[:, None].astype(np.float64), len(sets), axis=1)
    for node in np.argsort(-forest.depth, kind="stable"):
        if forest.is_leaf[node]:
            continue
        left, right, column = forest.left[node], forest.right[node], forest.feature[node]
        goes_left = forest.default_left[node] if np.isnan(x[column]) else x[column] < forest.threshold[node]
        share = forest.cover[left] / (forest.cover[left] + forest.cover[right])
        unknown = share * value[left] + (1 - share) * value[right]
        value[node] = np.where(sets >> column & 1, value[left if goes_left else right], unknown)
    return forest.base_margin + value[forest.roots].sum(axis=0)


def shapley(values: np.ndarray, players: int) -> np.ndarray:
    found = np.zeros(players)
    for s in range(2**players):
        for i in range(players):
            if not s >> i & 1:
                weight = factorial(s.bit_count()) * factorial(players - s.bit_count() - 1) / factorial(players)
                found[i] += weight * (values[s | 1 << i] - values[s])
    return found


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_tree_shap_is_what_the_definition_says(depth: int) -> None:
    random = np.random.default_rng(depth)
    rows = random.normal(size=(300, 5)).astype(np.float32)
    rows[random.random(rows.shape) < 0.2] = np.nan
    label = (np.nan_to_num(rows[:, 0]) * np.nan_to_num(rows[:, 1]) + np.nan_to_num(rows[:, 2]) > 0).astype(np.float32)
    settings = {"max_depth": depth, "objective": "binary:logistic", "nthread": 1}
    booster = xgb.train(settings, xgb.DMatrix(rows, label, nthread=1), 8)
    found = booster.predict(xgb.DMatrix(rows[:6], nthread=1), pred_contribs=True)
    forest = parse_forest(booster)
    for row, contributions in zip(rows[:6], found, strict=True):
        values = values_of_sets(forest, row)
        np.testing.assert_allclose(contributions[:-1], shapley(values, 5), atol=1e-5)
        assert contributions[-1] == pytest.approx(values[0], abs=1e-5)
        assert contributions.sum() == pytest.approx(values[-1], abs=1e-5)
