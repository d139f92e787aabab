from __future__ import annotations

import math

import pytest

from modules.convergence import CheckSettings, Curves, EpochCheckSettings, Training
from modules.curve_findings import findings, summary_line
from modules.errors import ConfigError

CHECKS = CheckSettings()


def rounds(validation, train=None, **changes):
    """A booster whose log loss went like this; by default the training loss is the same, and all went well."""
    values = {
        "name": "booster",
        "unit": "round",
        "curves": {"train": {"logloss": train or validation}, "validation": {"logloss": validation}},
        "loss": "logloss",
        "watched": "logloss",
        "steps": 1000,
        "used": validation.index(min(validation)) + 1,
        "patience": 3,
    }
    return Training(**{**values, **changes})


def found(training, checks=CHECKS):
    return {f.check: f for f in findings(Curves(trainings=(training,)), checks)}


HEALTHY = [0.69, 0.60, 0.55, 0.52, 0.50, 0.49, 0.485, 0.484, 0.4845, 0.485, 0.486]
"""Best in round 8 of 11: early stopping waited three rounds."""


def test_a_healthy_training_gives_no_finding_and_one_line():
    training = rounds(HEALTHY, [v - 0.1 for v in HEALTHY])
    assert found(training) == {}
    assert summary_line(training) == "validation log loss 0.4840 was best in round 8 of 11, training 0.3840"


def test_a_loss_that_is_not_a_number_is_all_there_is_to_say():
    result = found(rounds([0.69, 0.6, 0.5, 0.4, 0.3, 0.2, math.nan, math.inf], [0.69, 9, 9, 9, 9, 9, 9, 9]))
    assert list(result) == ["not_a_number"]
    finding = result["not_a_number"]
    assert finding.figures == {"step": 7}
    assert finding.settings == ("model.learning_rate",)
    assert finding.line() == (
        "the validation loss is not a number from round 7 on; lower model.learning_rate, and look for extreme values "
        "in the data"
    )


def test_a_training_loss_that_rises_has_diverged():
    result = found(rounds(HEALTHY, [0.69, 0.9, *[1.2] * 9]))
    assert list(result) == ["diverged"]
    assert (
        result["diverged"].line() == "training diverged: its loss rose from 0.6900 to 1.2000; lower model.learning_rate"
    )


def test_divergence_is_looked_for_in_what_training_minimises():
    curves = {"train": {"loss": (2.0, 3.0), "action_loss": (1.0, 0.9)}, "validation": {"action_loss": (1.0, 0.9)}}
    training = rounds([1.0, 0.9], unit="epoch", curves=curves, loss="action_loss", watched="action_loss", steps=9)
    assert list(found(training)) == ["diverged"]


@pytest.mark.parametrize(("best", "says"), [(3, True), (5, True), (6, False)])
def test_a_training_that_is_best_in_its_first_steps_learns_too_fast(best, says):
    values = [0.7 - 0.05 * k for k in range(best)] + [0.7] * 10
    result = found(rounds(values))
    assert ("too_fast" in result) == says
    if says:
        finding = result["too_fast"]
        assert finding.figures == {"best_step": best, "value": pytest.approx(0.75 - 0.05 * best)}
        assert finding.settings == ("model.learning_rate",)


def test_a_loss_that_goes_back_and_forth_is_noisy():
    values = [0.70, 0.60, 0.65, 0.58, 0.62, 0.56, 0.50, 0.51, 0.52]
    # Best in round 7: back by 0.05 + 0.04 = 0.09, ahead by 0.20 in all.
    assert found(rounds(values)) == {}
    finding = found(rounds(values), CheckSettings(max_noise=0.44))["noisy"]
    assert finding.figures == {"best_step": 7, "rises": pytest.approx(0.09), "fall": pytest.approx(0.20)}
    assert finding.settings == ("model.learning_rate", "model.validation_split")
    assert "moved back by 0.0900 and ahead by 0.2000 in all; lower model.learning_rate or raise" in finding.line()


def test_rounds_that_run_out_too_early_name_their_number():
    # 20 rounds, the last 2 bring 0.004 of 0.304: far less than a tenth of the way, so the end is near.
    values = [0.70 - 0.3 * k / 9 for k in range(10)] + [0.4] * 8 + [0.398, 0.396]
    finding = found(rounds(values, steps=20))["not_finished"]
    assert finding.settings == ("model.num_rounds",)
    assert finding.figures == {"steps": 20, "gain": pytest.approx(0.004), "whole": pytest.approx(0.304)}
    assert finding.line() == (
        "early stopping never fired and the validation log loss was still improving: the last 2 of 20 rounds brought "
        "0.0040 of 0.3040; raise model.num_rounds"
    )
    assert found(rounds(values, steps=21)) == {}
    assert found(rounds(values, steps=20), CheckSettings(still_improving=0.011)) == {}  # 0.004 / 0.396 = 0.0101


