"""Vectorised draws."""

from __future__ import annotations

import numpy as np


def generator(seed: int, chunk: int, stream: int) -> np.random.Generator:
    """A generator of its own for every (seed, chunk, stream), so that no draw depends on how work is scheduled."""
    return np.random.default_rng([seed, chunk, stream])


def cumulative(weights: np.ndarray) -> np.ndarray:
    """Cumulative shares along the last axis, float64, the last one exactly 1."""
    sums = np.cumsum(np.asarray(weights, dtype=np.float64), axis=-1)
    sums /= sums[..., -1:]
    sums[..., -1] = 1.0
    return sums


def pick(cumulative_shares: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """One category per row: the number of cumulative shares that do not exceed the uniform draw.

    Args:
      cumulative_shares: [n, k], ascending along the last axis.
      uniform: [n], in [0, 1).

    Returns:
      int64 [n], 0 to k - 1.
    """
    above = cumulative_shares <= uniform[:, None]
    return np.minimum(above.sum(axis=1), cumulative_shares.shape[1] - 1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + np.exp(-x))


def softmax(logits: np.ndarray) -> np.ndarray:
    """exp(x) / sum(exp(x)) over the last axis, safe for any finite x and for -inf."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return shifted
