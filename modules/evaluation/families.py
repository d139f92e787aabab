"""The metric families: which metrics a kind of model has, which way is better, and which of them people are shown.

A family is one canonical TFMA metric (`modules.evaluation.slice_metric`) that yields all of its metrics. This table is
what settings, EvalConfig and verdict know of it, without importing TFMA. A metric of the same name means the same in
every family.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from modules.evaluation import curves, next_action_scores

if TYPE_CHECKING:
    from tensorflow_model_analysis.proto import config_pb2


def _nothing(metric: str, values: Mapping[str, float], digits: int) -> str:
    return ""


@dataclasses.dataclass(frozen=True)
class MetricFamily:
    """Metrics that one TFMA metric yields.

    Attributes:
      class_name: name of the `tfma.metrics.Metric`.
      module: module that holds it, and a function `aggregation(config)` (`modules.evaluation.aggregation`).
      metrics: names of all metrics.
      lower_is_better: names of those that improve by falling.
      without_direction: names of those that have no better direction; a candidate cannot improve on them.
      shown: names of those that a summary shows, most telling first.
      explain: what stands behind the value of a metric, in words, given all metrics and the digits after the point;
        empty where there is nothing to add.
    """

    class_name: str
    module: str
    metrics: tuple[str, ...]
    lower_is_better: frozenset[str]
    without_direction: frozenset[str]
    shown: tuple[str, ...]
    explain: Callable[[str, Mapping[str, float], int], str] = _nothing


BINARY = MetricFamily(
    class_name="BinaryClassification",
    module="modules.evaluation.binary_metrics",
    metrics=tuple(curves.METRICS),
    lower_is_better=curves.LOWER_IS_BETTER,
    without_direction=curves.WITHOUT_DIRECTION,
    shown=(
        "auc",
        "auc_precision_recall",
        "log_loss",
        "expected_calibration_error",
        "accuracy",
        "precision",
        "recall",
        "f1_score",
    ),
)

NEXT_ACTION = MetricFamily(
    class_name="NextAction",
    module="modules.evaluation.next_action_metrics",
    metrics=tuple(next_action_scores.METRICS),
    lower_is_better=next_action_scores.LOWER_IS_BETTER,
    without_direction=next_action_scores.WITHOUT_DIRECTION,
    shown=(
        "accuracy",
        "accuracy_over_baseline",
        "baseline_prefix_accuracy",
        "baseline_last_action_accuracy",
        "baseline_majority_accuracy",
        "top_3_accuracy",
        "weighted_f1",
        "macro_f1",
        "mean_reciprocal_rank",
        "log_loss",
        "top_probability_calibration_error",
        "mean_prefix_accuracy",
        "conversion_auc",
        "conversion_log_loss",
        "conversion_calibration_error",
    ),
    explain=next_action_scores.explain,
)

FAMILIES = {family.class_name: family for family in (BINARY, NEXT_ACTION)}
LOWER_IS_BETTER = frozenset[str]().union(*(family.lower_is_better for family in FAMILIES.values()))


def family_metric(eval_config: config_pb2.EvalConfig) -> tuple[MetricFamily, config_pb2.MetricConfig] | None:
    """The first metric of `eval_config` that is one of a family, with the family; None when there is none."""
    for spec in eval_config.metrics_specs:
        for metric in spec.metrics:
            family = FAMILIES.get(metric.class_name)
            if family is not None and metric.module == family.module:
                return family, metric
    return None
