from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

import lead_table
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import xgboost as xgb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modules.lead_scoring.calibration import Calibration
from modules.lead_scoring.manifest import Manifest
from modules.transform_batches import TransformedBatches

OUTPUTS = ("score", "probability", "probability_low", "probability_high", "confidence")


def expected(trained, records, tmp_path) -> dict[str, np.ndarray]:
    """The five outputs by the native booster on the Transform graph's matrix, through NumPy."""
    file = tmp_path / "data-0"
    with tf.io.TFRecordWriter(str(file)) as out:
        for record in records:
            out.write(record)
    graph = tft.TFTransformOutput(trained.transform_graph)
    matrix = np.concatenate([b["features"] for b in TransformedBatches([str(file)], graph, ["features"])])
    extra = trained.model / "assets.extra"
    manifest = Manifest.load(trained.model)
    booster = xgb.Booster(model_file=str(extra / "booster.ubj"))
    margin = booster.inplace_predict(matrix[:, [c.position for c in manifest.columns]], predict_type="margin")
    return Calibration.from_json((extra / "calibration.json").read_text())(margin)


def test_served_outputs_equal_booster_and_calibration(trained, served, tmp_path):
    records = trained.leads["test"].examples()
    found, wanted = served("serving_default", examples=records), expected(trained, records, tmp_path)
    assert set(found) == set(OUTPUTS)
    for name in OUTPUTS:
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=1e-3 if name == "score" else 1e-5)


@pytest.mark.parametrize("rows", [0, 1, 2, 65, 500])
def test_any_batch_size_gives_the_same_answers(trained, served, rows):
    records = trained.leads["test"].examples()
    whole = served("serving_default", examples=records)
    part = served("serving_default", examples=np.array(records[:rows], object))
    for name in OUTPUTS:
        assert part[name].shape == (rows,)
        # One unit in the last place: TensorFlow's sigmoid of a vector and of a scalar round differently.
        np.testing.assert_allclose(part[name], whole[name][:rows], rtol=3e-7)


def test_columns_and_examples_give_the_same_answers(trained, served):
    leads = trained.leads["test"]
    columns = {name: leads.columns[name] for name in lead_table.DATASET.table.names}
    found = served("predict_columns", **columns)
    wanted = served("serving_default", examples=leads.examples())
    for name in OUTPUTS:
        np.testing.assert_array_equal(found[name], wanted[name])
    empty = served("predict_columns", **{name: column[:0] for name, column in columns.items()})
    assert empty["probability"].shape == (0,)


