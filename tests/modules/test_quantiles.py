from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.quantiles import Distribution, MergeDistribution, batch_counts, merged

SHARES = np.linspace(0, 1, 41)
# TensorFlow takes subnormal numbers for 0.
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def distribution(values, most=1 << 16, parts=1, order=None) -> Distribution:
    """The distribution of float32 values that come in so many batches, merged two by two in some order."""
    combine = MergeDistribution(most)
    pieces = np.array_split(np.asarray(values, np.float32), parts)
    accumulators = []
    for piece in pieces:
        reduced = [tensor.numpy() for tensor in batch_counts(tf.constant(piece))]
        accumulators.append(combine.add_input(combine.create_accumulator(), reduced))
    order = range(parts) if order is None else order
    found = combine.create_accumulator()
    for i in order:
        found = combine.merge_accumulators([found, accumulators[i]])
    return combine.extract_output(found)


def test_small_data_are_exact_by_hand():
    found = distribution([4, 1, np.nan, 3, np.inf, 2, -0.0, 0.0])
    assert (found.level, found.size, found.low, found.high) == (0, 6, 0.0, 4.0)
    # 0 0 1 2 3 4: the middle lies between 1 and 2; a tenth lies half a place behind the first 0.
    np.testing.assert_array_equal(found.quantiles([0, 0.1, 0.5, 0.9, 1]), [0, 0, 1.5, 3.5, 4])
    assert found.moments() == (10 / 6, pytest.approx(np.std([0, 0, 1, 2, 3, 4]), rel=1e-15))
    assert found.moments(1, 3) == (pytest.approx(11 / 6), pytest.approx(np.std([1, 1, 1, 2, 3, 3])))


def test_without_values_there_is_nothing():
    found = distribution([np.nan, np.inf])
    assert found.size == 0 and found.moments() == (0.0, 0.0)
    assert np.isnan(found.quantiles([0.5])).all() and np.isnan(found.low)
    assert merged([]).size == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=60))
def test_exact_quantiles_are_those_of_numpy(values):
    # Adding 0 makes one zero of two.
    values = np.array(values, np.float32).astype(np.float64) + 0.0
    np.testing.assert_allclose(distribution(values, parts=2).quantiles(SHARES), np.quantile(values, SHARES), rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(NUMBERS, min_size=1, max_size=80),
    st.integers(2, 20),
    st.permutations(range(5)),
)
def test_beyond_the_cells_the_error_is_bounded_and_the_order_does_not_matter(values, most, order):
    found, other = distribution(values, most), distribution(values, most, 5, order)
    assert len(found.cells) <= most and found.counts.sum() == len(values)
    assert found.level == other.level and (found.low, found.high) == (other.low, other.high)
    np.testing.assert_array_equal(found.cells, other.cells)
    np.testing.assert_array_equal(found.counts, other.counts)
    true = np.sort(np.array(values, np.float32).astype(np.float64) + 0.0)
    error = np.abs(found.order_statistics(np.arange(len(values))) - true)
    # A cell of numbers that are not normal is as wide as one of the smallest normal ones.
    bound = 2.0 ** (found.level - 23) * np.maximum(np.abs(true), np.finfo(np.float32).tiny)
    assert found.level > 22 or (error <= bound).all()


def test_many_different_values_of_a_wide_range():
    rng = np.random.default_rng(0)
    values = rng.lognormal(10, 2, 300_000).astype(np.float32)
    found, wide = distribution(values, parts=7), values.astype(np.float64)
    assert 0 < found.level <= 12 and len(found.cells) <= 1 << 16
    assert np.abs(found.quantiles(SHARES) / np.quantile(wide, SHARES) - 1).max() < 2.0 ** (found.level - 23)
    mean, deviation = found.moments()
    assert mean == pytest.approx(wide.mean(), rel=1e-5) and deviation == pytest.approx(wide.std(), rel=1e-4)
