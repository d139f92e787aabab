"""How differently a model treats slices at its threshold: rates of each slice against everybody else.

The rest of the evaluated examples is what a slice is compared with: unlike the whole, it shares no example with the
slice, so the interval of the difference is that of independent groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from modules.reporting.confusion import Confusion
from modules.reporting.intervals import LEVEL, Interval, difference, wilson

RATES = ("selection_rate", "true_positive_rate", "false_positive_rate")


@dataclass(frozen=True)
class GroupFairness:
    """One slice.

    Attributes:
      name: of the slice, for people.
      examples: in it.
      rates: by name of RATES, with intervals.
      gaps: rate here minus rate of all other examples.
      calibration: mean prediction - share of positives in the slice; above 0 where the model promises too much.
      calibration_gap: that minus the same of all other examples.
    """

    name: str
    examples: int
    rates: dict[str, Interval]
    gaps: dict[str, Interval]
    calibration: Interval
    calibration_gap: Interval

    @property
    def differs(self) -> tuple[str, ...]:
        """Names of what differs from the rest by more than chance explains: the interval of the gap leaves out 0."""
        gaps = {**self.gaps, "calibration": self.calibration_gap}
        return tuple(name for name, gap in gaps.items() if gap.known and not gap.low <= 0 <= gap.high)


def group_fairness(
    name: str, part: Mapping[str, float], whole: Mapping[str, float], level: float = LEVEL
) -> GroupFairness | None:
    """A slice against the rest.

    Args:
      name: of the slice.
      part: the Evaluator's metrics of the slice.
      whole: of all examples.

    Returns:
      None without confusion counts, or where the slice is everybody.
    """
    of_part, of_whole = Confusion.of_metrics(part), Confusion.of_metrics(whole)
    if of_part is None or of_whole is None:
        return None
    rest = of_whole - of_part
    if of_part.total <= 0 or rest.total <= 0:
        return None
    rates = {rate: of_part.rate(rate, level) for rate in RATES}
    of_rest = {rate: rest.rate(rate, level) for rate in RATES}
    mean = _mean_of_rest(part, whole, "mean_prediction")
    here = _calibration(of_part, part.get("mean_prediction", math.nan), level)
    return GroupFairness(
        name=name,
        examples=int(of_part.total),
        rates=rates,
        gaps={rate: difference(rates[rate], of_rest[rate]) for rate in RATES},
        calibration=here,
        calibration_gap=difference(here, _calibration(rest, mean, level)),
    )


def _calibration(counts: Confusion, mean_prediction: float, level: float) -> Interval:
    """Mean prediction less the rate of positives; the interval is that of the rate, for predictions as they are."""
    rate = wilson(counts.positives, counts.total, level)
    if not math.isfinite(mean_prediction):
        return Interval(math.nan)
    return Interval(mean_prediction - rate.value, mean_prediction - rate.high, mean_prediction - rate.low)


def _mean_of_rest(part: Mapping[str, float], whole: Mapping[str, float], name: str) -> float:
    if name not in part or name not in whole:
        return math.nan
    n, all_ = part["weighted_example_count"], whole["weighted_example_count"]
    return (whole[name] * all_ - part[name] * n) / (all_ - n) if all_ > n else math.nan
