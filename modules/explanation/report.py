"""What matters to a model over all its answers, as a file: importances, and a sample of contributions to plot."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from modules.report_file import ReportFile

STRONGEST = 5

FROZEN = ConfigDict(frozen=True, extra="forbid")

Level = Literal["lead", "event"]


class Worsening(BaseModel):
    """By how much a metric gets worse when a feature's values are shuffled among the rows.

    Attributes:
      mean: over the repeats, in units of the metric; above 0 where the feature helps, whatever the metric's direction.
      deviation: standard deviation over the repeats (n - 1); 0 with one repeat.
    """

    model_config = FROZEN
    mean: float
    deviation: float


class FeatureImportance(BaseModel):
    """One raw feature, or one attribute of events.

    Attributes:
      name: of the feature; of an event's attribute as the dataset file calls it (`action`, `channel`, `time`).
      level: `lead`, or `event` for attributes of a journey's events.
      group: heading in the feature table.
      permutation: worsening by name of the metric.
      mean_absolute_contribution: mean of |contribution| over the sampled rows, log-odds; None where the model has none.
      gain_share: share of the trees' total gain, 0-1; None for models without trees.
      splits: number of splits on its columns; None for models without trees.
    """

    model_config = FROZEN
    name: str
    level: Level = "lead"
    group: str = ""
    permutation: dict[str, Worsening]
    mean_absolute_contribution: float | None = None
    gain_share: float | None = None
    splits: int | None = None


class FeatureSample(BaseModel):
    """Values of a raw feature and what they contributed, for plots; the rows are the same ones for every feature.

    Attributes:
      feature: name.
      values: numbers or words, None where missing; [s].
      contributions: log-odds, [s].
    """

    model_config = FROZEN
    feature: str
    values: tuple[float | str | None, ...]
    contributions: tuple[float, ...]


class ImportanceReport(ReportFile):
    """Written by the component Importance as `importance_report.json`.

    Attributes:
      model_type: `lead-scoring` or `recommendation`.
      split: part of the examples; the model was not trained on it.
      rows: leads or decisions of that part; `sampled`: of those, looked at.
      repeats: shuffles per feature.
      seed: of sample and shuffles.
      metrics: by name, the metric without shuffling, over the sampled rows.
      ranked_by: name of the metric that orders `features`.
      features: the largest worsening of `ranked_by` first.
      sample: contributions to plot, features in the same order; empty for models without contributions.
      margins: log-odds of the rows of `sample`, [s].
      bias: the trees' bias, log-odds: what is left where every contribution is 0; None without contributions.
      seconds: wall time.
    """

    FILE = "importance_report.json"
    model_type: Literal["lead-scoring", "recommendation"]
    split: str
    rows: int
    sampled: int
    repeats: int
    seed: int
    metrics: dict[str, float]
    ranked_by: str
    features: tuple[FeatureImportance, ...]
    sample: tuple[FeatureSample, ...] = ()
    margins: tuple[float, ...] = ()
    bias: float | None = None
    seconds: float = Field(default=0.0, ge=0)

    def lines(self) -> list[str]:
        """One line for the summary of a run: the strongest features."""
        strongest = [f for f in self.features if f.permutation[self.ranked_by].mean > 0][:STRONGEST]
        if not strongest:
            return [f"strongest  no feature: shuffling none of them costs {self.ranked_by}"]
        named = ", ".join(f"{f.name} {f.permutation[self.ranked_by].mean:.3f}" for f in strongest)
        return [f"strongest  {named} ({self.ranked_by} lost by shuffling)"]
