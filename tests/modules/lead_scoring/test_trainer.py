from __future__ import annotations

import json
from types import SimpleNamespace

import lead_table
import numpy as np
import pytest
import tensorflow as tf
import xgboost as xgb

from modules import progress
from modules.errors import ConfigError, DataError
from modules.lead_scoring.manifest import Manifest
from modules.lead_scoring.trainer import run_fn
from modules.training import split_patterns
from tests.modules.sessions import GraphSession

ROWS = {"train": 3000, "validation": 800, "calibration": 1000}


def booster_of(model) -> xgb.Booster:
    return xgb.Booster(model_file=str(model / "assets.extra" / "booster.ubj"))


def arguments(trained, out, settings, **changes):
    patterns = {s: f"{trained.examples}/Split-{s}/*" for s in ROWS}
    values = {
        "train_files": [patterns["train"]],
        "eval_files": [patterns["validation"], patterns["calibration"]],
        "transform_graph_path": trained.transform_graph,
        "serving_model_dir": str(out / "model"),
        "model_run_dir": None,
        "base_model": None,
        "hyperparameters": None,
        "custom_config": lead_table.custom_config(settings),
    }
    return SimpleNamespace(**{**values, **changes})


def test_manifest_tells_what_was_trained_on_what(trained):
    manifest = Manifest.load(trained.model)
    assert (manifest.model_type, manifest.configuration_hash) == ("lead-scoring", "c0ffee")
    assert (manifest.dataset, manifest.dataset_version) == ("toy", "d1")
    assert manifest.rows == ROWS
    assert manifest.trained_at.utcoffset().total_seconds() == 0
    assert manifest.configuration["model"]["num_rounds"] == 40
    assert manifest.features == lead_table.DATASET.table.names
    assert manifest.libraries["xgboost"] == xgb.__version__
    assert 0.7 < manifest.metrics["validation"]["auc"] < 0.9
    assert not manifest.warm_start


def test_booster_holds_only_the_rounds_in_use(trained):
    manifest = Manifest.load(trained.model)
    assert booster_of(trained.model).num_boosted_rounds() == manifest.best_iteration + 1 < manifest.rounds_fitted


def test_two_runs_give_the_same_bytes(trained, tmp_path):
    run_fn(arguments(trained, tmp_path, trained.settings))
    for name in ("booster.ubj", "calibration.json", "importance.json"):
        first, second = ((m / "assets.extra" / name).read_bytes() for m in (trained.model, tmp_path / "model"))
        assert first == second, name


def test_importance_names_what_matters(trained):
    found = json.loads((trained.model / "assets.extra" / "importance.json").read_text())
    assert found["features"][0]["name"] == "income"
    assert sum(f["total_gain_share"] for f in found["features"]) == pytest.approx(1)
    income = next(c for c in found["columns"] if c["name"] == "income")
    scores = booster_of(trained.model).get_score(importance_type="gain")
    assert income["gain"] == pytest.approx(scores["income"])
    assert {"name", "source", "raw", "splits", "gain", "cover", "total_gain"} == set(income)
    assert income["raw"] == ["income"]


def test_loss_curves_are_written_for_tensorboard(trained):
    manifest = Manifest.load(trained.model)
    for data in ("train", "validation"):
        (file,) = (trained.run / data).glob("events*")
        values = [
            tf.make_ndarray(v.tensor).item()
            for e in tf.compat.v1.train.summary_iterator(str(file))
            for v in e.summary.value
            if v.tag == "logloss"
        ]
        assert len(values) == manifest.rounds_fitted
        assert values[0] > min(values)
        if data == "validation":
            assert int(np.argmin(values)) == manifest.best_iteration


def test_higher_income_never_lowers_the_probability(served):
    rows = 50
    columns = {f.name: np.full(rows, b"", object) for f in lead_table.DATASET.table.rows if f.kind != "numeric"}
    columns |= {"visits": np.zeros(rows, np.float32), "age": np.zeros(rows, np.float32)}
    columns["income"] = np.linspace(-4, 4, rows).astype(np.float32)
    assert (np.diff(served("predict_columns", **columns)["probability"]) >= 0).all()


def test_warm_start_continues_the_base_booster(trained, tmp_path):
    settings = trained.settings.model_copy(update={"warm_start": True, "learning_rate": 0.01, "num_rounds": 3})
    run_fn(arguments(trained, tmp_path, settings, base_model=str(trained.model)))
    base, continued = booster_of(trained.model), booster_of(tmp_path / "model")
    rounds = base.num_boosted_rounds()
    assert continued.num_boosted_rounds() > rounds
    assert continued.get_dump()[:rounds] == base.get_dump()
    assert Manifest.load(tmp_path / "model").warm_start


