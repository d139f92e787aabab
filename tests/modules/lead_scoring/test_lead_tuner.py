"""`tuner_fn` of lead scoring as TFX's executors call it, and the Trainer that takes what it found."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import keras_tuner
import lead_table
import pytest
from tfx.components.tuner import executor as stock
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts
from tfx.types import standard_component_specs as keys
from tfx.utils import json_utils, proto_utils

from modules.errors import ConfigError
from modules.lead_scoring.folds import HELD_OUT, Fold
from modules.lead_scoring.manifest import Manifest
from modules.lead_scoring.trainer import run_fn
from modules.lead_scoring.trials import FoldTrials
from modules.lead_scoring.tuner import tuner_fn
from modules.tuning.report import TuningReport
from pipeline.components.tuner.executor import Executor

SPACE = {
    "learning_rate": {"low": 0.05, "high": 0.5, "log": True},
    "max_depth": {"choices": [1, 2, 3]},
    "early_stopping_rounds": {"choices": [None, 5]},
}


def custom_config(settings, tuning, **more):
    return {
        **lead_table.custom_config(settings),
        "tuning": json.dumps({"trials": 4, "space": SPACE, **tuning}),
        **{key: json.dumps(value) for key, value in more.items()},
    }


def arguments(trained, out, settings, **changes):
    values = {
        "working_dir": str(out),
        "train_files": [f"{trained.examples}/Split-train/*"],
        "eval_files": [f"{trained.examples}/Split-{split}/*" for split in ("validation", "calibration")],
        "schema_path": str(trained.examples / "schema" / "schema.pbtxt"),
        "transform_graph_path": trained.transform_graph,
        "serving_model_dir": str(out / "model"),
        "model_run_dir": None,
        "base_model": None,
        "hyperparameters": None,
        "custom_config": lead_table.custom_config(settings),
    }
    return SimpleNamespace(**{**values, **changes})


def run_executor(kind, trained, out, **tuning) -> Path:
    best, results, graph = (
        standard_artifacts.HyperParameters(),
        standard_artifacts.TunerResults(),
        standard_artifacts.TransformGraph(),
    )
    best.uri, results.uri, graph.uri = str(out / "best"), str(out / "results"), trained.transform_graph
    context = kind.Context(tmp_dir=str(out / "tmp"), unique_id="1")
    kind(context).Do(
        {**lead_table._inputs(trained.examples), keys.TRANSFORM_GRAPH_KEY: [graph]},
        {keys.BEST_HYPERPARAMETERS_KEY: [best], keys.TUNER_RESULTS_KEY: [results]},
        {
            "tuner_fn": "modules.lead_scoring.tuner.tuner_fn",
            keys.TRAIN_ARGS_KEY: proto_utils.proto_to_json(trainer_pb2.TrainArgs(splits=["train"])),
            keys.EVAL_ARGS_KEY: proto_utils.proto_to_json(trainer_pb2.EvalArgs(splits=["validation", "calibration"])),
            keys.CUSTOM_CONFIG_KEY: json_utils.dumps(custom_config(trained.settings, tuning)),
        },
    )
    return out


@pytest.fixture(scope="module")
def searched(trained, tmp_path_factory) -> Path:
    return run_executor(Executor, trained, tmp_path_factory.mktemp("tuner"))


@pytest.fixture(scope="module")
def best(searched):
    return json.loads((searched / "best" / "best_hyperparameters.txt").read_text())


def test_the_configured_settings_score_what_the_trainer_measures(searched, trained):
    report = TuningReport.read(searched / "results")
    assert (report.objective, report.direction, report.validation) == ("auc", "maximize", "the validation part")
    assert report.baseline.parameters == {"learning_rate": 0.3, "max_depth": 3, "early_stopping_rounds": 5}
    measured = Manifest.load(trained.model).metrics["validation"]["auc"]
    assert report.baseline.score == pytest.approx(measured, abs=1e-6)
    assert [t.state for t in report.trials] == ["complete"] * 4
    assert report.best_trial.score >= report.baseline.score


def test_outputs_are_those_of_the_stock_tuner(searched, best, trained, tmp_path):
    report = TuningReport.read(searched / "results")
    found = keras_tuner.HyperParameters.from_config(best)
    assert [p.name for p in found.space] == list(SPACE)
    assert found.get("learning_rate") == report.best_trial.parameters["learning_rate"]
    rows = json.loads((searched / "results" / "tuner_results.json").read_text())
    assert [row["score"] for row in rows] == sorted((t.score for t in report.trials), reverse=True)
    assert rows[0]["trial_id"] == f"{report.best:04d}"
    plain = run_executor(stock.Executor, trained, tmp_path)
    for file in ("best/best_hyperparameters.txt", "results/tuner_results.json"):
        assert (plain / file).read_bytes() == (searched / file).read_bytes()


def test_the_trainer_learns_what_it_would_with_these_settings(best, trained, tmp_path):
    found = {**best["values"], "early_stopping_rounds": json.loads(best["values"]["early_stopping_rounds"])}
    effective = trained.settings.model_copy(update=found)
    run_fn(arguments(trained, tmp_path / "tuned", trained.settings, hyperparameters=best))
    run_fn(arguments(trained, tmp_path / "set", effective))
    tuned, configured = (Manifest.load(tmp_path / name / "model") for name in ("tuned", "set"))
    assert tuned.settings == configured.settings == effective.model_dump(mode="json")
    assert set(tuned.tuned) == set(SPACE)
    assert configured.tuned == {}
    boosters = [(tmp_path / name / "model" / "assets.extra" / "booster.ubj").read_bytes() for name in ("tuned", "set")]
    assert boosters[0] == boosters[1]


def test_the_trainer_refuses_hyperparameters_of_another_model(best, trained, tmp_path):
    wrong = {**best, "values": {"dropout_rate": 0.1}}
    with pytest.raises(ConfigError, match="LeadScoringSettings has no setting 'dropout_rate'"):
        run_fn(arguments(trained, tmp_path, trained.settings, hyperparameters=wrong))


def test_trials_are_scored_on_every_fold_and_may_weigh_rows_by_age(trained, tmp_path):
    space = {"recency_half_life_days": {"low": 1, "high": 100}, "num_rounds": {"low": 2, "high": 4}}
    settings = trained.settings.model_copy(update={"num_rounds": 3, "nthread": 1})
    custom = custom_config(
        settings, {"trials": 3, "space": space, "sampler": "random", "objective": "log_loss"}, validation={"folds": 2}
    )
    tuner = tuner_fn(arguments(trained, tmp_path, settings, custom_config=custom)).tuner
    tuner.search()
    report = tuner.report
    assert (report.folds, report.validation, report.direction) == (2, "2 folds stratified", "minimize")
    assert all(len(t.scores) == 2 for t in report.trials), [t.error for t in report.trials]
    ages = [t.parameters["recency_half_life_days"] for t in report.trials]
    assert ages[0] is None and all(1 <= age <= 100 for age in ages[1:])
    assert report.baseline.score < 0.7


def test_a_search_continues_for_the_same_data_settings_and_space_only(trained, tmp_path):
    folder = tmp_path / "kept"

    def kept(settings=trained.settings, **changes):
        tuning = {"space": {"max_depth": SPACE["max_depth"]}, **changes.pop("tuning", {})}
        custom = {**custom_config(settings, tuning), "tuning_dir": str(folder), **changes}
        return tuner_fn(arguments(trained, tmp_path, settings, custom_config=custom)).tuner.folder

    first = kept()
    assert first.parent == folder
    assert {kept(), kept(tuning={"trials": 3, "workers": 2, "timeout_minutes": 1})} == {first}
    others = [
        kept(tuning={"space": {"max_depth": {"low": 1, "high": 3}}}),
        kept(tuning={"seed": 1}),
        kept(tuning={"objective": "log_loss"}),
        kept(tuning={"pruner": "none"}),
        kept(dataset_version="d2"),
        kept(validation=json.dumps({"folds": 3})),
        kept(settings=trained.settings.model_copy(update={"gamma": 1.0})),
        kept(code="c2"),
    ]
    assert len({first, *others}) == 1 + len(others)
    assert kept(tuning={"resume": False}) is None


def test_folds_are_sent_to_workers_by_name(trained, tmp_path):
    import numpy as np

    from modules.lead_scoring.matrix import Spool

    rows = {"features": np.zeros((6, 2), np.float32), "label": np.array([0, 1, 0, 1, 0, 1])}
    spool = Spool(tmp_path / "spool", [rows], [0, 1])
    trials = FoldTrials([Fold(0, {"train": spool, HELD_OUT: spool}, (), tmp_path)], trained.settings, "auc", "toy")
    again = pickle.loads(pickle.dumps(trials))
    assert np.array_equal(next(iter(again.prepared[0].spools["train"])), rows["features"])
    trials.use(1)
    assert trials._threads == 1
    trials.use(64)
    assert trials._threads == trained.settings.nthread == 2


def test_without_rows_held_out_there_is_nothing_to_tune_on(trained, tmp_path):
    settings = trained.settings.model_copy(update={"validation_split": 0.0})
    with pytest.raises(ConfigError, match=r"set model\.validation_split above 0, or validation\.folds to 5"):
        tuner_fn(arguments(trained, tmp_path, settings, custom_config=custom_config(settings, {})))
