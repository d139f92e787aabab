"""What a user says about evaluation: slices, thresholds, and what a candidate must improve.

    evaluation:
      threshold: 0.5
      slices: [source, [source, region]]
      min: {auc: 0.7}
      max: {log_loss: 0.6}
      change: {auc: 0.000001, log_loss: -0.01}
      per_slice: {min: {auc: 0.55}, change: {auc: -0.02}}
      min_slice_examples: 200

A model is blessed when every threshold holds. Without a baseline (the first model) TFX leaves out changes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from modules.evaluation import curves

# Strictly better: equal models give a change of exactly zero.
STRICTLY_BETTER = 1e-6


def _known_metrics(bounds: Mapping[str, float]) -> Mapping[str, float]:
    for name in bounds:
        if name not in curves.METRICS:
            nearest = difflib.get_close_matches(name, curves.METRICS, 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known metrics are {', '.join(curves.METRICS)}."
            raise ValueError(f"unknown metric {name!r}; {hint}")
    return bounds


def _directed_metrics(bounds: Mapping[str, float]) -> Mapping[str, float]:
    for name in _known_metrics(bounds):
        if name in curves.WITHOUT_DIRECTION:
            raise ValueError(f"{name!r} has no better direction to change in; bound it by min and max.")
    return bounds


Bounds = Annotated[
    dict[str, Annotated[float, pydantic.Field(allow_inf_nan=False)]], pydantic.AfterValidator(_known_metrics)
]
Changes = Annotated[
    dict[str, Annotated[float, pydantic.Field(allow_inf_nan=False)]], pydantic.AfterValidator(_directed_metrics)
]


def _feature_names(slice_features: Any) -> Any:
    return (slice_features,) if isinstance(slice_features, str) else slice_features


FeatureName = Annotated[str, pydantic.Field(min_length=1)]
SliceFeatures = Annotated[
    tuple[FeatureName, ...], pydantic.BeforeValidator(_feature_names), pydantic.Field(min_length=1)
]


class Thresholds(pydantic.BaseModel):
    """Bounds by metric name (`modules.evaluation.curves.METRICS`)."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    min: Bounds = pydantic.Field(default={}, description="Lowest value that passes, per metric.")
    max: Bounds = pydantic.Field(default={}, description="Highest value that passes, per metric.")
    change: Changes = pydantic.Field(
        default={},
        description=(
            "Least improvement on the baseline model that passes, per metric, as an absolute difference. Positive is "
            "better whatever the metric: 0.01 asks of log_loss that it falls by 0.01; negative tolerates a loss."
        ),
    )

    @pydantic.model_validator(mode="after")
    def _bounds_are_ordered(self) -> Thresholds:
        for name in self.min.keys() & self.max.keys():
            if self.min[name] > self.max[name]:
                raise ValueError(
                    f"no value of {name!r} can pass: its min {self.min[name]} is above its max {self.max[name]}."
                )
        return self


class EvaluationSettings(Thresholds):
    """How a candidate is evaluated and what it must reach. The bounds of this level hold over all examples."""

    change: Changes = pydantic.Field(
        default={"auc": STRICTLY_BETTER},
        description="As in Thresholds. By default a candidate must rank better than the model it replaces.",
    )
    threshold: float = pydantic.Field(
        default=0.5,
        ge=0,
        le=1,
        description="Decision threshold: a probability above it counts as positive.",
    )
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
    def _slices_are_sound(self) -> EvaluationSettings:
        for features in self.slices:
            if len(set(features)) != len(features):
                raise ValueError(f"a slice names a feature twice: {list(features)}.")
        if len({frozenset(features) for features in self.slices}) != len(self.slices):
            raise ValueError("the same slice is listed twice; the order of features within a slice does not matter.")
        if (self.per_slice.min or self.per_slice.max or self.per_slice.change) and not self.slices:
            raise ValueError("per_slice has thresholds, but slices is empty: name the features to slice by.")
        return self
