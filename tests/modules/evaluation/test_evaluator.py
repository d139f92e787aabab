"""The stock Evaluator with `BinaryClassification`: stock and aggregating extractors, from examples to blessing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as reference
from tensorflow_model_analysis.proto import config_pb2

from modules.evaluation import extractors
from modules.evaluation.eval_config import EvaluationSettings, build_eval_config
from modules.evaluation.verdict import read_verdict
from tests.modules.evaluation.conftest import ROWS, TINY, scores

pytestmark = pytest.mark.slow

SETTINGS = EvaluationSettings(
    slices=["region", "device", ["device", "region"]],
    min={"auc": 0.9, "accuracy": 0.5},
    max={"log_loss": 10.0},
    change={"log_loss": 0.0, "auc": 0.2},
    per_slice={"min": {"auc": 0.6}, "change": {"log_loss": 0.0}},
    min_slice_examples=100,
    threshold=0.4,
    plot_points=20,
)

STOCK_NAMES = {
    "example_count": "example_count",
    "weighted_example_count": "weighted_example_count",
    "binary_accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "mean_label": "mean_label",
    "mean_prediction": "mean_prediction",
    "calibration": "calibration",
    "binary_crossentropy": "log_loss",
    "auc": "auc",
    "auc_precision_recall": "auc_precision_recall",
}


def stock_config(weight_key: str) -> config_pb2.EvalConfig:
    names = ["BinaryAccuracy", "Precision", "Recall", "MeanLabel", "MeanPrediction", "Calibration"]
    names += ["BinaryCrossEntropy", "AUC", "AUCPrecisionRecall", "WeightedExampleCount"]
    weighted = [config_pb2.MetricConfig(class_name=name) for name in names]
    weighted.append(config_pb2.MetricConfig(class_name="CalibrationPlot", config='"num_buckets": 20'))
    weighted.append(config_pb2.MetricConfig(class_name="ConfusionMatrixPlot", config='"num_thresholds": 20'))
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name="serving_default",
                label_key="label",
                prediction_key="probability",
                example_weight_key=weight_key,
                model_type="tf_generic",
            )
        ],
        slicing_specs=[config_pb2.SlicingSpec(), config_pb2.SlicingSpec(feature_keys=["region"])],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[config_pb2.MetricConfig(class_name="ExampleCount")],
                example_weights=config_pb2.ExampleWeightOptions(unweighted=True),
            ),
            config_pb2.MetricsSpec(metrics=weighted),
        ],
    )


@pytest.fixture(scope="module")
def compared(evaluate):
    """Candidate and baseline, aggregated and one example at a time."""
    config = build_eval_config(SETTINGS, "label")
    return {fast: evaluate(f"compared-{fast}", config, baseline=True, fast=fast) for fast in (True, False)}


@pytest.fixture(scope="module")
def first(evaluate):
    """The candidate alone, weighted, once with TFMA's own metrics."""
    settings = EvaluationSettings(slices=["region"], plot_points=20, min={"auc": 0.5})
    return {
        "ours": evaluate("weighted", build_eval_config(settings, "label", example_weight_key="weight")),
        "stock": evaluate("stock", stock_config("weight")),
    }


def all_slices(verdict):
    return {part.key: part for part in (verdict.overall, *verdict.slices)}


@pytest.mark.parametrize("fast", [True, False])
def test_metrics_per_slice_and_model_equal_scikit_learn(compared, leads, fast):
    found = all_slices(read_verdict(compared[fast].path))
    with_device = np.arange(ROWS) % 10 != 0
    members = {(): np.ones(ROWS, bool)}
    for region in leads["region"].unique():
        members[(("region", region),)] = (leads["region"] == region).to_numpy()
        for device in leads["device"].unique():
            here = (leads["device"] == device).to_numpy() & with_device
            members[(("device", device),)] = here
            both = here & (leads["region"] == region).to_numpy()
            members[(("device", device), ("region", region))] = both
    assert set(found) == set(members)
    for model, slope in (("candidate", 2.0), ("baseline", 0.2)):
        prediction = scores(leads, slope)
        for key, member in members.items():
            got = getattr(found[key], model)
            label, score = leads["label"].to_numpy()[member], prediction[member]
            assert got["example_count"] == member.sum()
            assert got["log_loss"] == pytest.approx(reference.log_loss(label, score, labels=[0, 1]), rel=1e-5)
            assert got["accuracy"] == pytest.approx(reference.accuracy_score(label, score > 0.4))
            assert got["f1_score"] == pytest.approx(reference.f1_score(label, score > 0.4))
            assert got["auc"] == pytest.approx(reference.roc_auc_score(label, score), abs=1e-5)
            assert got["average_precision"] == pytest.approx(reference.average_precision_score(label, score), abs=1e-5)


def test_aggregating_changes_no_metric_and_no_verdict(compared):
    fast, plain = (read_verdict(compared[which].path) for which in (True, False))
    assert [failure.describe() for failure in fast.failures] and not fast.blessed
    key = [(f.metric, f.key, f.kind, f.bound) for f in fast.failures]
    assert sorted(key) == sorted((f.metric, f.key, f.kind, f.bound) for f in plain.failures)
    ours, theirs = all_slices(fast), all_slices(plain)
    assert set(ours) == set(theirs)
    for slice_key, part in ours.items():
        for model in ("candidate", "baseline"):
            expected = getattr(theirs[slice_key], model)
            assert getattr(part, model) == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)


