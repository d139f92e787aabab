"""Asks a model its own warm-up requests through the model server, over real sockets, before anybody else does."""

from __future__ import annotations

import base64
import json
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from modules.native.protos import prediction_log_pb2, prediction_service_pb2_grpc
from serving import tensors
from serving.process import Running, start_server
from serving.warmup import read_logs

TIMEOUT_SECONDS = 30
TOLERANCE = 1e-5


@dataclass
class ProbeReport:
    """What came of it.

    answered: requests that got an answer over gRPC. compared: those whose REST answer was compared, too.
    failed: check -> what was wrong. p50_ms, p99_ms: one-row Predict over gRPC, from the caller's side.
    """

    answered: int = 0
    compared: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    seconds: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.failed

    def as_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}


def probe(model_dir: Path, model_name: str, requests: int = 100) -> ProbeReport:
    """Serves a model directory for a moment and asks it everything in its warm-up file, then times single rows.

    Args:
      model_dir: SavedModel with `assets.extra/tf_serving_warmup_requests`.
      model_name: to serve it as; the requests' own.
      requests: timed ones.
    """
    report = ProbeReport()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        base = Path(folder) / model_name
        base.mkdir()
        (base / "1").symlink_to(model_dir.resolve(), target_is_directory=True)
        try:
            with start_server(
                f"--model_name={model_name}",
                f"--model_base_path={base}",
                "--enable_batching",
                "--max_num_load_retries=0",
            ) as server:
                _ask(server, model_name, list(read_logs(model_dir)), requests, report)
        except (RuntimeError, TimeoutError) as error:
            report.failed["the server starts"] = " ".join(str(error).split())[-500:]
    report.seconds = round(time.perf_counter() - start, 3)
    return report


def _ask(
    server: Running,
    model_name: str,
    records: list[prediction_log_pb2.PredictionLog],
    requests: int,
    report: ProbeReport,
) -> None:
    if not records:
        report.failed["there are requests to ask"] = "assets.extra/tf_serving_warmup_requests is absent or empty"
        return
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        smallest: Any = None
        for record in records:
            kind = record.WhichOneof("log_type")
            call = {"predict_log": stub.Predict, "classify_log": stub.Classify, "regress_log": stub.Regress}.get(
                kind or ""
            )
            if call is None:
                continue
            request = getattr(record, kind).request
            signature = request.model_spec.signature_name
            try:
                answer = call(request, timeout=TIMEOUT_SECONDS)
            except grpc.RpcError as error:
                report.failed[f"{signature} answers over gRPC"] = f"{error.code().name}: {error.details()}"
                continue
            report.answered += 1
            if kind == "predict_log":
                if smallest is None or request.ByteSize() < smallest.ByteSize():
                    smallest = request
                fault = _rest_differs(server, model_name, request, answer)
                if fault is None:
                    report.compared += 1
                else:
                    report.failed[f"{signature} answers the same over REST"] = fault
        if smallest is not None and report.ok:
            times = np.empty(requests)
            for i in range(requests):
                begin = time.perf_counter()
                stub.Predict(smallest, timeout=TIMEOUT_SECONDS)
                times[i] = time.perf_counter() - begin
            report.p50_ms = round(float(np.quantile(times, 0.5)) * 1000, 3)
            report.p99_ms = round(float(np.quantile(times, 0.99)) * 1000, 3)


def _rest_differs(server: Running, model_name: str, request, answer) -> str | None:
    """None if REST's columns equal gRPC's answer, otherwise what does not."""
    inputs = {alias: _json(tensors.decode(proto)[1]) for alias, proto in request.inputs.items()}
    body = json.dumps({"signature_name": request.model_spec.signature_name, "inputs": inputs}).encode()
    url = f"{server.url}/v1/models/{model_name}:predict"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=TIMEOUT_SECONDS) as response:
            outputs = json.load(response)["outputs"]
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}: {error.read(500).decode(errors='replace')}"
    if len(answer.outputs) == 1:
        outputs = {next(iter(answer.outputs)): outputs}
    for alias, proto in answer.outputs.items():
        expected = tensors.decode(proto)[1]
        if expected.dtype == object:
            if _text(expected) != outputs[alias]:
                return f"{alias}: gRPC {_text(expected)[:3]}, REST {outputs[alias][:3]}"
            continue
        received = np.asarray(outputs[alias], np.float64)
        if received.shape != expected.shape or not np.allclose(
            received, expected, TOLERANCE, TOLERANCE, equal_nan=True
        ):
            return f"{alias}: gRPC {expected.reshape(-1)[:3]}, REST {received.reshape(-1)[:3]}"
    return None


def _text(array: np.ndarray) -> Any:
    """Nested lists of strings."""
    return np.array([v.decode(errors="replace") for v in array.reshape(-1)], object).reshape(array.shape).tolist()


def _json(array: np.ndarray) -> Any:
    """Nested lists; bytes as the REST API wants binary."""
    if array.dtype != object:
        return array.tolist()
    flat: list[Any] = [{"b64": base64.b64encode(value).decode()} for value in array.reshape(-1)]
    for size in reversed(array.shape[1:]):
        flat = [flat[i : i + size] for i in range(0, len(flat), size)]
    return flat if array.ndim else flat[0]
