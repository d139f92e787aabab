"""Metrics of next-action predictions against scikit-learn and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from modules.evaluation import families, next_action_scores
from modules.evaluation import next_action_statistics as statistics

ACTIONS = 6


def decisions(rows: int, seed: int = 5, unknown: float = 0.05) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(ACTIONS), rows)
    drawn = (probabilities.cumsum(axis=1) < random.random((rows, 1))).sum(axis=1)
    labels = np.where(random.random(rows) < unknown, -1, np.minimum(drawn, ACTIONS - 1))
    conversion = random.random((rows, ACTIONS)).astype(np.float32)
    taken = np.take_along_axis(conversion, np.maximum(labels, 0)[:, None], axis=1)[:, 0]
    return {
        "labels": labels,
        "probabilities": probabilities,
        "conversion": conversion,
        "outcomes": np.where(random.random(rows) < 0.3, np.nan, random.random(rows) < taken),
        "history_lengths": np.minimum(random.geometric(0.2, rows), 12).astype(float),
        "baselines": np.stack(
            [np.zeros(rows), random.integers(-1, ACTIONS, rows), np.where(random.random(rows) < 0.4, labels, 1)], axis=1
        ).astype(np.int64),
    }


def score(**values: np.ndarray) -> dict[str, float]:
    return next_action_scores.all_metrics(statistics.build(statistics.rows_of(**values)))


def test_metrics_equal_those_of_scikit_learn():
    d = decisions(3000)
    got = score(**d)
    labels, probabilities = d["labels"], d["probabilities"]
    predicted = probabilities.argmax(axis=1)
    assert got["example_count"] == 3000
    assert got["unknown_action_rate"] == pytest.approx(np.mean(labels == -1))
    assert got["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted), rel=1e-12)
    # An action outside of the vocabulary is a class of its own, which nobody predicts.
    for kind in ("weighted", "macro"):
        expected = reference.f1_score(labels, predicted, average=kind, zero_division=0)
        assert got[f"{kind}_f1"] == pytest.approx(expected, rel=1e-12)
    for i, name in enumerate(statistics.BASELINES):
        right = (d["baselines"][:, i] == labels) & (labels >= 0)
        assert got[f"baseline_{name}_accuracy"] == pytest.approx(right.mean(), rel=1e-12)
    expected = reference.f1_score(labels, d["baselines"][:, 0], average="weighted", zero_division=0)
    assert got["baseline_majority_weighted_f1"] == pytest.approx(expected, rel=1e-12)
    best = max(got[f"baseline_{name}_accuracy"] for name in statistics.BASELINES)
    assert got["accuracy_over_baseline"] == pytest.approx(got["accuracy"] - best, abs=1e-12)


def test_ranking_and_log_loss_equal_those_of_scikit_learn_where_every_action_is_known():
    d = decisions(2000, unknown=0.0)
    got = score(**d)
    labels, probabilities = d["labels"], d["probabilities"]
    every = np.arange(ACTIONS)
    expected = reference.top_k_accuracy_score(labels, probabilities, k=3, labels=every)
    assert got["top_3_accuracy"] == pytest.approx(expected, rel=1e-12)
    assert got["log_loss"] == pytest.approx(reference.log_loss(labels, probabilities, labels=every), rel=1e-9)
    relevant = np.eye(ACTIONS)[labels]
    assert got["ndcg_at_5"] == pytest.approx(reference.ndcg_score(relevant, probabilities, k=5), rel=1e-12)
    # With one relevant item the average precision of its ranking is the reciprocal rank.
    expected = reference.label_ranking_average_precision_score(relevant, probabilities)
    assert got["mean_reciprocal_rank"] == pytest.approx(expected, rel=1e-12)


def test_conversion_metrics_are_those_of_the_action_taken_where_its_outcome_is_known():
    d = decisions(3000)
    got = score(**d)
    known = ~np.isnan(d["outcomes"]) & (d["labels"] >= 0)
    outcome = d["outcomes"][known].astype(int)
    taken = d["conversion"][known, d["labels"][known]].astype(np.float64)
    assert got["conversion_count"] == known.sum() < 3000
    assert got["conversion_rate"] == pytest.approx(outcome.mean(), rel=1e-12)
    assert got["conversion_auc"] == pytest.approx(reference.roc_auc_score(outcome, taken), rel=1e-9)
    assert got["conversion_log_loss"] == pytest.approx(reference.log_loss(outcome, taken), rel=1e-9)
    assert 0 < got["conversion_calibration_error"] < 0.05


def test_four_decisions_by_hand():
    probabilities = np.array(
        [[0.5, 0.2, 0.1, 0.1, 0.1], [0.5, 0.2, 0.1, 0.1, 0.1], [0.5, 0.2, 0.1, 0.1, 0.1], [0.02, 0.9, 0.03, 0.03, 0.02]]
    )
    got = score(
        labels=np.array([0, 1, 4, -1]),
        probabilities=probabilities,
        conversion=np.full((4, 5), 0.25),
        outcomes=np.array([1, 0, np.nan, 1]),
        history_lengths=np.array([1, 1, 3, 3]),
        baselines=np.array([[0, 0, -1], [0, 0, -1], [0, 4, -1], [0, 0, -1]]),
    )
    # Ranks 1, 2, 5 (the last of three equally probable actions) and none.
    assert got["accuracy"] == 1 / 4
    assert got["top_3_accuracy"] == 2 / 4
    assert got["mean_reciprocal_rank"] == pytest.approx((1 + 1 / 2 + 1 / 5) / 4)
    assert got["ndcg_at_5"] == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(6)) / 4)
    assert got["log_loss"] == pytest.approx(-(math.log(0.5) + math.log(0.2) + math.log(0.1) + math.log(1e-7)) / 4)
    # Action 0: 2 TP / (3 predicted + 1 label) = 1/2; actions 1 and 4 and the unknown one 0, each once a label.
    assert got["weighted_f1"] == pytest.approx(1 / 2 / 4)
    assert got["macro_f1"] == pytest.approx(1 / 2 / 4)
    # One of two decisions at length 1 is right, none of two at length 3.
    assert got["mean_prefix_accuracy"] == pytest.approx((1 / 2 + 0) / 2)
    # Three decisions at 0.5, one of them right; one at 0.9, wrong.
    assert got["top_probability_calibration_error"] == pytest.approx((abs(1 - 3 * 0.5) + 0.9) / 4)
    assert got["baseline_majority_accuracy"] == 1 / 4
    assert got["baseline_last_action_accuracy"] == 2 / 4
    assert got["baseline_prefix_accuracy"] == 0
    assert got["accuracy_over_baseline"] == -1 / 4
    assert got["conversion_count"] == 2
    assert got["conversion_auc"] == 0.5
    assert got["conversion_calibration_error"] == pytest.approx(0.25)


def test_mean_prefix_accuracy_weighs_lengths_not_decisions():
    values = decisions(100, unknown=0.0)
    values["labels"] = values["probabilities"].argmax(axis=1)
    values["labels"][0] = (values["labels"][0] + 1) % ACTIONS
    values["history_lengths"] = np.full(100, 2.0)
    values["history_lengths"][0] = 40
    got = score(**values)
    assert got["accuracy"] == 0.99
    assert got["mean_prefix_accuracy"] == 0.5


def test_no_decisions_leave_everything_but_counts_undefined():
    got = next_action_scores.all_metrics(statistics.empty())
    assert {name for name, value in got.items() if value == 0} == {"example_count", "conversion_count"}
    assert all(math.isnan(value) for name, value in got.items() if not name.endswith("count"))


def test_without_outcomes_only_conversion_is_undefined():
    values = decisions(50)
    values["outcomes"] = np.full(50, np.nan)
    got = score(**values)
    undefined = {name for name, value in got.items() if math.isnan(value)}
    assert undefined == {f"conversion_{name}" for name in ("rate", "log_loss", "auc", "calibration_error")}


def test_families_name_metrics_that_exist_and_agree_on_directions():
    for family in families.FAMILIES.values():
        assert set(family.shown) | family.lower_is_better | family.without_direction <= set(family.metrics)
        assert not family.lower_is_better & family.without_direction
        # One name, one direction, whatever the family.
        assert families.LOWER_IS_BETTER & set(family.metrics) == family.lower_is_better


def test_the_best_baseline_is_named():
    values = {"accuracy": 0.797, "baseline_majority_accuracy": 0.3, "baseline_prefix_accuracy": 0.793}
    assert next_action_scores.best_baseline(values) == ("prefix", 0.793)
    line = next_action_scores.explain("accuracy_over_baseline", values, 3)
    assert line == "model 0.797, best baseline prefix 0.793"
    assert next_action_scores.explain("accuracy", values, 3) == ""
