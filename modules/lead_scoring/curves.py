"""The booster's loss curves in the form of modules/convergence.py."""

from __future__ import annotations

from modules.convergence import Curves, Training
from modules.lead_scoring.booster import FittedBooster
from modules.lead_scoring.settings import LeadScoringSettings


def curves_of(fitted: FittedBooster, settings: LeadScoringSettings, base_rounds: int = 0) -> Curves:
    """The curves of a booster.

    Args:
      fitted: the booster and what XGBoost measured after each round.
      settings: it was fitted with.
      base_rounds: rounds of the booster it continued; they were measured when that one was fitted.
    """
    return Curves(
        trainings=(
            Training(
                name="booster",
                unit="round",
                curves={split: {name: tuple(v) for name, v in found.items()} for split, found in fitted.curves.items()},
                loss="logloss",
                watched=settings.eval_metric,
                steps=settings.num_rounds,
                used=fitted.best_iteration + 1 - base_rounds,
                patience=settings.early_stopping_rounds,
                first=base_rounds + 1,
            ),
        )
    )
