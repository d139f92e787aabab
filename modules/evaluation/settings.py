"""What a user says about evaluation: slices, thresholds, and what a candidate must improve.

    evaluation:
      threshold: 0.5
      slices: [source, [source, region]]
      min: {auc: 0.7}
      max: {log_loss: 0.6}
      change: {auc: 0.000001, log_loss: -0.01}
      per_slice: {min: {auc: 0.55}, change: {auc: -0.02}}
      min_slice_examples: 200

A model is blessed when every threshold holds. Without a baseline (the first model) TFX leaves out changes. The section
has the same shape for every model; which metrics there are depends on the model (`modules.evaluation.families`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import pydantic

from modules.evaluation.families import BINARY, NEXT_ACTION, MetricFamily
from modules.evaluation.next_action_statistics import BASELINES

# Strictly better: equal models give a change of exactly zero.
STRICTLY_BETTER = 1e-6

OVER_BASELINE = "accuracy_over_baseline"

Bounds = dict[str, Annotated[float, pydantic.Field(allow_inf_nan=False)]]


def _feature_names(slice_features: Any) -> Any:
    return (slice_features,) if isinstance(slice_features, str) else slice_features


FeatureName = Annotated[str, pydantic.Field(min_length=1)]
SliceFeatures = Annotated[
    tuple[FeatureName, ...], pydantic.BeforeValidator(_feature_names), pydantic.Field(min_length=1)
]


def require_known(names: Iterable[str], family: MetricFamily) -> None:
    """Raises ValueError, with the nearest known name, unless all names are metrics of the family."""
    for name in names:
        if name not in family.metrics:
            nearest = difflib.get_close_matches(name, family.metrics, 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known metrics are {', '.join(family.metrics)}."
            raise ValueError(f"unknown metric {name!r}; {hint}")


class Thresholds(pydantic.BaseModel):
    """Bounds by metric name."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")
    family: ClassVar[MetricFamily] = BINARY

    min: Bounds = pydantic.Field(default={}, description="Lowest value that passes, per metric.")
    max: Bounds = pydantic.Field(default={}, description="Highest value that passes, per metric.")
    change: Bounds = pydantic.Field(
        default={},
        description=(
            "Least improvement on the baseline model that passes, per metric, as an absolute difference. Positive is "
            "better whatever the metric: 0.01 asks of log_loss that it falls by 0.01; negative tolerates a loss."
        ),
    )

    @pydantic.field_validator("min", "max", "change")
    @classmethod
    def _metrics_are_known(cls, bounds: Bounds) -> Bounds:
        require_known(bounds, cls.family)
        return bounds

    @pydantic.field_validator("change")
    @classmethod
    def _metrics_have_a_direction(cls, bounds: Bounds) -> Bounds:
        for name in bounds:
            if name in cls.family.without_direction:
                raise ValueError(f"{name!r} has no better direction to change in; bound it by min and max.")
        return bounds

    @pydantic.model_validator(mode="after")
    def _bounds_are_ordered(self) -> Thresholds:
        for name in self.min.keys() & self.max.keys():
            if self.min[name] > self.max[name]:
                raise ValueError(
                    f"no value of {name!r} can pass: its min {self.min[name]} is above its max {self.max[name]}."
                )
        return self


class SlicedThresholds(Thresholds):
    """What the evaluation of every model has. The bounds of this level hold over all examples."""

    slices: tuple[SliceFeatures, ...] = pydantic.Field(
        default=(), description="Features to slice by, one name or a list of names for their combinations."
    )
    per_slice: Thresholds = pydantic.Field(
        default=Thresholds(), description="Bounds that hold in every slice with at least min_slice_examples examples."
    )
    min_slice_examples: int = pydantic.Field(
        default=100, ge=1, description="Slices with fewer examples are measured, but not judged."
    )
    plot_points: int = pydantic.Field(
        default=100, ge=0, le=10_000, description="Intervals of the calibration and confusion plots; 0 for none."
    )

    @pydantic.model_validator(mode="after")
    def _slices_are_sound(self) -> SlicedThresholds:
        for features in self.slices:
            if len(set(features)) != len(features):
                raise ValueError(f"a slice names a feature twice: {list(features)}.")
        if len({frozenset(features) for features in self.slices}) != len(self.slices):
            raise ValueError("the same slice is listed twice; the order of features within a slice does not matter.")
        if (self.per_slice.min or self.per_slice.max or self.per_slice.change) and not self.slices:
            raise ValueError("per_slice has thresholds, but slices is empty: name the features to slice by.")
        return self


class EvaluationSettings(SlicedThresholds):
    """How a binary classifier is evaluated and what a candidate must reach (`modules.evaluation.curves.METRICS`)."""

    change: Bounds = pydantic.Field(
        default={"auc": STRICTLY_BETTER},
        description="As in Thresholds. By default a candidate must rank better than the model it replaces.",
    )
    threshold: float = pydantic.Field(
        default=0.5,
        ge=0,
        le=1,
        description="Decision threshold: a probability above it counts as positive.",
    )


class NextActionThresholds(Thresholds):
    """Bounds by metric name (`modules.evaluation.next_action_scores.METRICS`)."""

    family: ClassVar[MetricFamily] = NEXT_ACTION


class NextActionEvaluationSettings(SlicedThresholds):
    """How a next-action model is evaluated and what a candidate must reach.

    evaluation:
      slices: [stage, source]
      baseline_margin: 0.01
      min: {accuracy: 0.6}
      change: {log_loss: 0.000001, accuracy: -0.002}
      per_slice: {min: {accuracy_over_baseline: -0.01}}
    """

    family: ClassVar[MetricFamily] = NEXT_ACTION

    change: Bounds = pydantic.Field(
        default={"log_loss": STRICTLY_BETTER},
        description="As in Thresholds. By default a candidate must have a lower log loss than the model it replaces.",
    )
    baseline_margin: float | None = pydantic.Field(
        default=0.0,
        ge=-1,
        le=1,
        description=(
            "Least difference between the accuracy and that of the best naive baseline (majority, last_action, "
            "prefix) that passes, overall; null does not compare."
        ),
    )
    per_slice: NextActionThresholds = pydantic.Field(
        default=NextActionThresholds(),
        description="Bounds that hold in every slice with at least min_slice_examples decisions.",
    )
    plot_points: int = pydantic.Field(
        default=20, ge=0, le=10_000, description="Intervals of the calibration plot of conversion; 0 for no plots."
    )

    @pydantic.model_validator(mode="after")
    def _one_bound_on_the_baselines(self) -> NextActionEvaluationSettings:
        if OVER_BASELINE in self.min and "baseline_margin" in self.model_fields_set:
            raise ValueError(f"baseline_margin and min of {OVER_BASELINE!r} are the same bound: give one of them.")
        return self

    @pydantic.model_validator(mode="after")
    def _slices_are_raw_features(self) -> NextActionEvaluationSettings:
        for features in self.slices:
            for name in features:
                if name in ("label", *BASELINES):
                    raise ValueError(
                        f"slices cannot use {name!r}: the model computes a value of this name, which TFMA would take "
                        "instead of the feature."
                    )
        return self
