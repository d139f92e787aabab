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