def test_classify_and_regress_have_the_shape_tensorflow_serving_wants(trained, served):
    records = trained.leads["test"].examples()[:7]
    assert served.signatures["classify"].method_name == "tensorflow/serving/classify"
    assert served.signatures["regress"].method_name == "tensorflow/serving/regress"
    assert served.signatures["serving_default"].method_name == "tensorflow/serving/predict"
    probability = served("serving_default", examples=records)["probability"]
    classified = served("classify", inputs=records)
    assert classified["classes"].tolist() == [[b"0", b"1"]] * 7
    np.testing.assert_array_equal(classified["scores"][:, 1], probability)
    np.testing.assert_allclose(classified["scores"].sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(served("regress", inputs=records)["outputs"], probability)


def test_a_lead_without_any_feature_or_with_unknown_ones_is_scored(served):
    unknown = tf.train.Example()
    unknown.features.feature["never seen"].float_list.value.extend([1, 2, 3])
    found = served("serving_default", examples=[b"", unknown.SerializeToString()])
    assert found["probability"][0] == found["probability"][1]
    assert 0 < found["probability_low"][0] <= found["probability"][0] <= found["probability_high"][0] < 1


def test_new_category_is_out_of_vocabulary_not_missing(trained, served):
    columns = {
        f.name: np.array([np.nan] * 3, np.float32) if f.kind == "numeric" else np.array([b""] * 3, object)
        for f in lead_table.DATASET.table
    }
    columns["job"] = np.array([b"", b"unheard of", b"another"], object)
    probability = served("predict_columns", **columns)["probability"]
    assert probability[1] == probability[2]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_transform_of_training_and_of_serving_agree_bit_for_bit(trained, seed):
    leads = lead_table.draw(16, seed)
    trained_with = _matrices(trained)[0](tf.constant(leads.examples()))
    served_with = _matrices(trained)[1](
        {name: tf.constant(leads.columns[name]) for name in lead_table.DATASET.table.names}
    )
    np.testing.assert_array_equal(trained_with.numpy().view(np.int32), served_with.numpy().view(np.int32))


def _matrices(trained, _cache={}):  # noqa: B006
    """Matrix from examples as the Trainer makes it, and from columns as `predict_columns` does."""
    if not _cache:
        from modules.lead_scoring.export import LeadScoringModel

        graph = tft.TFTransformOutput(trained.transform_graph)
        extra = trained.model / "assets.extra"
        model = LeadScoringModel(
            graph,
            xgb.Booster(model_file=str(extra / "booster.ubj")),
            Calibration.from_json((extra / "calibration.json").read_text()),
            lead_table.DATASET.table,
            Manifest.load(trained.model).columns,
        )
        batches = TransformedBatches([f"{trained.examples}/Split-test/*"], graph, ["features"])
        positions = [c.position for c in Manifest.load(trained.model).columns]
        _cache["examples"] = lambda records: tf.gather(batches.transform(records)["features"], positions, axis=1)
        _cache["columns"] = tf.function(lambda columns: model.matrix(model.raw_columns(columns)))
    return _cache["examples"], _cache["columns"]


def test_only_stock_ops_and_every_asset_inside(trained, served):
    ops = {n.op for n in served.graph_def.node}
    for function in served.graph_def.library.function:
        ops |= {n.op for n in function.node_def}
    assert not {op for op in ops if op in ("PyFunc", "PyFuncStateless", "EagerPyFunc") or "Decode" in op}
    names = sorted(p.name for p in (trained.model / "assets").iterdir())
    assert names == ["vocabulary_000_job", "vocabulary_001_region", "vocabulary_002_message"]
    content = b"".join(p.read_bytes() for p in trained.model.rglob("*") if p.is_file())
    assert str(trained.transform_graph).encode() not in content


def test_loads_through_the_c_library_of_tensorflow(trained, served, tmp_path):
    records = trained.leads["test"].examples()[:3]
    signature = served.signatures["serving_default"]
    program = (
        "import json, sys, numpy as np, base64; from modules.serving_check.c_session import CSession\n"
        "q = json.load(open(sys.argv[1])); s = CSession(q['model'])\n"
        "x = np.array([base64.b64decode(r) for r in q['records']], object)\n"
        "print(json.dumps([v.tolist() for v in s.run({q['input']: (7, x)}, q['outputs'])]))"
    )
    question = {
        "model": str(trained.model),
        "records": [base64.b64encode(r).decode() for r in records],
        "input": signature.inputs["examples"].name,
        "outputs": [signature.outputs[name].name for name in OUTPUTS],
    }
    (tmp_path / "question.json").write_text(json.dumps(question))
    project = Path(__file__).resolve().parents[3]
    answer = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "question.json")],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = served("serving_default", examples=records)
    for name, values in zip(OUTPUTS, json.loads(answer.stdout.splitlines()[-1]), strict=True):
        np.testing.assert_allclose(values, wanted[name], rtol=1e-6)


def test_one_row_takes_a_few_milliseconds(trained, served):
    record = trained.leads["test"].examples()[:1]
    for _ in range(5):
        served("serving_default", examples=record)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        served("serving_default", examples=record)
        times.append(time.perf_counter() - start)
    assert np.median(times) < 0.02
