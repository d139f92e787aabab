"""Failures in words, and verdicts from TFMA's records."""

from __future__ import annotations

import math

import pytest
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2, validation_result_pb2
from tensorflow_model_analysis.slicer import slicer_lib

from modules.errors import DataError
from modules.evaluation.eval_config import (
    EvaluationSettings,
    NextActionEvaluationSettings,
    build_eval_config,
    build_next_action_config,
)
from modules.evaluation.families import BINARY, NEXT_ACTION
from modules.evaluation.verdict import FailedThreshold, make_verdict, read_verdict

PORTAL = (("source", "portal"),)


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (FailedThreshold("auc", PORTAL, "min", 0.75, 0.712), "auc 0.712 < 0.750 (short by 0.038) in source=portal"),
        (FailedThreshold("log_loss", (), "max", 0.5, 0.6), "log_loss 0.600 > 0.500 (over by 0.100) overall"),
        (
            FailedThreshold("auc", (), "change", 0.002, 0.7201, 0.72),
            "auc improvement +0.0001 < +0.0020 (short by 0.0019) overall: 0.7201, baseline 0.7200",
        ),
        (
            FailedThreshold("log_loss", (*PORTAL, ("region", "")), "change", -0.01, 0.55, 0.5),
            "log_loss improvement -0.050 < -0.010 (short by 0.040) in source=portal, region='': 0.550, baseline 0.500",
        ),
        (
            FailedThreshold("log_loss", (), "change", 0.001, 0.5, 0.5),
            "log_loss improvement +0.0000 < +0.0010 (short by 0.0010) overall: 0.5000, baseline 0.5000",
        ),
        (
            FailedThreshold("auc", (), "min", 0.7, math.nan),
            "auc is not defined overall, so its value cannot reach 0.7",
        ),
        (FailedThreshold("auc", PORTAL, "min", 0.7, None), "auc was not computed in source=portal"),
    ],
)
def test_a_failure_says_metric_values_shortfall_and_slice(failure, line):
    assert failure.describe() == line


def record(key, values, model=""):
    made = metrics_for_slice_pb2.MetricsForSlice()
    made.slice_key.CopyFrom(slicer_lib.serialize_slice_key(key))
    for name, value in values.items():
        item = made.metric_keys_and_values.add()
        item.key.CopyFrom(metric_types.MetricKey(name=name, model_name=model, example_weighted=None).to_proto())
        item.value.double_value.value = value
    return made


def test_a_verdict_lists_slices_too_small_to_judge_and_missing_ones():
    settings = EvaluationSettings(slices=["source", "job"], per_slice={"min": {"auc": 0.6}}, min_slice_examples=50)
    result = validation_result_pb2.ValidationResult(
        validation_ok=False, missing_slices=[config_pb2.SlicingSpec(feature_keys=["job"])]
    )
    verdict = make_verdict(
        build_eval_config(settings, "label"),
        [record((), {"auc": 0.7, "example_count": 80}), record(PORTAL, {"auc": 0.4, "example_count": 49})],
        result,
    )
    assert not verdict.blessed
    assert verdict.reason == "1 threshold missed"
    assert verdict.candidate == {"auc": 0.7, "example_count": 80}
    assert verdict.baseline is None
    assert verdict.describe() == [
        "no example to evaluate has a value of job",
        "not judged, too few examples: source=portal (49)",
    ]


def test_without_thresholds_nothing_is_blessed_and_the_reason_says_so():
    result = validation_result_pb2.ValidationResult(validation_ok=False, missing_thresholds=True)
    verdict = make_verdict(config_pb2.EvalConfig(model_specs=[{}]), [record((), {"auc": 0.7})], result)
    assert not verdict.blessed
    assert verdict.describe() == ["no thresholds are set, so nothing was validated"]


def test_a_missed_margin_over_the_naive_baselines_names_the_best_of_them():
    values = {
        "example_count": 500,
        "accuracy": 0.797,
        "accuracy_over_baseline": 0.004,
        "baseline_majority_accuracy": 0.3,
        "baseline_last_action_accuracy": 0.7,
        "baseline_prefix_accuracy": 0.793,
    }
    result = validation_result_pb2.ValidationResult(validation_ok=False)
    failure = result.metric_validations_per_slice.add().failures.add()
    failure.metric_key.name = "accuracy_over_baseline"
    failure.metric_threshold.value_threshold.lower_bound.value = 0.01
    failure.metric_value.double_value.value = 0.004
    config = build_next_action_config(NextActionEvaluationSettings(baseline_margin=0.01))
    verdict = make_verdict(config, [record((), values)], result)
    assert verdict.describe() == [
        "accuracy_over_baseline 0.0040 < 0.0100 (short by 0.0060) overall: model 0.7970, best baseline prefix 0.7930"
    ]
    assert verdict.shown_metrics == NEXT_ACTION.shown


def test_a_summary_shows_the_metrics_of_the_family():
    verdict = make_verdict(build_eval_config(EvaluationSettings(), "label"), [record((), {"auc": 0.7})], None)
    assert verdict.shown_metrics == BINARY.shown
    unknown = make_verdict(config_pb2.EvalConfig(model_specs=[{}]), [record((), {"auc": 0.7})], None)
    assert unknown.shown_metrics == ("auc",)


def test_a_folder_without_an_evaluation_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no metrics\. Point to the directory of a ModelEvaluation artifact"):
        read_verdict(tmp_path)
