"""The model server under load: one lead per request from 1, 8 and 32 closed-loop clients, over gRPC and REST.

Beside it, on the same machine in the same run: a bare gRPC server in the same framework that answers with as many bytes
and does nothing, and MLServer with its XGBoost runtime (in an environment of its own under build/peers), which serves
the version's native booster and is asked with rows that Transform has already made. MLServer runs twice: as it is
installed, and with those of several settings that answer most requests from 8 clients.

One load process asks all of them, in rounds: every server with every number of clients in turn, medians over the
rounds. Clients and servers share the machine's cores. Every answer is compared with what XGBoost and the version's
calibration say about the lead.

python -m benchmarks.serving --root build
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving_load import Load, LoadGenerator, Window, write_requests
from benchmarks.serving_peers import mlserver, open_inference
from benchmarks.serving_peers.leads import MODEL, Leads, find_version, make_model, predict_requests, read_leads
from benchmarks.serving_peers.leads import rest_requests as make_rest_requests
from benchmarks.serving_peers.processes import Started, started

PROJECT = Path(__file__).resolve().parent.parent
PREDICT = "/tensorflow.serving.PredictionService/Predict"
CLIENTS = (1, 8, 32)
LEADS = 1024
ROWS = 50_000
ROUNDS = 5
SECONDS, SETTLE = 1.2, 0.3
TRIAL_ROUNDS = 3
TRIAL_CLIENTS = 8


@dataclass(frozen=True)
class Target:
    """A server and how to ask it."""

    name: str
    protocol: str
    address: str
    requests: Path
    check: str
    method: str = ""

    def window(self, clients: int, seconds: float = SECONDS, settle: float = SETTLE) -> Window:
        return Window(
            self.name,
            self.protocol,
            self.address,
            self.method,
            str(self.requests),
            self.check,
            clients,
            seconds,
            settle,
        )


def run(
    rows: int | None = None, as_json: bool = False, root: Path = PROJECT / "build", rounds: int = ROUNDS
) -> dict[str, Any]:
    """Measures requests per second and latency.

    Args:
      rows: leads of the table that a model is made from, 50,000 by default, if there is none under `root`.
      as_json: nothing but the result is printed.
      root: pipeline root with a pushed lead-scoring model.
      rounds: how often every server is asked with every number of clients.

    Returns:
      grpc, rest, echo, mlserver (as installed) and mlserver_tuned: by number of clients qps, p50_ms and p99_ms; the
      last two are null if MLServer cannot be installed; mlserver_note says why, or which settings were the best
      (mlserver_settings: qps of all of them, from a trial before).
      peer_ratio: our gRPC requests per second / MLServer's as installed, 8 clients; peer_p99_ratio: our p99 /
      MLServer's; peer_tuned_ratio, peer_tuned_p99_ratio: the same against the best settings.
      echo_ratio: our p50 / the echo server's, 1 client; echo_qps_ratio: our qps / the echo server's, 32 clients.
      errors: answers that were wrong or missing, of all servers; requests: all that were counted.
    """
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiqleads-serving-")))

        def say(text: str) -> None:
            if not as_json:
                print(text, flush=True)

        version = find_version(root)
        if version is None:
            say(f"no pushed model under {root}: making one")
            root = make_model(work, rows or ROWS)
            version = find_version(root)
        assert version is not None
        leads = read_leads(root, version, LEADS)
        predict = write_requests(work / "predict.npz", predict_requests(leads), leads.probability)
        rest = write_requests(work / "rest.npz", make_rest_requests(leads), leads.probability)

        load = stack.enter_context(LoadGenerator())
        ours = stack.enter_context(our_server(work, version))
        targets = {
            "grpc": Target("grpc", "grpc", ours.address("grpc"), predict, "predict", PREDICT),
            "rest": Target("rest", "rest", ours.address("rest"), rest, "rest"),
        }
        first = load.run(targets["grpc"].window(1))
        check(first, "our server")
        echo = stack.enter_context(echo_server(work, first.answer_bytes))
        targets["echo"] = Target("echo", "grpc", echo.address("grpc"), predict, "echo", PREDICT)
        peers, note, trials = choose_peers(stack, work, version, leads, load, say)
        targets |= {peer.name: peer for peer in peers}

        loads = measure(load, list(targets.values()), rounds, say)
    result: dict[str, Any] = dict.fromkeys(("grpc", "rest", "echo", "mlserver", "mlserver_tuned"))
    result |= {name: {str(n): figures(loads[name, n]) for n in CLIENTS} for name in targets}
    return (
        result
        | ratios(result)
        | {
            "mlserver_note": note,
            "mlserver_settings": trials,
            "errors": sum(each.wrong + each.failed for found in loads.values() for each in found),
            "requests": sum(each.requests for found in loads.values() for each in found),
            "rounds": rounds,
            "cores": os.cpu_count(),
        }
    )


def measure(load: LoadGenerator, targets: list[Target], rounds: int, say: Any) -> dict[tuple[str, int], list[Load]]:
    """Every target with every number of clients in turn, `rounds` times; the order turns around every second time."""
    loads: dict[tuple[str, int], list[Load]] = {}
    for target in targets:
        load.run(target.window(CLIENTS[-1], seconds=0.5, settle=0.5))
    for number in range(rounds):
        for clients in CLIENTS:
            for target in targets if number % 2 == 0 else reversed(targets):
                found = load.run(target.window(clients))
                loads.setdefault((target.name, clients), []).append(found)
                say(
                    f"round {number + 1}  {target.name:<8} {clients:>2} clients  {found.qps:7.0f}/s  "
                    f"p50 {found.p50_ms:6.2f}  p99 {found.p99_ms:6.2f} ms  wrong {found.wrong}  failed {found.failed}  "
                    f"load process {found.client_cpu:.0%} {found.first_error[:200]}"
                )
    return loads


def figures(loads: list[Load]) -> dict[str, float]:
    """Medians over the rounds."""
    return {
        "qps": round(statistics.median(each.qps for each in loads), 1),
        "p50_ms": round(statistics.median(each.p50_ms for each in loads), 3),
        "p99_ms": round(statistics.median(each.p99_ms for each in loads), 3),
    }


def ratios(result: dict[str, Any]) -> dict[str, float | None]:
    """The figures that the aims are about; null where a peer is missing."""
    grpc, echo = result["grpc"], result["echo"]
    found: dict[str, float | None] = {}
    for name, peer in (("peer", result["mlserver"]), ("peer_tuned", result["mlserver_tuned"])):
        found[f"{name}_ratio"] = round(grpc["8"]["qps"] / peer["8"]["qps"], 2) if peer else None
        found[f"{name}_p99_ratio"] = round(grpc["8"]["p99_ms"] / peer["8"]["p99_ms"], 3) if peer else None
    found["echo_ratio"] = round(grpc["1"]["p50_ms"] / echo["1"]["p50_ms"], 2)
    found["echo_qps_ratio"] = round(grpc["32"]["qps"] / echo["32"]["qps"], 3)
    return found


def choose_peers(
    stack: ExitStack, work: Path, version: Path, leads: Leads, load: LoadGenerator, say: Any
) -> tuple[list[Target], str, dict[str, float | None]]:
    """MLServer as installed, and with the settings that answer most requests; both run until `stack` ends.

    Returns:
      They, none if MLServer cannot be had; which settings are best, or why not; requests per second of all settings.
    """
    try:
        command = mlserver.install()
    except (mlserver.NotInstalled, OSError) as error:
        return [], f"MLServer is not installed: {error}", {}
    requests = {
        raw: write_requests(
            work / f"open_inference_{raw}.npz",
            [open_inference.infer_request(MODEL, row, raw) for row in leads.rows],
            leads.booster_probability,
        )
        for raw in (False, True)
    }
    running: dict[str, tuple[Started, Target]] = {}
    booster = version / "assets.extra" / "booster.ubj"
    trials: dict[str, float | None] = {}
    reason = ""
    for number, (name, settings) in enumerate(mlserver.SETTINGS.items()):
        try:
            server = mlserver.start(command, work / f"mlserver-{number}", booster, MODEL, settings)
        except RuntimeError as error:
            trials[name], reason = None, str(error)
            say(f"mlserver, {name}: {error}")
            continue
        stack.callback(server.stop)
        running[name] = (
            server,
            Target(
                f"mlserver {name}",
                "grpc",
                server.address("grpc"),
                requests[settings.raw],
                "open_inference",
                open_inference.METHOD,
            ),
        )
    found: dict[str, list[Load]] = {name: [] for name in running}
    for _ in range(TRIAL_ROUNDS):
        for name, (_, target) in running.items():
            found[name].append(load.run(target.window(TRIAL_CLIENTS, settle=0.5)))
    for name, loads in found.items():
        check(loads[-1], f"MLServer, {name}")
        trials[name] = figures(loads)["qps"]
        say(f"mlserver, {name}: {figures(loads)}")
    if not running:
        return [], f"MLServer does not start: {reason}", trials
    best = max(running, key=lambda name: trials[name] or 0)
    chosen = {"mlserver": "defaults", "mlserver_tuned": best}
    for name, (server, _) in running.items():
        if name not in chosen.values():
            server.stop()
    peers = []
    for name, chosen_settings in chosen.items():
        if chosen_settings in running:
            target = running[chosen_settings][1]
            peers.append(Target(name, target.protocol, target.address, target.requests, target.check, target.method))
    return peers, f"best settings: {best}", trials


def check(load: Load, who: str) -> None:
    """
    Raises:
      RuntimeError: an answer was wrong or missing, or there was none.
    """
    if load.wrong or load.failed or not load.requests:
        raise RuntimeError(
            f"{who}: {load.requests} answers, {load.wrong} wrong, {load.failed} requests failed: {load.first_error}"
        )


@contextmanager
def our_server(work: Path, version: Path) -> Iterator[Started]:
    """The model server as `aiqleads serve` runs it, on free ports."""
    folder = work / "server"
    folder.mkdir()
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "serving.server", "--port=-1", "--rest_api_port=-1", f"--ready_file={ready}"]
    command += [f"--model_name={MODEL}", f"--model_base_path={version.parent}", "--enable_batching"]
    with running(command, folder, ready) as server:
        yield server


@contextmanager
def echo_server(work: Path, answer_bytes: int) -> Iterator[Started]:
    """The bare server."""
    folder = work / "echo"
    folder.mkdir()
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "benchmarks.serving_peers.echo", f"--ready_file={ready}"]
    with running([*command, f"--answer_bytes={answer_bytes}"], folder, ready) as server:
        yield server


@contextmanager
def running(command: list[str], folder: Path, ready: Path) -> Iterator[Started]:
    """A server of this project, which writes its ports to `ready`."""

    def ports() -> dict[str, int] | None:
        return json.loads(ready.read_text()) if ready.exists() else None

    server = started(command, folder, {**os.environ, "PYTHONPATH": str(PROJECT)}, ports)
    try:
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=PROJECT / "build", help="pipeline root with a pushed model")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    flags = parser.parse_args()
    print(json.dumps(run(as_json=flags.json, root=flags.root, rounds=flags.rounds), indent=None if flags.json else 2))
