"""What the manifest says about the quality of a model, from probabilities and what happened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.probability import expected_calibration_error, log_loss
from modules.roc import area_under_roc


def decision_metrics(
    probabilities: NDArray[Any], action: NDArray[Any], conversion: NDArray[Any], outcome: NDArray[Any] | None
) -> dict[str, float]:
    """Metrics of n decisions.

    Args:
      probabilities: [n, A], 0-1.
      action: int [n], class that was taken.
      conversion: [n], probability of conversion given the action taken.
      outcome: [n], 1 or 0, NaN not known; None for a model without outcomes.

    Returns:
      accuracy: share of decisions whose likeliest action was taken.
      log_loss: mean of -log(probability of the action taken).
      calibration_error: |confidence - accuracy| over 15 bins of equal mass by the probability of the likeliest action.
      conversion_log_loss, conversion_auc, conversion_calibration_error: over the decisions with a known outcome, where
        there are any.
    """
    p = np.asarray(probabilities, np.float64)
    likeliest = p.argmax(axis=1)
    right = likeliest == action
    taken = np.clip(p[np.arange(len(p)), action], 1e-15, 1)
    found = {
        "accuracy": float(right.mean()),
        "log_loss": float(-np.log(taken).mean()),
        "calibration_error": expected_calibration_error(p.max(axis=1), right),
    }
    if outcome is not None:
        known = np.isfinite(outcome)
        if known.any():
            y, c = np.asarray(outcome)[known], np.asarray(conversion)[known]
            found["conversion_log_loss"] = log_loss(c, y)
            found["conversion_calibration_error"] = expected_calibration_error(c, y)
            if 0 < y.sum() < len(y):
                found["conversion_auc"] = area_under_roc(c, y)
    return found
