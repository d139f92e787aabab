"""Plots in TFMA's protos against counts made directly."""

from __future__ import annotations

import math

import numpy as np

from modules.evaluation import histogram, plots


def test_confusion_matrices_count_predictions_above_each_threshold():
    random = np.random.default_rng(4)
    # Multiples of a quarter, so that predictions meet thresholds exactly.
    predictions = random.integers(0, 5, 200) / 4
    labels, weights = random.integers(0, 2, 200), random.integers(1, 4, 200)
    plot = plots.confusion_matrix_plot(histogram.build(labels, predictions, weights), 4)
    assert [matrix.threshold for matrix in plot.matrices] == [-1e-6, 0.0, 0.25, 0.5, 0.75, 1.0]
    for matrix in plot.matrices:
        above = predictions > matrix.threshold
        assert matrix.true_positives == weights[above & (labels == 1)].sum()
        assert matrix.false_positives == weights[above & (labels == 0)].sum()
        assert matrix.true_negatives == weights[~above & (labels == 0)].sum()
        assert matrix.false_negatives == weights[~above & (labels == 1)].sum()
        assert matrix.accuracy == weights[above == (labels == 1)].sum() / weights.sum()
    assert plot.matrices[-1].precision == 1 and plot.matrices[-1].recall == 0
    assert math.isnan(plot.matrices[0].false_omission_rate)


def test_calibration_buckets_hold_sums_and_one_has_its_own():
    plot = plots.calibration_plot(histogram.build([0, 1, 1, 1], [0.0, 0.125, 0.5, 1.0], [1.0, 2.0, 3.0, 4.0]), 2)
    rows = [
        (b.total_weighted_label.value, b.total_weighted_refined_prediction.value, b.num_weighted_examples.value)
        for b in plot.buckets
    ]
    assert rows == [(0, 0, 0), (2, 0.25, 3), (3, 1.5, 3), (4, 4, 4)]
    assert [b.lower_threshold_inclusive for b in plot.buckets] == [-math.inf, 0, 0.5, 1]
    assert [b.upper_threshold_exclusive for b in plot.buckets] == [0, 0.5, 1, math.inf]


def test_plots_of_no_examples_are_empty():
    assert all(not b.num_weighted_examples.value for b in plots.calibration_plot(histogram.empty(), 3).buckets)
    assert all(not m.true_positives for m in plots.confusion_matrix_plot(histogram.empty(), 3).matrices)


def test_quantile_buckets_hold_equal_shares_and_keep_equal_predictions_together():
    plot = plots.quantile_plot(histogram.build([0, 1, 0, 1, 1, 0], [0.1, 0.2, 0.2, 0.2, 0.5, 0.75]), 3)
    rows = [
        (b.total_weighted_label.value, b.total_weighted_refined_prediction.value, b.num_weighted_examples.value)
        for b in plot.buckets
    ]
    # Thirds of six examples; the three of 0.2 have their middle at 2.5 of 6, in the second third.
    assert [r[0] for r in rows] == [0, 2, 1]
    np.testing.assert_allclose([r[1] for r in rows], [0.1, 0.6, 1.25], rtol=1e-6)
    assert [r[2] for r in rows] == [1, 3, 2]
    lows = [b.lower_threshold_inclusive for b in plot.buckets]
    assert lows == [np.float32(0.1), np.float32(0.2), 0.5]
    assert [b.upper_threshold_exclusive for b in plot.buckets] == [*lows[1:], np.nextafter(np.float32(0.75), 1)]
    assert not plots.quantile_plot(histogram.empty()).buckets


def test_confusion_of_actions_lists_the_pairs_that_occur():
    plot = plots.action_confusion_plot(np.array([[0, 2.0], [0, 3.0]]))
    entries = [(e.actual_class_id, e.predicted_class_id, e.num_weighted_examples) for e in plot.matrices[0].entries]
    assert entries == [(-1, 0, 2.0), (0, 0, 3.0)]
