"""What a user says about cross-validation: the `validation` section of a model file.

    validation:
      folds: 5
      method: time
      gap_days: 30
      min: {auc: 0.7}
      max: {log_loss: 0.5}

`folds: null`, the default, switches all of it off. How the folds are cut: `modules.validation.folds`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from modules.evaluation.families import BINARY, NEXT_ACTION, MetricFamily
from modules.evaluation.settings import Bounds, require_known

Method = Literal["random", "stratified", "group", "time"]


class ValidationSettings(BaseModel):
    """k-fold cross-validation over everything but the test part, and what its intervals must reach."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    family: ClassVar[MetricFamily] = BINARY

    folds: int | None = Field(default=None, ge=2, le=50, description="number of folds; null: no cross-validation")
    method: Method = Field(
        default="stratified",
        description="random: by hash of the id; stratified: the same with equal shares of each class; group: rows of "
        "one group stay together; time: trains on the past, holds out the block that follows",
    )
    group: str | None = Field(
        default=None, description="group only: the feature, or the dataset's id column, whose values stay together"
    )
    gap_days: float = Field(default=0, ge=0, description="time only: days left out before the rows held out")
    repeats: int = Field(default=1, ge=1, le=20, description="how often the rows are cut anew; 1 for method time")
    seed: int = Field(default=0, ge=0, description="another seed, other folds")
    workers: int | None = Field(
        default=None, ge=1, description="folds fitted at a time, in a process each; by default a process per core"
    )
    confidence: float = Field(default=0.95, gt=0, lt=1, description="level of the intervals")
    min: Bounds = Field(default={}, description="lowest lower bound of the interval that passes, per metric")
    max: Bounds = Field(default={}, description="highest upper bound of the interval that passes, per metric")

    @field_validator("min", "max")
    @classmethod
    def _metrics_are_known(cls, bounds: Bounds) -> Bounds:
        require_known(bounds, cls.family)
        return bounds

    @model_validator(mode="after")
    def _check(self) -> ValidationSettings:
        if self.method == "group" and self.group is None:
            raise ValueError("method group needs `group`, the feature whose values stay together")
        if self.group is not None and self.method != "group":
            raise ValueError(f"group goes with method group; the method is {self.method}")
        if self.gap_days and self.method != "time":
            raise ValueError(f"gap_days goes with method time; the method is {self.method}")
        if self.repeats > 1 and self.method == "time":
            raise ValueError("time can be cut in one way only: leave repeats at 1")
        if (self.min or self.max) and self.folds is None:
            raise ValueError("min and max judge the folds, and folds is null: give a number of folds, or no bounds")
        return self

    def without_bounds(self) -> ValidationSettings:
        """What the folds depend on; another bound is no reason to fit them again."""
        return self.model_copy(update={"min": {}, "max": {}})


class NextActionValidationSettings(ValidationSettings):
    """The same for journeys: folds are cut by lead, all decisions of a lead stand on one side.

    A network keeps all cores busy, so folds are trained one after another.
    """

    family: ClassVar[MetricFamily] = NEXT_ACTION

    method: Literal["group"] = Field(default="group", description="leads stay together")
    group: Literal["lead"] | None = Field(default="lead", description="what stays together")
    workers: Literal[1] | None = Field(default=None, description="folds are trained one after another")
