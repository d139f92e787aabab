"""Histograms of predictions by label: exactness, merging in any order, bounded size, refusals."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.errors import DataError
from modules.evaluation import curves, histogram


def assert_same(left: histogram.ScoreHistogram, right: histogram.ScoreHistogram) -> None:
    assert left.shift == right.shift
    np.testing.assert_array_equal(left.keys, right.keys)
    np.testing.assert_array_equal(left.negatives, right.negatives)
    np.testing.assert_array_equal(left.positives, right.positives)
    np.testing.assert_allclose(left.sums, right.sums, rtol=1e-12)


def test_equal_predictions_share_a_bin():
    built = histogram.build([0, 1, 1, 0], [0.25, 0.75, 0.25, 0.25], [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(built.predictions(), [0.25, 0.75])
    np.testing.assert_array_equal(built.negatives, [5.0, 0.0])
    np.testing.assert_array_equal(built.positives, [3.0, 2.0])
    assert built.total("count") == 4
    assert built.total("weight") == 10
    assert built.total("weighted_squared_error") == 5 * 0.0625 + 3 * 0.5625 + 2 * 0.0625


def test_a_prediction_at_the_threshold_counts_as_negative():
    built = histogram.build([1, 1, 0, 0], [0.5, 0.75, 0.5, 0.75], threshold=0.5)
    names = ("true_positives", "false_positives", "true_negatives", "false_negatives")
    assert [built.total(name) for name in names] == [1, 1, 1, 1]


def test_negative_zero_and_zero_are_one_bin():
    assert histogram.build([0, 1], [-0.0, 0.0]).keys.tolist() == [0]


Rows = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1, width=32), st.integers(0, 5)), max_size=40)


@settings(max_examples=80, deadline=None)
@given(st.lists(Rows, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_merging_in_any_order_and_grouping_equals_building_at_once(parts, random):
    def build(rows):
        labels, predictions, weights = np.array(rows, dtype=np.float64).reshape(-1, 3).T
        return histogram.build(labels, predictions, weights)

    with pytest.MonkeyPatch.context() as patch:
        # Few bins, so that most cases grow coarser on the way.
        patch.setattr(histogram, "MAX_BINS", 8)
        at_once = build([row for part in parts for row in part])
        built = [build(part) for part in parts]
        assert_same(histogram.merge(built), at_once)
        assert_same(functools.reduce(lambda a, b: histogram.merge([a, b]), built), at_once)
        random.shuffle(built)
        assert_same(functools.reduce(lambda a, b: histogram.merge([b, a]), built, histogram.empty()), at_once)
        assert at_once.keys.size <= 8


def test_a_builder_merges_on_the_way_and_ends_at_the_same_histogram():
    random = np.random.default_rng(0)
    labels, predictions = random.integers(0, 2, 60_000), random.random(60_000, np.float32)
    builder = histogram.HistogramBuilder()
    for part in np.array_split(np.arange(60_000), 600):
        builder.add(histogram.build(labels[part], predictions[part]))
        assert builder.num_bins < 2 * 60_000
    assert_same(builder.result(), histogram.build(labels, predictions))


def test_groups_equal_histograms_built_one_by_one():
    random = np.random.default_rng(1)
    labels, predictions = random.integers(0, 2, 500), random.random(500).round(2)
    weights, rows, groups = random.random(500), random.integers(0, 500, 900), random.integers(0, 4, 900)
    built = histogram.build_groups(groups, 5, labels, predictions, weights, 0.3, rows=rows)
    for group in range(5):
        member = rows[groups == group]
        alone = histogram.build(labels[member], predictions[member], weights[member], threshold=0.3)
        np.testing.assert_array_equal(built[group].keys, alone.keys)
        np.testing.assert_allclose(built[group].negatives, alone.negatives, rtol=1e-12)
        np.testing.assert_allclose(built[group].positives, alone.positives, rtol=1e-12)
        np.testing.assert_allclose(built[group].sums, alone.sums, rtol=1e-12)
    assert built[4].total("count") == 0


@pytest.mark.parametrize(
    "draw", [lambda r, n: r.random(n), lambda r, n: 0.5 + r.random(n) / 2, lambda r, n: r.beta(1, 30, n)]
)
def test_beyond_the_most_bins_memory_is_bounded_and_auc_within_a_ten_thousandth(draw):
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(2)
    predictions = draw(random, 400_000).astype(np.float32)
    labels = (random.random(predictions.size) < predictions).astype(np.int8)
    half = predictions.size // 2
    merged = histogram.merge(
        [histogram.build(labels[:half], predictions[:half]), histogram.build(labels[half:], predictions[half:])]
    )
    assert merged.shift > 0
    assert histogram.MAX_BINS / 3 < merged.keys.size <= histogram.MAX_BINS
    assert len(pickle.dumps(merged)) < 2_000_000
    bound = curves.auc_error_bound(merged)
    assert bound < 1e-4
    assert abs(curves.auc(merged) - roc_auc_score(labels, predictions)) <= bound
    assert merged.total("weighted_label") == labels.sum()


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [300.0, 70_000.0, 2.0], [0.25, 1.5, 2.0]])
def test_a_histogram_survives_the_way_between_workers(weights):
    built = histogram.build([0, 1, 1], [0.1, 0.2, 0.2], weights)
    assert_same(pickle.loads(pickle.dumps(built)), built)


@pytest.mark.parametrize(
    ("labels", "predictions", "weights", "message"),
    [
        ([0, 2], [0.1, 0.2], None, "Labels must be 0 or 1, but 1 of 2"),
        ([0, np.nan], [0.1, 0.2], None, "Labels must be 0 or 1"),
        ([0, 1], [0.1, np.nan], None, r"Predictions must be probabilities in \[0, 1\], but 1 of 2"),
        ([0, 1], [1.5, -0.1], None, "Predictions must be probabilities .* but 2 of 2"),
        ([0, 1], [0.1, 0.2], [1.0, -1.0], "weights must be finite and not negative"),
        ([0, 1], [0.1], None, "2 labels, 1 predictions"),
    ],
)
def test_values_out_of_range_are_refused(labels, predictions, weights, message):
    with pytest.raises(DataError, match=message):
        histogram.build(labels, predictions, weights)
