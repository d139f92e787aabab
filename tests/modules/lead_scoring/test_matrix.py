from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb

from modules.lead_scoring.matrix import Spool, SpoolIter, recency_weights
from modules.probability import log_loss
from modules.roc import area_under_roc


def batches(rng, sizes):
    for rows in sizes:
        features = rng.normal(size=(rows, 4)).astype(np.float32)
        features[rng.random(features.shape) < 0.2] = np.nan
        yield {"features": features, "label": rng.integers(0, 2, rows), "time": np.arange(rows)}


def test_spool_returns_the_kept_columns_in_order(tmp_path):
    written = list(batches(np.random.default_rng(0), [5, 3]))
    spool = Spool(tmp_path / "s", written, [2, 0])
    for batch, found in zip(written, spool, strict=True):
        np.testing.assert_array_equal(found, batch["features"][:, [2, 0]])
    assert len(spool) == 8
    np.testing.assert_array_equal(spool.labels, np.concatenate([b["label"] for b in written]))


def test_training_from_batches_equals_training_from_memory(tmp_path):
    written = list(batches(np.random.default_rng(1), [300, 200, 100]))
    spool = Spool(tmp_path / "s", written, range(4))
    weights = np.linspace(0.5, 2, 600).astype(np.float32)
    parameters = {"objective": "binary:logistic", "tree_method": "hist", "max_bin": 64, "nthread": 1}
    streamed = xgb.QuantileDMatrix(SpoolIter([spool], [weights], list("abcd")), max_bin=64)
    features = np.concatenate([b["features"] for b in written])
    memory = xgb.QuantileDMatrix(features, spool.labels, weight=weights, feature_names=list("abcd"), max_bin=64)
    a, b = (xgb.train(parameters, d, 5).inplace_predict(features) for d in (streamed, memory))
    # Quantiles of a stream are merged summaries, so a threshold may differ; the fit must not.
    assert np.abs(a - b).mean() < 0.02
    assert abs(log_loss(a, spool.labels) - log_loss(b, spool.labels)) < 0.005


def test_weight_halves_with_every_half_life():
    weights = recency_weights(np.array([0, 10, 20]) * 86_400, 10)
    np.testing.assert_allclose(weights / weights[2], [0.25, 0.5, 1])
    assert weights.mean() == pytest.approx(1)


def test_metrics_by_hand():
    assert log_loss(np.array([0.8, 0.4]), np.array([1, 0])) == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    # Pairs (positive, negative): 0.4 > 0.1, 0.4 = 0.4, 0.9 > both.
    assert area_under_roc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 0, 1, 1])) == pytest.approx(3.5 / 4)
