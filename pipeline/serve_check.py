"""`aiqleads serve --check`: starts the server, asks each pushed model about a few leads over gRPC and REST, shows both
answers, ends it."""

from __future__ import annotations

import json
import math
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from modules.errors import AiqleadsError
from modules.journeys import names
from modules.publishing import versions
from pipeline.console import make_console
from pipeline.serve import server_options

if TYPE_CHECKING:
    from rich.console import Console

    from serving.client import Client
    from serving.process import Running

LEADS = 5
TIMEOUT_SECONDS = 30
TOLERANCE = 1e-5
_SHOWN = ("score", "probability", "probability_low", "probability_high", "confidence")

Row = dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """What a model said. cells: of the table, one row per lead. worst: largest difference, relative above 1."""

    version: int
    cells: Sequence[tuple[str, ...]]
    worst: float
    grpc_ms: float
    rest_ms: float


@dataclass(frozen=True)
class Kind:
    """How a kind of model is asked. output: what tells it from others. columns: of the table."""

    output: str
    columns: tuple[str, ...]
    ask: Callable[[Client, str, list[Row]], Answers]


def check_server(root: Path) -> int:
    """Serves what stands under a root for a moment.

    Args:
      root: the pipeline's root.

    Returns:
      0 if both transports answer the same for every model, otherwise 1.

    Raises:
      ConfigError: nothing has been pushed.
      AiqleadsError: the server does not start, or there is no model that can be asked.
    """
    from serving.process import start_server

    options = server_options(root)
    assert options.root is not None
    models = sorted(p.name for p in options.root.iterdir() if p.is_dir() and versions(p))
    console = make_console(sys.stdout)
    begin = time.perf_counter()
    same: list[bool] = []
    reasons: list[str] = []
    try:
        with start_server(f"--root={options.root}", "--enable_batching") as server:
            console.print(
                f"[green]served[/green]     {', '.join(models)}, ready after {time.perf_counter() - begin:.1f} s"
            )
            for model in models:
                try:
                    same.append(_check_model(server, model, options.root / model, console))
                except AiqleadsError as error:
                    reasons.append(f"{model}: {error}")
                    console.print(f"[yellow]not asked[/yellow]  {error}")
    except (RuntimeError, TimeoutError) as error:
        first, *rest = str(error).splitlines()
        raise AiqleadsError(f"model server: {first}", rest[-10:]) from None
    if not same:
        raise AiqleadsError("no pushed model could be asked", reasons)
    if not all(same):
        return 1
    console.print("[green]same[/green]       gRPC and REST agree; stopped")
    return 0


def _check_model(server: Running, model: str, base: Path, console: Console) -> bool:
    from serving.client import Client

    leads = known_leads(base, LEADS)
    with Client(server.grpc_address, model=model, timeout=TIMEOUT_SECONDS) as client:
        outputs = client.metadata().signatures["serving_default"].outputs
        kind = next((k for k in KINDS if k.output in outputs), None)
        if kind is None:
            raise AiqleadsError(f"{model} answers {', '.join(outputs)}, which this check does not know")
        client.features()  # connects, and asks the model what it takes
        answers = kind.ask(client, f"{server.url}/v1/models/{model}:predict", leads)
    table = Table(
        title=f"{model} version {answers.version}: {len(leads)} leads asked over gRPC ({answers.grpc_ms:.1f} ms) "
        f"and REST ({answers.rest_ms:.1f} ms)"
    )
    for name in kind.columns:
        table.add_column(name, justify="right")
    for number, cells in enumerate(answers.cells, 1):
        table.add_row(str(number), *cells)
    console.print(table)
    if not answers.worst <= TOLERANCE:
        console.print(f"[red]gRPC and REST differ by {answers.worst:.2g}[/red], at most {TOLERANCE:g} expected")
        return False
    return True


def _ask_score(client: Client, url: str, leads: list[Row]) -> Answers:
    over_grpc, grpc_ms = _timed(lambda: client.score(leads))
    over_rest, rest_ms = _timed(lambda: ask_rest(url, leads))
    worst, cells = 0.0, []
    for a, b in zip(over_grpc, over_rest, strict=True):
        values = (a.score, a.probability, a.low, a.high, a.confidence)
        worst = max(worst, _difference(values, [b[name] for name in _SHOWN]))
        cells.append(
            (
                f"{a.score:.1f}", f"{b['score']:.1f}", f"{a.probability:.3f}", f"{b['probability']:.3f}",
                f"{a.low:.3f} - {a.high:.3f}",
            )
        )  # fmt: skip
    return Answers(over_grpc[0].version, cells, worst, grpc_ms, rest_ms)


