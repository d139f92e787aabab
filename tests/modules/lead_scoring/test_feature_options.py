"""A table with options through the real Transform and Trainer executors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import lead_table

from modules.encoding.columns import TransformedFeature
from modules.encoding.report import OutlierReport
from modules.errors import ConfigError
from modules.features import Feature
from modules.lead_scoring.manifest import columns_hash
from modules.lead_scoring.settings import CalibrationSettings, LeadScoringSettings
from modules.lead_scoring.trainer import _base_booster
from modules.transform_config import TransformConfig
from tests.modules.sessions import GraphSession

ROWS = (
    Feature(name="income", kind="numeric", monotone=1, clip=(0.02, 0.98), scaling="z_score"),
    Feature(name="job", kind="categorical", encoding="one_hot", min_count=5, oov_buckets=2),
    Feature(name="visits", kind="numeric", buckets=8, fill="median"),
    Feature(name="message", kind="text", ngrams=2, weighting="tfidf", vocabulary_size=5),
    Feature(name="region", kind="categorical", encoding="hash", hash_buckets=8),
    Feature(name="age", kind="numeric", clip=(0.1, 0.9)),
    Feature(name="where", kind="cross", of=("job", "region")),
    Feature(name="per_visit", kind="ratio", of=("income", "visits")),
)
SETTINGS = LeadScoringSettings(
    num_rounds=20, learning_rate=0.3, early_stopping_rounds=None, calibration=CalibrationSettings(min_bin_rows=20)
)


@pytest.mark.slow
def test_options_reach_the_model_and_its_outliers_are_counted(tmp_path, monkeypatch):
    from pipeline.components.transform_executor import Executor

    monkeypatch.setattr(lead_table, "DATASET", lead_table.DATASET.model_copy(update={"features": ROWS}))
    rows = {"train": 1500, "validation": 300, "calibration": 400, "test": 100}
    leads = lead_table.write_examples(tmp_path / "data", rows)
    graph = lead_table.run_transform(Executor, tmp_path / "data", tmp_path / "graph", SETTINGS)
    model = lead_table.run_trainer(tmp_path / "data", graph, tmp_path / "out", SETTINGS)

    manifest = json.loads((model / "assets.extra" / "manifest.json").read_text())
    made = {c["name"]: c["encoding"] for c in manifest["columns"]}
    assert made.items() >= {
        "income": "numeric", "income#clipped": "clipped", "visits": "bucket", "visits=?": "missing", "region": "hash",
        "where": "index", "per_visit": "numeric", "job=nurse": "one_hot", "job=?1": "out_of_vocabulary",
        "message:loan": "word", "message#words": "word_count",
    }.items()  # fmt: skip
    assert "where" not in manifest["features"] and "per_visit" not in manifest["features"]

    report = OutlierReport.read(model)
    assert report is not None and report.rows == {k: rows[k] for k in ("train", "validation", "calibration")}
    income = leads["train"].columns["income"].astype(np.float64)
    low, high = (np.float32(q) for q in np.nanquantile(income, [0.02, 0.98]))
    counted = {feature.name: feature.clipped for feature in report.features}
    assert list(counted) == ["income", "age"]
    for split in report.rows:
        values = leads[split].columns["income"]
        assert counted["income"][split] == ((values < low) | (values > high)).sum()

    session = GraphSession(model)
    answers = session("serving_default", examples=np.array(leads["test"].examples(), object))
    names = lead_table.DATASET.table.names
    again = session("predict_columns", **{name: leads["test"].columns[name] for name in names})
    for name, values in answers.items():
        np.testing.assert_array_equal(again[name], values)
    assert set(session.signatures["predict_columns"].inputs) == set(names) == {r.name for r in ROWS[:6]}


def test_trees_over_values_that_each_run_learns_anew_are_not_continued():
    dataset = lead_table.DATASET.model_copy(update={"features": ROWS})
    config = TransformConfig(dataset=dataset, model=SETTINGS.model_copy(update={"warm_start": True}))
    with pytest.raises(ConfigError, match=r"values of 'income', 'visits', 'age', 'message' depend on quantiles"):
        _base_booster(SimpleNamespace(base_model="somewhere"), config, "hash")


def test_options_are_part_of_what_gives_a_column_its_meaning():
    column = TransformedFeature("x", "x", "bucket", 0)
    plain = Feature(name="x", kind="numeric", missing_values=("-",), max_missing=0.5)
    narrow, wide = (Feature(name="x", kind="numeric", buckets=edges) for edges in ((1, 2), (1, 3)))
    found = [columns_hash([column], {}, rows) for rows in ((), (plain,), (narrow,), (wide,))]
    assert found[0] == found[1] and len(set(found)) == 3
