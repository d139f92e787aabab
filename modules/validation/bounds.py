"""Bounds on what cross-validation found: which ones a candidate missed, and by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from modules.report_file import ReportFile
from modules.validation.report import CrossValidationReport

FROZEN = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class MissedBound(BaseModel):
    """An interval that reaches too far.

    Attributes:
      metric: its name.
      kind: `min` bounds the lower end of the interval, `max` the upper one.
      bound: what was asked for.
      low, high, mean: interval and mean over the folds; NaN when a fold has no value.
      confidence: level of the interval.
      scheme: how the folds were cut, in words.
    """

    model_config = FROZEN
    metric: str
    kind: Literal["min", "max"]
    bound: float
    low: float
    high: float
    mean: float
    confidence: float
    scheme: str

    def describe(self) -> str:
        """One line: "auc 0.743 < 0.750 (short by 0.007), lower bound of the 95 % interval over 5 folds stratified,
        0.743 to 0.771, mean 0.757"."""
        reached = self.low if self.kind == "min" else self.high
        if math.isnan(reached):
            return f"{self.metric} is not defined in every fold ({self.scheme}), so it cannot reach {self.bound:g}"
        apart = abs(reached - self.bound)
        digits = 3 if apart == 0 else min(max(3, 1 - math.floor(math.log10(apart))), 12)
        sign, missed, end = ("<", "short by", "lower") if self.kind == "min" else (">", "over by", "upper")
        return (
            f"{self.metric} {reached:.{digits}f} {sign} {self.bound:.{digits}f} ({missed} {apart:.{digits}f}) at the "
            f"{end} end of the {self.confidence * 100:g} % interval over {self.scheme}: "
            f"{self.low:.{digits}f} to {self.high:.{digits}f}, mean {self.mean:.{digits}f}"
        )


class BoundsVerdict(ReportFile):
    """Which bounds were asked for, and which of them were missed; lies beside what the Evaluator wrote.

    Attributes:
      min, max: the bounds, by metric.
      missed: those that do not hold.
    """

    FILE = "cross_validation_bounds.json"
    min: dict[str, float] = Field(default_factory=dict)
    max: dict[str, float] = Field(default_factory=dict)
    missed: tuple[MissedBound, ...] = ()

    @classmethod
    def find(cls, folder: str | Path) -> BoundsVerdict:
        """Reads what `write` wrote; no bounds where there is no such file."""
        return cls.read(folder) if (Path(folder) / cls.FILE).is_file() else cls()


def judge(report: CrossValidationReport, low: Mapping[str, float], high: Mapping[str, float]) -> BoundsVerdict:
    """Holds the intervals of a report against bounds.

    Args:
      report: of cross-validation.
      low: by metric, what the lower end of its interval must reach.
      high: by metric, what the upper end of its interval must not exceed.
    """
    missed: list[MissedBound] = []
    kinds: tuple[tuple[Literal["min", "max"], Mapping[str, float]], ...] = (("min", low), ("max", high))
    for kind, bounds in kinds:
        for name, bound in sorted(bounds.items()):
            found = report.metrics.get(name)
            ends = (math.nan,) * 3 if found is None else (found.low, found.high, found.mean)
            # A comparison with NaN is false: what is not defined does not pass.
            holds = ends[0] >= bound if kind == "min" else ends[1] <= bound
            if not holds:
                missed.append(
                    MissedBound(
                        metric=name,
                        kind=kind,
                        bound=bound,
                        low=ends[0],
                        high=ends[1],
                        mean=ends[2],
                        confidence=report.confidence,
                        scheme=report.scheme,
                    )
                )
    return BoundsVerdict(min=dict(low), max=dict(high), missed=tuple(missed))
