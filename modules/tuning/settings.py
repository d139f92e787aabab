"""Settings of the search for settings: the `tuning` section of a model file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FROZEN = ConfigDict(frozen=True, extra="forbid")

Direction = Literal["maximize", "minimize"]


class Parameter(BaseModel):
    """The values one setting may take: a range, or choices.

    learning_rate: {low: 0.005, high: 0.3, log: true}
    max_depth: {low: 2, high: 8}
    hidden_layers: {choices: [[64], [128, 64]]}
    """

    model_config = FROZEN
    low: int | float | None = Field(default=None, description="smallest value")
    high: int | float | None = Field(default=None, description="largest value")
    log: bool = Field(default=False, description="equal steps in the logarithm")
    step: int | float | None = Field(default=None, gt=0, description="distance between values; not with log")
    choices: tuple[Any, ...] | None = Field(default=None, min_length=1, description="the only values, in no order")

    @model_validator(mode="after")
    def _range_or_choices(self) -> Parameter:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.step is not None or self.log:
                raise ValueError("expected either choices, or low and high")
            return self
        if self.low is None or self.high is None:
            raise ValueError("expected low and high, or choices")
        if self.low >= self.high:
            raise ValueError(f"low must be below high; received low {self.low}, high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0; received {self.low}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        return self


class TuningSettings(BaseModel):
    """A search for settings that score better on held-out training rows than the configured ones."""

    model_config = FROZEN
    trials: int = Field(default=30, ge=1, description="sets of settings to try, the configured ones included")
    timeout_minutes: float | None = Field(default=None, gt=0, description="no trial begins after this time")
    sampler: Literal["tpe", "random"] = Field(
        default="tpe",
        description="tpe: multivariate tree-structured Parzen estimator, after 10 at random; random: all of them",
    )
    pruner: Literal["median", "halving", "wilcoxon", "none"] = Field(
        default="median",
        description="when a trial ends before its last fold. median: worse than the median of the others at the same "
        "fold, from the sixth trial on; halving: not in the best third at its first, third, ninth fold or epoch; "
        "wilcoxon: worse than the best trial by a signed-rank test over the folds (for ten folds or more)",
    )
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=1, ge=1, description="trials at the same time, each in a process of its own")
    objective: str | None = Field(default=None, description="what is better; the model's own measure when null")
    space: dict[str, Parameter] = Field(
        default_factory=dict, description="what may be tried, by the name of a setting; a default when empty"
    )
    resume: bool = Field(default=True, description="keep the finished trials of a search that was killed")
