"""Curves of rows that folds held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modules.evaluation import histogram
from modules.evaluation.histogram import ScoreHistogram

POINTS = 200


def pooled_roc(scores: Sequence[ScoreHistogram], points: int = POINTS) -> tuple[tuple[float, float], ...]:
    """The ROC curve of all rows together, from (0, 0) to (1, 1).

    Args:
      scores: predictions by label, one histogram per fold.
      points: at most so many and one, evenly along the curve.

    Returns:
      (false positive rate, true positive rate), ascending; empty unless there are both classes.
    """
    pooled = histogram.merge(scores)
    true, false = (np.concatenate([[0.0], np.cumsum(v[::-1])]) for v in (pooled.positives, pooled.negatives))
    if not true[-1] or not false[-1]:
        return ()
    true, false = true / true[-1], false / false[-1]
    along = (true + false) / 2
    chosen = np.unique(np.searchsorted(along, np.linspace(0, 1, points + 1)).clip(max=len(along) - 1))
    chosen[-1] = len(along) - 1
    return tuple(zip(false[chosen].tolist(), true[chosen].tolist(), strict=True))
