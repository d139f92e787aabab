"""Answers of several networks as the answer of one: the mean of their probabilities, as logits.

    action_logits      log of the mean over networks of softmax(action_logits)
    conversion_logits  log-odds of the mean over networks of sigmoid(conversion_logits)

So softmax and sigmoid of the result are the mean probabilities, and calibration.py works on them as on the logits of a
single network. Reference: Lakshminarayanan et al. 2017, Simple and scalable predictive uncertainty estimation using
deep ensembles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf


def mean_logits(members: Sequence[tuple[tf.Tensor, tf.Tensor]]) -> tuple[tf.Tensor, tf.Tensor]:
    """(action_logits, conversion_logits) of M >= 1 networks -> those of their mean; of one network its own, untouched.

    Computed with logarithms of probabilities throughout, so finite logits of any size give finite logits.

    Args:
      members: float32 [..., A] and float32 of any shape, the same for all networks.
    """
    if len(members) == 1:
        return members[0]
    actions, conversions = (tf.stack(found) for found in zip(*members, strict=True))
    action = tf.reduce_logsumexp(tf.nn.log_softmax(actions, axis=-1), axis=0) - math.log(len(members))
    converted = tf.reduce_logsumexp(tf.math.log_sigmoid(conversions), axis=0)
    lost = tf.reduce_logsumexp(tf.math.log_sigmoid(-conversions), axis=0)
    return action, converted - lost
