"""What is pushed loads in the real server: its C++ loader, in a process without Python's TensorFlow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modules.serving_check import c_session, checks
from modules.serving_check.loaders import EagerModel
from modules.serving_check.requests import build_feeds, feature_names, read_records, without_features
from modules.serving_check.signatures import read_signatures
from tests.pipeline.command import PushedRun

PROJECT = Path(__file__).resolve().parents[2]
ROWS = (0, 1, 7, 64)
PROGRAM = (
    "import sys; from modules.serving_check.c_session import main; main(*sys.argv[1:3]); "
    "print([m for m in ('tensorflow', 'tensorflow.python', 'keras', 'xgboost') if m in sys.modules])"
)


def versions(run: PushedRun) -> list[Path]:
    return sorted(p for p in (run.root / "serving").glob("*/*") if p.name.isdigit())


@pytest.mark.slow
def test_every_signature_of_every_pushed_model_answers_as_in_python(pushed: PushedRun, tmp_path: Path) -> None:
    found = versions(pushed)
    assert found, pushed.done.output
    examples = sorted((pushed.root / "artifacts").glob("*/ColumnarExampleGen/examples/*/Split-test/*"))
    records = without_features(read_records(examples, max(ROWS)), ["lead_id", "created_at", "converted"])
    assert len(records) == max(ROWS)
    for model in found:
        signatures = read_signatures(model)
        assert {"serving_default", "predict_columns", "classify", "regress"} <= set(signatures)
        feeds = {
            (name, rows): build_feeds(signature, records[:rows], feature_names(records))
            for name, signature in signatures.items()
            for rows in ROWS
        }
        requests = [
            {
                "signature": name,
                "inputs": [
                    {"tensor": t.name, "type": t.dtype.as_datatype_enum, "value": c_session.encode(values[t.key])}
                    for t in signatures[name].inputs
                ],
                "outputs": [{"key": t.key, "tensor": t.name} for t in signatures[name].outputs],
            }
            for (name, _), values in feeds.items()
        ]
        answered = in_another_process(tmp_path, model, requests)
        python = EagerModel(model)
        for (name, rows), answer in zip(feeds, answered["answers"], strict=True):
            received = {key: c_session.decode(value) for key, value in answer.items()}
            expected = python.run(signatures[name], feeds[name, rows])
            assert received.keys() == expected.keys()
            assert checks.batch_fault(received, rows) is None
            assert checks.difference_fault(received, expected, 1e-6) is None, (model, name, rows)
            if rows:  # The matrix of the trees holds inputs, among them what is missing.
                assert checks.finite_fault({k: v for k, v in received.items() if k != "matrix"}) is None


def test_a_damaged_model_is_an_error_and_not_a_crash(pushed: PushedRun, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(versions(pushed)[-1], damaged)
    graph = damaged / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    answer = in_another_process(tmp_path, damaged, [])
    assert set(answer) == {"error"} and answer["error"]


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_arrays_survive_the_way_to_the_other_process(dtype: type) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    back = c_session.decode(json.loads(json.dumps(c_session.encode(array))))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def in_another_process(folder: Path, model: Path, requests: list[dict]) -> dict:
    question, answer = folder / "requests.json", folder / "answers.json"
    question.write_text(json.dumps({"model": str(model), "requests": requests}))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(question), str(answer)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]", "nothing of Python's TensorFlow was there to help"
    return json.loads(answer.read_text())
