"""What a search for settings tried and found: tuning_report.json beside tuner_results.json."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from modules.report_file import ReportFile
from modules.tuning.settings import Direction, Parameter

FROZEN = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

TrialState = Literal["complete", "pruned", "failed"]


class TrialReport(BaseModel):
    """One set of settings and what it scored.

    Attributes:
      number: from 0 in the order of their beginning; 0 are the configured settings.
      state: complete: every fold was scored; pruned: stopped early, as others were better; failed: see `error`.
      parameters: value by name of the setting, as the model file spells it.
      scores: of each fold that was scored, in order.
      curve: with a single fold, the best score so far after each step of its training (epoch), if that was told.
      score: mean of `scores`; of a pruned trial over the folds it had, or where its curve ended; None where nothing
        was scored.
      seconds: of evaluation.
      error: why it failed.
    """

    model_config = FROZEN
    number: int = Field(ge=0)
    state: TrialState
    parameters: dict[str, Any]
    scores: tuple[float, ...] = ()
    curve: tuple[float, ...] = ()
    score: float | None = None
    seconds: float = 0.0
    error: str = ""


class TuningReport(ReportFile):
    """A finished search.

    Attributes:
      model: kind of the model, `lead_scoring` or `recommendation`.
      objective, direction: the metric of the held-out rows that was searched for, and which way is better.
      validation: how the held-out rows were chosen, in words.
      folds: number of folds each trial was scored on.
      sampler, pruner, seed, workers: see TuningSettings.
      space: what was searched, by setting.
      planned: trials asked for; `trials` holds fewer after a timeout.
      resumed: of `trials`, those found from an earlier search that was killed or asked for fewer.
      trials: in the order of their numbers.
      best: number of the complete trial with the best score; the lowest of equals.
      importance: share of the settings in what separates the better trials from the others (PED-ANOVA), largest
        first; they add up to 1; empty with too few complete trials.
      seconds: of this search.
    """

    FILE = "tuning_report.json"
    model: str
    objective: str
    direction: Direction
    validation: str
    folds: int = Field(ge=1)
    sampler: str
    pruner: str
    seed: int
    workers: int
    space: dict[str, Parameter]
    planned: int
    resumed: int = 0
    trials: tuple[TrialReport, ...] = Field(min_length=1)
    best: int
    importance: dict[str, float] = Field(default_factory=dict)
    seconds: float = 0.0

    @property
    def best_trial(self) -> TrialReport:
        return self._numbered(self.best)

    @property
    def baseline(self) -> TrialReport:
        """The configured settings."""
        return self._numbered(0)

    @property
    def gain(self) -> float:
        """How much better the best trial scored than the configured settings, at least 0."""
        best, baseline = self.best_trial.score, self.baseline.score
        if best is None or baseline is None:
            return math.nan
        return best - baseline if self.direction == "maximize" else baseline - best

    @property
    def counts(self) -> dict[TrialState, int]:
        """Trials by state."""
        found: dict[TrialState, int] = {"complete": 0, "pruned": 0, "failed": 0}
        for trial in self.trials:
            found[trial.state] += 1
        return found

    @property
    def folds_saved(self) -> int:
        """Folds that pruned trials left out."""
        return sum(self.folds - len(t.scores) for t in self.trials if t.state == "pruned")

    def best_so_far(self) -> tuple[float, ...]:
        """The best score of a complete trial up to each number; NaN where there is none."""
        found, best = [], math.nan
        for trial in self.trials:
            if trial.state == "complete" and trial.score is not None and not better(best, trial.score, self.direction):
                best = trial.score
            found.append(best)
        return tuple(found)

    def changed(self) -> dict[str, tuple[Any, Any]]:
        """Settings of the best trial that differ from the configured ones: (configured, best) by name."""
        before, after = self.baseline.parameters, self.best_trial.parameters
        return {name: (before.get(name), value) for name, value in after.items() if before.get(name) != value}

    def lines(self) -> list[str]:
        """Two to four lines for the summary of a run."""
        counts, best, baseline = self.counts, self.best_trial, self.baseline
        states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        assert best.score is not None and baseline.score is not None
        out = [
            f"tuning     {len(self.trials)} trials ({states}) on {self.validation}: {self.objective} "
            f"{best.score:.4f}, configured settings {baseline.score:.4f} ({best.score - baseline.score:+.4f})"
        ]
        changed = [f"{name} {_short(old)} → {_short(new)}" for name, (old, new) in self.changed().items()]
        out.append(f"{'':<11}{', '.join(changed) if changed else 'the configured settings stay the best'}")
        if self.importance:
            top = list(self.importance.items())[:3]
            out.append(f"{'':<11}what mattered: {', '.join(f'{name} {share:.0%}' for name, share in top)}")
        if len(self.trials) < self.planned:
            out.append(f"{'':<11}stopped by tuning.timeout_minutes before {self.planned} trials")
        return out

    def _numbered(self, number: int) -> TrialReport:
        return next(trial for trial in self.trials if trial.number == number)


def better(a: float, b: float, direction: Direction) -> bool:
    """Whether score `a` is strictly better than `b`; NaN never is."""
    return a > b if direction == "maximize" else a < b


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