def test_warm_start_refuses_a_base_with_other_columns(trained, tmp_path):
    extra = tmp_path / "base" / "assets.extra"
    extra.mkdir(parents=True)
    manifest = Manifest.load(trained.model).model_copy(update={"columns_hash": "other"})
    (extra / "manifest.json").write_text(manifest.model_dump_json())
    settings = trained.settings.model_copy(update={"warm_start": True})
    with pytest.raises(ConfigError, match="other columns or vocabularies"):
        run_fn(arguments(trained, tmp_path, settings, base_model=str(tmp_path / "base")))


def test_refit_balance_and_recency_train_on_all_rows(trained, tmp_path):
    settings = trained.settings.model_copy(
        update={"refit": True, "scale_pos_weight": "balanced", "recency_half_life_days": 30.0, "eval_metric": "auc"}
    )
    run_fn(arguments(trained, tmp_path, settings))
    manifest = Manifest.load(tmp_path / "model")
    assert booster_of(tmp_path / "model").num_boosted_rounds() == manifest.best_iteration + 1
    # Balancing moves margins, not probabilities: calibration puts the mean back to the base rate.
    assert manifest.metrics["validation"]["calibration_error"] < 0.08
    assert booster_of(tmp_path / "model").get_dump() != booster_of(trained.model).get_dump()


def test_one_hot_columns_and_all_rounds_without_validation(trained, tmp_path, request):
    from pipeline.components.transform_executor import Executor

    settings = trained.settings.model_copy(
        update={"categorical": "one_hot", "validation_split": 0.0, "early_stopping_rounds": None, "num_rounds": 5}
    )
    graph = lead_table.run_transform(Executor, trained.examples, tmp_path / "graph", settings)
    run_fn(
        arguments(
            trained,
            tmp_path,
            settings,
            transform_graph_path=graph,
            eval_files=[f"{trained.examples}/Split-calibration/*"],
        )
    )
    manifest = Manifest.load(tmp_path / "model")
    assert manifest.best_iteration == 4
    assert [c.name for c in manifest.columns if c.source == "job"] == [
        "job=admin",
        "job=nurse",
        "job=pilot",
        "job=clerk",
        "job=?",
    ]
    served = GraphSession(tmp_path / "model")
    probability = served("serving_default", examples=trained.leads["test"].examples())["probability"]
    truth = trained.leads["test"].probability
    assert np.corrcoef(probability, truth)[0, 1] > 0.6


def test_progress_reaches_its_listener(trained, tmp_path):
    heard: list[tuple[int, int, str]] = []
    progress.set_listener(lambda done, total, text: heard.append((done, total, text)))
    try:
        settings = trained.settings.model_copy(update={"num_rounds": 4, "early_stopping_rounds": None})
        run_fn(arguments(trained, tmp_path, settings))
    finally:
        progress.set_listener(None)
    assert heard[0] == (0, 3, "transforming train")
    assert heard[-1][:2] == (4, 4)
    assert heard[-1][2].startswith("round 4, validation logloss 0.")


def test_a_split_of_one_class_is_refused_by_name(trained, tmp_path):
    leads = lead_table.draw(50, 1)
    leads.columns["converted"][:] = 0
    folder = tmp_path / "Split-calibration"
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "data-0")) as out:
        for record in leads.examples():
            out.write(record)
    files = [f"{trained.examples}/Split-validation/*", f"{folder}/*"]
    with pytest.raises(DataError, match="all 50 rows of the calibration split are not converted"):
        run_fn(arguments(trained, tmp_path, trained.settings, eval_files=files))
    (folder / "data-0").unlink()
    with pytest.raises(DataError, match=r"no examples at .*Split-calibration"):
        run_fn(arguments(trained, tmp_path, trained.settings, eval_files=files))
    tf.io.TFRecordWriter(str(folder / "data-0")).close()
    with pytest.raises(DataError, match="the calibration split has no rows"):
        run_fn(arguments(trained, tmp_path, trained.settings, eval_files=files))


def test_splits_are_told_apart_by_their_folders():
    found = split_patterns(["/e/Split-train/*"], ["/e/Split-calibration/*", "/e/Split-validation/*"])
    assert list(found) == ["train", "validation", "calibration"]
    with pytest.raises(DataError, match="calibration split"):
        split_patterns(["/e/Split-train/*"], ["/e/Split-eval/*"])
