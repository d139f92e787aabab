"""Mean, standard error and interval of a metric over folds.

The metrics of k folds are not independent: any two of them share most of their training rows. No unbiased estimator of
the variance of their mean exists (Bengio and Grandvalet, No Unbiased Estimator of the Variance of K-Fold
Cross-Validation, JMLR 5, 2004), and deviation / sqrt(k) is too small, so that an interval made of it covers less than
it says. Nadeau and Bengio (Inference for the Generalization Error, Machine Learning 52, 2003) take the correlation of
two folds to be the share of the rows held out, rho = n_held_out / (n_held_out + n_train), which gives

    variance of the mean = (1 / n + n_held_out / n_train) deviation^2

for n folds over all repeats, with Student's t of n - 1 degrees of freedom. That is derived for random splits that are
drawn anew, and it is a heuristic for folds; it errs on the careful side more often than on the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from modules.validation.report import FoldReport, MetricSummary

HELD_OUT = "held_out"


def summarize(
    values: Sequence[float], train_rows: Sequence[int], held_out_rows: Sequence[int], confidence: float
) -> MetricSummary:
    """The summary of one metric.

    Args:
      values: the metric by fold, n of them, 2 at least.
      train_rows: rows by fold that anything was learned from: train, validation and calibration.
      held_out_rows: rows by fold that the metric was measured on.
      confidence: level of the interval, 0-1.
    """
    found = np.asarray(values, np.float64)
    n = len(found)
    mean, deviation = float(found.mean()), float(found.std(ddof=1))
    ratio = float(np.mean(np.asarray(held_out_rows) / np.asarray(train_rows)))
    error = deviation * math.sqrt(1 / n + ratio)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    return MetricSummary(
        mean=mean,
        deviation=deviation,
        plain_standard_error=deviation / math.sqrt(n),
        standard_error=error,
        low=mean - half,
        high=mean + half,
    )


def summarize_folds(parts: Sequence[FoldReport], confidence: float) -> dict[str, MetricSummary]:
    """The summary of every metric that all folds have."""
    held_out = [part.rows[HELD_OUT] for part in parts]
    train = [sum(part.rows.values()) - rows for part, rows in zip(parts, held_out, strict=True)]
    names = [name for name in parts[0].metrics if all(name in part.metrics for part in parts)]
    return {name: summarize([part.metrics[name] for part in parts], train, held_out, confidence) for name in names}
