"""What a trial of lead scoring's settings is scored by: the folds of cross-validation, or the validation part.

Nothing here imports TensorFlow, so that a process which runs trials starts in a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modules import progress
from modules.lead_scoring.folds import Fold, fit_fold
from modules.lead_scoring.settings import LeadScoringSettings
from modules.tuning.hyperparameters import overlay


@dataclass
class FoldTrials:
    """See `modules.tuning.objective.Objective`.

    Attributes:
      prepared: the folds, the same for every trial.
      settings: the configured ones, over which those of a trial are laid.
      metric: of the rows held out, by its name in `modules.evaluation.curves.METRICS`.
      validation: how the rows were held out, in words.
    """

    prepared: list[Fold]
    settings: LeadScoringSettings
    metric: str
    validation: str
    _threads: int | None = field(default=None, repr=False)

    @property
    def folds(self) -> int:
        return len(self.prepared)

    def use(self, threads: int) -> None:
        # A user's own number still holds, as the most.
        self._threads = min(threads, self.settings.nthread or threads)

    def __call__(self, parameters: Mapping[str, Any], fold: int, step: Callable[[float], None]) -> float:
        """Rounds of different learning rates do not compare, so nothing is told within a fold."""
        settings = overlay(self.settings, parameters).model_copy(update={"nthread": self._threads})
        if self.folds == 1:
            return self._score(fold, settings)
        with progress.within(f"fold {fold + 1} of {self.folds}"):
            return self._score(fold, settings)

    def _score(self, fold: int, settings: LeadScoringSettings) -> float:
        return fit_fold(self.prepared[fold], settings).metrics[self.metric]
