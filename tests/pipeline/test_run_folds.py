"""Whole runs with cross-validation: a bound on its intervals decides whether a model is pushed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modules.lead_scoring.selection import Selection
from modules.tuning.report import TuningReport
from modules.validation.report import CrossValidationReport
from tests.pipeline.command import BARE, Done, aiqleads, run_pipeline
from tests.pipeline.report.outline import Outline

pytestmark = pytest.mark.slow

FOLDS = (
    *("validation.folds=2", *BARE, "model.num_rounds=20", "evaluation.slices=[]", "evaluation.min={}"),
    *("model.selection={rounds: 5}", "tuning.trials=2", "tuning.space={max_depth: {low: 2, high: 4}}"),
)
REFUSED = (*FOLDS, "validation.min={auc: 0.99}")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds")
    assert aiqleads("data", "generate", "--rows", "2500", "--seed", "3", "--out", str(folder)).code == 0
    return folder


@pytest.fixture(scope="module")
def refused(root: Path) -> Done:
    return run_pipeline(root, root / "leads.csv", *REFUSED)


def outcomes(output: str) -> dict[str, str]:
    """What each component did: "cached", or its seconds."""
    lines = [line.split() for line in output.splitlines() if line.startswith(" ✓ ")]
    return {words[1]: words[2] for words in lines}


def test_the_report_shows_folds_trials_and_what_selection_dropped(root: Path, refused: Done) -> None:
    done = aiqleads("report", "--root", str(root), "--out", str(root / "report.html"))
    assert done.code == 0, done.output
    text = Outline((root / "report.html").read_text()).text
    (folder,) = (root / "artifacts").glob("*/CrossValidation/cross_validation/*")
    folds = CrossValidationReport.read(folder)
    for fold in folds.parts:
        assert f"{fold.metrics['auc']:.4f}" in text["cross-validation"]
    assert f"{folds.metrics['auc'].mean:.4f}" in text["cross-validation"]
    (trials,) = (root / "artifacts").glob("*/Tuner/tuner_results/*")
    report = TuningReport.read(trials)
    assert f"The best trial is {report.best}" in text["tuning"]
    assert all(f"{trial.score:.5f}" in text["tuning"] for trial in report.trials)
    (model,) = (root / "artifacts").glob("*/Trainer/model/*")
    selection = Selection.read(model / "Format-Serving")
    assert selection.dropped and all(column.name in text["selection"] for column in selection.dropped)
    assert "not blessed" in text["blessing"].lower() and "0.99" in text["blessing"]


def test_a_missed_bound_refuses_the_model_and_a_held_one_lets_it_pass(root: Path, refused: Done) -> None:
    assert refused.code == 2, refused.output
    assert "not blessed" in refused.output
    text = " ".join(refused.output.split())
    assert "< 0.990 (short by" in text
    assert "at the lower end of the 95 % interval over 2 folds stratified" in text
    assert "folds 2 folds stratified, 95 % intervals: auc 0." in text
    assert not (root / "serving").exists()
    (blessing,) = (root / "artifacts").glob("*/Evaluator/blessing/*")
    assert [path.name for path in blessing.iterdir()] == ["NOT_BLESSED"]
    (folder,) = (root / "artifacts").glob("*/CrossValidation/cross_validation/*")
    report = CrossValidationReport.read(folder)
    assert f"auc {report.metrics['auc'].mean:.4f}" in text
    ingest = next((root / "artifacts").glob("*/ColumnarExampleGen/examples/*/ingest_report.json"))
    splits = json.loads(ingest.read_text())["splits"]
    assert report.splits == ("train", "validation", "calibration")
    assert report.rows == sum(splits[name]["rows"] for name in report.splits)

    again = run_pipeline(root, root / "leads.csv", *REFUSED)
    assert again.code == 2, "a cached verdict is the same verdict"
    assert set(outcomes(again.output).values()) == {"cached"}
    assert "< 0.990 (short by" in " ".join(again.output.split())

    passed = run_pipeline(root, root / "leads.csv", *FOLDS, "validation.min={auc: 0.01}")
    assert passed.code == 0, passed.output
    assert outcomes(passed.output)["CrossValidation"] == "cached", "another bound fits no fold again"
    assert outcomes(passed.output)["Evaluator"] != "cached"
    # The refused model was no baseline: the first blessed one has nothing to be compared with.
    assert "there is no baseline yet" in passed.output
    assert len(list((root / "serving" / "lead-scoring").glob("[0-9]*"))) == 1


def test_settings_that_the_dataset_cannot_follow_are_refused_before_anything_runs(root: Path) -> None:
    group = ("validation.folds=3", "validation.method=group", "validation.group=houshold")
    done = run_pipeline(root, root / "leads.csv", *group)
    assert done.code == 4
    assert "validation.group" in done.output
    assert " ✓ " not in done.output
