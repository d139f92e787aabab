"""Exact metrics for the manifest, without scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.roc import area_under_roc

__all__ = ["area_under_roc", "log_loss"]


def log_loss(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean of -log of the probability given to what happened; probabilities [n] are kept off 0 and 1 by 1e-15."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-15, 1 - 1e-15)
    y = np.asarray(labels, np.float64)
    return float(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean())