def test_a_straight_way_down_means_steps_that_are_too_small():
    values = [0.7 - 0.001 * k for k in range(100)]
    finding = found(rounds(values, steps=100, patience=None))["not_finished"]
    assert finding.settings == ("model.learning_rate", "model.num_rounds")
    assert finding.message.startswith(
        "training ended and the validation log loss was still improving: the last 10 of 100"
    )


def test_a_loss_that_turned_matters_when_a_later_step_is_in_use():
    values = [0.7 - 0.02 * k for k in range(10)] + [0.52 + 0.01 * k for k in range(1, 6)]
    assert found(rounds(values)) == {}
    finding = found(rounds(values, steps=15, used=15, patience=None))["turned"]
    assert finding.figures == {"best_step": 10, "used_step": 15, "lost": pytest.approx(0.05)}
    assert finding.line() == (
        "validation log loss turned in round 10 (0.5200) and is 0.0500 worse in round 15, which is in use; "
        "set model.early_stopping_rounds, or model.num_rounds to 10"
    )
    assert found(rounds(values, steps=15, used=15, patience=None), CheckSettings(max_lost=0.1)) == {}


def test_training_and_validation_part_by_more_than_the_configured_gap():
    train = [v - 0.2 for v in HEALTHY]
    # In round 8: (0.484 - 0.284) / 0.484 = 41 %
    finding = found(rounds(HEALTHY, train), CheckSettings(max_gap=0.3))["gap"]
    assert finding.figures["gap"] == pytest.approx(0.4132, abs=1e-4)
    assert finding.settings == ("model.max_depth", "model.min_child_weight", "model.subsample")
    assert finding.line() == (
        "training and validation part: log loss 0.2840 and 0.4840 in round 8, 41 % apart, 30 % allowed "
        "(checks.max_gap); lower model.max_depth or raise model.min_child_weight"
    )
    assert found(rounds(HEALTHY, train), CheckSettings(max_gap=0.42)) == {}


def test_an_area_is_better_when_it_rises():
    auc = [0.5, 0.6, 0.65, 0.68, 0.7, 0.71, 0.72, 0.71, 0.70]
    curves = {"train": {"logloss": [0.69] * 9}, "validation": {"logloss": [0.69] * 9, "auc": auc}}
    training = rounds(auc, curves=curves, watched="auc", used=7)
    assert training.best == 7
    assert found(training) == {}
    assert summary_line(training) == "validation AUC 0.7200 was best in round 7 of 9, training log loss 0.6900"
    turned = found(rounds(auc, curves=curves, watched="auc", used=9, patience=None))["turned"]
    assert turned.figures["lost"] == pytest.approx(0.02)


def test_rounds_are_counted_on_from_a_booster_that_was_continued():
    training = rounds(HEALTHY, [v - 0.2 for v in HEALTHY], first=101)
    assert found(training, CheckSettings(max_gap=0.3))["gap"].figures["step"] == 108
    assert "round 108 of 111" in summary_line(training)


def test_each_network_speaks_for_itself_and_a_refit_says_nothing():
    curves = {"train": {"loss": (2.0, 1.0)}}
    bad = rounds([0.5, 0.6, 0.7], [0.5, 0.4, 0.3], name="network 1", unit="epoch")
    good = rounds(HEALTHY, name="network 2", unit="epoch")
    refit = rounds([2.0], name="network 1, refit", unit="epoch", curves=curves, steps=2)
    result = findings(Curves(trainings=(bad, refit, good)), EpochCheckSettings())
    assert [f.check for f in result] == ["too_fast"]
    assert result[0].message.startswith("network 1: validation log loss 0.5000 was best in epoch 1 already")
    assert summary_line(refit) == ""
    assert findings(Curves(trainings=(refit,)), EpochCheckSettings()) == ()


def test_curves_survive_their_file_and_what_is_not_finite_is_null(tmp_path):
    found = Curves(trainings=(rounds([0.7, 0.6, math.nan], seconds=(1.5, 1.0, 1.0), used=2),))
    assert found.trainings[0].curves["validation"]["logloss"] == (0.7, 0.6, None)
    folder = tmp_path / "assets.extra"
    folder.mkdir()
    (folder / "curves.json").write_text(found.to_json())
    assert Curves.read(tmp_path) == found
    assert Curves.read(tmp_path).trainings[0].best == 2
    with pytest.raises(ConfigError, match=r"has no assets.extra/curves.json"):
        Curves.read(folder)
