from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from modules.evaluation import histogram
from modules.validation.bounds import BoundsVerdict, judge
from modules.validation.curves import pooled_roc
from modules.validation.intervals import summarize, summarize_folds
from modules.validation.report import CrossValidationReport, FoldReport

VALUES = [0.70, 0.74, 0.72, 0.76, 0.78]


def part(index: int, auc: float) -> FoldReport:
    return FoldReport(index=index, rows={"train": 60, "calibration": 20, "held_out": 20}, metrics={"auc": auc})


def report(values: list[float], **changes) -> CrossValidationReport:
    parts = tuple(part(i, v) for i, v in enumerate(values))
    fields = {
        "model_type": "lead-scoring",
        "method": "stratified",
        "folds": len(values),
        "confidence": 0.95,
        "splits": ("train", "validation", "calibration"),
        "rows": 100,
        "parts": parts,
        "metrics": summarize_folds(parts, 0.95),
    }
    return CrossValidationReport(**{**fields, **changes})


def test_summary_by_hand():
    found = summarize(VALUES, [80] * 5, [20] * 5, 0.95)
    # Deviations from 0.74 are -4, 0, -2, 2, 4 hundredths: 40 / 4 = 10 hundredths squared.
    deviation = math.sqrt(10) / 100
    assert found.mean == pytest.approx(0.74)
    assert found.deviation == pytest.approx(deviation)
    assert found.plain_standard_error == pytest.approx(deviation / math.sqrt(5))
    # 1/5 + 20/80 = 0.45, and the two-sided 95 % point of Student's t with 4 degrees of freedom is 2.776.
    assert found.standard_error == pytest.approx(deviation * math.sqrt(0.45))
    assert found.high - found.mean == pytest.approx(2.776445 * deviation * math.sqrt(0.45), rel=1e-6)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_repeats_narrow_the_plain_error_and_hardly_the_corrected_one():
    once, ten = (summarize(VALUES * n, [80] * 5 * n, [20] * 5 * n, 0.95) for n in (1, 10))
    assert ten.plain_standard_error < once.plain_standard_error / 3
    assert ten.standard_error > once.standard_error * 0.65


def test_corrected_intervals_cover_where_plain_ones_do_not():
    # Folds of one table share most of their training rows, so that their errors move together: the metric of a fold is
    # truth + what all folds share + what is the fold's own, with the correlation that five folds are taken to have.
    rng = np.random.default_rng(0)
    rho = 0.2
    shared, own = rng.normal(size=(4000, 1)) * math.sqrt(rho), rng.normal(size=(4000, 5)) * math.sqrt(1 - rho)
    covered = {"plain": 0, "corrected": 0}
    for values in shared + own:
        found = summarize(values.tolist(), [80] * 5, [20] * 5, 0.95)
        covered["corrected"] += found.low <= 0 <= found.high
        half = (found.high - found.mean) * found.plain_standard_error / found.standard_error
        covered["plain"] += abs(found.mean) <= half
    assert covered["corrected"] / 4000 == pytest.approx(0.95, abs=0.012)
    assert covered["plain"] / 4000 < 0.9


def test_a_fold_without_a_value_leaves_none():
    found = summarize([0.7, math.nan, 0.8], [80] * 3, [20] * 3, 0.95)
    assert math.isnan(found.mean) and math.isnan(found.low)


def test_report_is_read_as_it_was_written_and_says_one_line(tmp_path):
    written = report([*VALUES[:4], math.nan], method="time", gap_days=30.0, roc=((0.0, 0.0), (1.0, 1.0)))
    written.write(tmp_path)
    read = CrossValidationReport.read(tmp_path)
    assert read.model_dump_json() == written.model_dump_json()
    assert math.isnan(read.parts[4].metrics["auc"])
    assert [p.name for p in tmp_path.iterdir()] == ["cross_validation.json"]
    (line,) = report(VALUES, method="group", group="household", repeats=2).lines()
    assert line.startswith("folds      2 x 5 folds by household, 95 % intervals: auc 0.7400 (0.6811 to 0.7989)")


def test_bounds_are_held_against_the_ends_of_the_interval():
    found = report(VALUES)
    low, high = found.metrics["auc"].low, found.metrics["auc"].high
    assert not judge(found, {"auc": low}, {"auc": high}).missed
    (missed,) = judge(found, {"auc": low + 1e-9}, {}).missed
    assert (missed.metric, missed.kind) == ("auc", "min")
    (missed,) = judge(found, {}, {"auc": high - 1e-9}).missed
    assert missed.kind == "max"


def test_a_missed_bound_says_what_was_asked_and_what_was_reached():
    (missed,) = judge(report(VALUES), {"auc": 0.7}, {}).missed
    assert missed.describe() == (
        "auc 0.681 < 0.700 (short by 0.019) at the lower end of the 95 % interval over 5 folds stratified: "
        "0.681 to 0.799, mean 0.740"
    )


@pytest.mark.parametrize("name", ["auc", "log_loss"])
def test_what_is_not_defined_or_not_measured_misses_its_bound(name):
    (missed,) = judge(report([*VALUES[:4], math.nan]), {}, {name: 10.0}).missed
    assert "not defined in every fold" in missed.describe()


def test_verdict_on_bounds_is_read_as_it_was_written(tmp_path):
    assert BoundsVerdict.find(tmp_path) == BoundsVerdict()
    verdict = judge(report(VALUES), {"auc": 0.7}, {"auc": 0.9})
    verdict.write(tmp_path)
    assert BoundsVerdict.find(tmp_path) == verdict


def test_pooled_curve_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 600), rng.random(600).astype(np.float32).round(2)
    folds = [histogram.build(labels[i::3], scores[i::3]) for i in range(3)]
    expected = set(zip(*(v.tolist() for v in roc_curve(labels, scores, drop_intermediate=False)[:2]), strict=True))
    found = pooled_roc(folds, points=1000)
    assert set(found) == expected
    few = pooled_roc(folds, points=10)
    assert few[0] == (0.0, 0.0) and few[-1] == (1.0, 1.0)
    assert set(few) <= expected and len(few) <= 11
    assert pooled_roc([histogram.build(np.ones(3), np.ones(3))]) == ()
