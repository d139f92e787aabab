"""Versions swapped under constant load: does any request fail, is any answer wrong, does the server grow?

Clients ask over gRPC and REST without a pause while a new version is published every second and the one before is
deleted. Even and odd versions answer differently: a gRPC answer must fit the version that it names, a REST answer must
be one of the two. Memory is the server's resident set, after a tenth of the swaps and at the end.

python -m benchmarks.swap --rows 100
"""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from modules.native.protos import predict_pb2, prediction_service_pb2_grpc
from serving.process import Running, start_server

SWAPS = 100
SECONDS = 1.0
CLIENTS = 2
X = 10.0
OFFSETS = (1.0, 2.0)
PARAMETERS = 1_000_000
_BODY = json.dumps({"instances": [X]}).encode()


@dataclass(frozen=True)
class SwapResult:
    """What happened. rss: MiB; latencies over gRPC and REST together, of all requests from the first swap on."""

    swaps: int
    loaded: int
    requests: int
    failed: int
    wrong: int
    rss_start_mb: float
    rss_end_mb: float
    p50_ms: float
    p99_ms: float
    longest_ms: float
    errors: tuple[str, ...]


@dataclass
class _Client:
    """One connection's account. latencies: seconds."""

    latencies: list[float] = field(default_factory=list)
    wrong: int = 0
    errors: list[str] = field(default_factory=list)


def export(folder: Path, offset: float) -> Path:
    """A SavedModel y = x / 2 + offset that holds a million parameters, so that a session that stays is seen."""
    import tensorflow as tf

    module = tf.Module()
    module.offset = tf.Variable(offset)
    module.weights = tf.Variable(tf.zeros([PARAMETERS]))
    module.answer = tf.function(
        lambda x: {"y": x / 2 + module.offset + module.weights[0]},
        input_signature=[tf.TensorSpec([None], tf.float32, name="x")],
    )
    path = folder / f"export-{offset:g}"
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.answer})
    return path


def measure(exports: tuple[Path, Path], swaps: int, seconds: float) -> SwapResult:
    """Starts a server and swaps versions under load.

    Args:
      exports: models for even and for odd versions, y = x / 2 + OFFSETS.
      swaps: how many.
      seconds: from one to the next.
    """
    with tempfile.TemporaryDirectory(prefix="swap-") as folder:
        base = Path(folder) / "m"
        _publish(exports[1], base, 1)
        flags = (
            "--model_name=m",
            f"--model_base_path={base}",
            f"--file_system_poll_wait_seconds={min(seconds, 1) / 5}",
        )
        with start_server(*flags) as server:
            clients, done = [_Client() for _ in range(2 * CLIENTS)], threading.Event()
            threads = [
                threading.Thread(target=_ask_on, args=(ask(server), client, done))
                for ask, client in zip([_grpc_asker, _rest_asker] * CLIENTS, clients, strict=True)
            ]
            for thread in threads:
                thread.start()
            try:
                start_mb, begun = 0.0, time.monotonic()
                for swap in range(1, swaps + 1):
                    time.sleep(max(0.0, begun + swap * seconds - time.monotonic()))
                    if swap == max(2, swaps // 10):
                        start_mb = resident_mb(server.process.pid)
                    _publish(exports[(swap + 1) % 2], base, swap + 1)
                    shutil.rmtree(base / str(swap - 1), ignore_errors=True)
                time.sleep(max(1.0, 2 * seconds))
                end_mb = resident_mb(server.process.pid)
            finally:
                done.set()
                for thread in threads:
                    thread.join()
            loaded = server.output().count("manager: loaded m:")
    milliseconds = np.array([s for c in clients for s in c.latencies]) * 1000
    errors = [e for c in clients for e in c.errors]
    return SwapResult(
        swaps, loaded, len(milliseconds) + len(errors), len(errors), sum(c.wrong for c in clients),
        round(start_mb, 1), round(end_mb, 1), round(float(np.percentile(milliseconds, 50)), 2),
        round(float(np.percentile(milliseconds, 99)), 2), round(float(milliseconds.max()), 1), tuple(errors[:3]),
    )  # fmt: skip


def resident_mb(pid: int) -> float:
    """A process's resident memory, MiB."""
    (line,) = [n for n in Path(f"/proc/{pid}/status").read_text().splitlines() if n.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def _publish(source: Path, base: Path, version: int) -> None:
    hidden = base / f".{version}"
    shutil.copytree(source, hidden)
    hidden.rename(base / str(version))


def _ask_on(ask: Callable[[], bool], client: _Client, done: threading.Event) -> None:
    while not done.is_set():
        begin = time.perf_counter()
        try:
            right = ask()
        except Exception as error:
            client.errors.append(f"{type(error).__name__}: {error}")
        else:
            client.latencies.append(time.perf_counter() - begin)
            client.wrong += not right


def _grpc_asker(server: Running) -> Callable[[], bool]:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(server.grpc_address))
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(X)

    def ask() -> bool:
        answer = stub.Predict(request, timeout=10)
        return list(answer.outputs["y"].float_val) == [X / 2 + OFFSETS[answer.model_spec.version.value % 2]]

    return ask


def _rest_asker(server: Running) -> Callable[[], bool]:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest or 0, timeout=10)

    def ask() -> bool:
        connection.request("POST", "/v1/models/m:predict", _BODY)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status} {body.decode(errors='replace')}")
        return json.loads(body)["predictions"] in [[X / 2 + offset] for offset in OFFSETS]

    return ask


def run(rows: int | None = None, as_json: bool = False) -> dict[str, Any]:
    """Measures.

    Args:
        rows: number of swaps; 100 by default.
        as_json: nothing is printed.

    Returns:
        The fields of SwapResult.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory(prefix="swap-models-") as folder:
        even, odd = (export(Path(folder), offset) for offset in OFFSETS)
        result = measure((even, odd), SWAPS if rows is None else rows, SECONDS)
    found = dataclasses.asdict(result)
    if not as_json:
        print(f"swaps {result.swaps}, loaded {result.loaded}, requests {result.requests:,}")
        print(f"failed {result.failed}, wrong {result.wrong}")
        print(f"latency ms: median {result.p50_ms}, 99 % {result.p99_ms}, longest {result.longest_ms}")
        print(f"server's memory: {result.rss_start_mb} MiB after a tenth, {result.rss_end_mb} MiB at the end")
        for error in result.errors:
            print(error, file=sys.stderr)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measured = run(arguments.rows, arguments.json)
    if arguments.json:
        print(json.dumps(measured))
