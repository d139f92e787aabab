"""Intervals for the figures of a report, from counts and sums alone.

References: Wilson 1927, Probable inference; Newcombe 1998, Interval estimation for the difference between independent
proportions (method 10); DeLong, DeLong, Clarke-Pearson 1988, Comparing the areas under two or more correlated ROC
curves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Coverage of the intervals of a report."""

BOOTSTRAPS = 400


@dataclass(frozen=True)
class Interval:
    """A figure and where it may lie.

    Attributes:
      value: the estimate; NaN where it is not defined.
      low, high: ends; NaN where there is no interval.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def normal_quantile(level: float = LEVEL) -> float:
    """z with P(|N(0, 1)| < z) = level."""
    return float(special.ndtri(0.5 + level / 2))


def wilson(successes: float, trials: float, level: float = LEVEL) -> Interval:
    """Score interval of a proportion; NaN without trials.

    (k + z²/2 ± z sqrt(k (n - k) / n + z²/4)) / (n + z²)
    """
    if not trials > 0:
        return Interval(math.nan)
    z = normal_quantile(level)
    share = successes / trials
    middle = successes + z * z / 2
    half = z * math.sqrt(max(successes * (trials - successes) / trials, 0.0) + z * z / 4)
    low, high = (middle - half) / (trials + z * z), (middle + half) / (trials + z * z)
    return Interval(share, max(0.0, min(low, share)), min(1.0, max(high, share)))


def difference(a: Interval, b: Interval) -> Interval:
    """a - b of two independent figures, from their own intervals (Newcombe's method; of proportions with `wilson`).

    low = d - sqrt((a - low_a)² + (high_b - b)²), high = d + sqrt((high_a - a)² + (b - low_b)²)
    """
    d = a.value - b.value
    if not (a.known and b.known):
        return Interval(d)
    return Interval(
        d,
        d - math.hypot(a.value - a.low, b.high - b.value),
        d + math.hypot(a.high - a.value, b.value - b.low),
    )


def from_error(
    value: float, error: float, level: float = LEVEL, least: float = -math.inf, most: float = math.inf
) -> Interval:
    """value ± z error, cut at `least` and `most`."""
    if not (math.isfinite(value) and math.isfinite(error)):
        return Interval(value)
    half = normal_quantile(level) * error
    return Interval(value, max(least, value - half), min(most, value + half))


def bootstrap(
    counts: Floats,
    statistic: Callable[[Floats], float],
    *,
    level: float = LEVEL,
    seed: int = 0,
    times: int = BOOTSTRAPS,
) -> Interval:
    """Percentile interval of a statistic of counts: as many examples are drawn anew, in the shares observed.

    Args:
      counts: [k], examples by kind (score interval and label, or cell of a confusion matrix).
      statistic: a figure of such counts.
      seed: equal seeds, equal intervals.
    """
    value, total = statistic(counts), round(float(counts.sum()))
    if total < 1 or not math.isfinite(value):
        return Interval(value)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(total, counts / counts.sum(), size=times).astype(np.float64)
    found = np.array([statistic(row) for row in drawn])
    found = found[np.isfinite(found)]
    if len(found) < times / 2:
        return Interval(value)
    low, high = np.quantile(found, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(value, min(float(low), value), max(float(high), value))
