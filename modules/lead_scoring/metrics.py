"""Two exact metrics for the manifest, without scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def log_loss(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean of -log of the probability given to what happened; probabilities [n] are kept off 0 and 1 by 1e-15."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-15, 1 - 1e-15)
    y = np.asarray(labels, np.float64)
    return float(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean())


def area_under_roc(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """P(score of a converted lead > score of another) + 0.5 P(equal), from ranks; NaN when a class is missing."""
    y = np.asarray(labels) > 0
    positives, negatives = int(y.sum()), int((~y).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = stats.rankdata(np.asarray(scores))
    return float((ranks[y].sum() - positives * (positives + 1) / 2) / (positives * negatives))
