"""Settings and the EvalConfig they stand for."""

from __future__ import annotations

import json
import subprocess
import sys

import pydantic
import pytest
from google.protobuf import text_format
from tensorflow_model_analysis.proto import config_pb2

from modules.evaluation import binary_metrics
from modules.evaluation.eval_config import METRIC_CLASS, METRIC_MODULE, build_eval_config
from modules.evaluation.settings import EvaluationSettings


def test_settings_become_thresholds_overall_and_margins_in_slices():
    settings = EvaluationSettings.model_validate(
        {
            "slices": ["source", ["source", "region"]],
            "min": {"auc": 0.7},
            "max": {"log_loss": 0.6},
            "change": {"auc": 0.001, "log_loss": 0.02},
            "per_slice": {"min": {"auc": 0.55}, "change": {"auc": -0.02}},
            "min_slice_examples": 250,
            "threshold": 0.3,
        }
    )
    config = build_eval_config(settings, "converted", example_weight_key="w")
    assert config.model_specs[0] == text_format.Parse(
        """signature_name: "serving_default" label_key: "converted" prediction_key: "probability"
        example_weight_key: "w" model_type: "tf_generic" """,
        config_pb2.ModelSpec(),
    )
    assert [list(spec.feature_keys) for spec in config.slicing_specs] == [[], ["source"], ["region", "source"]]
    (spec,) = config.metrics_specs
    assert json.loads(spec.metrics[0].config) == {
        "threshold": 0.3,
        "plot_points": 100,
        "min_slice_examples": 250,
        "slice_min": {"auc": 0.55},
        "slice_max": {},
        "slice_change": {"auc": -0.02},
    }
    assert spec.per_slice_thresholds["auc"] == text_format.Parse(
        """thresholds { slicing_specs {} threshold {
             value_threshold { lower_bound { value: 0.7 } }
             change_threshold { direction: HIGHER_IS_BETTER absolute { value: 0.001 } } } }""",
        config_pb2.PerSliceMetricThresholds(),
    )
    assert spec.per_slice_thresholds["log_loss"] == text_format.Parse(
        """thresholds { slicing_specs {} threshold {
             value_threshold { upper_bound { value: 0.6 } }
             change_threshold { direction: LOWER_IS_BETTER absolute { value: -0.02 } } } }""",
        config_pb2.PerSliceMetricThresholds(),
    )
    in_slices = text_format.Parse(
        """thresholds { slicing_specs { feature_keys: "source" } slicing_specs { feature_keys: ["region", "source"] }
             threshold { value_threshold { lower_bound { value: 0 } } } }""",
        config_pb2.PerSliceMetricThresholds(),
    )
    assert spec.per_slice_thresholds["auc_margin"] == in_slices
    assert spec.per_slice_thresholds["auc_change_margin"] == in_slices
    assert set(spec.per_slice_thresholds) == {"auc", "log_loss", "example_count", "auc_margin", "auc_change_margin"}


def test_by_default_a_candidate_must_rank_strictly_better_and_something_is_always_validated():
    spec = build_eval_config(EvaluationSettings(), "label").metrics_specs[0]
    assert set(spec.per_slice_thresholds) == {"auc", "example_count"}
    change = spec.per_slice_thresholds["auc"].thresholds[0].threshold.change_threshold
    assert change.direction == config_pb2.MetricDirection.HIGHER_IS_BETTER
    assert change.absolute.value > 0
    count = spec.per_slice_thresholds["example_count"].thresholds[0].threshold.value_threshold
    assert count.lower_bound.value == 1


def test_the_config_names_the_metric_by_its_class_and_module():
    assert (
        binary_metrics.BinaryClassification.__module__,
        binary_metrics.BinaryClassification.__name__,
    ) == (METRIC_MODULE, METRIC_CLASS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min": {"acu": 0.7}}, "unknown metric 'acu'; did you mean 'auc'?"),
        ({"min": {"zzz": 0.7}}, "unknown metric 'zzz'; known metrics are example_count, "),
        ({"change": {"mean_label": 0.1}}, "'mean_label' has no better direction to change in"),
        ({"min": {"auc": 0.8}, "max": {"auc": 0.7}}, "no value of 'auc' can pass: its min 0.8 is above its max 0.7"),
        ({"min": {"auc": float("nan")}}, "finite number"),
        ({"slices": [["a", "a"]]}, "names a feature twice"),
        ({"slices": [["a", "b"], ["b", "a"]]}, "the same slice is listed twice"),
        ({"slices": [[]]}, "at least 1 item"),
        ({"per_slice": {"min": {"auc": 0.6}}}, "per_slice has thresholds, but slices is empty"),
        ({"threshold": 1.5}, "less than or equal to 1"),
        ({"treshold": 0.5}, "Extra inputs are not permitted"),
        ({"per_slice": {"threshold": 0.5}, "slices": ["a"]}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values, message):
    with pytest.raises(pydantic.ValidationError, match=message.replace("?", r"\?")):
        EvaluationSettings.model_validate(values)


def test_reading_settings_imports_neither_tensorflow_nor_beam():
    code = (
        "import sys, modules.evaluation.settings, modules.evaluation.verdict\n"
        "print({'tensorflow', 'apache_beam', 'tfx', 'pandas', 'tensorflow_model_analysis'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "set()"
