"""From probabilities to an answer: the policy's order over the allowed actions.

With l the likelihood of an action, renormalised over the allowed ones (equal shares where all of these are 0), and v
the probability of conversion if it is next:

    likelihood  by falling l
    value       by falling v
    mix         those with l >= floor by falling v, then the rest by falling l

Equal actions stand in vocabulary order. Actions that are not allowed come last and are blanked out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from modules.recommendation.settings import PolicySettings

OUTPUTS = ("actions", "probabilities", "priorities", "next_best_action")
"""Outputs of serving_default and predict_columns."""


def likelihoods(probabilities: NDArray[Any], allowed: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Renormalised over the allowed actions: float32 [n, A], 0 for the others; all 0 where nothing is allowed."""
    left = np.where(allowed, np.asarray(probabilities, np.float32), np.float32(0))
    total = left.sum(axis=1, keepdims=True)
    count = np.maximum(allowed.sum(axis=1, keepdims=True), 1).astype(np.float32)
    return np.where(total > 0, left / np.where(total > 0, total, 1), allowed / count).astype(np.float32)


def order(
    likelihood: NDArray[Any], conversion: NDArray[Any], allowed: NDArray[np.bool_], policy: PolicySettings
) -> NDArray[np.int64]:
    """Classes from best to last, int64 [n, A]; those that are not allowed stand last.

    Args:
      likelihood: [n, A], of `likelihoods`.
      conversion: [n, A], 0-1.
      allowed: bool [n, A].
      policy: kind and floor.
    """
    likelihood, conversion = np.asarray(likelihood, np.float64), np.asarray(conversion, np.float64)
    score = conversion if policy.kind == "value" else likelihood
    if policy.kind == "mix":
        score = np.where(likelihood >= np.float32(policy.floor), 2 + conversion, likelihood)
    return np.argsort(-np.where(allowed, score, -1), axis=1, kind="stable")


def rank_tensor(
    probabilities: tf.Tensor,
    conversion: tf.Tensor,
    allowed: tf.Tensor,
    actions: Sequence[str],
    policy: PolicySettings,
) -> dict[str, tf.Tensor]:
    """The answer, in TensorFlow: `likelihoods` and `order`, cut to the first k = top_k (or A).

    Args:
      probabilities, conversion: float32 [n, A], in vocabulary order.
      allowed: bool [n, A].
      actions: vocabulary.
      policy: kind, floor, top_k.

    Returns:
      actions: string [n, k]; '' behind the last allowed action.
      probabilities: float32 [n, k], 0-1. priorities: float32 [n, k], 0-100. Both 0 behind the last allowed action.
      next_best_action: string [n]; '' where nothing is allowed.
    """
    left = tf.where(allowed, probabilities, 0.0)
    left = tf.where(tf.reduce_sum(left, axis=1, keepdims=True) > 0, left, tf.cast(allowed, tf.float32))
    likelihood = tf.math.divide_no_nan(left, tf.reduce_sum(left, axis=1, keepdims=True))

    # float64 holds 2 + x exactly enough that no two float32 become equal.
    score = tf.cast(conversion if policy.kind == "value" else likelihood, tf.float64)
    if policy.kind == "mix":
        promoted = likelihood >= np.float32(policy.floor)
        score = tf.where(promoted, 2 + tf.cast(conversion, tf.float64), score)
    score = tf.where(allowed, score, tf.constant(-1, tf.float64))
    # Equal ones come in order of their index.
    best = tf.math.top_k(score, min(policy.top_k or len(actions), len(actions)))
    there = best.values >= 0
    found = tf.where(there, tf.gather(tf.constant(list(actions)), best.indices), "")
    return {
        "actions": found,
        "probabilities": tf.gather(likelihood, best.indices, batch_dims=1),
        "priorities": tf.where(there, 100 * tf.gather(conversion, best.indices, batch_dims=1), 0.0),
        "next_best_action": found[:, 0],
    }
