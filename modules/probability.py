"""How good probabilities are: exact log loss and calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def log_loss(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean of -log of the probability given to what happened; probabilities [n] are kept off 0 and 1 by 1e-15."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-15, 1 - 1e-15)
    y = np.asarray(labels, np.float64)
    return float(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean())


def expected_calibration_error(
    probabilities: Sequence[float] | NDArray[Any], labels: NDArray[Any], bins: int = 15
) -> float:
    """Mean over equal-mass bins of |mean probability - conversion rate|, weighted by rows.

    Args:
      probabilities: [n], 0-1.
      labels: [n], 0 or 1.
      bins: number of equal-mass bins.
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels, np.float64)
    parts = np.array_split(np.argsort(p, kind="stable"), bins)
    return float(sum(abs(p[i].sum() - y[i].sum()) for i in parts if len(i)) / max(len(p), 1))
