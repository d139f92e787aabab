"""Warm-up records are read as TensorFlow reads them, and run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from modules.native.protos import prediction_log_pb2
from serving import tensors, warmup
from serving.errors import Code, ServingError
from serving.servable import Call, Servable, ServableId
from tests.serving.saved_models import half_plus_two_v1

Log: Any = prediction_log_pb2.PredictionLog


class Recorded(Servable):
    """Remembers what ran."""

    def __init__(self, path: Path) -> None:
        super().__init__(ServableId("v1", 1), path)
        self.calls: list[Call] = []

    def run(self, call: Call, deadline: float | None = None) -> list[np.ndarray]:
        self.calls.append(call)
        return super().run(call, deadline)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return half_plus_two_v1(tmp_path_factory.mktemp("warm"), 1)


@pytest.fixture
def servable(saved: Path, tmp_path: Path) -> Iterator[Recorded]:
    path = Path(shutil.copytree(saved, tmp_path / "1"))
    (path / "assets.extra").mkdir(exist_ok=True)
    loaded = Recorded(path)
    yield loaded
    loaded.close()


def write(servable: Servable, records: list[bytes]) -> Path:
    path = servable.path / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def predict_log(value: float = 2.0, signature_name: str = "") -> Any:
    log = Log()
    log.predict_log.request.model_spec.signature_name = signature_name
    log.predict_log.request.inputs["x"].CopyFrom(tensors.encode(np.array([[value]]), 1))
    return log


def with_example(request) -> None:
    feature = request.input.example_list.examples.add().features.feature["x"]
    feature.float_list.value.append(1.0)


def refused(servable: Servable, **arguments) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        warmup.replay(servable, **arguments)
    return caught.value.code, caught.value.message


def test_a_version_without_requests_needs_none(servable: Recorded) -> None:
    assert warmup.replay(servable) == 0
    assert servable.calls == []


def test_all_four_kinds_of_requests_run_in_order(servable: Recorded) -> None:
    classify, regress, several = Log(), Log(), Log()
    classify.classify_log.request.model_spec.signature_name = "classify_x_to_y"
    with_example(classify.classify_log.request)
    regress.regress_log.request.model_spec.signature_name = "regress_x_to_y2"
    with_example(regress.regress_log.request)
    for name in ("regress_x_to_y", "regress_x_to_y2"):
        task = several.multi_inference_log.request.tasks.add(method_name="tensorflow/serving/regress")
        task.model_spec.name, task.model_spec.signature_name = "v1", name
    with_example(several.multi_inference_log.request)
    logs = [predict_log(), classify, regress, several, Log()]
    write(servable, [log.SerializeToString() for log in logs])

    assert warmup.replay(servable) == 5
    assert [call.fetches for call in servable.calls] == [("y:0",), ("y:0",), ("y2:0",), ("y2:0", "y:0")]


def test_a_request_that_fails_fails_the_warm_up(servable: Recorded) -> None:
    write(servable, [predict_log().SerializeToString(), predict_log(signature_name="nope").SerializeToString()])
    assert refused(servable) == (Code.FAILED_PRECONDITION, 'Serving signature key "nope" not found.')
    assert len(servable.calls) == 1


def test_more_records_than_allowed_are_refused(servable: Recorded) -> None:
    path = write(servable, [predict_log().SerializeToString()] * 4)
    assert warmup.replay(servable, limit=4) == 4
    expected = (Code.INVALID_ARGUMENT, f"Number of warmup records exceeds the maximum (3) at {path}")
    assert refused(servable, limit=3) == expected


def test_a_record_that_is_no_log_is_refused(servable: Recorded) -> None:
    path = write(servable, [b"\xff\xff"])
    code, message = refused(servable)
    assert code == Code.INVALID_ARGUMENT
    assert message.startswith("Failed to parse warmup record: ") and message.endswith(f" from {path}")


def test_runs_of_a_session_are_not_supported(servable: Recorded) -> None:
    log = Log()
    log.session_run_log.SetInParent()
    write(servable, [log.SerializeToString()])
    assert refused(servable) == (Code.UNIMPLEMENTED, "Unsupported log_type for warmup: 5")


def tensorflow_says(path: Path) -> str | int:
    """Its message about a file of records, or their number."""
    try:
        return len(list(tf.compat.v1.io.tf_record_iterator(str(path))))
    except tf.errors.DataLossError as error:
        return error.message


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-3],
        lambda data: data[:14] + bytes([data[14] ^ 1]) + data[15:],
        lambda data: data[:-10] + bytes([data[-10] ^ 1]) + data[-9:],
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data + data[:12],
        lambda data: data + data[:5],
        lambda data: b"these are not records at all",
        lambda data: b"short",
        lambda data: b"",
    ],
    ids=["cut", "record", "last", "length", "header", "part", "text", "short", "empty"],
)
def test_a_damaged_file_is_reported_as_tensorflow_does(servable: Recorded, damage) -> None:
    path = write(servable, [predict_log().SerializeToString()] * 2)
    path.write_bytes(damage(path.read_bytes()))
    expected = tensorflow_says(path)
    if isinstance(expected, int):
        assert warmup.replay(servable) == expected
    else:
        advice = ". Please verify your warmup data is in TFRecord format."
        assert refused(servable) == (Code.DATA_LOSS, expected + advice)
