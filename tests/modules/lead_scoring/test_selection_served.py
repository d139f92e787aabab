"""A model whose booster does not know all columns: requests, explanations and continued training stay as they are."""

from __future__ import annotations

import json

import lead_table
import numpy as np
import pytest
import tensorflow_transform as tft
import xgboost as xgb

from modules.convergence import Curves
from modules.errors import ConfigError
from modules.lead_scoring.calibration import Calibration
from modules.lead_scoring.manifest import Manifest
from modules.lead_scoring.selection import Selection
from modules.lead_scoring.settings import SelectionSettings
from modules.transform_batches import TransformedBatches
from tests.modules.sessions import GraphSession

GONE = {"region", "age"}
"""Noise in lead_table.draw."""


@pytest.fixture(scope="module")
def selected(trained, tmp_path_factory):
    settings = trained.settings.model_copy(update={"selection": SelectionSettings(rounds=10, top_k=4)})
    return lead_table.run_trainer(
        trained.examples, trained.transform_graph, tmp_path_factory.mktemp("selected"), settings
    )


@pytest.fixture(scope="module")
def answers(selected):
    return GraphSession(selected)


@pytest.fixture(scope="module")
def raw(trained):
    leads = trained.leads["test"]
    return {name: leads.columns[name] for name in lead_table.DATASET.table.names}


def test_noise_is_dropped_and_the_files_say_so(selected):
    found = Selection.read(selected)
    assert set(found.dropped_features) == GONE
    assert {d.reason for d in found.dropped} == {"top_k"}
    manifest = Manifest.load(selected)
    assert tuple(c.name for c in manifest.columns) == found.kept
    assert manifest.features == lead_table.DATASET.table.names
    assert "select" in manifest.seconds
    booster = xgb.Booster(model_file=str(selected / "assets.extra" / "booster.ubj"))
    assert booster.num_features() == len(found.kept)
    importance = json.loads((selected / "assets.extra" / "importance.json").read_text())
    assert not {f["name"] for f in importance["features"]} & GONE


def test_dropped_features_change_no_answer(answers, raw):
    expected = answers("predict_columns", **raw)
    other = {**raw, "region": np.full(500, b"nowhere", object), "age": np.full(500, 1e6, np.float32)}
    gone = {**raw, "region": np.full(500, b"", object), "age": np.full(500, np.nan, np.float32)}
    for columns in (other, gone):
        found = answers("predict_columns", **columns)
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
    changed = answers("predict_columns", **{**raw, "income": raw["income"] + 1})
    assert not np.array_equal(changed["probability"], expected["probability"])


def test_examples_may_leave_dropped_features_out(answers, trained):
    leads = trained.leads["test"]
    without = lead_table.Leads({n: c for n, c in leads.columns.items() if n not in GONE}, leads.probability)
    whole, part = (answers("serving_default", examples=each.examples()) for each in (leads, without))
    assert all(np.array_equal(whole[name], part[name]) for name in whole)
    assert np.corrcoef(whole["probability"], leads.probability)[0, 1] > 0.8


def test_the_graph_gathers_the_kept_columns_in_the_booster_s_order(answers, selected, trained):
    extra = selected / "assets.extra"
    booster = xgb.Booster(model_file=str(extra / "booster.ubj"))
    calibration = Calibration.from_json((extra / "calibration.json").read_text())
    files, output = [f"{trained.examples}/Split-test/*"], tft.TFTransformOutput(trained.transform_graph)
    matrix = np.concatenate([b["features"] for b in TransformedBatches(files, output, ["features"], raw=True)])
    positions = [c.position for c in Manifest.load(selected).columns]
    margin = booster.inplace_predict(matrix[:, positions], predict_type="margin")
    found = answers("serving_default", examples=trained.leads["test"].examples())
    assert found["probability"] == pytest.approx(calibration(margin)["probability"], abs=1e-5)


def test_no_rows_are_answered_by_no_rows(answers):
    assert answers("serving_default", examples=np.array([], object))["score"].shape == (0,)


def test_warm_start_continues_with_the_columns_of_the_base(selected, trained, tmp_path):
    settings = trained.settings.model_copy(
        update={"selection": SelectionSettings(top_k=1), "warm_start": True, "num_rounds": 5, "learning_rate": 0.05}
    )
    model = lead_table.run_trainer(
        trained.examples, trained.transform_graph, tmp_path, settings, base=str(selected.parent)
    )
    base, found = Manifest.load(selected), Manifest.load(model)
    assert found.warm_start
    assert found.columns == base.columns
    assert {d.reason for d in Selection.read(model).dropped} == {"base_model"}
    curves = Curves.read(model).trainings[0]
    assert curves.first == base.best_iteration + 2
    assert curves.number(curves.used) == found.best_iteration + 1
    whole = GraphSession(model)("serving_default", examples=trained.leads["test"].examples())
    assert np.corrcoef(whole["probability"], trained.leads["test"].probability)[0, 1] > 0.8


def test_without_selection_there_is_no_file(trained):
    with pytest.raises(ConfigError, match=r"has no assets.extra/selection.json: it was trained without"):
        Selection.read(trained.model)


def test_curves_hold_every_round(trained):
    manifest, (training,) = Manifest.load(trained.model), Curves.read(trained.model).trainings
    assert (training.name, training.unit, training.watched, training.loss) == ("booster", "round", "logloss", "logloss")
    assert (training.first, training.steps, training.patience) == (1, 40, 5)
    assert len(training.values("train", "logloss")) == manifest.rounds_fitted
    assert training.used == training.best == manifest.best_iteration + 1
    assert training.values("validation", "logloss")[training.used - 1] < training.values("validation", "logloss")[0]
