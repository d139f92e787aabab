"""`aiqleads predict --explain`: what each raw feature contributes, in the files of predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import xgboost as xgb

from modules.lead_scoring.manifest import Manifest
from tests.pipeline.command import CONFIG, PushedRun, aiqleads

ROWS = 300


@pytest.fixture(scope="module")
def explained(pushed: PushedRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of predictions with reasons for the first leads, and the file of these leads."""
    folder = tmp_path_factory.mktemp("explained")
    some = folder / "some.csv"
    with open(pushed.leads) as whole:
        some.write_text("".join(next(whole) for _ in range(ROWS + 1)))
    asked = ("--input", str(some), "--output", str(folder / "out"), "--root", str(pushed.root), "--explain")
    done = aiqleads("predict", CONFIG, *asked)
    assert done.code == 0, done.output
    return folder / "out", some


def model_of(pushed: PushedRun) -> Path:
    return max((pushed.root / "serving" / "lead-scoring").glob("[0-9]*"), key=lambda path: int(path.name))


def test_every_raw_feature_has_a_column_and_they_sum_to_the_margin(pushed: PushedRun, explained) -> None:
    table = pq.read_table(explained[0] / "some.parquet")
    names = Manifest.load(model_of(pushed)).features
    shown = ["score", "probability", "probability_low", "probability_high", "confidence"]
    columns = [*shown, *(f"contribution_{name}" for name in names), "bias", "margin", "model", "version"]
    assert table.column_names[1:] == columns
    assert table.num_rows == ROWS
    values = np.stack([table[f"contribution_{name}"].to_numpy() for name in names], axis=1).astype(np.float64)
    np.testing.assert_allclose(values.sum(axis=1) + table["bias"].to_numpy(), table["margin"].to_numpy(), atol=1e-4)
    assert np.corrcoef(table["margin"].to_numpy(), table["probability"].to_numpy())[0, 1] > 0.8
    text = pacsv.read_csv(explained[0] / "some.csv")
    np.testing.assert_allclose(
        text["contribution_visits"].to_numpy(), table["contribution_visits"].to_numpy(), rtol=1e-5
    )


def test_contributions_are_those_of_the_booster_on_the_served_matrix(pushed: PushedRun, explained) -> None:
    folder = model_of(pushed)
    manifest = Manifest.load(folder)
    model = tf.saved_model.load(str(folder))
    as_text = pacsv.ConvertOptions(column_types={"zip": pa.string()})  # A number would lose New Jersey's leading zero.
    leads = pacsv.read_csv(explained[1], convert_options=as_text)
    ask = model.signatures["matrix"]
    columns = {}
    for name, spec in ask.structured_input_signature[1].items():
        values = leads[name].to_pylist()
        if spec.dtype == tf.string:
            columns[name] = tf.constant(["" if v is None else str(v) for v in values])
        else:
            columns[name] = tf.constant([np.nan if v is None else float(v) for v in values], tf.float32)
    matrix = ask(**columns)["matrix"].numpy()
    booster = xgb.Booster(model_file=str(folder / "assets.extra" / "booster.ubj"))
    found = booster.predict(xgb.DMatrix(matrix), pred_contribs=True, validate_features=False)
    table = pq.read_table(explained[0] / "some.parquet")
    for name in ("visits", "enquiry", "source"):
        mine = [place for place, column in enumerate(manifest.columns) if column.raw == (name,)]
        wanted = found[:, mine].sum(axis=1)
        np.testing.assert_allclose(table[f"contribution_{name}"].to_numpy(), wanted, atol=1e-4)
    np.testing.assert_allclose(
        table["margin"].to_numpy(), booster.inplace_predict(matrix, predict_type="margin"), atol=1e-4
    )
