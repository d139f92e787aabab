"""One model, four ways to ask it: gRPC, REST, batch prediction, and the native booster. All give the same answers."""

from __future__ import annotations

import concurrent.futures
import csv
import http.client
import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import xgboost as xgb

from modules.lead_scoring.calibration import Calibration
from modules.lead_scoring.manifest import Manifest
from modules.native.protos import predict_pb2, prediction_service_pb2_grpc
from modules.publishing import versions
from modules.transform_batches import parse_raw
from modules.transform_features import FEATURES
from serving.client import Client
from tests.pipeline.command import CONFIG, PushedRun, aiqleads
from tests.serving.running import serve

REQUESTS = 10_000
TOLERANCE = 1e-5
OUTPUTS = ("score", "probability", "probability_low", "probability_high", "confidence")
Answers = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def leads(pushed: PushedRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:
    """Random leads: every column shuffled by itself, cells emptied, unknown categories, extreme numbers."""
    rng = np.random.default_rng(5)
    with open(pushed.leads, newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    result: dict[str, list[str]] = {}
    for name, values in columns.items():
        chosen = [values[i] for i in rng.integers(0, len(values), REQUESTS)]
        if name == "lead_id":
            chosen = [f"R{i:06d}" for i in range(REQUESTS)]
        elif name not in ("created_at", "converted"):
            gone, odd = rng.random(REQUESTS) < 0.15, rng.random(REQUESTS) < 0.02
            number = all(_number(v) for v in values[:500])
            strange = (
                ["1e30", "-1e30", "0", "-0.0", "3.4e38", "1e-40"] if number else ["Unheard of", "née ü ☂", "x" * 300]
            )
            chosen = [
                "" if gone[i] else strange[int(rng.integers(len(strange)))] if odd[i] else value
                for i, value in enumerate(chosen)
            ]
        result[name] = chosen
    path = tmp_path_factory.mktemp("random") / "leads.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(result)
        writer.writerows(zip(*result.values(), strict=True))
    return path, [dict(zip(result, row, strict=True)) for row in zip(*result.values(), strict=True)]


def _number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True


@pytest.fixture(scope="module")
def version(pushed: PushedRun) -> Path:
    base = pushed.root / "serving" / "lead-scoring"
    return base / str(versions(base)[-1])


@pytest.fixture(scope="module")
def raw(version: Path, leads) -> list[dict[str, float | str]]:
    """The leads as the model's `predict_columns` takes them."""
    from serving.servable import Servable, ServableId

    servable = Servable(ServableId("lead-scoring", 1), version)
    inputs = {name: info.dtype for name, info in servable.signatures["predict_columns"].inputs.items()}
    servable.close()
    text = 7
    return [
        {
            name: row[name] if dtype == text else float(np.float32(row[name])) if row[name] else math.nan
            for name, dtype in inputs.items()
        }
        for row in leads[1]
    ]


@pytest.fixture(scope="module")
def native(version: Path) -> xgb.Booster:
    return xgb.Booster(model_file=str(version / "assets.extra" / "booster.ubj"))


@pytest.fixture(scope="module")
def matrix(pushed: PushedRun, version: Path, raw: Sequence[dict[str, Any]]) -> np.ndarray:
    """The leads as the trees see them, float32 [leads, columns], by Transform's graph alone."""
    graphs = pushed.root / "artifacts" / "lead-scoring" / "Transform" / "transform_graph"
    graph = tft.TFTransformOutput(str(max(graphs.iterdir(), key=lambda p: int(p.name))))
    manifest = Manifest.load(version)
    examples = []
    for row in raw:
        example = tf.train.Example()
        for name, value in row.items():
            if isinstance(value, str) and value:
                example.features.feature[name].bytes_list.value.append(value.encode())
            elif not isinstance(value, str) and not math.isnan(value):
                example.features.feature[name].float_list.value.append(value)
        examples.append(example.SerializeToString())
    spec = {name: kind for name, kind in graph.raw_feature_spec().items() if name in raw[0]}
    found = graph.transform_features_layer()(dict(parse_raw(tf.constant(examples), spec)))[FEATURES].numpy()
    return found[:, [c.position for c in manifest.columns]]


@pytest.fixture(scope="module")
def booster(version: Path, native: xgb.Booster, matrix: np.ndarray) -> Answers:
    """What XGBoost itself says, after Transform's graph and before nothing else than calibration."""
    margins = native.inplace_predict(matrix, predict_type="margin")
    return Calibration.from_json((version / "assets.extra" / "calibration.json").read_text())(margins)


@pytest.fixture(scope="module")
def server(pushed: PushedRun):
    with serve(f"--root={pushed.root / 'serving'}", "--enable_batching") as running:
        yield running


def assert_same(received: Answers, expected: Answers) -> None:
    for name in OUTPUTS:
        difference = np.abs(received[name] - expected[name]) / np.maximum(1, np.abs(expected[name]))
        assert difference.shape == (REQUESTS,)
        assert difference.max() <= TOLERANCE, (name, int(difference.argmax()))


def test_ten_thousand_random_requests_over_grpc_equal_the_booster(server, version, raw, booster):
    def request(row: dict[str, Any]) -> predict_pb2.PredictRequest:
        result = predict_pb2.PredictRequest()
        result.model_spec.name = "lead-scoring"
        result.model_spec.signature_name = "predict_columns"
        for name, value in row.items():
            tensor = result.inputs[name]
            tensor.tensor_shape.dim.add().size = 1
            if isinstance(value, str):
                tensor.dtype = 7
                tensor.string_val.append(value.encode())
            else:
                tensor.dtype = 1
                tensor.float_val.append(value)
        return result

    answers: Answers = {name: np.empty(REQUESTS) for name in OUTPUTS}
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for first in range(0, REQUESTS, 64):
            rows = range(first, min(first + 64, REQUESTS))
            futures = [stub.Predict.future(request(raw[i]), timeout=60) for i in rows]
            for i, future in zip(rows, futures, strict=True):
                response = future.result()
                assert response.model_spec.version.value == int(version.name)
                for name in OUTPUTS:
                    (answers[name][i],) = response.outputs[name].float_val
    assert_same(answers, booster)


def test_ten_thousand_random_requests_over_rest_equal_the_booster(server, raw, booster):
    answers: Answers = {name: np.empty(REQUESTS) for name in OUTPUTS}
    connections = threading.local()

    def ask(i: int) -> None:
        if not hasattr(connections, "own"):
            connections.own = http.client.HTTPConnection("127.0.0.1", server.rest, timeout=60)
        body = json.dumps({"signature_name": "predict_columns", "instances": [raw[i]]})
        connections.own.request("POST", "/v1/models/lead-scoring:predict", body)
        response = connections.own.getresponse()
        text = response.read()
        assert response.status == 200, text
        (prediction,) = json.loads(text)["predictions"]
        for name in OUTPUTS:
            answers[name][i] = prediction[name]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(REQUESTS)))
    assert_same(answers, booster)


