"""The caller's deadline bounds a run, however fast the runs before it were."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.serving.counting import counting_model, cpu_seconds
from tests.serving.running import serve


def counted(turns: int) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "counting"
    request.inputs["turns"].CopyFrom(tf.make_tensor_proto(np.int64(turns)))
    return request


def test_a_run_that_would_not_end_stops_at_the_deadline_after_fast_ones(tmp_path: Path) -> None:
    counting_model(tmp_path / "counting", 1)
    with (
        serve("--model_name=counting", f"--model_base_path={tmp_path}/counting") as running,
        grpc.insecure_channel(running.grpc_address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for _ in range(5):
            assert list(stub.Predict(counted(3), timeout=30).outputs["turns"].int64_val) == [3]

        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(counted(10**15), timeout=0.5)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        time.sleep(0.7)
        before = cpu_seconds(running.process.pid)
        time.sleep(1)
        worked = cpu_seconds(running.process.pid) - before
        if worked > 0.1:
            running.process.kill()
        assert worked <= 0.1

        assert list(stub.Predict(counted(3), timeout=30).outputs["turns"].int64_val) == [3]
