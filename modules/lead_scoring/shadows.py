"""Ranks units of columns against random shadows.

A unit is one column, or all columns of a row of the feature table. Its shadow is a copy whose rows are shuffled (as a
whole, so that an indicator's shadow still has one 1 a row): alike in everything but what it says about the label. In
each round a booster is fitted to two thirds of the leads, with real columns and shadows side by side, and measured on
the other third:

    score(u) = mean over held-out leads of logloss(y, m - c_u + mean(c_u)) - logloss(y, m)

m being the lead's margin and c_u the sum of its path contributions from the columns of u. That is what held-out leads
lose when the trees' use of the unit is taken away. Gain in training grows with the number of places where a column can
be cut, so that noise of high cardinality looks better than a true indicator; what is measured on leads that the trees
have not seen is 0 or less, on average, for noise of any kind. A unit hits when its score is above that of every shadow.

References: Kursa, Rudnicki 2010, Feature selection with the Boruta package (shadows, hits, the test); Li, Wang, Basu,
Kumbier, Yu 2019, A debiased MDI feature importance measure for random forests (contributions on held-out data).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from scipy import stats

from modules import progress

HELD_OUT = 1 / 3
TREES = 60
BINS = 64
PARAMETERS = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "device": "cpu",
    "learning_rate": 0.15,
    "max_depth": 4,
    "max_bin": BINS,
    "min_child_weight": 5.0,
    # A strong column must not be the only one that a split can choose, or weak ones would never be tried.
    "colsample_bynode": 0.6,
    "nthread": 1,
    "verbosity": 0,
}


@dataclass(frozen=True)
class Ranking:
    """Scores of U units in R rounds.

    Attributes:
      scores: float64 [R, U], nats per lead.
      best_shadow: float64 [R], the highest score of a shadow, at least 0.
    """

    scores: NDArray[np.float64]
    best_shadow: NDArray[np.float64]

    @property
    def hits(self) -> NDArray[np.int64]:
        """Rounds in which a unit beat every shadow, int64 [U]."""
        return (self.scores > self.best_shadow[:, None]).sum(axis=0)


def needed_hits(rounds: int, level: float) -> int:
    """Fewest hits with which a unit stays: with fewer it is worse than a coin toss in each round, at this level.

    Args:
      rounds: R.
      level: probability, 0-1, that a unit as good as the best shadow has fewer hits.

    Returns:
      0 to R.
    """
    return int((stats.binom.cdf(np.arange(rounds), rounds, 0.5) <= level).sum())


def rank(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    units: Sequence[Sequence[int]],
    rounds: int,
    seed: int,
    *,
    weights: NDArray[np.float32] | None = None,
    nthread: int | None = None,
) -> Ranking:
    """Scores units of columns.

    Args:
      x: [n, F], missing is NaN.
      y: [n], 0 or 1.
      units: columns of each unit; every column of `x` belongs to one.
      rounds: R.
      seed: same seed and data, same scores.
      weights: [n] of the leads, in fitting and measuring; 1 without.
      nthread: rounds at a time; as many as there are cores by default. It does not change the scores.
    """
    sums = np.zeros((x.shape[1], len(units)))
    for unit, columns in enumerate(units):
        sums[list(columns), unit] = 1
    weights = np.ones(len(y), np.float32) if weights is None else weights

    def score(number: int) -> NDArray[np.float64]:
        return _round(x, y, weights, units, sums, np.random.default_rng([seed, number]))

    scores, best = np.zeros((rounds, len(units))), np.zeros(rounds)
    with ThreadPoolExecutor(min(nthread or os.cpu_count() or 1, rounds)) as pool:
        for number, found in enumerate(pool.map(score, range(rounds))):
            scores[number] = found[: len(units)]
            best[number] = max(0.0, found[len(units) :].max())
            progress.report(number + 1, rounds, "ranking columns against shadows")
    return Ranking(scores, best)


def _round(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    weights: NDArray[np.float32],
    units: Sequence[Sequence[int]],
    sums: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Scores of the units, then of their shadows, float64 [2 U]."""
    n, width = x.shape
    both = np.concatenate([x, x], axis=1)
    for columns in units:
        at = np.asarray(columns, np.intp)
        both[:, width + at] = x[rng.permutation(n)][:, at]
    order = rng.permutation(n)
    held_out, fitted = np.split(order, [round(n * HELD_OUT)])
    # Rounds share the cores; within one, threads would cost more than they bring on so few rows.
    data = xgb.QuantileDMatrix(both[fitted], y[fitted], weight=weights[fitted], max_bin=BINS, nthread=1)
    parameters = {**PARAMETERS, "seed": int(rng.integers(1 << 31))}
    booster = xgb.train(parameters, data, num_boost_round=TREES)
    paths = booster.predict(xgb.DMatrix(both[held_out], nthread=1), pred_contribs=True, approx_contribs=True)
    parts = np.concatenate([paths[:, :width] @ sums, paths[:, width:-1] @ sums], axis=1)
    margin = paths.sum(axis=1, dtype=np.float64)
    return loss_without(parts, margin, y[held_out], weights[held_out])


def loss_without(
    parts: NDArray[np.float64], margin: NDArray[np.float64], y: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Log loss that n leads gain when the contributions of a unit are replaced by their mean, float64 [U].

    Args:
      parts: [n, U], contributions in log-odds.
      margin: [n], log-odds.
      y: [n], 0 or 1.
      weights: [n], not all 0.
    """
    w = weights.astype(np.float64)
    w /= w.sum()
    sign = np.where(y > 0, -1.0, 1.0)
    without = np.logaddexp(0, sign[:, None] * (margin[:, None] - (parts - w @ parts)))
    return w @ without - w @ np.logaddexp(0, sign * margin)
