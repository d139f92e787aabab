"""The stock Evaluator with `NextAction`: from examples and the model's two signatures to blessing and verdict."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from modules.evaluation.eval_config import NextActionEvaluationSettings, build_next_action_config
from modules.evaluation.families import NEXT_ACTION
from modules.evaluation.verdict import read_verdict
from tests.modules.evaluation import decisions as market
from tests.modules.evaluation.conftest import run_evaluator

pytestmark = pytest.mark.slow

SLICES = ["stage", "source", ["stage", "source"], "next_action"]
SETTINGS = NextActionEvaluationSettings(
    slices=SLICES, baseline_margin=0.2, per_slice={"min": {"accuracy": 0.3}}, min_slice_examples=50
)
# A model with another vocabulary, and one that knows no more than the last_action baseline.
MODELS = {
    "candidate": {},
    "smaller": {"actions": market.ACTIONS[:4], "reads_source": False},
    "naive": {"reads_source": False},
}


@pytest.fixture(scope="module")
def decisions():
    return market.make_decisions()


@pytest.fixture(scope="module")
def records(decisions):
    return market.serialize(decisions)


@pytest.fixture(scope="module")
def root(records, tmp_path_factory):
    root = tmp_path_factory.mktemp("next_action")
    market.write_records(records, root / "examples" / "Split-eval")
    market.write_schema(root / "schema")
    for name, options in MODELS.items():
        market.save_model(root / name, **options)
    return root


@pytest.fixture(scope="module")
def compared(root):
    """The candidate against the smaller model, aggregated and one decision at a time."""
    config = build_next_action_config(SETTINGS)
    models = {"model": "candidate", "baseline_model": "smaller"}
    return {fast: run_evaluator(root, f"compared-{fast}", config, models, fast, "schema") for fast in (True, False)}


@pytest.fixture(scope="module")
def answers(root, records):
    """What the signatures of each model answer."""
    import tensorflow as tf

    found = {}
    for name in MODELS:
        signatures = tf.saved_model.load(str(root / name / "Format-Serving")).signatures
        outputs = {}
        for signature in ("distribution", "evaluation_features"):
            outputs |= {k: v.numpy() for k, v in signatures[signature](examples=tf.constant(records)).items()}
        found[name] = outputs
    return found


def all_slices(verdict):
    return {part.key: part for part in (verdict.overall, *verdict.slices)}


def members_of(decisions):
    """Slices by key, with what is in them: bool [n]."""
    members = {(): np.ones(len(decisions), bool)}
    for features in (("stage",), ("source",), ("source", "stage"), ("next_action",)):
        for values in decisions[list(features)].drop_duplicates().itertuples(index=False):
            if "" not in values:
                key = tuple(zip(features, values, strict=True))
                members[key] = np.logical_and.reduce([(decisions[name] == value).to_numpy() for name, value in key])
    return members


@pytest.mark.parametrize("fast", [True, False])
def test_metrics_per_slice_and_model_equal_scikit_learn(compared, decisions, answers, fast):
    found = all_slices(read_verdict(compared[fast].path))
    members = members_of(decisions)
    assert set(found) == set(members)
    for role, model in (("candidate", "candidate"), ("baseline", "smaller")):
        answer = answers[model]
        predicted = answer["probabilities"].argmax(axis=1)
        for key, member in members.items():
            got = getattr(found[key], role)
            label, top = answer["label"][member], predicted[member]
            assert got["example_count"] == member.sum()
            assert got["accuracy"] == pytest.approx(np.mean(label == top))
            expected = reference.f1_score(label, top, average="weighted", zero_division=0)
            assert got["weighted_f1"] == pytest.approx(expected)
            of_label = answer["probabilities"][member, np.maximum(label, 0)]
            log_loss = -np.log(np.where(label < 0, 1e-7, of_label)).mean()
            assert got["log_loss"] == pytest.approx(log_loss, rel=1e-5)
            baselines = [np.mean((answer[b][member] == label) & (label >= 0)) for b in ("majority", "last_action")]
            assert [got["baseline_majority_accuracy"], got["baseline_last_action_accuracy"]] == pytest.approx(baselines)
            lengths = decisions["length"].to_numpy()[member]
            by_length = [np.mean((label == top)[lengths == length]) for length in np.unique(lengths)]
            assert got["mean_prefix_accuracy"] == pytest.approx(np.mean(by_length))
            known = (decisions["outcome"].to_numpy()[member] >= 0) & (label >= 0)
            assert got["conversion_count"] == known.sum()
            outcome = decisions["outcome"].to_numpy()[member][known]
            if len(set(outcome)) == 2:
                taken = answer["conversion"][member, np.maximum(label, 0)][known]
                assert got["conversion_auc"] == pytest.approx(reference.roc_auc_score(outcome, taken))
            else:
                assert math.isnan(got["conversion_auc"])


def test_aggregating_changes_no_metric_and_no_verdict(compared):
    fast, plain = (read_verdict(compared[which].path) for which in (True, False))
    assert fast.describe() == plain.describe()
    ours, theirs = all_slices(fast), all_slices(plain)
    assert set(ours) == set(theirs)
    for key, part in ours.items():
        for role in ("candidate", "baseline"):
            assert getattr(part, role).keys() == set(NEXT_ACTION.metrics)
            expected = getattr(theirs[key], role)
            assert getattr(part, role) == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)


def test_a_better_model_is_blessed_and_small_slices_are_not_judged(compared):
    verdict = read_verdict(compared[True].path)
    assert compared[True].blessed and verdict.blessed
    assert verdict.reason == "every threshold holds"
    assert verdict.candidate["accuracy_over_baseline"] > 0.2
    assert verdict.candidate["log_loss"] < verdict.baseline["log_loss"]
    # The smaller model knows neither the fifth action nor, as the other, the sixth.
    assert verdict.baseline["unknown_action_rate"] > verdict.candidate["unknown_action_rate"] > 0
    small = {part.key for part in verdict.unjudged}
    assert {(("source", "tiny"),), (("next_action", "fax"),)} <= small
    assert verdict.shown_metrics == NEXT_ACTION.shown


def test_both_calibration_plots_are_written(compared):
    from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

    plots = {
        (item.key.model_name, item.key.output_name): item.value.calibration_histogram_buckets.buckets
        for record in writer.load_and_deserialize_plots(str(compared[True].path))
        if not record.slice_key.single_slice_keys
        for item in record.plot_keys_and_values
    }
    outputs = ("", "conversion", "conversion_quantiles", "actions")
    assert set(plots) == {(model, output) for model in ("candidate", "baseline") for output in outputs}
    candidate = read_verdict(compared[True].path).candidate
    top, conversion = plots["candidate", ""], plots["candidate", "conversion"]
    assert len(top) == len(conversion) == 22
    for plot, count, rate in ((top, "example_count", "accuracy"), (conversion, "conversion_count", "conversion_rate")):
        total = sum(bucket.num_weighted_examples.value for bucket in plot)
        assert total == candidate[count]
        labels = sum(bucket.total_weighted_label.value for bucket in plot)
        assert labels / total == pytest.approx(candidate[rate])


def test_a_model_that_is_no_better_than_a_naive_baseline_is_refused_and_told_so(root):
    settings = NextActionEvaluationSettings(
        baseline_margin=0.01, slices=["next_action"], per_slice={"min": {"accuracy_over_baseline": 0.0}}
    )
    models = {"model": "naive", "baseline_model": "candidate"}
    # Without a schema TFMA guesses the shapes of features from what it sees.
    evaluated = run_evaluator(root, "naive-result", build_next_action_config(settings), models)
    verdict = read_verdict(evaluated.path)
    assert not evaluated.blessed and not verdict.blessed
    accuracy = verdict.candidate["accuracy"]
    call = (("next_action", "call"),)
    of_calls = all_slices(verdict)[call].candidate["accuracy"]
    assert (
        "accuracy_over_baseline 0.000 < 0.010 (short by 0.010) overall: "
        f"model {accuracy:.3f}, best baseline last_action {accuracy:.3f}"
    ) in verdict.describe()
    # Of the calls, the most frequent action, who always says call knows all.
    assert (
        f"accuracy_over_baseline {of_calls - 1:.3f} < 0.000 (short by {1 - of_calls:.3f}) in next_action=call: "
        f"model {of_calls:.3f}, best baseline majority 1.000"
    ) in verdict.describe()
    assert {(failure.metric, failure.kind, failure.key) for failure in verdict.failures} == {
        ("accuracy_over_baseline", "min", ()),
        ("log_loss", "change", ()),
        ("accuracy_over_baseline", "min", call),
    }


def test_the_first_model_that_equals_the_best_naive_baseline_passes_a_margin_of_zero(root):
    config = build_next_action_config(NextActionEvaluationSettings())
    evaluated = run_evaluator(root, "first", config, {"model": "naive"}, schema="schema")
    verdict = read_verdict(evaluated.path)
    assert evaluated.blessed and verdict.baseline is None
    assert verdict.candidate["accuracy_over_baseline"] == 0
    assert verdict.reason == "every threshold holds; there is no baseline yet"
