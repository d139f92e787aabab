"""What cross-validation found, as a file, and in one line for people."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from modules.report_file import ReportFile
from modules.validation.settings import Method

SHOWN = {
    "lead-scoring": ("auc", "log_loss", "average_precision", "brier_score", "expected_calibration_error"),
    "recommendation": ("accuracy", "log_loss", "accuracy_over_baseline", "conversion_auc", "conversion_log_loss"),
}
"""The most telling metrics by kind of model, those of a line first."""
SHOWN_IN_LINE = 2

FROZEN = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", protected_namespaces=())


class FoldReport(BaseModel):
    """One fold.

    Attributes:
      index: 0 to folds x repeats - 1; `index // folds` is the repeat.
      rows, positives: by part of the fold: train, validation, calibration, held_out; of models without a positive
        class, no positives.
      left_out: rows that this fold does not use: the gap, and with method time what comes after.
      metrics: by name, of the rows held out, as the Evaluator defines them; NaN where not defined.
      rounds: trees or epochs in use.
      columns: columns of the transformed matrix that the model was fitted to.
      seconds: time spent fitting and measuring; preparation is not in it.
      held_out_from, held_out_until: seconds since 1970 UTC, method time only: first and last time held out.
    """

    model_config = FROZEN
    index: int
    rows: dict[str, int]
    positives: dict[str, int] = {}
    left_out: int = 0
    metrics: dict[str, float]
    rounds: int | None = None
    columns: int | None = None
    seconds: float = 0.0
    held_out_from: int | None = None
    held_out_until: int | None = None


class MetricSummary(BaseModel):
    """A metric over the folds.

    Attributes:
      mean: unweighted mean over the folds; NaN when a fold has no value.
      deviation: standard deviation over the folds, n - 1 in the denominator.
      plain_standard_error: deviation / sqrt(n), which takes the folds for independent and is too small.
      standard_error: the corrected one, see `modules.validation.intervals`.
      low, high: interval of the report's `confidence` from the corrected error.
    """

    model_config = FROZEN
    mean: float
    deviation: float
    plain_standard_error: float
    standard_error: float
    low: float
    high: float


class CrossValidationReport(ReportFile):
    """Written by the component CrossValidation as `cross_validation.json`.

    Attributes:
      model_type: `lead-scoring` or `recommendation`.
      method, group, gap_days, folds, repeats, seed: the settings.
      confidence: level of the intervals.
      splits: parts of the examples that the folds were cut from; test is never one.
      rows: rows of these, of which some may be in no fold.
      parts: one per fold, in order.
      metrics: by name, over the folds.
      roc: points (false positive rate, true positive rate) of all rows held out, each scored by the fold that had
        not seen it; empty for models without a positive class. Folds are calibrated apart, so this curve lies a little
        below the mean of their own.
      hyperparameters: what the Tuner found, if it took part, by setting.
      workers: folds fitted at a time.
      seconds: wall time of everything.
    """

    FILE = "cross_validation.json"
    model_type: Literal["lead-scoring", "recommendation"]
    method: Method
    group: str | None = None
    gap_days: float = 0.0
    folds: int
    repeats: int = 1
    seed: int = 0
    confidence: float
    splits: tuple[str, ...]
    rows: int
    parts: tuple[FoldReport, ...]
    metrics: dict[str, MetricSummary]
    roc: tuple[tuple[float, float], ...] = ()
    hyperparameters: dict[str, float | int | str | bool | None] = Field(default_factory=dict)
    workers: int = 1
    seconds: float = 0.0

    @property
    def shown(self) -> dict[str, MetricSummary]:
        """The most telling metrics that every fold has."""
        found = {name: self.metrics[name] for name in SHOWN[self.model_type] if name in self.metrics}
        return {name: metric for name, metric in found.items() if not math.isnan(metric.mean)}

    @property
    def scheme(self) -> str:
        """How the rows were cut, in words: "5 folds by time, gap of 30 days"."""
        how = {
            "random": "at random",
            "stratified": "stratified",
            "group": f"by {self.group}",
            "time": "by time" + (f", gap of {self.gap_days:g} days" if self.gap_days else ""),
        }[self.method]
        return f"{f'{self.repeats} x ' if self.repeats > 1 else ''}{self.folds} folds {how}"

    def lines(self) -> list[str]:
        """The line of a run's summary."""
        shown = list(self.shown.items())[:SHOWN_IN_LINE]
        figures = [f"{name} {m.mean:.4f} ({m.low:.4f} to {m.high:.4f})" for name, m in shown]
        return [f"folds      {self.scheme}, {self.confidence * 100:g} % intervals: {', '.join(figures)}"]