def test_failures_are_those_of_the_definition_and_small_slices_are_not_judged(compared, leads):
    verdict = read_verdict(compared[True].path)
    assert not compared[True].blessed and not verdict.blessed
    parts = all_slices(verdict)
    expected = set()
    if parts[()].candidate["auc"] < 0.9:
        expected.add(("auc", (), "min"))
    # Both models rank alike, so there is no improvement of 0.2.
    expected.add(("auc", (), "change"))
    if parts[()].candidate["log_loss"] > parts[()].baseline["log_loss"]:
        expected.add(("log_loss", (), "change"))
    for key, part in parts.items():
        if key and part.examples >= 100:
            if part.candidate["auc"] < 0.6:
                expected.add(("auc", key, "min"))
            if part.candidate["log_loss"] > part.baseline["log_loss"]:
                expected.add(("log_loss", key, "change"))
    assert {(f.metric, f.key, f.kind) for f in verdict.failures} == expected
    west, tiny = (("region", "west"),), (("region", "tiny"),)
    assert {("auc", west, "min"), ("log_loss", west, "change"), ("auc", (), "min")} <= expected
    # The tiny region is ranked upside down, but has too few leads to say so.
    assert parts[tiny].candidate["auc"] < 0.4
    assert not parts[tiny].judged and parts[tiny].examples == TINY
    assert tiny in {part.key for part in verdict.unjudged}
    lines = verdict.describe()
    auc = parts[west].candidate["auc"]
    assert f"auc {auc:.3f} < 0.600 (short by {0.6 - auc:.3f}) in region=west" in lines
    assert lines[-1].startswith("not judged, too few examples: ")
    assert verdict.reason == f"{len(expected)} thresholds missed"


def test_the_first_model_is_blessed_by_its_values_alone(first):
    verdict = read_verdict(first["ours"].path)
    assert first["ours"].blessed and verdict.blessed
    assert verdict.baseline is None
    assert verdict.reason == "every threshold holds; there is no baseline yet"


def test_weighted_metrics_equal_those_of_tfma(first):
    import tensorflow_model_analysis as tfma

    ours = all_slices(read_verdict(first["ours"].path))
    stock = tfma.load_eval_result(str(first["stock"].path)).slicing_metrics
    assert {key for key, _ in stock} == set(ours)
    for key, values in stock:
        for stock_name, name in STOCK_NAMES.items():
            expected = values[""][""][stock_name]["doubleValue"]
            # TFMA reads these two off ten thousand thresholds.
            tolerance = 2e-4 if name.startswith("auc") else 1e-5
            got = ours[key].candidate[name]
            assert got == pytest.approx(float(expected), rel=tolerance, abs=tolerance), (key, name)


def test_plots_equal_those_of_tfma(first):
    from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

    def load(which):
        return {
            record.slice_key.SerializeToString(): item.value
            for record in writer.load_and_deserialize_plots(str(first[which].path))
            for item in record.plot_keys_and_values
            if not item.key.output_name
        }

    ours, stock = load("ours"), load("stock")
    assert ours.keys() == stock.keys() and len(ours) == 5
    for key, plot in ours.items():
        got, expected = plot.calibration_histogram_buckets.buckets, stock[key].calibration_histogram_buckets.buckets
        assert len(got) == len(expected) == 22
        for a, b in zip(got, expected, strict=True):
            assert a.lower_threshold_inclusive == pytest.approx(b.lower_threshold_inclusive)
            assert a.upper_threshold_exclusive == pytest.approx(b.upper_threshold_exclusive)
            assert a.total_weighted_label.value == pytest.approx(b.total_weighted_label.value)
            assert a.num_weighted_examples.value == pytest.approx(b.num_weighted_examples.value)
            refined = b.total_weighted_refined_prediction.value
            assert a.total_weighted_refined_prediction.value == pytest.approx(refined, rel=1e-5)
        matrices = plot.confusion_matrix_at_thresholds.matrices
        wanted = stock[key].confusion_matrix_at_thresholds.matrices
        assert len(matrices) == len(wanted) == 22
        for a, b in zip(matrices, wanted, strict=True):
            assert a.threshold == pytest.approx(b.threshold, abs=1e-6)
            # TFMA's counts are those of a threshold that is 1e-4 higher, a lead or two in a thousand.
            for name in ("true_positives", "false_positives", "true_negatives", "false_negatives"):
                assert getattr(a, name) == pytest.approx(getattr(b, name), abs=5), name
            for name in ("precision", "recall", "f1", "accuracy", "false_positive_rate"):
                assert getattr(a, name) == pytest.approx(getattr(b, name), abs=0.02), name


def test_anything_that_needs_single_examples_keeps_the_stock_extractors():
    config = build_eval_config(SETTINGS, "label")
    assert extractors.can_aggregate(config)

    def changed(edit) -> bool:
        copy = config_pb2.EvalConfig()
        copy.CopyFrom(config)
        edit(copy)
        return extractors.can_aggregate(copy)

    assert not changed(lambda c: c.metrics_specs[0].metrics.add(class_name="AUC"))
    assert not changed(lambda c: c.metrics_specs.add().metrics.add(class_name="ExampleCount"))
    assert not changed(lambda c: setattr(c.metrics_specs[0], "query_key", "session"))
    assert not changed(lambda c: setattr(c.options.compute_confidence_intervals, "value", True))
    assert not changed(lambda c: setattr(c.options.min_slice_size, "value", 10))
    assert not changed(lambda c: setattr(c.slicing_specs[0], "slice_keys_sql", "SELECT 1"))
    assert not changed(lambda c: c.cross_slicing_specs.add())


def test_the_candidate_does_better_than_a_coin_where_labels_follow_its_logit(compared):
    north = all_slices(read_verdict(compared[True].path))[(("region", "north"),)]
    assert north.candidate["auc"] > 0.8 and not math.isnan(north.candidate["expected_calibration_error"])
