"""What can be searched for in each model: one row per kind."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from modules.lead_scoring.settings import LeadScoringSettings
from modules.recommendation.settings import RecommendationSettings
from modules.tuning.settings import Direction, Parameter


@dataclass(frozen=True)
class Tunable:
    """A kind of model whose settings can be searched.

    Attributes:
      kind: as in the model file.
      settings: class of its `model` section.
      objectives: metrics of held-out rows and which way is better; the first is the model's own measure.
      space: what is searched when the model file names nothing.
      fixed: settings that cannot be searched, and why.
    """

    kind: str
    settings: type[BaseModel]
    objectives: dict[str, Direction]
    space: dict[str, Parameter]
    fixed: dict[str, str]

    def objective(self, name: str | None) -> tuple[str, Direction]:
        """The objective of that name, or the model's own, and its direction."""
        name = name or next(iter(self.objectives))
        return name, self.objectives[name]


_BEFORE_TRAINING = "it decides what Transform makes of the data, which is the same for all trials"
_SPLIT = "it decides which rows are held out, which are the same for all trials"
_LUCK = "it would be tuned to luck"

LEAD_SCORING = Tunable(
    kind="lead_scoring",
    settings=LeadScoringSettings,
    objectives={
        "auc": "maximize",
        "average_precision": "maximize",
        "log_loss": "minimize",
        "brier_score": "minimize",
        "expected_calibration_error": "minimize",
    },
    space={
        "learning_rate": Parameter(low=0.01, high=0.3, log=True),
        "max_depth": Parameter(low=2, high=10),
        "min_child_weight": Parameter(low=0.5, high=100.0, log=True),
        "subsample": Parameter(low=0.5, high=1.0),
        "colsample_bytree": Parameter(low=0.3, high=1.0),
        "reg_lambda": Parameter(low=0.1, high=100.0, log=True),
        "reg_alpha": Parameter(low=0.0, high=10.0),
        "gamma": Parameter(low=0.0, high=5.0),
    },
    fixed={
        "validation_split": _SPLIT,
        "categorical": _BEFORE_TRAINING,
        "target_folds": _BEFORE_TRAINING,
        "max_one_hot": _BEFORE_TRAINING,
        "text_words": _BEFORE_TRAINING,
        "refit": "trials are scored on rows that a refit would learn from",
        "warm_start": "trials begin anew",
        "seed": _LUCK,
        "nthread": "it decides how fast training is, not how good",
    },
)
RECOMMENDATION = Tunable(
    kind="recommendation",
    settings=RecommendationSettings,
    objectives={"action_loss": "minimize", "accuracy": "maximize", "conversion_loss": "minimize"},
    space={
        "learning_rate": Parameter(low=0.0005, high=0.02, log=True),
        "dropout_rate": Parameter(low=0.0, high=0.6),
        "weight_decay": Parameter(low=0.001, high=1.0, log=True),
        "embedding_dim": Parameter(choices=(16, 32, 64, 128)),
        "num_layers": Parameter(low=1, high=3),
        "hidden_layers": Parameter(choices=([32], [64], [128, 64], [256, 128, 64])),
        "batch_size": Parameter(choices=(32, 64, 128, 256)),
        "label_smoothing": Parameter(low=0.0, high=0.2),
    },
    fixed={
        "validation_split": _SPLIT,
        "text_words": _BEFORE_TRAINING,
        "clock": _BEFORE_TRAINING,
        "refit": "trials are scored on journeys that a refit would learn from",
        "ensemble": "more networks are better and slower; trials train one",
        "seed": _LUCK,
        "prefetch_buffer": "it decides how fast training is, not how good",
        "mixed_precision": "it decides how fast training is, not how good",
        "multi_device": "it decides how fast training is, not how good",
        "resume": "it decides how fast training is, not how good",
    },
)
MODELS = {model.kind: model for model in (LEAD_SCORING, RECOMMENDATION)}
