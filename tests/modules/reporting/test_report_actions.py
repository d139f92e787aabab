"""What is taken for what, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from modules.evaluation import plots
from modules.reporting.actions import OTHERS, UNKNOWN, ActionConfusion


def test_precision_recall_and_shares_by_action():
    random = np.random.default_rng(1)
    taken, predicted = random.integers(0, 3, 400), random.integers(0, 3, 400)
    matrix = np.zeros((4, 4))
    matrix[1:, 1:] = metrics.confusion_matrix(taken, predicted)
    found = ActionConfusion.from_entries(
        plots.action_confusion_plot(matrix).matrices[0].entries, ["call", "mail", "wait"]
    )
    precision, recall, f1, support = metrics.precision_recall_fscore_support(taken, predicted)
    rows = {row.action: row for row in found.rows()}
    for i, action in enumerate(("call", "mail", "wait")):
        row = rows[action]
        assert (row.precision.value, row.recall.value, row.f1) == pytest.approx((precision[i], recall[i], f1[i]))
        assert row.taken == support[i]
    assert [row.taken for row in found.rows()] == sorted(support, reverse=True)
    np.testing.assert_allclose(found.shares().sum(axis=1), 1)


def test_an_unknown_action_is_never_right_and_rare_ones_are_counted_together():
    matrix = np.zeros((65, 65))
    matrix[0, 1], matrix[64, 64] = 3, 5
    vocabulary = [f"a{i}" for i in range(80)]
    found = ActionConfusion.from_entries(plots.action_confusion_plot(matrix).matrices[0].entries, vocabulary)
    rows = {row.action: row for row in found.rows()}
    assert set(rows) == {UNKNOWN, "a0", OTHERS}
    assert rows[UNKNOWN].recall.value == 0 and rows[OTHERS].correct == 5
    last = ActionConfusion.from_entries(plots.action_confusion_plot(matrix).matrices[0].entries, vocabulary[:64])
    assert "a63" in last.actions
