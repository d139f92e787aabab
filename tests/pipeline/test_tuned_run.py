"""Runs with the Tuner between Transform and Trainer; they end unblessed, so that the shared runs keep their models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modules.lead_scoring.manifest import Manifest
from modules.recommendation.manifest import Manifest as JourneyManifest
from modules.tuning.report import TuningReport
from tests.pipeline.command import BARE, PushedRun, RecommendedRun, run_pipeline, run_recommendation

pytestmark = pytest.mark.slow

NOT_BLESSED = 2
LEADS = (
    "tuning.trials=2",
    "tuning.space={max_depth: {low: 2, high: 4}}",
    "evaluation.min={auc: 0.999}",
    *BARE,
)
JOURNEYS = (
    "model.epochs=1",
    "tuning={trials: 2, space: {hidden_layers: {choices: [[8], [16]]}}}",
    "evaluation.min={accuracy: 0.999}",
    "value.max_weight=20",
    *BARE,
)


def newest(root: Path, pattern: str) -> Path:
    return max((root / "artifacts").glob(pattern), key=lambda path: int(path.name))


def outputs(root: Path) -> tuple[TuningReport, dict, Path]:
    report = TuningReport.read(newest(root, "*/Tuner/tuner_results/*"))
    best = newest(root, "*/Tuner/best_hyperparameters/*") / "best_hyperparameters.txt"
    return report, json.loads(best.read_text())["values"], newest(root, "*/Trainer/model/*") / "Format-Serving"


def outcomes(output: str) -> dict[str, str]:
    """`cached`, or seconds, by component."""
    lines = [line.split() for line in output.splitlines() if line.startswith(" ✓ ")]
    return {words[1]: words[2] for words in lines}


def test_lead_scoring_is_trained_with_what_the_tuner_found(pushed: PushedRun) -> None:
    done = run_pipeline(pushed.root, pushed.leads, *LEADS)
    assert done.code == NOT_BLESSED, done.output
    report, best, model = outputs(pushed.root)
    assert len(report.trials) == 2
    assert best == report.best_trial.parameters
    manifest = Manifest.load(model)
    assert manifest.tuned == best
    assert manifest.settings["max_depth"] == best["max_depth"]
    assert manifest.settings["num_rounds"] == 60
    assert "tuning     2 trials (2 complete) on the validation part: auc" in done.output
    assert outcomes(done.output)["Transform"] == "cached"

    again = run_pipeline(pushed.root, pushed.leads, *LEADS)
    assert outcomes(again.output)["Tuner"] == outcomes(again.output)["Trainer"] == "cached"

    more = run_pipeline(pushed.root, pushed.leads, *LEADS, "tuning.trials=3")
    assert outcomes(more.output)["Tuner"] != "cached"
    assert outputs(pushed.root)[0].resumed == 2, "the trials of the shorter search are kept"


def test_the_network_is_trained_with_what_the_tuner_found(recommended: RecommendedRun) -> None:
    done = run_recommendation(recommended.root, recommended.data, *JOURNEYS)
    assert done.code == NOT_BLESSED, done.output
    report, best, model = outputs(recommended.root)
    assert [t.state for t in report.trials] == ["complete"] * 2
    assert best == {"hidden_layers": json.dumps(report.best_trial.parameters["hidden_layers"])}
    manifest = JourneyManifest.load(model)
    assert manifest.settings["hidden_layers"] == report.best_trial.parameters["hidden_layers"]
    assert manifest.tuned == report.best_trial.parameters
    assert "on the validation part: action_loss" in done.output
