"""Confusion matrices at thresholds, and fairness between slices, by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from modules.evaluation import curves, histogram, plots
from modules.reporting.confusion import Confusion, ThresholdTable
from modules.reporting.fairness import group_fairness
from modules.reporting.intervals import wilson


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    labels = random.integers(0, 2, 300)
    return labels, np.clip(random.normal(0.4 + 0.2 * labels, 0.2), 0, 1).astype(np.float32)


def test_counts_at_every_threshold_are_those_of_scikit_learn(sample):
    labels, scores = sample
    table = ThresholdTable.from_matrices(plots.confusion_matrix_plot(histogram.build(labels, scores), 20).matrices)
    assert table.thresholds == tuple(i / 20 for i in range(21))
    for threshold, found in zip(table.thresholds, table.matrices, strict=True):
        tn, fp, fn, tp = metrics.confusion_matrix(labels, scores > np.float32(threshold), labels=[0, 1]).ravel()
        assert found == Confusion(tp, fp, tn, fn)


def test_the_threshold_in_use_joins_the_table_in_its_place():
    table = ThresholdTable((0.0, 0.5, 1.0), (Confusion(3, 2, 0, 0), Confusion(2, 1, 1, 1), Confusion(0, 0, 2, 3)))
    chosen = Confusion(3, 1, 1, 0)
    joined = table.with_row(0.25, chosen)
    assert joined.thresholds == (0.0, 0.25, 0.5, 1.0)
    assert joined.matrices[joined.nearest(0.26)] is chosen
    assert table.with_row(0.5, chosen).matrices[1] is chosen


def test_rates_by_hand():
    found = Confusion(true_positives=30, false_positives=10, true_negatives=50, false_negatives=10)
    assert found.rate("precision") == wilson(30, 40)
    assert found.rate("recall") == found.rate("true_positive_rate") == wilson(30, 40)
    assert found.rate("false_positive_rate") == wilson(10, 60)
    assert found.rate("selection_rate") == wilson(40, 100)
    assert found.rate("accuracy") == wilson(80, 100)
    f1 = found.rate("f1_score")
    assert f1.value == pytest.approx(60 / 80) and f1.low < 0.75 < f1.high
    assert math.isnan(Confusion(0, 0, 5, 5).rate("precision").value)


def metrics_of(labels, scores) -> dict[str, float]:
    return curves.all_metrics(histogram.build(labels, scores, threshold=0.5))


def test_gaps_are_between_the_slice_and_everybody_else():
    # The slice: 2 of 4 selected, 1 of 2 converting found, 1 of 2 others selected. The rest: 1 of 6, 1 of 3, 0 of 3.
    inside = ([1, 1, 0, 0], [0.9, 0.1, 0.8, 0.2])
    rest = ([1, 1, 1, 0, 0, 0], [0.7, 0.2, 0.1, 0.1, 0.2, 0.3])
    whole = ([*inside[0], *rest[0]], [*inside[1], *rest[1]])
    found = group_fairness("west", metrics_of(*inside), metrics_of(*whole))
    assert found is not None and found.examples == 4
    assert {k: v.value for k, v in found.rates.items()} == {
        "selection_rate": 0.5, "true_positive_rate": 0.5, "false_positive_rate": 0.5,
    }  # fmt: skip
    gaps = {k: v.value for k, v in found.gaps.items()}
    assert gaps == pytest.approx(
        {"selection_rate": 1 / 2 - 1 / 6, "true_positive_rate": 1 / 2 - 1 / 3, "false_positive_rate": 1 / 2}
    )
    # Mean prediction 0.5 against a rate of 0.5 here, 1.6 / 6 against 0.5 elsewhere.
    assert found.calibration.value == pytest.approx(0.0, abs=1e-6)
    assert found.calibration_gap.value == pytest.approx(0.5 - 1.6 / 6, abs=1e-6)
    assert found.differs == ()


def test_a_large_difference_is_named_and_a_slice_of_everybody_is_not_compared():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 2000)
    scores = np.where(np.arange(2000) < 1000, 0.9, 0.2)
    inside = metrics_of(labels[:1000], scores[:1000])
    whole = metrics_of(labels, scores)
    found = group_fairness("first", inside, whole)
    assert found is not None
    assert set(found.differs) == {"selection_rate", "true_positive_rate", "false_positive_rate", "calibration"}
    assert found.gaps["selection_rate"].value == 1 and found.gaps["selection_rate"].low > 0.99
    assert group_fairness("all", whole, whole) is None
    assert group_fairness("none", {}, whole) is None
