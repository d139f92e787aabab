"""Settings of next-action evaluation and the EvalConfig they stand for."""

from __future__ import annotations

import json
import re

import pydantic
import pytest
from google.protobuf import text_format
from tensorflow_model_analysis.proto import config_pb2

from modules.evaluation import extractors, next_action_metrics
from modules.evaluation.eval_config import build_next_action_config
from modules.evaluation.families import NEXT_ACTION
from modules.evaluation.settings import NextActionEvaluationSettings


def minimum(config: config_pb2.EvalConfig, metric: str) -> float:
    thresholds = config.metrics_specs[0].per_slice_thresholds[metric].thresholds
    assert [list(spec.feature_keys) for spec in thresholds[0].slicing_specs] == [[]]
    return thresholds[0].threshold.value_threshold.lower_bound.value


def test_settings_become_thresholds_on_the_two_signatures():
    settings = NextActionEvaluationSettings.model_validate(
        {
            "slices": ["stage", ["stage", "source"]],
            "baseline_margin": 0.01,
            "min": {"accuracy": 0.6},
            "max": {"log_loss": 1.5},
            "change": {"log_loss": 0.01, "accuracy": -0.002},
            "per_slice": {"min": {"accuracy_over_baseline": -0.02}, "change": {"log_loss": -0.1}},
            "min_slice_examples": 50,
        }
    )
    config = build_next_action_config(settings)
    assert config.model_specs[0] == text_format.Parse(
        """signature_name: "distribution" label_key: "label" model_type: "tf_generic"
        preprocessing_function_names: "evaluation_features" """,
        config_pb2.ModelSpec(),
    )
    (spec,) = config.metrics_specs
    assert json.loads(spec.metrics[0].config) == {
        "plot_points": 20,
        "min_slice_examples": 50,
        "slice_min": {"accuracy_over_baseline": -0.02},
        "slice_max": {},
        "slice_change": {"log_loss": -0.1},
    }
    assert minimum(config, "accuracy_over_baseline") == 0.01
    assert minimum(config, "accuracy") == 0.6
    assert set(spec.per_slice_thresholds) == {
        "example_count",
        "accuracy",
        "log_loss",
        "accuracy_over_baseline",
        "accuracy_over_baseline_margin",
        "log_loss_change_margin",
    }
    change = spec.per_slice_thresholds["log_loss"].thresholds[0].threshold.change_threshold
    assert change.direction == config_pb2.MetricDirection.LOWER_IS_BETTER
    assert change.absolute.value == -0.01
    assert extractors.can_aggregate(config)


def test_by_default_a_candidate_beats_its_predecessor_and_equals_the_naive_baselines():
    config = build_next_action_config(NextActionEvaluationSettings())
    spec = config.metrics_specs[0]
    assert set(spec.per_slice_thresholds) == {"example_count", "accuracy_over_baseline", "log_loss"}
    assert minimum(config, "accuracy_over_baseline") == 0
    change = spec.per_slice_thresholds["log_loss"].thresholds[0].threshold.change_threshold
    assert change.absolute.value < 0


def test_without_a_margin_nothing_is_compared_with_the_naive_baselines():
    config = build_next_action_config(NextActionEvaluationSettings(baseline_margin=None))
    assert set(config.metrics_specs[0].per_slice_thresholds) == {"example_count", "log_loss"}


def test_the_config_names_the_metric_by_its_class_and_module():
    metric = next_action_metrics.NextAction
    assert (metric.__module__, metric.__name__) == (NEXT_ACTION.module, NEXT_ACTION.class_name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min": {"acuracy": 0.7}}, "unknown metric 'acuracy'; did you mean 'accuracy'?"),
        ({"min": {"auc": 0.7}}, "unknown metric 'auc'; known metrics are example_count, accuracy, "),
        ({"per_slice": {"max": {"logloss": 2}}, "slices": ["stage"]}, "'logloss'; did you mean 'log_loss'?"),
        ({"change": {"baseline_prefix_accuracy": 0.1}}, "has no better direction to change in"),
        ({"per_slice": {"min": {"accuracy": 0.6}}}, "per_slice has thresholds, but slices is empty"),
        ({"slices": [["stage", "prefix"]]}, "slices cannot use 'prefix': the model computes a value of this name"),
        (
            {"min": {"accuracy_over_baseline": 0.1}, "baseline_margin": 0.0},
            "baseline_margin and min of 'accuracy_over_baseline' are the same bound",
        ),
        ({"baseline_margin": 2}, "less than or equal to 1"),
        ({"threshold": 0.5}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values, message):
    with pytest.raises(pydantic.ValidationError, match=re.escape(message)):
        NextActionEvaluationSettings.model_validate(values)


def test_a_minimum_over_the_baselines_replaces_the_default_margin():
    settings = NextActionEvaluationSettings(min={"accuracy_over_baseline": 0.05})
    assert minimum(build_next_action_config(settings), "accuracy_over_baseline") == 0.05
