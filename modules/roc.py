"""Area under the ROC curve, exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def area_under_roc(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """P(score of a positive > score of a negative) + P(equal) / 2, from ranks.

    Args:
      scores: [n].
      labels: [n], positive above 0.

    Returns:
      0-1; NaN when a class is missing.
    """
    positive = np.asarray(labels) > 0
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    _, rank, counts = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    return float((middle[rank][positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))
