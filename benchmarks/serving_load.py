"""The load of the serving benchmark: closed-loop clients in a process of their own, the same for every server.

A client is a coroutine with a connection of its own that sends the next request when the answer to the last one is
there. Requests are bytes made beforehand and answers are kept as bytes, so that a request costs the load process the
same whoever answers; answers are checked after the clock has stopped.

The process reads one JSON object a line (`Window`) and answers with one a line (`Load`).
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import uvloop

from benchmarks.serving_clients import Client, GrpcClient, HttpClient

PROJECT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Window:
    """A stretch of load.

    Attributes:
      target: name of the server; connections to it are kept from window to window.
      protocol: grpc or rest.
      address: host:port.
      method: gRPC method, /service/name.
      requests: npz file: `data` uint8 and `ends` int64, the requests one after the other; `expected` float32, the
        probability that each should be answered with.
      check: predict, open_inference, rest or echo: how an answer is read.
      clients: closed loops at a time.
      seconds: measured.
      settle: seconds of load before.
    """

    target: str
    protocol: str
    address: str
    method: str
    requests: str
    check: str
    clients: int
    seconds: float
    settle: float


@dataclass(frozen=True)
class Load:
    """What came of a window.

    Attributes:
      qps: answers per second.
      p50_ms, p99_ms: of the time from sending a request to having all of its answer.
      requests: answers in the window.
      wrong: answers with another probability than expected, or that could not be read.
      failed: requests without an answer.
      first_error: of those that failed or were wrong.
      answer_bytes: size of an answer, median.
      client_cpu: of one core, used by the load process.
    """

    qps: float
    p50_ms: float
    p99_ms: float
    requests: int
    wrong: int
    failed: int
    first_error: str
    answer_bytes: int
    client_cpu: float


class LoadGenerator:
    """The load process, seen from the benchmark. A context manager."""

    def __enter__(self) -> LoadGenerator:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving_load"],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def run(self, window: Window) -> Load:
        """Runs one window.

        Raises:
          RuntimeError: the load process ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(window)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load process ended with {self._process.wait()} in window {window}")
        return Load(**json.loads(line))


def write_requests(path: Path, requests: Sequence[bytes], expected: np.ndarray) -> Path:
    """Writes the file that `Window.requests` names."""
    np.savez(
        path,
        data=np.frombuffer(b"".join(requests), np.uint8),
        ends=np.cumsum([len(r) for r in requests]),
        expected=expected.astype(np.float32),
    )
    return path


def read_requests(path: str | Path) -> tuple[list[bytes], np.ndarray]:
    """The requests and the probabilities that `write_requests` wrote."""
    with np.load(path) as file:
        data, ends, expected = file["data"].tobytes(), file["ends"].tolist(), file["expected"]
    return [data[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)], expected


def read_probability(check: str) -> Callable[[bytes], float]:
    """How the probability is read out of an answer of this kind."""
    if check == "predict":
        from modules.native.protos import predict_pb2

        return lambda body: predict_pb2.PredictResponse.FromString(body).outputs["probability"].float_val[0]
    if check == "open_inference":
        from benchmarks.serving_peers.open_inference import read_prediction

        return read_prediction
    if check == "rest":
        return lambda body: float(json.loads(body)["predictions"][0]["probability"])
    raise ValueError(f"check: expected predict, open_inference or rest; received {check!r}")


class Clients:
    """Connections by target, made when first needed."""

    def __init__(self) -> None:
        self._open: dict[str, list[Client]] = {}

    async def get(self, window: Window) -> list[Client]:
        found = self._open.setdefault(f"{window.target} {window.address}", [])
        host, _, port = window.address.partition(":")
        while len(found) < window.clients:
            grpc = window.protocol == "grpc"
            make = partial(GrpcClient, window.method, window.address) if grpc else HttpClient
            _, client = await asyncio.get_running_loop().create_connection(make, host, int(port))
            found.append(cast(Client, client))
        return found[: window.clients]


async def measure(
    clients: Sequence[Client], requests: Sequence[bytes], window: Window
) -> tuple[list[tuple], list[str]]:
    """Runs the closed loops.

    Returns:
      (request number, seconds, answer) of all answers within the window, and the errors.
    """
    answers: list[tuple[int, float, bytes]] = []
    errors: list[str] = []
    clock = time.perf_counter
    begin = clock() + window.settle
    end = begin + window.seconds

    async def loop(client: Client, number: int) -> None:
        count = len(requests)
        now = clock()
        while now < end:
            number = (number + 1) % count
            start = now
            try:
                answer = await client(requests[number])
            except Exception as error:
                errors.append(f"{type(error).__name__}: {str(error)[:500]}")
                if len(errors) >= 1000:
                    return
                now = clock()
                continue
            now = clock()
            if begin <= now < end:
                answers.append((number, now - start, answer))

    share = len(requests) // len(clients)
    gc.collect()
    gc.disable()
    try:
        await asyncio.gather(*(loop(client, i * share) for i, client in enumerate(clients)))
    finally:
        gc.enable()
    return answers, errors


def summarize(
    answers: Sequence[tuple[int, float, bytes]], errors: Sequence[str], expected: np.ndarray, window: Window, cpu: float
) -> Load:
    """Checks every answer and computes the figures."""
    wrong, first = 0, errors[0] if errors else ""
    if window.check == "echo":
        wrong = sum(not answer for _, _, answer in answers)
    else:
        read = read_probability(window.check)
        for number, _, answer in answers:
            try:
                found = read(answer)
            except Exception as error:
                found, first = float("nan"), first or f"unreadable answer: {error!r}"
            if not abs(found - expected[number]) <= TOLERANCE:
                wrong += 1
                first = first or f"request {number}: expected {expected[number]}, received {found}"
    times = np.array([seconds for _, seconds, _ in answers]) * 1000 if answers else np.array([np.nan])
    return Load(
        qps=len(answers) / window.seconds,
        p50_ms=float(np.percentile(times, 50)),
        p99_ms=float(np.percentile(times, 99)),
        requests=len(answers),
        wrong=wrong,
        failed=len(errors),
        first_error=first,
        answer_bytes=int(np.median([len(answer) for _, _, answer in answers])) if answers else 0,
        client_cpu=cpu,
    )


async def serve_windows() -> None:
    """Reads windows from standard input until it ends."""
    loop = asyncio.get_running_loop()
    clients = Clients()
    files: dict[str, tuple[list[bytes], np.ndarray]] = {}
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        window = Window(**json.loads(line))
        if window.requests not in files:
            files[window.requests] = read_requests(window.requests)
        requests, expected = files[window.requests]
        connections = await clients.get(window)
        wall, cpu = time.perf_counter(), time.process_time()
        answers, errors = await measure(connections, requests, window)
        cpu = (time.process_time() - cpu) / (time.perf_counter() - wall)
        print(json.dumps(asdict(summarize(answers, errors, expected, window, cpu))), flush=True)


if __name__ == "__main__":
    uvloop.run(serve_windows())
