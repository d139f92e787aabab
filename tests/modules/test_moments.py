from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modules.moments import MergeMoments, batch_moments, standardisation

NUMBERS = hnp.arrays(
    np.float32, st.integers(0, 30), elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, np.inf])
)


def test_moments_by_hand():
    first = batch_moments([tf.constant([1.0, np.nan, 3.0]), tf.constant([[np.inf]])]).numpy()
    np.testing.assert_array_equal(first, [[2, 2, 2], [0, 0, 0]])
    second = batch_moments([tf.constant([8.0]), tf.constant([5.0])]).numpy()
    # Mean of 1, 3, 8 is 4; squared distances 9 + 1 + 16 over 3. One value has the deviation 1.
    np.testing.assert_allclose(standardisation([first, second], 2), [[4, np.sqrt(26 / 3)], [5, 1]], rtol=1e-15)


def test_without_values_numbers_stay_as_they_are():
    np.testing.assert_array_equal(standardisation([], 2), [[0, 1], [0, 1]])
    assert batch_moments([]).shape == (0, 3)


def test_digits_survive_a_large_mean():
    # The sum of 3000 squares is 3e21, where doubles lie 5e5 apart: more than the variance, 11,000.
    numbers = np.array([2.0**30, 2.0**30 + 128, 2.0**30 + 256], np.float32)
    found = standardisation([batch_moments([tf.constant(numbers)]).numpy()] * 1000, 1)
    np.testing.assert_allclose(found, [[2.0**30 + 128, 128 * np.sqrt(2 / 3)]], rtol=1e-12)


def test_equal_values_have_the_deviation_1():
    batches = [batch_moments([tf.fill([n], tf.constant(0.1))]).numpy() for n in (3, 7, 1000)]
    np.testing.assert_allclose(standardisation(batches, 1), [[np.float32(0.1), 1]], rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(parts=st.lists(NUMBERS, max_size=8), order=st.randoms(use_true_random=False))
def test_moments_do_not_depend_on_how_the_numbers_are_dealt_out(parts, order):
    batches = [batch_moments([tf.constant(part)]).numpy() for part in parts]
    combine = MergeMoments(1)
    expected = combine.extract_output(batches)
    order.shuffle(batches)
    accumulators = []
    for batch in batches:
        accumulators.append(combine.add_input(combine.create_accumulator(), batch))
    found = combine.extract_output(combine.merge_accumulators(accumulators))
    np.testing.assert_array_equal(found, expected)
    values = np.concatenate([np.zeros(0, np.float32), *parts]).astype(np.float64)
    values = values[np.isfinite(values)]
    if len(np.unique(values)) > 1:
        np.testing.assert_allclose(found[0], [values.mean(), values.std()], rtol=1e-6, atol=1e-9)
