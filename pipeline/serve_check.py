"""`aiqleads serve --check`: starts the server, asks a few leads over gRPC and REST, shows both answers, ends it."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from rich.table import Table

from modules.errors import AiqleadsError
from pipeline.console import make_console
from pipeline.serve import server_options

LEADS = 5
TIMEOUT_SECONDS = 30
TOLERANCE = 1e-5
_SHOWN = ("score", "probability", "probability_low", "probability_high", "confidence")


def check_server(root: Path, model: str = "lead-scoring") -> int:
    """Serves what stands under a root for a moment.

    Args:
      root: the pipeline's root.
      model: the lead-scoring model to ask.

    Returns:
      0 if both transports answer the same, otherwise 1.

    Raises:
      ConfigError: nothing has been pushed.
      AiqleadsError: the server does not start.
    """
    from serving.client import Client
    from serving.process import start_server

    options = server_options(root)
    assert options.root is not None
    console = make_console(sys.stdout)
    begin = time.perf_counter()
    try:
        with start_server(f"--root={options.root}", "--enable_batching") as server:
            ready = time.perf_counter() - begin
            with Client(server.grpc_address, model=model) as client:
                leads = known_leads(options.root / model, LEADS)
                client.features()  # connects, and asks the model what it takes
                start = time.perf_counter()
                over_grpc = client.score(leads)
                grpc_ms = (time.perf_counter() - start) * 1000
            start = time.perf_counter()
            over_rest = ask_rest(f"{server.url}/v1/models/{model}:predict", leads)
            rest_ms = (time.perf_counter() - start) * 1000
    except (RuntimeError, TimeoutError) as error:
        first, *rest = str(error).splitlines()
        raise AiqleadsError(f"model server: {first}", rest[-10:]) from None
    version = over_grpc[0].version
    console.print(f"[green]served[/green]     {model} version {version}, ready after {ready:.1f} s")
    table = Table(title=f"{len(leads)} leads asked over gRPC ({grpc_ms:.1f} ms) and REST ({rest_ms:.1f} ms)")
    for name in ("lead", "score gRPC", "score REST", "probability gRPC", "probability REST", "90 % interval"):
        table.add_column(name, justify="right")
    worst = 0.0
    for number, (a, b) in enumerate(zip(over_grpc, over_rest, strict=True), 1):
        values = (a.score, a.probability, a.low, a.high, a.confidence)
        worst = max(worst, *(abs(x - b[name]) / max(1.0, abs(x)) for x, name in zip(values, _SHOWN, strict=True)))
        table.add_row(
            str(number), f"{a.score:.1f}", f"{b['score']:.1f}", f"{a.probability:.3f}", f"{b['probability']:.3f}",
            f"{a.low:.3f} - {a.high:.3f}",
        )  # fmt: skip
    console.print(table)
    if not worst <= TOLERANCE:
        console.print(f"[red]gRPC and REST differ by {worst:.2g}[/red], at most {TOLERANCE:g} expected")
        return 1
    console.print("[green]same[/green]       gRPC and REST agree; stopped")
    return 0


def known_leads(base: Path, count: int) -> list[dict[str, Any]]:
    """Real leads that a model's newest version with warm-up requests carries in them.

    Args:
      base: the model's folder.
      count: at most so many.

    Returns:
      Features by name; NaN for a missing number, "" for a missing text.

    Raises:
      AiqleadsError: no version carries any.
    """
    from modules.publishing import versions
    from serving import tensors
    from serving.warmup import read_logs

    best: dict[str, list[Any]] = {}
    for number in reversed(versions(base)):
        for log in read_logs(base / str(number)):
            request = log.predict_log.request
            if request.model_spec.signature_name != "predict_columns":
                continue
            columns = {name: tensors.decode(proto)[1].reshape(-1).tolist() for name, proto in request.inputs.items()}
            if not best or len(next(iter(columns.values()))) > len(next(iter(best.values()))):
                best = columns
        if best:
            break
    if not best:
        raise AiqleadsError(f"{base}: no version has warm-up requests with single features to ask about")
    rows = len(next(iter(best.values())))
    return [
        {name: v[i].decode() if isinstance(v[i], bytes) else v[i] for name, v in best.items()}
        for i in range(min(count, rows))
    ]


def ask_rest(url: str, leads: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Asks in JSON, a row per lead, as a service in any language would; a missing number is the bare token NaN.

    Raises:
      RuntimeError: the server refuses.
    """
    body = json.dumps({"signature_name": "predict_columns", "instances": leads}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=TIMEOUT_SECONDS) as response:
            return json.load(response)["predictions"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{url}: HTTP {error.code}: {error.read(1000).decode(errors='replace')}") from None
