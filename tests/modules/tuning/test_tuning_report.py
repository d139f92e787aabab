from __future__ import annotations

import math

import pytest

from modules.errors import DataError
from modules.tuning.report import TrialReport, TuningReport
from modules.tuning.settings import Parameter


def report(**changes):
    trials = (
        TrialReport(number=0, state="complete", parameters={"max_depth": 6, "a": [1]}, scores=(0.7, 0.8), score=0.75),
        TrialReport(number=1, state="pruned", parameters={"max_depth": 2, "a": [1]}, scores=(0.6,), score=0.6),
        TrialReport(number=2, state="failed", parameters={"max_depth": 9, "a": [1]}, error="MemoryError: "),
        TrialReport(number=3, state="complete", parameters={"max_depth": 4, "a": [1]}, scores=(0.8, 0.8), score=0.8),
        TrialReport(number=4, state="complete", parameters={"max_depth": 5, "a": [1]}, scores=(0.8, 0.7), score=0.75),
    )
    values = {
        "model": "lead_scoring",
        "objective": "auc",
        "direction": "maximize",
        "validation": "2 folds stratified",
        "folds": 2,
        "sampler": "tpe",
        "pruner": "median",
        "seed": 0,
        "workers": 1,
        "space": {"max_depth": Parameter(low=2, high=8)},
        "planned": 5,
        "trials": trials,
        "best": 3,
        "importance": {"max_depth": 1.0},
    }
    return TuningReport.model_validate({**values, **changes})


def test_counts_gain_and_what_changed():
    found = report()
    assert found.counts == {"complete": 3, "pruned": 1, "failed": 1}
    assert found.folds_saved == 1
    assert found.gain == pytest.approx(0.05)
    assert report(direction="minimize", best=0).gain == 0
    assert found.changed() == {"max_depth": (6, 4)}
    assert found.best_so_far() == (0.75, 0.75, 0.75, 0.8, 0.8)


def test_best_so_far_knows_no_best_before_the_first_complete_trial():
    trials = report().trials
    late = report(trials=(trials[1], trials[3]), best=3)
    assert math.isnan(late.best_so_far()[0])
    assert late.best_so_far()[1] == 0.8


def test_lines_of_the_summary():
    assert report().lines() == [
        "tuning     5 trials (3 complete, 1 pruned, 1 failed) on 2 folds stratified: auc 0.8000, "
        "configured settings 0.7500 (+0.0500)",
        "           max_depth 6 → 4",
        "           what mattered: max_depth 100%",
    ]
    lines = report(best=0, importance={}, planned=9).lines()
    assert lines[1:] == [
        "           the configured settings stay the best",
        "           stopped by tuning.timeout_minutes before 9 trials",
    ]


def test_it_is_read_as_it_was_written(tmp_path):
    report().write(tmp_path / "new")
    assert TuningReport.read(tmp_path / "new") == report()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["tuning_report.json"]
    with pytest.raises(DataError, match=r"expected tuning_report\.json in"):
        TuningReport.read(tmp_path)


def test_ranges_and_choices_are_read_as_they_were_written(tmp_path):
    space = {"a": Parameter(choices=(None, (1, 2))), "b": Parameter(low=0.1, high=1.0, log=True)}
    report(space=space).write(tmp_path)
    assert TuningReport.read(tmp_path).space["a"].choices == (None, [1, 2])
    assert TuningReport.read(tmp_path).space["b"] == space["b"]