def test_ten_thousand_random_leads_in_batch_prediction_equal_the_booster(pushed, version, leads, booster, tmp_path):
    done = aiqleads(
        "predict", CONFIG, "--input", str(leads[0]), "--output", str(tmp_path / "out"), "--root", str(pushed.root)
    )
    assert done.code == 0, done.output
    for table in (
        pyarrow.parquet.read_table(tmp_path / "out" / "leads.parquet"),
        pyarrow.csv.read_csv(tmp_path / "out" / "leads.csv"),
    ):
        assert table["lead_id"].to_pylist() == [row["lead_id"] for row in leads[1]]
        assert {str(v) for v in table["version"].to_pylist()} == {version.name}
        assert_same({name: table[name].to_numpy() for name in OUTPUTS}, booster)


def test_the_client_explains_as_the_booster_does(server, version, raw, native, matrix):
    few = 300
    manifest = Manifest.load(version)
    found = native.predict(
        xgb.DMatrix(matrix[:few]), pred_contribs=True, approx_contribs=True, validate_features=False
    ).astype(np.float64)
    expected = np.zeros((few, len(manifest.features)))
    for place, column in enumerate(manifest.columns):
        for name in column.raw:
            expected[:, manifest.features.index(name)] += found[:, place] / len(column.raw)
    with Client(server.grpc_address, timeout=60) as client:
        answers = client.explain(raw[:few])
        scores = client.score(raw[:few])
    for answer, score, row, bias in zip(answers, scores, expected, found[:, -1], strict=True):
        reasons = {reason.feature: reason.contribution for reason in answer.reasons}
        np.testing.assert_allclose([reasons[name] for name in manifest.features], row, atol=1e-4)
        assert answer.bias == pytest.approx(bias, abs=1e-4)
        assert answer.margin == pytest.approx(answer.bias + sum(reasons.values()), abs=1e-4)
        sizes = [abs(reason.contribution) for reason in answer.reasons]
        assert sizes == sorted(sizes, reverse=True)
        assert answer.score.probability == pytest.approx(score.probability, abs=TOLERANCE)


@pytest.mark.parametrize("format_", ["csv", "jsonl", "table"])
def test_the_command_shows_the_strongest_reasons_of_the_client(server, raw, leads, tmp_path, format_):
    few, some, output = 40, tmp_path / "some.csv", tmp_path / "scores"
    with open(leads[0]) as whole:
        some.write_text("".join(next(whole) for _ in range(few + 1)))
    asked = ("--server", server.grpc_address, "--dataset", "aiqleads", "--output", str(output), "--format", format_)
    done = aiqleads("score", str(some), *asked, "--explain")
    assert done.code == 0, done.output
    with Client(server.grpc_address, timeout=60) as client:
        wanted = [answer.reasons[:3] for answer in client.explain(raw[:few])]
    if format_ == "table":
        shown = [line.strip() for line in output.read_text().splitlines() if line.startswith(" " * 16)]
        assert shown == [str(reason) for reasons in wanted for reason in reasons]
        return
    if format_ == "csv":
        with open(output, newline="") as file:
            rows = list(csv.DictReader(file))
        found = [[(row[f"reason_{i}"], float(row[f"contribution_{i}"])) for i in (1, 2, 3)] for row in rows]
    else:
        rows = map(json.loads, output.read_text().splitlines())
        found = [[(r["feature"], r["contribution"]) for r in row["reasons"]] for row in rows]
    assert [[name for name, _ in row] for row in found] == [[r.feature for r in reasons] for reasons in wanted]
    for row, reasons in zip(found, wanted, strict=True):
        assert [value for _, value in row] == pytest.approx([r.contribution for r in reasons], abs=TOLERANCE)
