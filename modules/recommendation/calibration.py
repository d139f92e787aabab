"""From the network's logits to probabilities, learned on the calibration split.

    probability of action a     softmax(action_logits / temperature)[a]
    conversion if a is next     sigmoid(slope * conversion_logits[a] + bias)

Both maximise the likelihood of what happened; slope and bias are learned from the actions taken, with Platt's targets
(c + 1) / (c + 2) and 1 / (n - c + 2) for c of n converted, which keep them finite when all or none did. Temperature and
slope are positive, so no order changes. References: Guo et al. 2017, On calibration of modern neural networks; Platt
1999, Probabilistic outputs for SVMs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import special

from modules.errors import DataError

Array = NDArray[Any]
Floats = NDArray[np.float64]

SMALLEST, LARGEST = 0.02, 50.0
"""Limits of temperature and slope."""

_STEPS = 60
_ROWS = 1 << 14


class Calibration(BaseModel):
    """A fitted calibration.

    Attributes:
      temperature: action logits are divided by it.
      slope, bias: of the conversion's log-odds; None when outcomes are not known, then conversion is 0 everywhere.
      decisions: number it was learned from.
      outcomes: how many of them have a known outcome.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    temperature: float
    slope: float | None = None
    bias: float | None = None
    decisions: int
    outcomes: int = 0

    def probabilities(self, action_logits: Array) -> NDArray[np.float32]:
        """[n, A] -> float32 [n, A], each row sums to 1."""
        return special.softmax(np.asarray(action_logits, np.float64) / self.temperature, axis=-1).astype(np.float32)

    def conversion(self, conversion_logits: Array) -> NDArray[np.float32]:
        """Any shape -> float32, same shape."""
        if self.slope is None or self.bias is None:
            return np.zeros(np.shape(conversion_logits), np.float32)
        return special.expit(self.slope * np.asarray(conversion_logits, np.float64) + self.bias).astype(np.float32)


def uncalibrated(outcomes: bool) -> Calibration:
    """The network's own probabilities, where no journeys are set aside for calibration."""
    if not outcomes:
        return Calibration(temperature=1.0, decisions=0)
    return Calibration(temperature=1.0, slope=1.0, bias=0.0, decisions=0)


def fit(action_logits: Array, action: Array, conversion_logits: Array, outcome: Array | None) -> Calibration:
    """Learns a calibration from n decisions.

    Args:
      action_logits: float [n, A].
      action: int [n], class that was taken.
      conversion_logits: float [n], of the action taken.
      outcome: float [n], 1 converted, 0 not, NaN not known; None for a model without outcomes.

    Raises:
      DataError: there are no decisions, none has a known outcome, or a logit is not finite.
    """
    n = len(action)
    if n == 0:
        raise DataError(
            "the calibration split holds no decision whose action is in the vocabulary; give it a larger share of the "
            "journeys (split.calibration of the dataset)"
        )
    if not (np.isfinite(action_logits).all() and np.isfinite(conversion_logits).all()):
        raise DataError(
            "the network's answers on the calibration split are not finite: the training diverged. Lower learning_rate."
        )
    temperature = fit_temperature(action_logits, action)
    if outcome is None:
        return Calibration(temperature=temperature, decisions=n)
    known = np.isfinite(outcome)
    if not known.any():
        raise DataError(
            f"none of the {n} decisions of the calibration split has a known outcome: lower outcome.maturity_days of "
            "the dataset, or leave `outcome` out and set policy.kind to likelihood"
        )
    slope, bias = fit_platt(conversion_logits[known], outcome[known])
    return Calibration(temperature=temperature, slope=slope, bias=bias, decisions=n, outcomes=int(known.sum()))


def fit_temperature(logits: Array, action: Array) -> float:
    """The temperature, SMALLEST to LARGEST, with the largest likelihood.

    In b = 1 / temperature the loss is convex: its slope is the sum of E_p[z] - z_action, its curvature of Var_p[z].
    """

    def slope(inverse: float) -> tuple[float, float]:
        total, curvature = 0.0, 0.0
        for start in range(0, len(action), _ROWS):
            z = np.asarray(logits[start : start + _ROWS], np.float64)
            z = z - z.max(axis=1, keepdims=True)
            p = special.softmax(inverse * z, axis=1)
            mean = (p * z).sum(axis=1)
            total += float((mean - z[np.arange(len(z)), action[start : start + _ROWS]]).sum())
            curvature += float(((p * z * z).sum(axis=1) - mean**2).sum())
        return total, curvature

    return 1 / _rising_root(slope, 1 / LARGEST, 1 / SMALLEST, 1.0)


def fit_platt(logits: Array, outcome: Array) -> tuple[float, float]:
    """(slope, bias) with the largest likelihood of Platt's targets, slope SMALLEST to LARGEST.

    For each slope the best bias is where the mean probability is the mean target; along these the loss is convex in
    the slope alone. Both are found by Newton's method inside a bracket.
    """
    z = np.asarray(logits, np.float64)
    converted = float(np.sum(outcome))
    target = np.where(np.asarray(outcome) > 0.5, (converted + 1) / (converted + 2), 1 / (len(z) - converted + 2))
    centre = float(z.mean())
    z = z - centre
    widest = float(np.abs(z).max())
    bias = float(special.logit(target.mean()))

    def best_bias(slope: float) -> float:
        def residual(b: float) -> tuple[float, float]:
            p = special.expit(slope * z + b)
            return float((p - target).sum()), float((p * (1 - p)).sum())

        reach = slope * widest + 40
        return _rising_root(residual, -reach, reach, bias)

    def derivative(slope: float) -> tuple[float, float]:
        nonlocal bias
        bias = best_bias(slope)
        p = special.expit(slope * z + bias)
        weight = p * (1 - p)
        # The bias moves with the slope: what is left is the weighted variance of the logits.
        moved = (weight * z).sum() ** 2 / max(weight.sum(), 1e-300)
        return float(((p - target) * z).sum()), float((weight * z * z).sum() - moved)

    slope = _rising_root(derivative, SMALLEST, LARGEST, 1.0) if widest > 0 else 1.0
    return slope, best_bias(slope) - slope * centre


def _rising_root(function: Callable[[float], tuple[float, float]], low: float, high: float, start: float) -> float:
    """Where a function that does not fall crosses 0 between low and high, or the end where it comes nearest.

    Args:
      function: its value and its derivative.
      start: first guess.
    """
    if function(low)[0] >= 0:
        return low
    if function(high)[0] <= 0:
        return high
    at = min(max(start, low), high)
    for _ in range(_STEPS):
        value, derivative = function(at)
        if value == 0:
            return at
        low, high = (at, high) if value < 0 else (low, at)
        step = at - value / derivative if derivative > 0 else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - at) <= 1e-10 * max(abs(at), 1e-6):
            return following
        at = following
    return at
