"""Shapley values of any function of a set of players, as TensorFlow operations.

    phi[i] = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))

which is what i adds on average over all orders in which the players may come. Up to `EXACT` players all sets are asked;
of more, `PERMUTATIONS` orders are, drawn once and for all, each with its reverse (antithetic sampling, Mitchell et al.
2022), so that the same question has the same answer. Either way v(nobody) + sum of phi = v(all), and a player who never
changes anything has exactly 0. Reference: Strumbelj & Kononenko 2014, Explaining prediction models and individual
predictions with feature contributions.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial

import numpy as np
import tensorflow as tf

EXACT = 7
"""Most players for whom all sets are asked: 128."""

PERMUTATIONS = 16
"""Orders of more players: the cost of n is PERMUTATIONS (n + 1) questions."""

Value = Callable[[tf.Tensor], tf.Tensor]


def shapley_values(value: Value, players: tf.Tensor, most: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Shapley values of the players of a game.

    Args:
      value: sets of players, bool [m, players] -> float32 [m, q], q values of each set.
      players: int32 scalar, n, 1 to `most`.
      most: static bound of n.

    Returns:
      phi float32 [n, q]; the values of nobody, and of all, float32 [q].
    """
    return tf.cond(players <= EXACT, lambda: _exact(value, players), lambda: _sampled(value, players, most))


def _exact(value: Value, players: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    sets = tf.range(tf.bitwise.left_shift(1, players))
    player = tf.range(players)
    masks = tf.bitwise.bitwise_and(tf.bitwise.right_shift(sets[:, None], player), 1) > 0
    values = value(masks)
    # What each player adds to each set; nothing to one that it is in.
    joined = tf.bitwise.bitwise_or(sets[:, None], tf.bitwise.left_shift(1, player))
    added = tf.gather(values, joined) - values[:, None]
    size = tf.reduce_sum(tf.cast(masks, tf.int32), axis=1)
    weight = tf.gather(tf.gather(tf.constant(_weights()), players), size)
    return tf.reduce_sum(weight[:, None, None] * added, axis=0), values[0], values[-1]


def _weights() -> np.ndarray:
    """float32 [EXACT + 1, EXACT + 1]: s! (n - s - 1)! / n! in row n, column s; 0 where there is none."""
    table = np.zeros((EXACT + 1, EXACT + 1), np.float32)
    for n in range(1, EXACT + 1):
        for s in range(n):
            table[n, s] = factorial(s) * factorial(n - s - 1) / factorial(n)
    return table


def _sampled(value: Value, players: tf.Tensor, most: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    keys = np.random.default_rng(0).random((PERMUTATIONS // 2, most)).astype(np.float32)
    order = tf.argsort(tf.constant(keys)[:, :players], axis=1)
    rank = tf.argsort(order, axis=1)  # [permutations, n]: when each player comes
    rank = tf.concat([rank, players - 1 - rank], axis=0)
    came = rank[:, None, :] < tf.range(players + 1)[None, :, None]
    values = value(tf.reshape(came, tf.stack([-1, players])))
    values = tf.reshape(values, tf.stack([PERMUTATIONS, players + 1, tf.shape(values)[1]]))
    added = values[:, 1:] - values[:, :-1]
    return tf.reduce_mean(tf.gather(added, rank, batch_dims=1), axis=0), values[0, 0], values[0, -1]
