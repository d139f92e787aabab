"""The mean of several networks' probabilities, as logits."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from modules.recommendation.averaging import mean_logits

LOGITS = st.floats(-80, 80, width=32)


def averaged(actions: np.ndarray, conversions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pairs = [
        (tf.constant(a, tf.float32), tf.constant(c, tf.float32)) for a, c in zip(actions, conversions, strict=True)
    ]
    action, conversion = mean_logits(pairs)
    return action.numpy(), conversion.numpy()


def test_two_networks_that_disagree_meet_in_the_middle() -> None:
    """Probabilities 0.8 and 0.2 of the first, 0.4 and 0.6 of the second network: 0.6 and 0.4."""
    action, conversion = averaged(np.log([[[0.8, 0.2]], [[0.4, 0.6]]]), special.logit([[[0.9]], [[0.1]]]))
    np.testing.assert_allclose(np.exp(action), [[0.6, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(conversion, [[0.0]], atol=1e-6)


@given(st.integers(1, 4), st.integers(0, 3), st.data())
def test_probabilities_are_the_means_of_those_of_the_networks(members: int, rows: int, data: st.DataObject) -> None:
    draw = arrays.arrays(np.float32, (members, rows, 3), elements=LOGITS)
    actions, conversions = data.draw(draw), data.draw(draw)
    action, conversion = averaged(actions, conversions)
    assert action.shape == conversion.shape == (rows, 3) and action.dtype == conversion.dtype == np.float32
    wanted = special.softmax(actions.astype(float), axis=-1).mean(axis=0)
    np.testing.assert_allclose(special.softmax(action.astype(float), axis=-1), wanted, rtol=2e-5, atol=1e-30)
    wanted = special.expit(conversions.astype(float)).mean(axis=0)
    np.testing.assert_allclose(special.expit(conversion.astype(float)), wanted, rtol=2e-5, atol=1e-30)


def test_logits_of_one_network_are_not_touched() -> None:
    one = tf.constant([[1e30, -3.0]]), tf.constant([[0.1, -7e20]])
    found = mean_logits([one])
    assert found[0] is one[0] and found[1] is one[1]


def test_logits_beyond_every_probability_stay_finite() -> None:
    """exp(-1000) is 0 in any precision; its logarithm is not lost."""
    action, conversion = averaged(
        np.array([[[1000.0, 0.0, 0.0]], [[1000.0, 0.0, -500.0]]]), np.array([[[1e6, -1e6, 1e6]], [[1e6, -1e6, -1e6]]])
    )
    np.testing.assert_allclose(action, [[0.0, -1000.0, -1000.0 - np.log(2)]], rtol=1e-6)
    np.testing.assert_allclose(conversion, [[1e6, -1e6, 0.0]], rtol=1e-6)