def _ask_recommend(client: Client, url: str, leads: list[Row]) -> Answers:
    flat = [without_padding(lead) for lead in leads]
    over_grpc, grpc_ms = _timed(lambda: client.recommend(flat))
    over_rest, rest_ms = _timed(lambda: ask_rest(url, leads))
    worst, cells = 0.0, []
    for lead, a, b in zip(flat, over_grpc, over_rest, strict=True):
        named = [i for i, action in enumerate(b["actions"]) if action]
        if [action.action for action in a.actions] != [b["actions"][i] for i in named]:
            worst = math.inf
        else:
            numbers = [number for action in a.actions for number in (action.probability, action.priority)]
            worst = max(worst, _difference(numbers, [b[n][i] for i in named for n in ("probabilities", "priorities")]))
        first = a.actions[0] if a.actions else None
        history = lead.get(names.HISTORY_ACTION) or ["-"]
        cells.append(
            (
                str(lead.get(names.HISTORY_LENGTH, len(history))), history[-1],
                a.next_best_action or "-", b["next_best_action"] or "-",
                f"{first.probability:.3f}" if first else "-", f"{b['probabilities'][0]:.3f}",
                f"{first.priority:.1f}" if first else "-", f"{b['priorities'][0]:.1f}",
            )
        )  # fmt: skip
    return Answers(over_grpc[0].version, cells, worst, grpc_ms, rest_ms)


KINDS = (
    Kind(
        "score",
        ("lead", "score gRPC", "score REST", "probability gRPC", "probability REST", "90 % interval"),
        _ask_score,
    ),
    Kind(
        "next_best_action",
        (
            "lead", "events", "the last", "next gRPC", "next REST", "likelihood gRPC", "likelihood REST",
            "priority gRPC", "priority REST",
        ),
        _ask_recommend,
    ),
)  # fmt: skip


def known_leads(base: Path, count: int) -> list[Row]:
    """Real leads that a model's newest version with warm-up requests carries in them.

    Args:
      base: the model's folder.
      count: at most so many.

    Returns:
      Features by name; NaN for a missing number, "" for a missing text. Lists are filled up to the longest one.

    Raises:
      AiqleadsError: no version carries any.
    """
    from serving import tensors
    from serving.warmup import read_logs

    best: dict[str, list[Any]] = {}
    for number in reversed(versions(base)):
        for log in read_logs(base / str(number)):
            request = log.predict_log.request
            if request.model_spec.signature_name != "predict_columns":
                continue
            columns = {name: tensors.decode(proto)[1].tolist() for name, proto in request.inputs.items()}
            if not best or len(next(iter(columns.values()))) > len(next(iter(best.values()))):
                best = columns
        if best:
            break
    if not best:
        raise AiqleadsError(f"{base}: no version has warm-up requests with single features to ask about")
    rows = len(next(iter(best.values())))
    # Spread over all of them: decisions of one lead stand together.
    chosen = [i * rows // min(count, rows) for i in range(min(count, rows))]
    return [{name: _text(values[i]) for name, values in best.items()} for i in chosen]


def without_padding(lead: Row) -> Row:
    """A lead whose lists are as long as its history, and without what is not known."""
    events = sum(1 for action in lead.get(names.HISTORY_ACTION, ()) if action)
    result = {}
    for name, value in lead.items():
        if name == names.ALLOWED_ACTIONS:
            value = [action for action in value if action] or None
        elif isinstance(value, list) and name.startswith(names.HISTORY_PREFIX):
            value = value[:events]
        if name != names.JOURNEY_START or value:
            result[name] = value
    return result


def ask_rest(url: str, leads: list[Row]) -> list[Row]:
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


def _timed(action: Callable[[], list[Any]]) -> tuple[list[Any], float]:
    """The result, and milliseconds."""
    start = time.perf_counter()
    result = action()
    return result, (time.perf_counter() - start) * 1000


def _difference(a: Sequence[float], b: Sequence[float]) -> float:
    """The largest one, relative above 1; infinite if one is no number."""
    gaps = [abs(x - y) / max(1.0, abs(x)) for x, y in zip(a, b, strict=True)]
    return max((gap if gap == gap else math.inf for gap in gaps), default=0.0)


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(entry) for entry in value]
    return value.decode() if isinstance(value, bytes) else value
