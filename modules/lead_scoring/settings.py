"""Settings of the lead-scoring model: the `model` section of configs/lead_scoring.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FROZEN = ConfigDict(frozen=True, extra="forbid")


class CalibrationSettings(BaseModel):
    """How margins become probabilities and intervals; see modules/lead_scoring/calibration.py."""

    model_config = FROZEN
    bins: int = Field(default=50, ge=2, le=1000, description="equal-mass bins of the calibration part, at most")
    min_bin_rows: int = Field(default=100, ge=10, description="fewer bins when a bin would hold fewer rows")
    level: float = Field(default=0.9, gt=0, lt=1, description="nominal coverage of the interval")


class SelectionSettings(BaseModel):
    """Which columns the booster is fitted to; see modules/lead_scoring/selection.py."""

    model_config = FROZEN
    max_missing: float = Field(default=0.99, ge=0, le=1, description="a column that is missing in more rows goes")
    shadows: bool = Field(
        default=True, description="rank the columns against random shadows; false: only drop what is useless"
    )
    top_k: int | None = Field(
        default=None, ge=1, description="keep so many, strongest first; null: all that shadows do not beat"
    )
    unit: Literal["feature", "column"] = Field(
        default="feature",
        description="feature: all columns of a row of the feature table stay or go together; column: each by itself",
    )
    always: tuple[str, ...] = Field(
        default=(), description="rows of the feature table that stay whatever their rank (constraints, policy)"
    )
    rounds: int = Field(default=20, ge=5, le=1000, description="shuffles of the shadows, a booster for each")
    level: float = Field(
        default=0.05, gt=0, lt=0.5, description="a unit goes if chance gave it so few hits with this probability"
    )
    max_rows: int = Field(default=20_000, ge=100, description="rows that the ranking sees, drawn at random")

    @model_validator(mode="after")
    def _ranked(self) -> SelectionSettings:
        if self.top_k is not None and not self.shadows:
            raise ValueError("top_k needs the ranking: set shadows to true")
        return self


class LinearSettings(BaseModel):
    """The linear term that the trees start from; see modules/lead_scoring/linear.py."""

    model_config = FROZEN
    l2: float = Field(default=1.0, ge=0, description="penalty on squared weights; 1 / C of scikit-learn")
    max_steps: int = Field(default=200, ge=1, le=10_000, description="passes over the training rows, at most")


class LeadScoringSettings(BaseModel):
    """XGBoost's settings under the names its users know, and what happens around the fit."""

    model_config = FROZEN
    learning_rate: float = Field(default=0.01, gt=0, le=1)
    max_depth: int = Field(default=6, ge=1, le=12)
    num_rounds: int = Field(default=1000, ge=1, le=20_000)
    early_stopping_rounds: int | None = Field(default=50, ge=1, description="null: train all rounds")
    validation_split: float = Field(
        default=0.2, ge=0, lt=1, description="share of the training rows that stops training early"
    )
    min_child_weight: float = Field(default=1.0, ge=0)
    subsample: float = Field(default=1.0, gt=0, le=1)
    colsample_bytree: float = Field(default=1.0, gt=0, le=1)
    colsample_bylevel: float = Field(default=1.0, gt=0, le=1)
    reg_lambda: float = Field(default=1.0, ge=0)
    reg_alpha: float = Field(default=0.0, ge=0)
    gamma: float = Field(default=0.0, ge=0)
    max_bin: int = Field(default=256, ge=2, le=4096)
    max_leaves: int = Field(default=0, ge=0)
    grow_policy: Literal["depthwise", "lossguide"] = "depthwise"
    eval_metric: Literal["logloss", "auc", "aucpr"] = Field(
        default="logloss", description="what early stopping watches on the validation part"
    )
    scale_pos_weight: float | Literal["balanced"] = Field(
        default=1.0,
        description="weight of converted leads; 'balanced' takes negatives / positives of the training part",
    )
    recency_half_life_days: float | None = Field(
        default=None, gt=0, description="sample weight halves with this age; needs the dataset's time column"
    )
    refit: bool | Literal["all"] = Field(
        default=False,
        description="after early stopping, fit again on training and validation rows with the rounds found; 'all': "
        "once more on the calibration rows too, with the calibration found before they were seen",
    )
    warm_start: bool = Field(default=False, description="continue from the last blessed booster")
    categorical: Literal["index", "one_hot", "target"] = Field(
        default="index",
        description="categories as frequency-ordered index, one indicator each, or their smoothed conversion rate",
    )
    target_folds: int = Field(
        default=5, ge=2, le=100, description="encoding target: training rows get the rate without their own fold"
    )
    max_one_hot: int = Field(
        default=64, ge=1, description="one_hot only: categories of a feature that get an indicator of their own"
    )
    text_words: int = Field(default=100, ge=0, description="words of each text feature kept as indicators")
    seed: int = Field(default=0, ge=0)
    nthread: int | None = Field(default=None, ge=1, description="threads of XGBoost; all cores by default")
    calibration: CalibrationSettings = CalibrationSettings()
    selection: SelectionSettings | None = Field(default=None, description="null: the booster sees every column")
    linear: LinearSettings | None = Field(
        default=None, description="a logistic regression that the trees start from, for columns that drift; null: none"
    )

    @model_validator(mode="after")
    def _one_beginning(self) -> LeadScoringSettings:
        if self.warm_start and (self.linear is not None or self.refit == "all"):
            raise ValueError("warm_start continues from trees alone: leave `linear` out and `refit` at true or false")
        return self
