"""The TFMA EvalConfig that `EvaluationSettings` stand for."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tensorflow_model_analysis.proto import config_pb2

from modules.evaluation import names
from modules.evaluation.families import BINARY, LOWER_IS_BETTER
from modules.evaluation.settings import (
    OVER_BASELINE,
    EvaluationSettings,
    NextActionEvaluationSettings,
    SlicedThresholds,
    Thresholds,
)

__all__ = [
    "EvaluationSettings",
    "NextActionEvaluationSettings",
    "Thresholds",
    "build_eval_config",
    "build_next_action_config",
]

METRIC_MODULE = BINARY.module
METRIC_CLASS = BINARY.class_name


def build_eval_config(
    settings: EvaluationSettings,
    label_key: str,
    *,
    prediction_key: str = "probability",
    signature_name: str = "serving_default",
    example_weight_key: str = "",
    preprocessing_function_names: Iterable[str] = (),
) -> config_pb2.EvalConfig:
    """The EvalConfig of a binary classifier for TFX's Evaluator.

    Args:
      settings: slices and thresholds.
      label_key: feature that holds the label, 0 or 1.
      prediction_key: output of the signature that holds the probability.
      signature_name: signature to evaluate; it takes serialized tf.Examples.
      example_weight_key: feature that weights examples, empty for none.
      preprocessing_function_names: signatures that compute transformed features or labels.

    Returns:
      A config with one ModelSpec. TFX adds the baseline's when a baseline is given, and removes changes when not. It
      always holds a threshold, since TFX writes no blessing without one: at least one example must be there.
    """
    model = config_pb2.ModelSpec(
        signature_name=signature_name,
        label_key=label_key,
        prediction_key=prediction_key,
        example_weight_key=example_weight_key,
        preprocessing_function_names=list(preprocessing_function_names),
    )
    return _build(settings, model, {"threshold": settings.threshold}, settings.min)


def build_next_action_config(
    settings: NextActionEvaluationSettings,
    *,
    signature_name: str = "distribution",
    features_signature_name: str = "evaluation_features",
) -> config_pb2.EvalConfig:
    """The EvalConfig of a next-action model for TFX's Evaluator.

    Args:
      settings: slices and thresholds.
      signature_name: signature with the outputs `probabilities` and `conversion`; it takes serialized tf.Examples.
      features_signature_name: signature with the outputs `label`, `majority`, `last_action` and `prefix`
        (`modules.evaluation.next_action_metrics`); it takes serialized tf.Examples.

    Returns:
      See `build_eval_config`.
    """
    model = config_pb2.ModelSpec(
        signature_name=signature_name,
        label_key="label",
        preprocessing_function_names=[features_signature_name],
    )
    lowest = dict(settings.min)
    if settings.baseline_margin is not None:
        lowest.setdefault(OVER_BASELINE, settings.baseline_margin)
    return _build(settings, model, {}, lowest)


def _build(
    settings: SlicedThresholds, model: config_pb2.ModelSpec, options: dict[str, float], minima: dict[str, float]
) -> config_pb2.EvalConfig:
    model.model_type = "tf_generic"
    overall, judged = config_pb2.SlicingSpec(), [_slicing_spec(features) for features in settings.slices]
    spec = config_pb2.MetricsSpec(
        metrics=[
            config_pb2.MetricConfig(
                class_name=settings.family.class_name,
                module=settings.family.module,
                config=json.dumps(
                    {
                        **options,
                        "plot_points": settings.plot_points,
                        "min_slice_examples": settings.min_slice_examples,
                        "slice_min": settings.per_slice.min,
                        "slice_max": settings.per_slice.max,
                        "slice_change": settings.per_slice.change,
                    },
                    sort_keys=True,
                ),
            )
        ]
    )
    lowest = {"example_count": 1.0, **minima}
    for name in sorted({*lowest, *settings.max, *settings.change}):
        threshold = config_pb2.MetricThreshold()
        if name in lowest:
            threshold.value_threshold.lower_bound.value = lowest[name]
        if name in settings.max:
            threshold.value_threshold.upper_bound.value = settings.max[name]
        if name in settings.change:
            _set_change(threshold.change_threshold, name, settings.change[name])
        spec.per_slice_thresholds[name].thresholds.add(slicing_specs=[overall], threshold=threshold)
    for name in slice_margins(settings.per_slice):
        threshold = config_pb2.MetricThreshold()
        threshold.value_threshold.lower_bound.value = 0.0
        spec.per_slice_thresholds[name].thresholds.add(slicing_specs=judged, threshold=threshold)
    return config_pb2.EvalConfig(model_specs=[model], slicing_specs=[overall, *judged], metrics_specs=[spec])


def slice_margins(thresholds: Thresholds) -> list[str]:
    """Names of the metrics that hold the margins of `thresholds`, see `modules.evaluation.slice_metric`."""
    values = sorted({*thresholds.min, *thresholds.max})
    return [*map(names.margin, values), *map(names.change_margin, sorted(thresholds.change))]


def _slicing_spec(features: tuple[str, ...]) -> config_pb2.SlicingSpec:
    return config_pb2.SlicingSpec(feature_keys=sorted(features))


def _set_change(threshold: config_pb2.GenericChangeThreshold, name: str, improvement: float) -> None:
    # TFMA compares candidate - baseline, which is negative for an improvement where lower is better.
    if name in LOWER_IS_BETTER:
        threshold.direction = config_pb2.MetricDirection.LOWER_IS_BETTER
        threshold.absolute.value = -improvement
    else:
        threshold.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
        threshold.absolute.value = improvement
