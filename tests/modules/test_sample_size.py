from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from modules.convergence import CheckSettings
from modules.probability import expected_calibration_error
from modules.sample_size import (
    Bounds,
    Measured,
    auc_error,
    calibration_findings,
    chance_calibration_error,
    share_error,
    size_findings,
)

CHECKS = CheckSettings()
NONE = Bounds()


def part(examples, positives, name="", **metrics):
    return Measured(name, examples, positives, examples - positives, metrics)


def found(whole, bounds=NONE, slices=(), slice_bounds=NONE, checks=CHECKS):
    return {f.check: f for f in size_findings(whole, slices, bounds, slice_bounds, checks)}


def test_standard_error_of_an_area_is_that_of_hanley_and_mcneil():
    # A = 0.8, P = 10, N = 20: Q1 = 0.8 / 1.2 = 0.6667, Q2 = 1.28 / 1.8 = 0.7111,
    # (0.16 + 9 (0.6667 - 0.64) + 19 (0.7111 - 0.64)) / 200 = (0.16 + 0.24 + 1.3511) / 200 = 0.0087556
    assert auc_error(0.8, 10, 20) == pytest.approx(math.sqrt(0.0087556), abs=1e-5)
    assert auc_error(1.0, 10, 20) == 0
    assert math.isnan(auc_error(0.8, 0, 20))
    assert math.isnan(auc_error(math.nan, 10, 20))


def test_standard_error_of_an_area_is_what_samples_show():
    rng = np.random.default_rng(0)
    areas = [
        roc_auc_score(np.repeat([1, 0], [60, 300]), np.r_[rng.exponential(2, 60), rng.exponential(1, 300)])
        for _ in range(400)
    ]
    # The formula is that of exponential scores, for which the true area is 2 / 3.
    assert auc_error(2 / 3, 60, 300) == pytest.approx(np.std(areas), rel=0.12)


def test_chance_shows_a_calibration_error_even_when_probabilities_are_right():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.18, 0.22, 1000)
    errors = [expected_calibration_error(p, rng.random(1000) < p) for _ in range(300)]
    assert chance_calibration_error(200, 800) == pytest.approx(np.mean(errors), rel=0.05)


def test_large_parts_say_nothing():
    whole = part(20_000, 3000, auc=0.75, expected_calibration_error=0.01)
    bounds = Bounds(min={"auc": 0.7}, max={"expected_calibration_error": 0.03}, change={"auc": 1e-6})
    slices = [part(3000, 450, "device=mobile", auc=0.74)]
    assert found(whole, bounds, slices, Bounds(min={"auc": 0.6})) == {}


def test_a_small_test_part_names_the_split():
    finding = found(part(400, 40, auc=0.75))["test_size"]
    assert finding.figures == {"positives": 40, "negatives": 360, "error": pytest.approx(auc_error(0.75, 40, 360))}
    assert finding.settings[0] == "dataset.split.test"
    assert finding.line() == (
        "40 of 400 rows of the test part converted: auc 0.750 has a standard error of 0.046, 0.02 allowed "
        "(checks.max_auc_error); raise dataset.split.test or add data"
    )
    assert found(part(400, 40, auc=0.75), checks=CheckSettings(max_auc_error=0.05)) == {}


def test_a_threshold_within_the_interval_is_decided_by_chance():
    whole = part(20_000, 3000, auc=0.705)
    error = auc_error(0.705, 3000, 17_000)  # 0.0053: the 90 % interval is 1.645 times as wide to either side
    finding = found(whole, Bounds(min={"auc": 0.7}))["threshold_by_chance"]
    assert finding.message == (
        f"auc 0.705 ± {1.644854 * error:.3f} on the test part cannot be told from its threshold 0.7"
    )
    assert found(whole, Bounds(min={"auc": 0.695})) == {}
    assert found(whole, Bounds(min={"auc": 0.7}), checks=CheckSettings(certainty=0.5)) == {}  # 0.674 times
    accuracy = part(100, 50, accuracy=0.8)
    assert share_error(0.8, 100) == pytest.approx(0.04)
    assert found(accuracy, Bounds(min={"accuracy": 0.74}))["threshold_by_chance"].figures["error"] == pytest.approx(
        0.04
    )
    assert found(accuracy, Bounds(min={"accuracy": 0.73})) == {}


def test_a_change_smaller_than_its_error_cannot_be_seen():
    whole = part(20_000, 3000, auc=0.75)
    finding = found(whole, Bounds(change={"auc": -0.002}))["change_by_chance"]
    assert finding.settings == ("dataset.split.test", "evaluation.change.auc")
    assert finding.message == (
        "evaluation.change asks for -0.002 of auc, whose standard error on the test part is 0.005"
    )
    assert found(whole, Bounds(change={"auc": 0.01, "log_loss": -0.002})) == {}


def test_a_calibration_error_that_chance_gives_cannot_be_asked_for():
    # 1,000 rows, 300 converted, 15 bins: sqrt(2 / pi 0.21 15 / 1000) = 0.0448
    finding = found(part(1000, 300), Bounds(max={"expected_calibration_error": 0.059}))["calibration_by_chance"]
    assert finding.figures == {"bound": 0.059, "chance": pytest.approx(0.0448, abs=1e-4)}
    assert found(part(1000, 300), Bounds(max={"expected_calibration_error": 0.06})) == {}


def test_slices_are_judged_by_the_least_certain_one():
    slices = [part(500, 50, "a=1", auc=0.65), part(900, 90, "a=2", auc=0.62), part(900, 90, "a=3", auc=0.9)]
    finding = found(part(20_000, 3000, auc=0.75), slices=slices, slice_bounds=Bounds(min={"auc": 0.6}))[
        "slice_by_chance"
    ]
    assert finding.figures["slices"] == 2
    assert finding.settings == ("evaluation.min_slice_examples", "evaluation.per_slice.min.auc")
    assert finding.message.startswith(
        "in 2 of 3 slices auc cannot be told from the threshold 0.6; least in a=1 (500 rows): 0.650 ± 0.072"
    )


def test_a_calibration_part_must_fill_its_bins():
    assert calibration_findings(2500, 300, bins=50, min_bin_rows=100) == ()
    (finding,) = calibration_findings(1000, 120, bins=50, min_bin_rows=100)
    assert finding.figures == {"rows": 1000, "wanted": 2500}
    assert finding.line() == (
        "the calibration part has 1,000 leads, 50 bins of 100 need 2,500: intervals are learned from windows of 10 % "
        "of them; raise dataset.split.calibration, or lower model.calibration.bins to 20"
    )
    assert calibration_findings(1000, 120, bins=20, min_bin_rows=100) == ()


def test_a_calibration_part_needs_both_classes():
    (finding,) = calibration_findings(5000, 30, bins=50, min_bin_rows=100)
    assert finding.message == (
        "the calibration part has 30 converted leads: probabilities are little more than a guess"
    )
    (finding,) = calibration_findings(5000, 4990, bins=50, min_bin_rows=100)
    assert "10 leads that did not convert" in finding.message
