"""Whether the parts of the data are large enough for what is decided on them.

A threshold is decided by chance when the metric's interval on the test part holds it: another draw of as many leads
could turn the verdict. How wide the interval is depends on the number of positives and negatives alone, so more leads,
fewer slices, or a threshold that asks less are the only remedies.

Reference: Hanley, McNeil 1982, The meaning and use of the area under a receiver operating characteristic curve.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from modules.convergence import CheckSettings, Finding
from modules.evaluation.curves import CALIBRATION_BINS


@dataclass(frozen=True)
class Measured:
    """What the Evaluator measured on the test part, or on one of its slices.

    Attributes:
      name: of the slice, `device=tablet`; empty for the whole part.
      examples: rows.
      positives, negatives: rows behind the area under the ROC curve.
      metrics: by name.
    """

    name: str
    examples: float
    positives: float
    negatives: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Bounds:
    """Thresholds by metric, as in `evaluation`."""

    min: Mapping[str, float] = field(default_factory=dict)
    max: Mapping[str, float] = field(default_factory=dict)
    change: Mapping[str, float] = field(default_factory=dict)


AREAS = ("auc", "conversion_auc")
CALIBRATION_ERRORS = ("expected_calibration_error", "conversion_calibration_error")
SHARES = ("accuracy", "top_3_accuracy")
"""Metrics that are shares of all examples."""

MIN_OF_A_CLASS = 50
"""Leads of each class below which no probability can be learned or proven."""

CHANCE_SHARE = 0.75
"""Share of an allowed calibration error that may be chance; with more, one right model in twenty fails."""

ANY_IMPROVEMENT = 1e-3
"""Changes up to this ask for a better model, not for one that is better by a margin."""


def auc_error(auc: float, positives: float, negatives: float) -> float:
    """Standard error of an area under the ROC curve.

    Var = (A (1 - A) + (P - 1) (Q1 - A^2) + (N - 1) (Q2 - A^2)) / (P N), Q1 = A / (2 - A), Q2 = 2 A^2 / (1 + A)

    Args:
      auc: A, 0-1.
      positives, negatives: P and N.

    Returns:
      NaN without one of the classes.
    """
    if not (positives >= 1 and negatives >= 1) or math.isnan(auc):
        return math.nan
    q1, q2, square = auc / (2 - auc), 2 * auc**2 / (1 + auc), auc**2
    variance = auc * (1 - auc) + (positives - 1) * (q1 - square) + (negatives - 1) * (q2 - square)
    return math.sqrt(max(variance, 0.0) / (positives * negatives))


def share_error(share: float, examples: float) -> float:
    """Standard error of a share of examples, sqrt(p (1 - p) / n)."""
    return math.sqrt(share * (1 - share) / examples) if examples >= 1 and 0 <= share <= 1 else math.nan


def chance_calibration_error(positives: float, negatives: float, bins: int = CALIBRATION_BINS) -> float:
    """Calibration error that chance alone shows, on average, for probabilities that are right.

    With n / B of n leads in each of B bins, a bin's conversion rate is off by sqrt(2 / pi) sqrt(p (1 - p) B / n) on
    average. p is taken to be the same in all bins, where chance is largest.
    """
    n = positives + negatives
    return math.sqrt(2 / math.pi * positives * negatives * bins / n**3) if n >= 1 else math.nan


def size_findings(
    whole: Measured, slices: Sequence[Measured], bounds: Bounds, slice_bounds: Bounds, checks: CheckSettings
) -> tuple[Finding, ...]:
    """What the size of the test part leaves to chance.

    Args:
      whole: the test part.
      slices: those that are judged (`evaluation.min_slice_examples`).
      bounds: on the whole part.
      slice_bounds: on every slice.
      checks: what is worth saying.
    """
    return (*_of_whole(whole, bounds, checks), *_of_slices(slices, slice_bounds, checks))


def calibration_findings(rows: int, positives: float, bins: int, min_bin_rows: int) -> tuple[Finding, ...]:
    """Whether the calibration part fills its bins.

    Args:
      rows: leads in it.
      positives: converted ones among them.
      bins, min_bin_rows: as in CalibrationSettings; a window is 2 / bins of all leads wide, and never smaller than
        min_bin_rows.
    """
    wanted = math.ceil(bins * min_bin_rows / 2)
    found = []
    if rows < wanted:
        found.append(
            Finding(
                check="calibration_rows",
                message=f"the calibration part has {rows:,} leads, {bins} bins of {min_bin_rows} need {wanted:,}: "
                f"intervals are learned from windows of {100 * min(min_bin_rows / max(rows, 1), 1):.0f} % of them",
                settings=("dataset.split.calibration", "model.calibration.bins"),
                advice="raise dataset.split.calibration, or lower model.calibration.bins to "
                f"{max(2 * rows // min_bin_rows, 2)}",
                figures={"rows": rows, "wanted": wanted},
            )
        )
    if min(positives, rows - positives) < MIN_OF_A_CLASS:
        fewer, name = min((positives, "converted leads"), (rows - positives, "leads that did not convert"))
        found.append(
            Finding(
                check="calibration_classes",
                message=f"the calibration part has {fewer:,.0f} {name}: probabilities are little more than a guess",
                settings=("dataset.split.calibration",),
                advice="raise dataset.split.calibration or add data",
                figures={"positives": positives, "rows": rows},
            )
        )
    return tuple(found)


def _of_whole(whole: Measured, bounds: Bounds, checks: CheckSettings) -> Iterator[Finding]:
    z = _z(checks)
    for area in AREAS:
        value = whole.metrics.get(area, math.nan)
        error = auc_error(value, whole.positives, whole.negatives)
        if error > checks.max_auc_error:
            yield Finding(
                check="test_size",
                message=f"{whole.positives:,.0f} of {whole.positives + whole.negatives:,.0f} rows of the test part "
                f"converted: {area} {value:.3f} has a standard error of {error:.3f}, {checks.max_auc_error:g} allowed "
                "(checks.max_auc_error)",
                settings=("dataset.split.test", "checks.max_auc_error"),
                advice="raise dataset.split.test or add data",
                figures={"positives": whole.positives, "negatives": whole.negatives, "error": error},
            )
    for kind, limits in (("min", bounds.min), ("max", bounds.max)):
        for metric, bound in limits.items():
            value, error = whole.metrics.get(metric, math.nan), _error(metric, whole)
            if abs(value - bound) < z * error:
                yield Finding(
                    check="threshold_by_chance",
                    message=f"{metric} {value:.3f} ± {z * error:.3f} on the test part cannot be told from its "
                    f"threshold {bound:g}",
                    settings=("dataset.split.test", f"evaluation.{kind}.{metric}"),
                    advice=f"raise dataset.split.test or add data, or move evaluation.{kind}.{metric}",
                    figures={"value": value, "bound": bound, "error": error},
                )
    for metric, least in bounds.change.items():
        error = _error(metric, whole)
        if abs(least) > ANY_IMPROVEMENT and error > abs(least):
            yield Finding(
                check="change_by_chance",
                message=f"evaluation.change asks for {least:+g} of {metric}, whose standard error on the test part is "
                f"{error:.3f}",
                settings=("dataset.split.test", f"evaluation.change.{metric}"),
                advice=f"raise dataset.split.test or add data, or widen evaluation.change.{metric}",
                figures={"bound": least, "error": error},
            )
    for metric in CALIBRATION_ERRORS:
        limit, chance = bounds.max.get(metric), chance_calibration_error(whole.positives, whole.negatives)
        if limit is not None and chance > CHANCE_SHARE * limit:
            yield Finding(
                check="calibration_by_chance",
                message=f"{metric} may be {limit:g}, and chance alone gives {chance:.3f} on "
                f"{whole.positives + whole.negatives:,.0f} rows",
                settings=("dataset.split.test", f"evaluation.max.{metric}"),
                advice=f"raise dataset.split.test or add data, or raise evaluation.max.{metric}",
                figures={"bound": limit, "chance": chance},
            )


def _of_slices(slices: Sequence[Measured], bounds: Bounds, checks: CheckSettings) -> Iterator[Finding]:
    z = _z(checks)
    for kind, limits in (("min", bounds.min), ("max", bounds.max)):
        for metric, bound in limits.items():
            close = []
            for part in slices:
                error, value = _error(metric, part), part.metrics.get(metric, math.nan)
                if abs(value - bound) < z * error:
                    close.append((error, value, part))
            if close:
                error, value, part = max(close, key=lambda found: found[0])
                yield Finding(
                    check="slice_by_chance",
                    message=f"in {len(close)} of {len(slices)} slices {metric} cannot be told from the threshold "
                    f"{bound:g}; least in {part.name} ({part.examples:,.0f} rows): {value:.3f} ± {z * error:.3f}",
                    settings=("evaluation.min_slice_examples", f"evaluation.per_slice.{kind}.{metric}"),
                    advice=f"raise evaluation.min_slice_examples, or move evaluation.per_slice.{kind}.{metric}",
                    figures={"slices": len(close), "value": value, "bound": bound, "error": error},
                )


def _error(metric: str, part: Measured) -> float:
    """Standard error of a metric; NaN where no formula is at hand, and then nothing is said."""
    value = part.metrics.get(metric, math.nan)
    if metric in AREAS:
        return auc_error(value, part.positives, part.negatives)
    if metric in SHARES:
        return share_error(value, part.examples)
    return math.nan


def _z(checks: CheckSettings) -> float:
    """Half the width of the interval, in standard errors."""
    return NormalDist().inv_cdf(0.5 + checks.certainty / 2)
